"""One response through the codec: in one piece, or cut up."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from keepwarm.client.errors import ClientPayloadError
from keepwarm.client.h1 import ResponseParser
from keepwarm.client.head_limits import DEFAULT_LIMITS, HeadLimits
from keepwarm.pool.errors import ClientError


@dataclass(frozen=True)
class Outcome:
    """What became of a message. Two deliveries of the same bytes must give equal outcomes.

    A refused message has only its `error`, by class; what was told of it before does not count.
    """

    error: type[ClientError] | None = None
    text: str = field(default="", compare=False)
    version: tuple[int, int] | None = None
    status: int | None = None
    reason: str | None = None
    fields: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    trailers: tuple[tuple[bytes, bytes], ...] = ()
    complete: bool = False
    surplus: bool = False
    keep_alive: bool = False
    got_continue: bool = False


def split(message: bytes, cuts: Iterable[int]) -> list[bytes]:
    """`message` in pieces that end at `cuts`."""
    bounds = [0, *sorted(cuts), len(message)]
    return [message[start:end] for start, end in pairwise(bounds) if start < end]


def deliver(
    message: bytes,
    cuts: Iterable[int] = (),
    *,
    method: str = "GET",
    eof: bool = False,
    limits: HeadLimits = DEFAULT_LIMITS,
    read_until_eof: bool = True,
    parser: ResponseParser | None = None,
) -> Outcome:
    """Feed the message to a parser (default: a new one) in pieces, then the end of the connection if `eof`."""
    parser = parser or ResponseParser()
    parser.start(method, limits, read_until_eof)
    body = bytearray()
    try:
        for piece in split(message, cuts):
            was_complete = parser.complete
            parser.feed(piece)
            if parser.head is not None and not was_complete:
                body += parser.body
        if eof:
            parser.feed_eof()
    except ClientError as exc:
        return Outcome(error=type(exc), text=str(exc))
    head = parser.head
    return Outcome(
        version=None if head is None else (head.version.major, head.version.minor),
        status=None if head is None else head.status,
        reason=None if head is None else head.reason,
        fields=() if head is None else head.raw_headers,
        body=bytes(body),
        trailers=parser.trailers,
        complete=parser.complete,
        surplus=parser.surplus,
        keep_alive=parser.keep_alive,
        got_continue=parser.got_continue,
    )


def eaten(pieces: Iterable[bytes], *, method: str = "GET", limits: HeadLimits = DEFAULT_LIMITS) -> tuple[int, str]:
    """Feed pieces until the codec refuses: how many bytes it took, and what it said. Raises AssertionError if the
    pieces end before."""
    parser = ResponseParser()
    parser.start(method, limits)
    count = 0
    for piece in pieces:
        count += len(piece)
        try:
            parser.feed(piece)
        except ClientError as exc:
            if isinstance(exc, ClientPayloadError):
                raise
            return count, str(exc)
    raise AssertionError(f"{count} bytes were taken and none refused")
