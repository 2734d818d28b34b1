"""MultipartPayload: parts one after the other, as one body (RFC 2046, 5.1)."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack
from typing import Final

from keepwarm.client.boundary import Boundary, BoundaryWatch
from keepwarm.client.errors import InvalidInput
from keepwarm.client.framing import split_body
from keepwarm.client.source import Bytes, BytesPayload, Payload

# What is in memory and smaller is joined, so that a form of a hundred short fields is one piece.
JOINED: Final = 65536
PIECE: Final = 262144


def join_parts(parts: Iterable[tuple[bytes, Payload]], boundary: Boundary, content_type: str) -> Payload:
    """The body made of `parts`, each a head (field lines and the empty line) and a payload.

    In memory if all of it is and it is small; else sent piece by piece, with its length if each part knows its own.
    Raises InvalidInput when something that is in memory has a line that begins with the delimiter.
    """
    joiner = _Joiner(boundary)
    for head, payload in parts:
        joiner.part(head, payload)
    segments = joiner.finish()
    only = segments[0]
    if len(segments) == 1 and not isinstance(only, Payload):
        return BytesPayload(only, content_type)
    return MultipartPayload(segments, boundary, content_type)


class _Joiner:
    """Collects segments: what is in memory, checked and in handy sizes, and payloads that are streamed."""

    __slots__ = ("_boundary", "_lead", "_segments", "_size", "_small")

    def __init__(self, boundary: Boundary) -> None:
        self._boundary = boundary
        self._lead = boundary.delimiter + b"\r\n"
        self._segments: list[Bytes | Payload] = []
        self._small: list[Bytes] = []
        self._size = 0

    def part(self, head: bytes, payload: Payload) -> None:
        self._refuse_boundary(head)
        self._add(self._lead + head)
        if payload.body is None:
            self._flush()
            self._segments.append(payload)
        else:
            self._refuse_boundary(payload.body)
            self._add(payload.body)
        self._lead = b"\r\n" + self._boundary.delimiter + b"\r\n"

    def finish(self) -> list[Bytes | Payload]:
        self._add(b"\r\n" + self._boundary.delimiter + b"--\r\n")
        self._flush()
        return self._segments

    def _add(self, data: Bytes) -> None:
        if self._size + len(data) > JOINED:
            self._flush()
        if len(data) > JOINED:
            self._segments.extend(split_body(data, PIECE))
        elif data:
            self._small.append(data)
            self._size += len(data)

    def _flush(self) -> None:
        if self._small:
            self._segments.append(b"".join(self._small))
            self._small = []
            self._size = 0

    def _refuse_boundary(self, data: Bytes) -> None:
        if self._boundary.is_in(data):
            raise InvalidInput(
                f"a part contains the boundary '{self._boundary.text}'; leave the boundary out, so that a random one "
                "is made",
                argument="boundary",
            )


class MultipartPayload(Payload):
    """A multipart body that is sent piece by piece. It can be sent again if each of its parts can."""

    __slots__ = ("_boundary", "_segments")

    def __init__(self, segments: list[Bytes | Payload], boundary: Boundary, content_type: str) -> None:
        length: int | None = 0
        for segment in segments:
            size = segment.length if isinstance(segment, Payload) else len(segment)
            length = None if length is None or size is None else length + size
        super().__init__(None, length, content_type)
        self._segments = tuple(segments)
        self._boundary = boundary

    @property
    def replayable(self) -> bool:
        return all(payload.replayable for payload in self._payloads())

    def open(self) -> AsyncIterator[Bytes]:
        return _MultipartPieces(self, iter(self._segments), self._boundary)

    async def aclose(self) -> None:
        """Finish the sources of all parts, even if one of them fails."""
        async with AsyncExitStack() as stack:
            for payload in self._payloads():
                stack.push_async_callback(payload.aclose)

    def _payloads(self) -> Iterator[Payload]:
        return (segment for segment in self._segments if isinstance(segment, Payload))


class _MultipartPieces:
    __slots__ = ("_boundary", "_inner", "_payload", "_segments", "_watch")

    def __init__(self, payload: Payload, segments: Iterator[Bytes | Payload], boundary: Boundary) -> None:
        self._payload = payload
        self._segments = segments
        self._boundary = boundary
        self._inner: AsyncIterator[Bytes] | None = None
        self._watch = BoundaryWatch(boundary)

    def __aiter__(self) -> AsyncIterator[Bytes]:
        return self

    async def __anext__(self) -> Bytes:
        self._payload.started = True
        while True:
            if self._inner is not None:
                try:
                    piece = await self._inner.__anext__()
                except StopAsyncIteration:
                    self._inner = None
                    continue
                self._watch.check(piece)
                return piece
            segment = next(self._segments, None)
            if segment is None:
                raise StopAsyncIteration
            if not isinstance(segment, Payload):
                return segment
            self._inner = segment.chunks()
            self._watch = BoundaryWatch(self._boundary)
