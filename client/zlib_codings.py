"""gzip and deflate (RFC 9110 8.4.1)."""

import zlib
from typing import TYPE_CHECKING

from keepwarm.client.coding import Coding

if TYPE_CHECKING:
    from zlib import _Decompress

GZIP_FORMAT = 16 + zlib.MAX_WBITS
ZLIB_FORMAT = zlib.MAX_WBITS
RAW_FORMAT = -zlib.MAX_WBITS


class ZlibCoding(Coding):
    """What both have in common. Subclasses begin a stream and say what may follow one."""

    __slots__ = ("_inflate", "_is_full", "_tail")

    def __init__(self) -> None:
        super().__init__()
        self._inflate: _Decompress | None = None
        self._tail = b""
        # The last output filled its limit, so zlib may hold more although it took all its input.
        self._is_full = False

    @property
    def needs_input(self) -> bool:
        return not (self._tail or self._is_full or self._input)

    def read(self, n: int) -> bytes:
        data = self._tail or (b"" if self._is_full else self._take())
        if not data and not self._is_full:
            return b""
        try:
            inflate = self._inflate
            if inflate is None:
                self._tail = b""
                inflate = self._inflate = self._begin(data)
                if inflate is None:
                    return b""
            out = inflate.decompress(data, n)
        except zlib.error as exc:
            self._failed(exc)
            raise
        self._tail = inflate.unconsumed_tail
        self._is_full = len(out) == n
        if inflate.eof:
            self._is_full = False
            self._inflate = None
            self._tail = inflate.unused_data
            self._give_back(self._tail)
            self._ended()
        return out

    def _begin(self, data: bytes) -> "_Decompress | None":
        """The decompressor for a stream that starts with `data`; None if that cannot be told yet."""
        raise NotImplementedError

    def _ended(self) -> None:
        """A stream is complete."""
        raise NotImplementedError

    def _failed(self, exc: zlib.error) -> None:
        self._refuse(exc)


class Gzip(ZlibCoding):
    """One member or several, which are joined (RFC 1952 2.2). Nothing else may follow a member, not even zeros."""

    __slots__ = ("_members",)

    name = "gzip"

    def __init__(self) -> None:
        super().__init__()
        self._members = 0

    @property
    def is_whole(self) -> bool:
        return self._inflate is None

    def _begin(self, data: bytes) -> "_Decompress":
        return zlib.decompressobj(GZIP_FORMAT)

    def _ended(self) -> None:
        self._members += 1

    def _failed(self, exc: zlib.error) -> None:
        if self._members and "header" in str(exc):
            self._refuse_garbage()
        self._refuse(exc)


class Deflate(ZlibCoding):
    """The zlib format, and deflate without its frame, which some servers send by mistake (RFC 9110 8.4.1.2).

    The first two bytes tell which: no encoder starts a bare deflate stream with what could be a zlib header, because
    that would be a stored block whose padding is not zero.
    """

    __slots__ = ("_first", "_is_over")

    name = "deflate"

    def __init__(self) -> None:
        super().__init__()
        self._first = b""
        self._is_over = False

    @property
    def is_whole(self) -> bool:
        return self._is_over

    def _begin(self, data: bytes) -> "_Decompress | None":
        if self._is_over:
            self._refuse_garbage()
        if self._first:
            inflate = self._open(self._first + data[:1])
            inflate.decompress(self._first)
            self._first = b""
            return inflate
        if len(data) == 1 and data[0] & 0x0F == 8:
            self._first = data
            return None
        return self._open(data[:2])

    def _open(self, start: bytes) -> "_Decompress":
        is_zlib = start[0] & 0x8F == 8 and (start[0] * 256 + start[1]) % 31 == 0
        return zlib.decompressobj(ZLIB_FORMAT if is_zlib else RAW_FORMAT)

    def _ended(self) -> None:
        self._is_over = True
