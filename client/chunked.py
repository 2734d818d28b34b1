"""ChunkedBody: one chunked body and its trailers, through llhttp (RFC 9112 7.1)."""

from typing import TYPE_CHECKING

import httptools

from keepwarm.client.errors import ClientProtocolError, HeadTooLarge, TransferEncodingError
from keepwarm.pool.errors import printable

if TYPE_CHECKING:
    from keepwarm.client.h1 import HeadLimits

# What a chunk's own framing may take before it counts as overhead: sixteen bytes hold any honest size line.
CHUNK_ALLOWANCE = 16
# Fields that would change framing, routing or credentials have no business behind the body (RFC 9110 6.5.1).
_NOT_IN_TRAILERS = frozenset(
    b"transfer-encoding content-length host trailer te connection keep-alive authorization proxy-authorization "
    b"set-cookie cookie content-encoding content-type content-range location www-authenticate cache-control".split()
)


class ChunkedBodyError(ClientProtocolError, TransferEncodingError):
    """Broken chunked framing; caught by handlers of either kind."""

    phase = "body"


class ChunkedBody:
    """Takes the bytes behind a head that announced chunks.

    `feed` returns the body bytes in what it was given; `complete` and `surplus` as in ResponseParser, `size` is the
    body's length so far, `trailers` the fields behind it, without those that may not stand there. Raises
    ClientProtocolError for bad framing and HeadTooLarge for more framing or trailers than the limits allow.
    """

    __slots__ = (
        "_chunks",
        "_fed",
        "_in_trailers",
        "_limits",
        "_parser",
        "_pieces",
        "_tail",
        "_trailer_size",
        "complete",
        "size",
        "surplus",
        "trailers",
    )

    def __init__(self, head: bytes, limits: "HeadLimits") -> None:
        self._limits = limits
        self._pieces: list[bytes] = []
        self._tail = b""
        self._fed = 0
        self._chunks = 0
        self._trailer_size = 0
        self._in_trailers = False
        self.size = 0
        self.complete = False
        self.surplus = False
        self.trailers: tuple[tuple[bytes, bytes], ...] = ()
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._parser.feed_data(head)
        self._in_trailers = True

    def feed(self, data: bytes) -> bytes:
        if self.complete or self._parser is None:
            self.surplus = self.surplus or bool(data)
            return b""
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._failed(exc, data)
        if self.complete:
            # llhttp passes over line ends between messages; on this connection nothing may follow.
            tail = self._tail + data[-6:]
            self.surplus = self.surplus or not tail.endswith(b"\r\n\r\n") or tail.endswith(b"\r\n\r\n\r\n")
            self._parser = None  # it holds our methods, and we hold it
        else:
            self._tail = (self._tail + data[-6:])[-6:]
            self._check_overhead()
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.size += len(body)
        return body

    def _failed(self, exc: httptools.HttpParserError, data: bytes) -> None:
        cause = exc.__context__
        self._parser = None
        if isinstance(cause, ClientProtocolError):
            raise cause from None
        if cause is not None and not isinstance(cause, Exception):
            raise cause  # a KeyboardInterrupt, say, that struck inside a callback
        if self.complete:
            self.surplus = True  # the body was whole; what follows it is not HTTP
            return
        raise ChunkedBodyError(f"the chunked body is broken: {exc}, near '{printable(data)}'", phase="body") from None

    def _check_overhead(self) -> None:
        size = self.size + sum(map(len, self._pieces))
        overhead = self._fed - size - min(size, self._fed) - self._chunks * CHUNK_ALLOWANCE
        if overhead > self._limits.overhead:
            self._parser = None
            raise HeadTooLarge("the framing of the chunked body", self._limits.overhead, phase="body")

    # Called by llhttp

    def on_chunk_header(self) -> None:
        self._chunks += 1

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_trailers:
            return
        limits = self._limits
        self._trailer_size += len(name) + len(value) + 4
        if len(self.trailers) >= limits.fields or self._trailer_size > limits.block:
            raise HeadTooLarge("the trailers", limits.fields, unit="fields", phase="body")
        if len(name) + len(value) > limits.line:
            raise HeadTooLarge("a trailer line", limits.line, phase="body")
        if name.lower() not in _NOT_IN_TRAILERS:
            self.trailers += ((name, value.strip(b" \t")),)

    def on_message_begin(self) -> None:
        self.surplus = self.complete

    def on_message_complete(self) -> None:
        self.complete = True
