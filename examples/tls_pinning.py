"""Talk to known certificates only: ``python -m examples.tls_pinning [--report] [--ca CA_FILE] URL PIN [PIN ...]``

A PIN is the SHA-256 digest of a certificate as 64 hex digits, or, after ``key:``, of its public key, which stays the
same when the certificate is renewed with the same key. Give the next certificate's pin beside the present one's: one
that fits is enough. A pin may be for a host, or for all hosts below a domain: ``*.example.com=PIN``.

    openssl s_client -connect HOST:443 </dev/null | openssl x509 -noout -fingerprint -sha256
    openssl s_client -connect HOST:443 </dev/null | openssl x509 -noout -pubkey |
        openssl pkey -pubin -outform der | sha256sum

The certificate must match a pin *and* be signed by an authority that is trusted. With any other certificate the call
fails before a byte of the request has been sent; with --report the mismatch is printed, and the call goes on.
"""

import argparse
import sys
from urllib.parse import urlsplit

import uvloop

import keepwarm

KEY = "key:"


def read_pins(texts: list[str], host: str) -> keepwarm.PinSet:
    """The pins by host pattern; those without a pattern are for `host`."""
    pins: dict[str, list[keepwarm.CertificatePin | keepwarm.PublicKeyPin]] = {}
    for text in texts:
        pattern, _, pin = text.rpartition("=")
        digest = bytes.fromhex(pin.removeprefix(KEY).replace(":", ""))
        kind = keepwarm.PublicKeyPin if pin.startswith(KEY) else keepwarm.CertificatePin
        pins.setdefault(pattern or host, []).append(kind(digest))
    return keepwarm.PinSet(pins)


def report(mismatch: keepwarm.FingerprintMismatch) -> None:
    """Where a service would count and log."""
    print(f"only reported: {mismatch}")


async def main(url: str, pins: keepwarm.PinSet, ca_file: str | None = None, report_only: bool = False) -> bool:
    """Make one call; whether it was made."""
    connector = keepwarm.TCPConnector(pins=pins, ca_file=ca_file, pin_report=report if report_only else None)
    async with keepwarm.ClientSession(connector=connector) as session:
        try:
            async with session.get(url) as response:
                print(f"status {response.status}")
        except keepwarm.FingerprintMismatch as exc:
            print(f"nothing was sent: {exc.host}:{exc.port} has the certificate {exc.got.hex()}")
            return False
    return True


def run(arguments: list[str]) -> int:
    """The command line; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m examples.tls_pinning", description="GET a URL, with pins.")
    parser.add_argument("url")
    parser.add_argument("pins", nargs="+", metavar="[PATTERN=][key:]DIGEST")
    parser.add_argument("--ca", metavar="FILE", help="the authorities to trust, in place of the system's")
    parser.add_argument("--report", action="store_true", help="print a mismatch, and go on")
    given = parser.parse_args(arguments)
    pins = read_pins(given.pins, urlsplit(given.url).hostname or "")
    return 0 if uvloop.run(main(given.url, pins, given.ca, given.report)) else 1


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
