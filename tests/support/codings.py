"""What the tests of content coding share: encoders for each coding, bodies, and a peer that compresses as it goes."""

import gzip
import sys
import zlib
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import brotli

from keepwarm.client.body import StreamReader
from keepwarm.client.decoded_body import DecodedStream
from keepwarm.client.decoding import Decoder

zstd: Any = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


def raw_deflate(data: bytes) -> bytes:
    return zlib.compress(data, wbits=-zlib.MAX_WBITS)


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}
# The same, and what else goes by one of these names.
FORMS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    **{name: (name, encode) for name, encode in ENCODERS.items()},
    "deflate-raw": ("deflate", raw_deflate),
}

TEXT = b"".join(b"line %d of a body that can be compressed\n" % number for number in range(40))


def encode(data: bytes, codings: Sequence[str]) -> bytes:
    """`data` with `codings` applied in this order."""
    for coding in codings:
        data = ENCODERS[coding](data)
    return data


def zeros(size: int, coding: str) -> bytes:
    """A body of `size` zero bytes, encoded without having it in memory."""
    block = bytes(1 << 20)
    if coding in ("gzip", "deflate"):
        compress: Any = zlib.compressobj(9, wbits=31 if coding == "gzip" else 15)
        feed, flush = compress.compress, compress.flush
    elif coding == "br":
        compress = brotli.Compressor(quality=1)
        feed, flush = compress.process, compress.finish
    else:
        compress = zstd.ZstdCompressor()
        feed, flush = compress.compress, compress.flush
    pieces = [feed(block) for _ in range(size >> 20)]
    return b"".join([*pieces, flush()])


def decode_all(body: bytes, codings: Sequence[str], max_size: int | None = None, **context: Any) -> bytes:
    """A whole body, decoded at once. `context` is for errors."""
    decoder = Decoder(codings, max_size=max_size, **context)
    decoder.feed(body)
    pieces: list[bytes] = []
    while not decoder.needs_input:
        pieces.append(decoder.read())
    decoder.finish()
    return b"".join(pieces)


class Source:
    """A raw stream, the decoded one on top of it, and a peer that flushes its compressor after each piece."""

    def __init__(self, **options: Any) -> None:
        self.raw = StreamReader(**options)
        self.errors: list[Exception] = []
        self.decoder = Decoder(("gzip",))
        self.stream = DecodedStream(self.raw, self.decoder, on_error=self.errors.append)
        self._compress = zlib.compressobj(wbits=31)

    def feed(self, data: bytes) -> None:
        self.raw.feed_data(self._compress.compress(data) + self._compress.flush(zlib.Z_SYNC_FLUSH))

    def end(self) -> None:
        self.raw.feed_data(self._compress.flush())
        self.raw.feed_eof()
