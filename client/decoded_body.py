"""DecodedStream: the body of a response with its content coding undone (`resp.content` of a compressed answer).

The connection feeds the raw stream, and its flow control stays as it is. Reads here take compressed bytes out of it
only when they have nothing left to decode, and decode only what they need; so a slow reader holds the peer back, and
a body that nobody reads, or that is released and drained, is never decompressed (FAULTS F47, F48).
"""

import asyncio
from collections.abc import Callable
from typing import Final

from keepwarm.client.body import StreamReader
from keepwarm.client.decoding import Decoder
from keepwarm.client.pieces import BytesLike

READ_SIZE: Final = 65536

# After so many steps of the decoder everybody else on the loop has a turn, and the time limits are looked at, however
# the body is read: also when it is all at hand, and each read is served at once. A step gives at most 64 KiB, so this
# is 1 MiB of output; one that gives nothing (a chain of codings, an empty member) counts as well, as it takes as long.
STEPS: Final = 16


class DecodedStream(StreamReader):
    """Reads as a StreamReader does (SURFACE.md O-01 to O-14), from `source` through `decoder`.

    Beyond what a read was asked for, at most one window (64 KiB) of decoded bytes is held. `on_error` is called
    once, synchronously, when the body turns out to be undecodable: the connection is of no more use then (FAULTS
    F45). What `source` raises is raised here too. `holder` is kept alive, as in HeldStream. `loop` is as in
    StreamReader.

    Reads decode for a few milliseconds at most, then the rest of the loop has a turn. `overdue` is asked after it: what
    it gives, if not None, fails the body (FAULTS F47). The connection may have gone back by then, and its clock with
    it: a body that came whole has nobody else to keep its time.

    What is fed, paused and failed is the source: `feed_data` takes coded bytes. `unread_data` takes decoded ones, and
    `total_bytes` counts them.
    """

    __slots__ = ("_decoder", "_holder", "_on_error", "_overdue", "_pulling", "_source", "_steps")

    def __init__(
        self,
        source: StreamReader,
        decoder: Decoder,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        on_error: Callable[[Exception], object] | None = None,
        overdue: Callable[[], Exception | None] | None = None,
        holder: object = None,
    ) -> None:
        super().__init__(loop)
        self._source = source
        self._decoder = decoder
        self._on_error = on_error
        self._overdue = overdue
        self._steps = 0  # since others had a turn
        self._holder = holder
        self._pulling: asyncio.Future[None] | None = None

    def feed_data(self, data: BytesLike, size: int = 0) -> None:
        """Append coded bytes to the source."""
        self._source.feed_data(data, size)

    def feed_eof(self) -> None:
        """Declare the source complete."""
        self._source.feed_eof()

    def set_exception(self, exc: BaseException) -> None:
        """Fail the body and its source."""
        super().set_exception(exc)
        self._source.set_exception(exc)

    @property
    def is_paused(self) -> bool:
        return self._source.is_paused

    @property
    def has_reader(self) -> bool:
        """Whether a read is waiting. One that was cancelled does not count."""
        pulling = self._pulling
        if pulling is not None and pulling is self._waiter:
            return self._source.has_reader
        return super().has_reader

    def exception(self) -> BaseException | None:
        """What the body failed with, or None (O-10)."""
        return self._exception or self._source.exception()

    def is_eof(self) -> bool:
        """True once the source is complete, even if bytes are left to read (O-09)."""
        return self._source.is_eof()

    def at_eof(self) -> bool:
        """True once nothing is left to read (O-09)."""
        return not self._size and self._is_over()

    async def wait_eof(self) -> None:
        """As in StreamReader, for the source: it is complete then, and not decoded yet."""
        await self._source.wait_eof()

    def read_nowait(self, n: int | None = None) -> bytes:
        """Up to `n` bytes (all if None or negative) of those that are decoded; b'' if there are none (O-05).

        If none are, a piece of what has arrived is decoded first. Raises as in StreamReader, and ContentDecodingError.
        """
        if self._waiter is not None or self._exception is not None:
            self._refuse("read_nowait")
        if not self._size and n != 0:
            self._check_time()
            self._steps = 0  # nobody else can have a turn here
            self._advance(1, b"")
        return super().read_nowait(n)

    # -- inside --

    async def _wait(self, method: str, need: int, *, until: bytes = b"") -> None:
        """Decode until `need` bytes are there, or `until` (if not empty), or the end. Waits only if it must."""
        if self._advance(need, until):
            return
        loop = self._loop or asyncio.get_running_loop()
        waiter: asyncio.Future[None] | None = None
        try:
            while True:
                waiter = self._waiter = loop.create_future()
                if self._steps >= STEPS:
                    loop.call_soon(_wake, waiter)
                    await waiter
                    self._check_time()
                else:
                    self._pulling = waiter
                    await self._pull()
                self._steps = 0
                if self._advance(need, until):
                    return
        finally:
            if self._waiter is waiter:
                self._waiter = None

    async def _pull(self) -> None:
        try:
            data = await self._source.read(READ_SIZE)
        except Exception:
            self._check_source()
            raise
        self._decoder.feed(data)

    def _check_source(self) -> None:
        """What the source failed with is raised by every read from now on."""
        error = self._source.exception()
        if error is not None:
            super().set_exception(error)
            raise error

    def _check_time(self) -> None:
        """The same for the time limit. A body that was released has its own error, and its limit is another."""
        self._check_source()
        error = None if self._overdue is None else self._overdue()
        if error is not None:
            super().set_exception(error)
            raise error

    def _advance(self, need: int, until: bytes) -> bool:
        """Decode from what is at hand. False if that was not enough, or if others should have a turn first."""
        self._check_source()
        decoder = self._decoder
        while self._size < need and not self._is_over():
            if self._exception is not None:
                raise self._exception
            if self._steps >= STEPS or (decoder.needs_input and not self._take_input()):
                return False
            self._steps += 1
            try:
                piece = decoder.read()
            except Exception as exc:
                self._fail(exc)
                raise
            if piece:
                self._append(piece)
                self._fed += len(piece)
                if until and self._has_come(until, piece):
                    break
        return True

    def _take_input(self) -> bool:
        data = self._source.read_nowait(READ_SIZE)
        self._decoder.feed(data)
        return bool(data)

    def _is_over(self) -> bool:
        """Whether all was decoded. Raises nothing: a body that was cut short fails, and the next read says so."""
        if not self._eof and self._exception is None and self._decoder.needs_input and self._source.at_eof():
            try:
                self._decoder.finish()
            except Exception as exc:
                self._fail(exc)
            else:
                self._eof = True
        return self._eof

    def _fail(self, exc: Exception) -> None:
        super().set_exception(exc)
        if self._on_error is not None:
            self._on_error(exc)


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
