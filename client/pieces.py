"""Pieces: bytes in order, kept as the objects they came in.

Appending copies nothing; taking slices at most one piece and joins at most once. No waiting and no limits in here.
"""

from collections import deque
from operator import index
from typing import Final

BytesLike = bytes | bytearray | memoryview

# A peer that sends a chunk for each byte would make us keep an object for each. Runs of small pieces are joined.
SMALL_PIECE: Final = 512
SMALL_RUN: Final = 256


def as_bytes(data: BytesLike) -> bytes:
    """`data` itself if it is bytes; a copy of anything that could still change. Raises TypeError for the rest."""
    return data if type(data) is bytes else bytes(memoryview(data))


class Pieces:
    """A queue of bytes. Base of the stream reader, so that a body is one object."""

    __slots__ = ("_buffer", "_offset", "_size", "_small")

    def __init__(self) -> None:
        self._buffer: deque[bytes] = deque()
        self._offset = 0  # bytes of the first piece that are taken already; always less than its length
        self._size = 0
        self._small = 0  # how many small pieces in a row were appended last

    @property
    def buffered(self) -> int:
        """How many bytes can be read without waiting."""
        return self._size

    def _append(self, piece: bytes) -> None:
        """Put a piece, which is not empty, at the end."""
        self._buffer.append(piece)
        self._size += len(piece)
        if len(piece) >= SMALL_PIECE:
            self._small = 0
            return
        self._small += 1
        if self._small >= SMALL_RUN:
            self._small = 0
            self._pack()

    def _pack(self) -> None:
        buffer = self._buffer
        # Fewer are left if some of the run were taken. Where the first piece is joined, `_offset` still fits.
        if len(buffer) >= SMALL_RUN:
            run = [buffer.pop() for _ in range(SMALL_RUN)]
            run.reverse()
            buffer.append(b"".join(run))

    def _prepend(self, piece: bytes) -> None:
        """Put a piece, which is not empty, at the start."""
        if self._offset:
            self._buffer[0] = self._buffer[0][self._offset :]
            self._offset = 0
        self._buffer.appendleft(piece)
        self._size += len(piece)

    def _drop(self) -> None:
        self._buffer.clear()
        self._offset = self._size = self._small = 0

    def _cut(self, n: int) -> bytes:
        """Take the first `n` bytes, fewer if there are fewer."""
        if n >= self._size:
            return self._cut_all()
        left = index(n)  # half a number would fail in the middle, with some of the pieces gone
        buffer = self._buffer
        pieces: list[bytes] = []
        while left:
            head = buffer[0]
            start = self._offset
            length = len(head) - start
            if length > left:
                pieces.append(head[start : start + left])
                self._offset = start + left
                break
            pieces.append(head[start:])
            buffer.popleft()
            self._offset = 0
            left -= length
        self._size -= n
        return b"".join(pieces)

    def _cut_all(self) -> bytes:
        """Take everything. One whole piece comes back as the object it was."""
        buffer = self._buffer
        if not buffer:
            return b""
        if self._offset:
            buffer[0] = buffer[0][self._offset :]
        data = b"".join(buffer)
        self._drop()
        return data

    def _cut_piece(self) -> bytes:
        """Take (what is left of) the first piece; b'' if there is none."""
        if not self._buffer:
            return b""
        data = self._buffer.popleft()[self._offset :]
        self._offset = 0
        self._size -= len(data)
        return data

    def _length_until(self, separator: bytes, limit: int) -> int:
        """The length of what the first `separator` ends, which counts; 0 if none ends within `limit` bytes."""
        more = len(separator) - 1
        start = self._offset
        seen = 0
        before = b""  # what a separator that ends in this piece may begin with
        for piece in self._buffer:
            if before:
                at = (before + piece[start : start + more]).find(separator)
                if at >= 0:
                    length = seen - len(before) + at + more + 1
                    return length if length <= limit else 0
            at = piece.find(separator, start, start + limit - seen)
            if at >= 0:
                return seen + at - start + more + 1
            seen += len(piece) - start
            if seen >= limit:
                break
            if more:
                before = (before + piece[max(start, len(piece) - more) :])[-more:]
            start = 0
        return 0

    def _has_come(self, separator: bytes, piece: bytes) -> bool:
        """Whether `separator` ends in `piece`, which was appended last."""
        if separator in piece:
            return True
        more = len(separator) - 1
        return more > 0 and separator in self._last(len(piece) + more)

    def _last(self, n: int) -> bytes:
        """The last `n` bytes, fewer if there are fewer. They stay."""
        left = min(n, self._size)
        pieces: list[bytes] = []
        for piece in reversed(self._buffer):
            if not left:
                break
            pieces.append(piece[-left:])
            left -= len(pieces[-1])
        pieces.reverse()
        return b"".join(pieces)
