"""Compressed request bodies: what `compress=` means, and the payload that does it (SURFACE C-19, C-20).

The reference sent "deflate" without the zlib format around it. RFC 9110 8.4.1.2 asks for that format, and servers
that hold to it cannot read anything else; so keepwarm sends it.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from keepwarm.client.errors import InvalidInput
from keepwarm.client.source import Bytes, Payload
from keepwarm.client.zlib_codings import GZIP_FORMAT, ZLIB_FORMAT
from keepwarm.pool.errors import printable

if TYPE_CHECKING:
    from zlib import _Compress

# What zlib is given at once: about half a millisecond of work, after which everybody else on the loop has a turn.
STEP: Final = 16384
# What a piece counts for, however small it is: taking it from its source is work too.
LEAST: Final = STEP // 16
# A body in memory of at most this many bytes is compressed when the request is made.
AT_ONCE: Final = 16384

_FORMATS: Final = {"gzip": GZIP_FORMAT, "deflate": ZLIB_FORMAT}
_PRESET: Final = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}


class Compression(NamedTuple):
    """What to send: `payload`, and the field `lines` to add to the head (empty if the caller gave the header)."""

    payload: Payload | None
    lines: bytes


def compress_payload(payload: Payload | None, compress: object = None, preset: Sequence[str] = ()) -> Compression:
    """Apply the argument `compress` to a body, given the caller's own Content-Encoding fields `preset`.

    - None: compress with the coding that `preset` names, if there is one; else not at all.
    - True or 'deflate': deflate. 'gzip': gzip. If `preset` names a coding, that one is used (C-20).
    - False: leave the body as it is, whatever `preset` says: it is compressed already.

    A compressed body has no known length, so it is sent in chunks. Without a body nothing is done. Raises
    InvalidInput for any other `compress`, and for a `preset` that asks for a coding that cannot be done here.
    """
    wanted = check_compress(compress)
    if compress is False or payload is None:
        return Compression(payload, b"")
    named = [token for value in preset for part in value.split(",") if (token := part.strip(" \t").lower())]
    if not preset:
        if wanted is None:
            return Compression(payload, b"")
        return Compression(CompressedPayload(payload, wanted), b"Content-Encoding: %b\r\n" % wanted.encode("ascii"))
    if wanted is None and all(coding == "identity" for coding in named):
        return Compression(payload, b"")
    if len(named) != 1 or named[0] not in _PRESET:
        raise InvalidInput(
            "headers: a body cannot be compressed with this Content-Encoding, only with gzip or deflate; if data is "
            "compressed already, give compress=False",
            argument="headers",
        )
    return Compression(CompressedPayload(payload, _PRESET[named[0]]), b"")


def check_compress(compress: object) -> str | None:
    """The coding that the argument `compress` names; None for None and False. Raises InvalidInput."""
    if compress is None or compress is False:
        return None
    if compress is True:
        return "deflate"
    if isinstance(compress, str) and compress.lower() in _FORMATS:
        return compress.lower()
    raise InvalidInput(
        f"compress must be True, False, None, 'gzip' or 'deflate', got {printable(repr(compress))}",
        argument="compress",
    )


class CompressedPayload(Payload):
    """`payload` compressed with `coding`, 'gzip' or 'deflate'.

    A body of up to 16 KiB in memory is compressed at once. Any other is compressed while it is sent, 16 KiB at a time,
    and can be sent again if `payload` can. The length is not known, not even for a small body, so the body is sent in
    chunks (C-19).
    """

    __slots__ = ("_format", "_inner", "coding")

    def __init__(self, payload: Payload, coding: str) -> None:
        self._inner = payload
        self.coding = coding
        self._format = _FORMATS[coding]
        body = payload.body
        body = zlib.compress(body, wbits=self._format) if body is not None and len(body) <= AT_ONCE else None
        super().__init__(body, None, payload.content_type)

    @property
    def replayable(self) -> bool:
        return self._inner.replayable

    def declare(self, length: int) -> None:
        """Refuse: nobody knows how long the body will be once it is compressed. Raises InvalidInput."""
        raise InvalidInput(
            f"the Content-Length {length} cannot be declared for a body that is compressed while it is sent; leave "
            "the header out, or compress the data yourself and give compress=False",
            argument="headers",
        )

    def open(self) -> AsyncIterator[Bytes]:
        return _CompressedPieces(self, self._inner.chunks(), zlib.compressobj(wbits=self._format))

    async def aclose(self) -> None:
        await self._inner.aclose()


class _CompressedPieces:
    """Takes pieces from `source` and gives what zlib makes of them."""

    __slots__ = ("_at", "_compress", "_done", "_payload", "_piece", "_source")

    def __init__(self, payload: Payload, source: AsyncIterator[Bytes], compress: "_Compress") -> None:
        self._payload = payload
        self._source = source
        self._compress: _Compress | None = compress
        self._piece = memoryview(b"")
        self._at = 0
        self._done = 0  # bytes since the last turn of the others, each piece counted as LEAST or more

    def __aiter__(self) -> AsyncIterator[Bytes]:
        return self

    async def __anext__(self) -> Bytes:
        self._payload.started = True
        while (compress := self._compress) is not None:
            if self._done >= STEP:
                self._done = 0
                await asyncio.sleep(0)  # a source in memory never waits, and compressing takes its time
            if self._at >= len(self._piece):
                try:
                    self._piece = memoryview(await self._source.__anext__())
                except StopAsyncIteration:
                    self._compress = None
                    return compress.flush()
                self._at = 0
            part = self._piece[self._at : self._at + STEP]
            self._at += STEP
            self._done += max(len(part), LEAST)
            data = compress.compress(part)
            if data:
                return data
        raise StopAsyncIteration
