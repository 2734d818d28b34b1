"""The command line of the demo."""

import argparse
from dataclasses import dataclass
from pathlib import Path

CALLS = 90_000
CALLERS = 16
LIMIT = 8
URL_CALLS = 2_000
URL_CALLERS = 8


@dataclass(frozen=True, slots=True)
class Options:
    url: str | None
    calls: int
    callers: int
    limit: int
    ca_file: Path | None
    insecure: bool


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def parse(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m examples.demo",
        description=(
            "Makes keepalive calls and shows what they cost. Without URL: to uvicorn processes on loopback that "
            "the demo starts and stops, directly, with a pin, over a proxy, through a tunnel and over a unix socket. "
            "With URL: GET, to your server."
        ),
        epilog="Exit status: 0 when every call was answered, 1 when one failed, 130 after Ctrl-C.",
    )
    parser.add_argument("url", nargs="?", metavar="URL", help="http:// or https:// address to call instead")
    parser.add_argument("--calls", type=positive, help=f"calls in all (default {CALLS:,}; with URL {URL_CALLS:,})")
    parser.add_argument(
        "--at-once",
        type=positive,
        help=f"calls under way for each endpoint (default {CALLERS}; with URL {URL_CALLERS})",
    )
    parser.add_argument("--limit", type=positive, help=f"sockets for each endpoint (default {LIMIT})")
    parser.add_argument("--ca-file", type=Path, help="with URL: trust the authorities in this PEM file")
    parser.add_argument("--insecure", action="store_true", help="with URL: do not verify the certificate")
    given = parser.parse_args(arguments)
    if given.url is not None and not given.url.startswith(("http://", "https://")):
        parser.error(f"URL must begin with http:// or https://, got {given.url!r}")
    if given.insecure and given.ca_file:
        parser.error("--insecure and --ca-file exclude each other")
    own = given.url is not None
    return Options(
        url=given.url,
        calls=given.calls or (URL_CALLS if own else CALLS),
        callers=given.at_once or (URL_CALLERS if own else CALLERS),
        limit=given.limit or LIMIT,
        ca_file=given.ca_file,
        insecure=given.insecure,
    )
