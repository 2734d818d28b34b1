"""Stand-ins for time and for a transport, both moved by hand."""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from typing import Any

from keepwarm.pool.clock import Clock

KIB = 1024


class FakeTimer:
    """A timer of ManualScheduler."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualScheduler:
    """`call_later` and `call_soon` of a loop whose time moves only when it is told to."""

    __slots__ = ("_heap", "_serial", "_soon", "time")

    def __init__(self, start: float) -> None:
        self.time = start
        self._heap: list[tuple[float, int, FakeTimer]] = []
        self._soon: deque[Callable[[], None]] = deque()
        self._serial = 0

    def now(self) -> float:
        return self.time

    def call_later(self, delay: float, callback: Callable[[], None], /) -> FakeTimer:
        timer = FakeTimer(self.time + max(delay, 0.0), callback)
        self._serial += 1
        heapq.heappush(self._heap, (timer.when, self._serial, timer))
        return timer

    def call_soon(self, callback: Callable[[], None], /) -> None:
        self._soon.append(callback)

    @property
    def timers(self) -> int:
        """How many timers are still to fire."""
        return sum(timer.callback is not None for _, _, timer in self._heap)

    def run_soon(self) -> None:
        """Run what `call_soon` was given, and what that gave it in turn."""
        while self._soon:
            self._soon.popleft()()

    def run_until(self, when: float) -> None:
        """Fire the timers that are due by `when`, each at its own time, then stand at `when`."""
        self.run_soon()
        while self._heap and self._heap[0][0] <= when:
            due, _, timer = heapq.heappop(self._heap)
            callback, timer.callback = timer.callback, None
            if callback is not None:
                self.time = max(self.time, due)
                callback()
                self.run_soon()
        self.time = max(self.time, when)


class FakeClock(Clock):
    """A Clock that stands still until `advance()`."""

    __slots__ = ("scheduler",)

    def __init__(self, start: float = 1000.0) -> None:
        self.scheduler = ManualScheduler(start)
        super().__init__(self.scheduler, self.scheduler.now)

    @property
    def timers(self) -> int:
        """How many timers are set: 0 or 1 for a clock alone."""
        return self.scheduler.timers

    def advance(self, seconds: float) -> None:
        """Move on by `seconds`; timers that fall due fire in order, each seeing its own time."""
        self.scheduler.run_until(self.scheduler.time + seconds)

    def stall(self, seconds: float) -> None:
        """Move on like a loop that was blocked: nothing fires in between, and all that is due fires late."""
        self.scheduler.time += seconds
        self.scheduler.run_until(self.scheduler.time)


class FakeTransport(asyncio.Transport):
    """A transport with no socket: it records what is written and does what the test says.

    `connection_lost` comes through `call_soon` if one is given (a loop's, or a ManualScheduler's); without it the
    test calls `finish()`. Like a real one it takes no data once it is closing, and raises once it is closed.
    """

    def __init__(
        self,
        protocol: asyncio.BaseProtocol | None = None,
        *,
        extra: dict[str, Any] | None = None,
        call_soon: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        super().__init__(extra or {})
        self._protocol = protocol
        self._call_soon = call_soon
        self._low, self._high = 16 * KIB, 64 * KIB
        self._paused_protocol = False
        self._eof_unread = False
        self._reason: Exception | None = None
        self.writes: list[bytes] = []
        self.dropped: list[bytes] = []
        self.unread: deque[bytes] = deque()
        self.blocked = False  # when set, writes stay in the buffer until `drain()`
        self.buffered = 0
        self.reading = True
        self.wrote_eof = False
        self.ended_by = ""  # "close", "abort" or "peer", once it is closing
        self.closed = False

    # What the protocol calls.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.closed:
            raise RuntimeError("write() on a closed transport")
        if self.wrote_eof:
            raise RuntimeError("write() after write_eof()")
        if self.ended_by:
            self.dropped.append(bytes(data))
            return
        self.writes.append(bytes(data))
        if self.blocked:
            self.buffered += len(data)
            if self.buffered > self._high and not self._paused_protocol:
                self._paused_protocol = True
                self.get_protocol().pause_writing()

    def write_eof(self) -> None:
        self.wrote_eof = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        if not self.ended_by:
            self._end("close", None)

    def abort(self) -> None:
        if self.ended_by != "abort" and not self.closed:
            self.buffered = 0
            self._end("abort", None)

    def is_closing(self) -> bool:
        return bool(self.ended_by)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = not self.ended_by
        while self.reading and self.unread:
            self._deliver(self.unread.popleft())
        if self.reading and self._eof_unread:
            self.feed_eof()

    def is_reading(self) -> bool:
        return self.reading

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = (64 * KIB if low is None else 4 * low) if high is None else high
        self._low = self._high // 4 if low is None else low

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        if self._protocol is None:
            raise RuntimeError("this FakeTransport has no protocol yet")
        return self._protocol

    # What the test calls.

    @property
    def written(self) -> bytes:
        """All that has been written, joined."""
        return b"".join(self.writes)

    def connect(self, protocol: asyncio.BaseProtocol | None = None) -> None:
        """Tell the protocol that it is connected."""
        if protocol is not None:
            self._protocol = protocol
        self.get_protocol().connection_made(self)

    def feed(self, data: bytes) -> None:
        """Bytes from the peer; they wait while reading is paused, and are lost once the transport is closing."""
        if self.reading and not self.unread:
            self._deliver(data)
        elif not self.ended_by:
            self.unread.append(data)

    def feed_eof(self) -> None:
        """The peer's FIN. The transport closes unless the protocol wants to go on writing."""
        if self.ended_by:
            return
        self._eof_unread = not self.reading
        if self.reading:
            protocol = self.get_protocol()
            if isinstance(protocol, asyncio.Protocol | asyncio.BufferedProtocol) and not protocol.eof_received():
                self.close()

    def drain(self, count: int | None = None) -> None:
        """Let `count` bytes (default: all) leave the write buffer."""
        self.buffered = 0 if count is None else max(0, self.buffered - count)
        if self._paused_protocol and self.buffered <= self._low:
            self._paused_protocol = False
            self.get_protocol().resume_writing()
        if self.ended_by and not self.buffered:
            self._schedule()

    def lose(self, reason: Exception | None = None) -> None:
        """The connection breaks now: `connection_lost(reason)` at once."""
        self.ended_by = self.ended_by or "peer"
        self._reason = reason
        self.reading = False
        self.finish()

    def finish(self) -> None:
        """Tell the protocol that the connection is gone, once."""
        if not self.closed:
            self.closed = True
            self.buffered = 0
            self.get_protocol().connection_lost(self._reason)

    def _deliver(self, data: bytes) -> None:
        protocol = self.get_protocol()
        if isinstance(protocol, asyncio.Protocol):
            protocol.data_received(data)
        elif isinstance(protocol, asyncio.BufferedProtocol):
            while data:
                buffer = memoryview(protocol.get_buffer(len(data)))
                count = min(len(buffer), len(data))
                buffer[:count] = data[:count]
                protocol.buffer_updated(count)
                data = data[count:]

    def _end(self, how: str, reason: Exception | None) -> None:
        self.ended_by = how
        self._reason = reason
        self.reading = False
        if not self.buffered:
            self._schedule()

    def _schedule(self) -> None:
        if self._call_soon is not None:
            self._call_soon(self.finish)
