"""`resp.content`: flow control and memory (row O-14 of the surface)."""

import asyncio
import tracemalloc
from functools import partial

import pytest

from keepwarm.client.body import (
    FlowControlStreamReader,
    StreamReader,
)
from tests.support.stream_reader import PATIENT, WAITING, Read, Valve, begin, cancelled, valved

pytestmark = pytest.mark.asyncio


async def test_flow_control_defaults() -> None:
    """O-14, O-18: reading stops above 128 KiB and goes on at 64 KiB."""
    valve = Valve()
    stream = FlowControlStreamReader(asyncio.get_running_loop(), pause=valve.pause, resume=valve.resume)
    stream.feed_data(bytes(131_072))
    assert valve.calls == []
    stream.feed_data(b"x")
    stream.feed_data(b"y")
    assert valve.calls == ["pause"]
    await stream.readexactly(65_537)
    assert valve.calls == ["pause"]
    await stream.readexactly(1)
    assert valve.calls == ["pause", "resume"]


@pytest.mark.parametrize(
    "read",
    [
        StreamReader.read,
        StreamReader.readany,
        partial(StreamReader.readexactly, n=9),
        partial(StreamReader.read, n=9),
        StreamReader.readline,
        lambda s: anext(s.iter_any()),
        lambda s: anext(s.iter_chunked(9)),
    ],
)
async def test_every_read_lets_go(read: Read) -> None:
    """O-14: whichever way the bytes are taken, the transport goes on once."""
    stream, valve = valved()
    stream.feed_data(b"12345678\n")
    assert valve.calls == ["pause"]
    task = await begin(read(stream))
    assert valve.calls == ["pause", "resume"]
    stream.feed_eof()
    assert await task == b"12345678\n"
    assert valve.calls == ["pause", "resume"]


async def test_iter_any_lets_go_at_the_low_mark() -> None:
    """O-14: iteration by pieces goes on at the low mark as the other reads do."""
    stream, valve = valved()
    stream.feed_data(b"1234")
    stream.feed_data(b"5")
    stream.feed_data(b"6789")
    pieces = stream.iter_any()
    assert await anext(pieces) == b"1234"
    assert valve.calls == ["pause"]
    assert await anext(pieces) == b"5"
    assert valve.calls == ["pause", "resume"]


async def test_read_nowait_and_unread_work_the_valve() -> None:
    """O-14: the calls that cannot wait count as well."""
    stream, valve = valved()
    stream.feed_data(b"123456789")
    assert stream.read_nowait(5) == b"12345"
    assert valve.calls == ["pause", "resume"]
    stream.unread_data(b"12345")
    assert valve.calls == ["pause", "resume", "pause"]


@pytest.mark.parametrize("name", ["read-all", "readexactly", "readline"])
async def test_a_hungry_reader_is_never_starved(name: str) -> None:
    """O-14: a read that needs more than the high mark opens the valve and keeps it open until it is served."""
    stream, valve = valved(low=0, high=2)
    read = {"read-all": StreamReader.read, "readline": StreamReader.readline}.get(name, lambda s: s.readexactly(31))
    stream.feed_data(b"abc")
    assert valve.calls == ["pause"]
    task = await begin(read(stream))
    for _ in range(9):
        assert valve.calls == ["pause", "resume"]
        stream.feed_data(b"def")
    stream.feed_data(b"\n")
    stream.feed_eof()
    assert await task == b"abc" + b"def" * 9 + b"\n"
    assert not valve.is_shut


@pytest.mark.parametrize("name", PATIENT)
async def test_a_cancelled_hungry_reader_shuts_the_valve(name: str) -> None:
    """O-14: what a cancelled read let in above the mark is held against the transport at once."""
    stream, valve = valved(low=0, high=3)
    task = await begin(WAITING[name][1](stream))
    stream.feed_data(b"abcd")
    assert valve.calls == []
    await cancelled(task)
    assert valve.calls == ["pause"]
    assert stream.read_nowait() == b"abcd"
    assert valve.calls == ["pause", "resume"]


async def test_the_end_opens_the_valve_and_forgets_it() -> None:
    """O-14: feed_eof() undoes a pause; reading the rest then leaves the connection of somebody else alone."""
    stream, valve = valved()
    stream.feed_data(b"123456789")
    stream.feed_eof()
    assert valve.calls == ["pause", "resume"]
    stream.unread_data(b"123456789")
    assert await stream.read() == b"123456789" * 2
    assert valve.calls == ["pause", "resume"]


async def test_a_failure_forgets_the_valve() -> None:
    """O-14: a failed body does not ask its connection for more."""
    stream, valve = valved()
    stream.feed_data(b"123456789")
    stream.set_exception(ConnectionResetError("cut"))
    stream.feed_data(b"123456789")
    stream.feed_eof()
    assert valve.calls == ["pause"]


async def test_resume_may_feed_at_once() -> None:
    """O-14: a connection that holds bytes back may hand them over inside resume()."""
    held = [b"ghijk", b"lmnop", b"\n"]
    paused: list[int] = []
    is_open = True

    def pause() -> None:
        nonlocal is_open
        is_open = False
        paused.append(stream.buffered)

    def resume() -> None:
        nonlocal is_open
        is_open = True
        while held and is_open:
            stream.feed_data(held.pop(0))

    stream = StreamReader(low=1, high=4, pause=pause, resume=resume)
    stream.feed_data(b"abcdef")
    assert await stream.readexactly(5) == b"abcde"
    assert await stream.readline() == b"fghijklmnop\n"
    assert paused == [6, 6, 12]
    assert is_open
    assert not held


@pytest.mark.parametrize(("low", "high"), [(-1, 5), (6, 5)])
async def test_marks_out_of_order(low: int, high: int) -> None:
    """O-14: marks that could not work are refused, by name."""
    with pytest.raises(ValueError, match="low and high"):
        StreamReader(low=low, high=high)


async def test_tiny_pieces_cost_no_memory() -> None:
    """O-14: a body fed byte by byte is kept in about its own size, and comes out in order."""
    body = b"".join(i.to_bytes(2, "big") for i in range(40_000))
    stream = StreamReader()
    task = await begin(stream.readexactly(len(body)))
    tracemalloc.start()
    try:
        for i in range(0, len(body) - 2, 2):
            stream.feed_data(body[i : i + 2])
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(body) - 2 < kept < 1.5 * len(body)
    stream.feed_data(body[-2:])
    assert await task == body


@pytest.mark.parametrize("n", [1, 4])
async def test_tiny_pieces_with_a_half_read_head(n: int) -> None:
    """O-14: joining small pieces leaves what was read of the first one read."""
    stream = StreamReader()
    body = bytes(range(256)) * 12
    for i in range(0, len(body), 3):
        stream.feed_data(body[i : i + 3])
        if i == 6:
            assert stream.read_nowait(n) == body[:n]
    stream.feed_eof()
    assert await stream.read() == body[n:]
