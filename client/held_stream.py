"""HeldStream: `resp.content` while the body is still on its way."""

from keepwarm.client.body import StreamReader
from keepwarm.client.body_iterator import BodyIterator
from keepwarm.client.pieces import BytesLike


class HeldStream(StreamReader):
    """Reads `stream`, and keeps `holder` alive meanwhile.

    The connection holds the stream that it feeds. So that stream cannot tell whether anybody still wants the body, and
    must not hold what closes the connection when nobody does. This one belongs to the reader alone: the body keeps
    coming as long as the response, its `content`, or a read of either is in use.
    """

    __slots__ = ("_holder", "_stream")

    def __init__(self, stream: StreamReader, holder: object) -> None:
        super().__init__()
        self._stream = stream
        self._holder = holder

    def __repr__(self) -> str:
        return repr(self._stream)

    # -- what is told to the stream --

    def feed_data(self, data: BytesLike, size: int = 0) -> None:
        self._stream.feed_data(data, size)

    def feed_eof(self) -> None:
        self._stream.feed_eof()

    def set_exception(self, exc: BaseException) -> None:
        self._stream.set_exception(exc)

    def unread_data(self, data: BytesLike) -> None:
        self._stream.unread_data(data)

    # -- what the stream says about itself --

    @property
    def buffered(self) -> int:
        return self._stream.buffered

    @property
    def total_bytes(self) -> int:
        return self._stream.total_bytes

    @property
    def is_paused(self) -> bool:
        return self._stream.is_paused

    @property
    def has_reader(self) -> bool:
        return self._stream.has_reader

    def exception(self) -> BaseException | None:
        return self._stream.exception()

    def is_eof(self) -> bool:
        return self._stream.is_eof()

    def at_eof(self) -> bool:
        return self._stream.at_eof()

    # -- reading: coroutines of our own, which hold us as long as they wait --

    async def wait_eof(self) -> None:
        await self._stream.wait_eof()

    async def read(self, n: int = -1) -> bytes:
        return await self._stream.read(n)

    async def readany(self) -> bytes:
        return await self._stream.readany()

    async def readexactly(self, n: int) -> bytes:
        return await self._stream.readexactly(n)

    async def readline(self) -> bytes:
        return await self._stream.readline()

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        return await self._stream.readuntil(separator)

    def read_nowait(self, n: int | None = None) -> bytes:
        return self._stream.read_nowait(n)

    def iter_chunked(self, n: int) -> BodyIterator:
        return self._stream.iter_chunked(n).held_by(self)

    def iter_any(self) -> BodyIterator:
        return self._stream.iter_any().held_by(self)

    def __aiter__(self) -> BodyIterator:
        return self._stream.__aiter__().held_by(self)
