"""The hand-moved clock and transport."""

import asyncio

import pytest

from keepwarm.pool.clock import NEVER
from tests.support.fakes import FakeClock, FakeTransport, ManualScheduler


class Item:
    """Notes when its deadline passed."""

    def __init__(self) -> None:
        self.deadline = NEVER
        self.sweep_at = NEVER
        self.seen: list[float] = []

    def on_deadline(self, now: float) -> None:
        self.seen.append(now)


def test_timers_fire_in_order_each_at_its_own_time() -> None:
    scheduler = ManualScheduler(100.0)
    seen: list[tuple[str, float]] = []
    scheduler.call_later(2, lambda: seen.append(("b", scheduler.now())))

    def chain() -> None:
        scheduler.call_later(0.5, lambda: seen.append(("a", scheduler.now())))

    scheduler.call_later(1, chain)
    scheduler.call_later(3, lambda: seen.append(("c", scheduler.now()))).cancel()
    assert scheduler.timers == 2
    scheduler.run_until(200.0)
    assert seen == [("a", 101.5), ("b", 102.0)]
    assert (scheduler.now(), scheduler.timers) == (200.0, 0)


def test_what_is_called_soon_runs_before_time_moves() -> None:
    scheduler = ManualScheduler(0.0)
    seen: list[float] = []
    scheduler.call_soon(lambda: scheduler.call_soon(lambda: seen.append(scheduler.now())))
    scheduler.run_until(5.0)
    assert seen == [0.0]


def test_the_clock_stands_still_until_it_is_moved() -> None:
    clock, early, late = FakeClock(), Item(), Item()
    start = clock.now()
    clock.watch(late, start + 5)
    clock.watch(early, start + 1)
    assert clock.timers == 1
    clock.advance(0.9)
    assert early.seen == []
    clock.advance(9)
    assert (early.seen, late.seen) == ([start + 1], [start + 5])
    assert clock.now() == pytest.approx(start + 9.9)
    assert clock.timers == 0


def test_a_stall_makes_timers_late() -> None:
    clock, item = FakeClock(), Item()
    start = clock.now()
    clock.watch(item, start + 1)
    clock.stall(20)
    clock.advance(1)
    assert len(item.seen) == 1
    assert item.seen[0] >= start + 20


class Recorder(asyncio.Protocol):
    """Notes what a transport tells it."""

    def __init__(self) -> None:
        self.calls: list[object] = []
        self.stay = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append(transport)

    def data_received(self, data: bytes) -> None:
        self.calls.append(data)

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return self.stay

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append(("lost", exc))

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


class Filler(asyncio.BufferedProtocol):
    """Takes three bytes at a time."""

    def __init__(self) -> None:
        self.buffer = bytearray(3)
        self.pieces: list[bytes] = []

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.pieces.append(bytes(self.buffer[:nbytes]))


def test_reading_pauses_and_goes_on() -> None:
    protocol = Recorder()
    transport = FakeTransport(protocol, extra={"peername": ("h", 1)})
    transport.connect()
    transport.feed(b"a")
    transport.pause_reading()
    transport.feed(b"b")
    transport.feed_eof()
    assert protocol.calls == [transport, b"a"]
    transport.resume_reading()
    assert protocol.calls == [transport, b"a", b"b", "eof"]
    assert transport.ended_by == "close"
    assert transport.get_extra_info("peername") == ("h", 1)


def test_a_buffered_protocol_is_filled_piece_by_piece() -> None:
    protocol = Filler()
    FakeTransport(protocol).feed(b"12345678")
    assert protocol.pieces == [b"123", b"456", b"78"]


def test_a_blocked_transport_pauses_the_protocol() -> None:
    protocol = Recorder()
    transport = FakeTransport(protocol)
    transport.set_write_buffer_limits(high=10)
    transport.blocked = True
    transport.write(b"0123456789")
    assert protocol.calls == []
    transport.write(b"x")
    assert (protocol.calls, transport.get_write_buffer_size()) == (["pause"], 11)
    transport.drain(5)
    assert protocol.calls == ["pause"]
    transport.drain()
    assert protocol.calls == ["pause", "resume"]
    assert transport.written == b"0123456789x"


def test_close_waits_for_the_buffer_and_abort_does_not() -> None:
    for end, calls in (("close", []), ("abort", [("lost", None)])):
        protocol, scheduler = Recorder(), ManualScheduler(0.0)
        transport = FakeTransport(protocol, call_soon=scheduler.call_soon)
        transport.blocked = True
        transport.write(b"data")
        getattr(transport, end)()
        assert (transport.is_closing(), protocol.calls) == (True, [])
        scheduler.run_soon()
        assert protocol.calls == calls
        transport.drain()
        scheduler.run_soon()
        assert protocol.calls == [("lost", None)]


def test_a_closing_transport_drops_data_and_a_closed_one_refuses_it() -> None:
    protocol = Recorder()
    transport = FakeTransport(protocol)
    transport.close()
    transport.write(b"late")
    transport.feed(b"unheard")
    assert (transport.writes, transport.dropped, protocol.calls) == ([], [b"late"], [])
    transport.finish()
    transport.finish()
    assert protocol.calls == [("lost", None)]
    with pytest.raises(RuntimeError):
        transport.write(b"x")


def test_a_lost_connection_says_why_once() -> None:
    protocol, reason = Recorder(), ConnectionResetError()
    transport = FakeTransport(protocol)
    transport.lose(reason)
    transport.lose()
    transport.abort()
    assert protocol.calls == [("lost", reason)]
    assert transport.ended_by == "peer"


def test_a_protocol_that_stays_keeps_the_transport_open() -> None:
    protocol = Recorder()
    protocol.stay = True
    transport = FakeTransport(protocol)
    transport.feed_eof()
    assert not transport.is_closing()
    transport.write_eof()
    with pytest.raises(RuntimeError):
        transport.write(b"x")
