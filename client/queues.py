"""DataQueue and its kin: items in order, one feeder and one reader."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from keepwarm.client.body import DEFAULT_LIMIT, EOF_MARKER

T = TypeVar("T")


class EofStream(Exception):
    """A queue is at its end: `feed_eof` was called and every item was read."""


class _ProtocolEof:
    __slots__ = ()

    def __repr__(self) -> str:
        return "EOF_MARKER"


# `protocol.EOF_MARKER`: unlike that of the streams, b'', it equals nothing that could be data (O-17).
PROTOCOL_EOF_MARKER: Final = _ProtocolEof()


class QueueIterator(Generic[T]):
    """Reads a queue until EofStream."""

    __slots__ = ("_queue",)

    def __init__(self, queue: "DataQueue[T]") -> None:
        self._queue = queue

    def __aiter__(self) -> "QueueIterator[T]":
        return self

    async def __anext__(self) -> T:
        try:
            return await self._queue.read_item()
        except EofStream:
            raise StopAsyncIteration from None


class DataQueue(Generic[T]):
    """Items of any kind, in order.

    `loop` is where a waiting read makes its future (default: the running loop). Unlike a stream, a queue that failed
    gives out what it holds first: each item is complete in itself.
    """

    __slots__ = ("_buffer", "_eof", "_exception", "_loop", "_size", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = loop
        self._buffer: deque[tuple[T, int]] = deque()
        self._size = 0
        self._eof = False
        self._exception: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._buffer)

    def is_eof(self) -> bool:
        """True once `feed_eof` was called, even if items are left."""
        return self._eof

    def at_eof(self) -> bool:
        """True once `feed_eof` was called and no item is left."""
        return self._eof and not self._buffer

    def exception(self) -> BaseException | None:
        """What `set_exception` was given, or None."""
        return self._exception

    def set_exception(self, exc: BaseException) -> None:
        """Make reads raise `exc` once the items are read; the first exception stays.

        Raises TypeError if `exc` is not an exception.
        """
        if not isinstance(exc, BaseException):
            raise TypeError(f"exc must be an exception, got {type(exc).__name__}")
        if self._exception is None:
            self._exception = exc
            self._wake()

    def feed_data(self, data: T, size: int = 0) -> None:
        """Append an item that counts for `size` bytes. Raises AssertionError after `feed_eof`."""
        if self._eof:
            raise AssertionError("feed_data after feed_eof: the queue was declared complete")
        self._buffer.append((data, size))
        self._size += size
        self._wake()

    def feed_eof(self) -> None:
        """Declare the queue complete. Calling it again does nothing."""
        self._eof = True
        self._wake()

    async def read_item(self) -> T:
        """The next item, waiting for it. Cancelling the wait loses none.

        Raises EofStream at the end, what `set_exception` was given once no item is left, and RuntimeError if another
        coroutine waits already.
        """
        if self._waiter is not None and not self._waiter.cancelled():
            raise RuntimeError(
                "read() called while another coroutine is already waiting for incoming data: "
                "a queue has one reader at a time; let that call end or cancel it first"
            )
        if not self._buffer and not self._eof and self._exception is None:
            waiter = self._waiter = (self._loop or asyncio.get_running_loop()).create_future()
            try:
                await waiter
            finally:
                if self._waiter is waiter:
                    self._waiter = None
        if self._buffer:
            data, size = self._buffer.popleft()
            self._size -= size
            return data
        if self._exception is not None:
            raise self._exception
        raise EofStream

    async def read(self) -> T:
        """As `read_item`."""
        return await self.read_item()

    def __aiter__(self) -> QueueIterator[T]:
        """Iterate over the items to the end."""
        return QueueIterator(self)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class ChunksQueue(DataQueue[bytes]):
    """A queue of bytes whose reads return b'' at the end instead of raising EofStream."""

    __slots__ = ()

    async def read(self) -> bytes:
        """The next piece; b'' at the end."""
        try:
            return await self.read_item()
        except EofStream:
            return EOF_MARKER

    readany = read


class FlowControlDataQueue(DataQueue[T]):
    """A queue that holds its feeder back by the sizes of its items.

    `pause()` is called when items of more than `high` bytes wait to be read, `resume()` when `low` bytes or fewer
    are left. The calls alternate. `feed_eof` makes the last `resume()` if one is owed; after it, and after
    `set_exception`, neither is called. Raises ValueError unless 0 <= low <= high.
    """

    __slots__ = ("_high", "_low", "_pause", "_paused", "_resume")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        low: int = DEFAULT_LIMIT,
        high: int = 2 * DEFAULT_LIMIT,
        pause: Callable[[], object] | None = None,
        resume: Callable[[], object] | None = None,
    ) -> None:
        if not 0 <= low <= high:
            raise ValueError(f"low and high must satisfy 0 <= low <= high, got low={low!r}, high={high!r}")
        super().__init__(loop)
        self._low = low
        self._high = high
        self._pause = pause
        self._resume = resume
        self._paused = False

    def feed_data(self, data: T, size: int = 0) -> None:
        super().feed_data(data, size)
        if self._size > self._high and not self._paused and self._pause is not None:
            self._paused = True
            self._pause()

    def feed_eof(self) -> None:
        super().feed_eof()
        self._go_on()
        self._pause = self._resume = None

    def set_exception(self, exc: BaseException) -> None:
        super().set_exception(exc)
        self._pause = self._resume = None
        self._paused = False

    async def read_item(self) -> T:
        item = await super().read_item()
        if self._size <= self._low:
            self._go_on()
        return item

    def _go_on(self) -> None:
        if self._paused:
            self._paused = False
            if self._resume is not None:
                self._resume()


class FlowControlChunksQueue(FlowControlDataQueue[bytes], ChunksQueue):
    """A FlowControlDataQueue of bytes whose reads return b'' at the end instead of raising EofStream."""

    __slots__ = ()
