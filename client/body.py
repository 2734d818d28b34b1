"""StreamReader: the body of a response as it arrives (`resp.content`).

The connection feeds pieces at one end, one reader at a time takes bytes at the other. The pieces stay as they came:
feeding copies nothing, a read slices or joins at most once, and a read that cannot be served yet leaves all bytes
where they are. So a cancelled read has nothing to put back.

A waiting reader says how much it waits for (`_need`), and is woken once, when that is there: a whole body costs one
wake-up and one join, whatever the number of pieces. While it waits the transport is never paused, because only more
bytes can end the wait; the buffer then grows to what the caller asked for. In all other cases the transport is
paused when more than `high` bytes wait to be read, and resumed when no more than `low` are left.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from keepwarm.client.body_iterator import BodyIterator
from keepwarm.client.busy_error import busy_error as busy_error
from keepwarm.client.pieces import BytesLike, Pieces, as_bytes
from keepwarm.pool.errors import printable

DEFAULT_LIMIT: Final = 65536
EOF_MARKER: Final = b""

MAX_LINE: Final = DEFAULT_LIMIT
# After so many reads everybody else on the loop has a turn. How short lines are is the peer's choice, and records are
# short as well: those of a full buffer could be half a million, and take as many microseconds.
READS: Final = 1024

Callback = Callable[[], object]


class StreamReader(Pieces):
    """A body as a stream of bytes: ``resp.content``. It has one feeder and one reader.

    Every read raises the exception of `set_exception` from then on, even if bytes were buffered: a body that was cut
    short is never taken for a whole one. A second reader, while one waits, gets a RuntimeError that names the method.
    Cancelling a read loses no byte.

    `loop` is where waiting reads make their future (default: the running loop). `low` and `high` are counted in
    bytes. `pause()` is called when more than `high` bytes are buffered and `resume()` when `low` or fewer are left;
    the calls alternate, beginning with `pause`, and both may come from inside a read. `feed_eof` makes the last
    `resume()` if one is owed; after it, and after `set_exception`, neither is called again, since the connection may
    serve somebody else by then. Raises ValueError unless 0 <= low <= high.
    """

    __slots__ = (
        "_eof",
        "_eof_waiter",
        "_exception",
        "_fed",
        "_high",
        "_loop",
        "_low",
        "_need",
        "_pause",
        "_paused",
        "_reads",
        "_resume",
        "_until",
        "_waiter",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        low: int = DEFAULT_LIMIT,
        high: int = 2 * DEFAULT_LIMIT,
        pause: Callback | None = None,
        resume: Callback | None = None,
    ) -> None:
        if not 0 <= low <= high:
            raise ValueError(f"low and high must satisfy 0 <= low <= high, got low={low!r}, high={high!r}")
        super().__init__()
        self._loop = loop
        self._low = low
        self._high = high
        self._pause = pause
        self._resume = resume
        self._paused = False
        self._eof = False
        self._exception: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._need = 0
        self._until = b""
        self._reads = 0  # since others had a turn
        self._eof_waiter: asyncio.Future[None] | None = None
        self._fed = 0

    def __repr__(self) -> str:
        state = [f"{self._size} of {self._fed} bytes unread"]
        if self._eof:
            state.append("eof")
        if self._paused:
            state.append("paused")
        if self._exception is not None:
            state.append(f"failed: {type(self._exception).__name__}")
        return f"<{type(self).__name__} {', '.join(state)}>"

    # -- what the connection calls --

    def feed_data(self, data: BytesLike, size: int = 0) -> None:
        """Append a piece. `bytes` are kept without a copy, anything that could still change is copied.

        An empty piece is ignored; so is any after `set_exception`, apart from `total_bytes`. `size` has no meaning.
        Raises AssertionError after `feed_eof`.
        """
        if self._eof:
            raise AssertionError("feed_data after feed_eof: the body was declared complete")
        piece = as_bytes(data)
        self._fed += len(piece)
        if not piece or self._exception is not None:
            return
        self._append(piece)
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            if self._size < self._need and not (self._until and self._has_come(self._until, piece)):
                return
            waiter.set_result(None)
        if self._size > self._high:
            self._hold()

    def feed_eof(self) -> None:
        """Declare the body complete. Does nothing the second time, or after `set_exception`."""
        if self._eof or self._exception is not None:
            return
        self._eof = True
        paused, resume = self._paused, self._resume
        self._let_go()
        if paused and resume is not None:
            resume()

    def set_exception(self, exc: BaseException) -> None:
        """Fail the body: the reader that waits and every later read raise `exc`.

        What was not read yet is dropped. The first exception stays: later ones mostly follow from it. Raises TypeError
        if `exc` is not an exception.
        """
        if not isinstance(exc, BaseException):
            raise TypeError(f"exc must be an exception, got {type(exc).__name__}")
        if self._exception is not None:
            return
        self._exception = exc
        self._drop()
        self._let_go()

    def unread_data(self, data: BytesLike) -> None:
        """Put bytes back, to be read next; allowed after `feed_eof`. `total_bytes` stays as it is.

        Raises RuntimeError while a read waits: nobody could tell where in its answer the bytes belong.
        """
        if self._waiter is not None:
            self._refuse("unread_data")
        piece = as_bytes(data)
        if not piece or self._exception is not None:
            return
        self._prepend(piece)
        if self._size > self._high:
            self._hold()

    # -- what the stream says about itself --

    @property
    def total_bytes(self) -> int:
        """How many bytes were fed, read or not."""
        return self._fed

    @property
    def is_paused(self) -> bool:
        """Whether the transport is paused, because the reader is slower than the peer."""
        return self._paused

    @property
    def has_reader(self) -> bool:
        """Whether a read is waiting. One that was cancelled does not count."""
        return self._waiter is not None and not self._waiter.cancelled()

    def exception(self) -> BaseException | None:
        """What `set_exception` was given, or None."""
        return self._exception

    def is_eof(self) -> bool:
        """True once `feed_eof` was called, even if bytes are left to read."""
        return self._eof

    def at_eof(self) -> bool:
        """True once `feed_eof` was called and nothing is left to read."""
        return self._eof and not self._size

    async def wait_eof(self) -> None:
        """Wait for `feed_eof`. Reads nothing, so a body above `high` bytes needs a reader beside it.

        Raises what `set_exception` was given, and RuntimeError if another coroutine is in `wait_eof` already.
        """
        if self._eof:
            return
        if self._exception is not None:
            raise self._exception
        if self._eof_waiter is not None and not self._eof_waiter.cancelled():
            raise busy_error("wait_eof")
        waiter = self._eof_waiter = (self._loop or asyncio.get_running_loop()).create_future()
        try:
            await waiter
        finally:
            if self._eof_waiter is waiter:
                self._eof_waiter = None
        if not self._eof and self._exception is not None:
            raise self._exception

    # -- reading --

    async def read(self, n: int = -1) -> bytes:
        """Up to `n` bytes, waiting until there is at least one; the whole rest of the body if `n` is negative.

        b'' at the end of the body and for n=0. The whole rest is kept in memory until its end arrives.
        """
        self._reads += 1
        if self._reads > READS and n >= 0:
            await self._rest()
        if self._waiter is not None or self._exception is not None:
            self._refuse("read")
        if n < 0:
            if not self._eof:
                await self._wait("read", sys.maxsize)
            return self._take_all()
        if not n:
            return EOF_MARKER
        if not self._size and not self._eof:
            await self._wait("read", 1)
        return self._take(n)

    async def readany(self) -> bytes:
        """Whatever is buffered, waiting if it is nothing; b'' at the end. One piece is not copied."""
        if self._waiter is not None or self._exception is not None:
            self._refuse("readany")
        if not self._size and not self._eof:
            await self._wait("readany", 1)
        return self._take_all()

    async def readexactly(self, n: int) -> bytes:
        """Exactly `n` bytes.

        If the body ends before: asyncio.IncompleteReadError, whose `partial` carries what there was (it counts as
        read) and whose `expected` is `n`. Raises ValueError if `n` is negative.
        """
        if n < 0:
            raise ValueError(f"n must not be negative, got {n!r}")
        self._reads += 1
        if self._reads > READS:
            await self._rest()
        if self._waiter is not None or self._exception is not None:
            self._refuse("readexactly")
        if self._size < n and not self._eof:
            await self._wait("readexactly", n)
        if self._size < n:
            raise asyncio.IncompleteReadError(self._take_all(), n)
        return self._take(n)

    def readline(self) -> Coroutine[Any, Any, bytes]:
        """One line with its newline; the rest if the body ends without one; b'' at the end.

        A line of more than 65536 bytes, newline included, raises ValueError ('Line is too long'). Its bytes stay
        unread, and can be had with the other methods.
        """
        return self._read_until("readline", b"\n")

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        """As `readline`, up to and including `separator`: the rest if the body ends without one, b'' at the end.

        It has the limit of `readline`: 65536 bytes, `separator` included. Raises TypeError if `separator` is not bytes
        and ValueError if it is empty.
        """
        if not isinstance(separator, bytes):
            raise TypeError(f"separator must be bytes, got {type(separator).__name__}")
        if not separator:
            raise ValueError("separator must not be empty: every body begins with that")
        return await self._read_until("readuntil", separator)

    def read_nowait(self, n: int | None = None) -> bytes:
        """Up to `n` buffered bytes, all of them if `n` is None or negative; b'' if there are none.

        Raises RuntimeError if a reader is waiting.
        """
        if self._waiter is not None or self._exception is not None:
            self._refuse("read_nowait")
        return self._take_all() if n is None or n < 0 else self._take(n)

    def iter_chunked(self, n: int) -> BodyIterator:
        """Iterate over the body in pieces of up to `n` bytes, each as soon as there is any.

        Raises ValueError if `n` is not positive.
        """
        if n <= 0:
            raise ValueError(f"n must be positive, got {n!r}")
        return BodyIterator(partial(self.read, n))

    def iter_any(self) -> BodyIterator:
        """Iterate over the body in the pieces in which it arrives, without joining or copying them."""
        return BodyIterator(self._next_piece)

    def __aiter__(self) -> BodyIterator:
        """Iterate over the lines; see `readline` (O-08)."""
        return BodyIterator(self.readline)

    async def _next_piece(self) -> bytes:
        if self._waiter is not None or self._exception is not None:
            self._refuse("iter_any")
        if not self._size and not self._eof:
            await self._wait("iter_any", 1)
        data = self._cut_piece()
        if self._paused and self._size <= self._low:
            self._go_on()
        return data

    # -- inside --

    async def _read_until(self, method: str, separator: bytes) -> bytes:
        self._reads += 1
        if self._reads > READS:
            await self._rest()
        if self._waiter is not None or self._exception is not None:
            self._refuse(method)
        length = self._length_until(separator, MAX_LINE)
        if not length and not self._eof and self._size <= MAX_LINE:
            await self._wait(method, MAX_LINE + 1, until=separator)
            length = self._length_until(separator, MAX_LINE)
        if length:
            return self._take(length)
        if self._size > MAX_LINE:
            what = "newline" if separator == b"\n" else printable(separator)
            raise ValueError(
                f"Line is too long: no {what} in the next {MAX_LINE} bytes of the body; "
                "they are still unread, take them with read(n) or iter_chunked(n)"
            )
        return self._take_all()

    async def _rest(self) -> None:
        self._reads = 0
        await asyncio.sleep(0)

    def _refuse(self, method: str) -> None:
        """Raise for a failed stream or a second reader. A waiter that is cancelled has no claim on the bytes."""
        if self._exception is not None:
            raise self._exception
        if self.has_reader:
            raise busy_error(method)

    async def _wait(self, method: str, need: int, *, until: bytes = b"") -> None:
        """Wait for `need` buffered bytes, or `until` (if not empty), or the end. No other reader gets between."""
        self._need = need
        self._until = until
        waiter = self._waiter = (self._loop or asyncio.get_running_loop()).create_future()
        try:
            if self._paused:
                self._go_on()  # may feed before it returns, so the waiter is in place
            await waiter
        finally:
            if self._waiter is waiter:
                self._waiter = None
            if self._size > self._high:
                self._hold()  # a cancelled wait leaves what it let in
        if self._exception is not None:
            raise self._exception

    def _take(self, n: int) -> bytes:
        data = self._cut(n)
        if self._paused and self._size <= self._low:
            self._go_on()
        return data

    def _take_all(self) -> bytes:
        data = self._cut_all()
        if self._paused:
            self._go_on()
        return data

    def _hold(self) -> None:
        if not self._paused and self._pause is not None:
            self._paused = True
            self._pause()

    def _go_on(self) -> None:
        self._paused = False
        if self._resume is not None:
            self._resume()

    def _let_go(self) -> None:
        """Nothing more will come: wake whoever waits, and forget the connection."""
        self._pause = self._resume = None
        self._paused = False
        for waiter in (self._waiter, self._eof_waiter):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)


FlowControlStreamReader = StreamReader
