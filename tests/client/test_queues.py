"""The queues of the old surface: rows O-16 and O-17."""

import asyncio
from typing import Any

import pytest

from keepwarm.client.body import EOF_MARKER
from keepwarm.client.queues import (
    PROTOCOL_EOF_MARKER,
    ChunksQueue,
    DataQueue,
    EofStream,
    FlowControlChunksQueue,
    FlowControlDataQueue,
)

pytestmark = pytest.mark.asyncio

ALL: list[Any] = [DataQueue, ChunksQueue, FlowControlDataQueue, FlowControlChunksQueue]
CHUNKS: list[Any] = [ChunksQueue, FlowControlChunksQueue]
FLOW: list[Any] = [FlowControlDataQueue, FlowControlChunksQueue]
every_queue = pytest.mark.parametrize("make", ALL)


async def begin(queue: Any) -> "asyncio.Task[Any]":
    """A task that has come to its wait."""
    task: asyncio.Task[Any] = asyncio.ensure_future(queue.read())
    await asyncio.sleep(0)
    return task


@every_queue
async def test_order_and_states(make: Any) -> None:
    """O-16: items come out in order; at_eof() is true once the end was fed and all is read."""
    queue = make()
    queue.feed_data(b"a", 1)
    queue.feed_data(b"b", 1)
    queue.feed_eof()
    assert len(queue) == 2
    assert queue.is_eof()
    assert not queue.at_eof()
    assert [await queue.read(), await queue.read()] == [b"a", b"b"]
    assert queue.at_eof()


@every_queue
async def test_waiting_read(make: Any) -> None:
    """O-16: read() waits for an item."""
    queue = make(asyncio.get_running_loop())
    task = await begin(queue)
    assert not task.done()
    queue.feed_data(b"a", 1)
    assert await task == b"a"


@pytest.mark.parametrize("waits", [True, False], ids=["waiting", "fed before"])
@pytest.mark.parametrize("make", [DataQueue, FlowControlDataQueue])
async def test_the_end_of_a_data_queue(make: Any, waits: bool) -> None:
    """O-16: DataQueue.read() raises EofStream at the end."""
    queue = make()
    task = await begin(queue) if waits else None
    queue.feed_eof()
    with pytest.raises(EofStream):
        await (task or queue.read())


@pytest.mark.parametrize("waits", [True, False], ids=["waiting", "fed before"])
@pytest.mark.parametrize("make", CHUNKS)
async def test_the_end_of_a_chunks_queue(make: Any, waits: bool) -> None:
    """O-16, O-17: the chunks variants return b'' at the end; readany is the same as read."""
    queue = make()
    task = await begin(queue) if waits else None
    queue.feed_eof()
    assert await (task or queue.read()) == EOF_MARKER == b""
    assert await queue.readany() == b""


@every_queue
async def test_iteration(make: Any) -> None:
    """O-16: `async for` gives every item, empty ones too, and ends with the queue."""
    queue = make()
    for item in (b"a", b"", b"b"):
        queue.feed_data(item, len(item))
    queue.feed_eof()
    assert [item async for item in queue] == [b"a", b"", b"b"]


@every_queue
async def test_exception(make: Any) -> None:
    """O-16: items that came whole are given out first, then the exception is raised; the first one stays."""
    queue = make()
    queue.feed_data(b"a", 1)
    error = ConnectionResetError("cut")
    queue.set_exception(error)
    queue.set_exception(ValueError("later"))
    assert queue.exception() is error
    assert await queue.read() == b"a"
    for _ in range(2):
        with pytest.raises(ConnectionResetError, match="cut"):
            await queue.read()


@every_queue
async def test_exception_while_waiting(make: Any) -> None:
    """O-16: set_exception() raises in the reader that waits."""
    queue = make()
    task = await begin(queue)
    queue.set_exception(ConnectionResetError("cut"))
    with pytest.raises(ConnectionResetError, match="cut"):
        await task


@every_queue
async def test_misuse(make: Any) -> None:
    """O-16: feeding after the end, a second reader and a thing that is no exception are refused."""
    queue = make()
    task = await begin(queue)
    with pytest.raises(RuntimeError, match=r"read\(\) called while another coroutine"):
        await queue.read()
    with pytest.raises(TypeError, match="exc must be an exception"):
        queue.set_exception("cut")
    queue.feed_data(b"a", 1)
    assert await task == b"a"
    queue.feed_eof()
    with pytest.raises(AssertionError, match="feed_data after feed_eof"):
        queue.feed_data(b"b", 1)


@pytest.mark.parametrize("fed", [False, True], ids=["at the wait", "in the tick of the wake-up"])
@every_queue
async def test_cancel(make: Any, fed: bool) -> None:
    """O-16: a cancelled read loses no item, and the next may start at once."""
    queue = make()
    task = await begin(queue)
    if fed:
        queue.feed_data(b"a", 1)
    task.cancel()
    if fed:
        await asyncio.sleep(0)
    else:
        asyncio.get_running_loop().call_soon(queue.feed_data, b"a", 1)
    assert await queue.read() == b"a"  # if nothing was fed, begins before the cancelled task has had its turn
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("make", FLOW)
async def test_flow_control(make: Any) -> None:
    """O-16: the feeder is paused above the high mark and resumed at the low one, by the sizes it gave."""
    calls: list[str] = []
    queue = make(low=4, high=8, pause=lambda: calls.append("pause"), resume=lambda: calls.append("resume"))
    for size in (4, 2, 3, 1):
        queue.feed_data(b"x", size)
    assert calls == ["pause"]
    await queue.read()
    assert calls == ["pause"]
    await queue.read()
    assert calls == ["pause", "resume"]
    queue.feed_data(b"x", 9)
    queue.feed_eof()
    assert calls == ["pause", "resume"] * 2
    assert [item async for item in queue] == [b"x"] * 3
    assert calls == ["pause", "resume"] * 2


@pytest.mark.parametrize("make", FLOW)
async def test_flow_control_defaults(make: Any) -> None:
    """O-16, O-18: the marks are 64 and 128 KiB, and a queue without callbacks just takes what comes."""
    calls: list[str] = []
    queue = make(pause=lambda: calls.append("pause"), resume=lambda: calls.append("resume"))
    queue.feed_data(b"x", 65_536)
    queue.feed_data(b"x", 65_536)
    assert calls == []
    queue.feed_data(b"x", 1)
    assert calls == ["pause"]
    plain = make()
    plain.feed_data(b"x", 1 << 20)
    assert await plain.read() == b"x"


@pytest.mark.parametrize("make", FLOW)
async def test_a_failure_forgets_the_feeder(make: Any) -> None:
    """O-16: after set_exception() the feeder is neither paused nor resumed, though items are still read."""
    calls: list[str] = []
    queue = make(low=0, high=1, pause=lambda: calls.append("pause"), resume=lambda: calls.append("resume"))
    queue.feed_data(b"x", 2)
    queue.set_exception(ConnectionResetError("cut"))
    assert await queue.read() == b"x"
    assert calls == ["pause"]


@pytest.mark.parametrize("make", FLOW)
async def test_marks_out_of_order(make: Any) -> None:
    """O-16: marks that could not work are refused, by name."""
    with pytest.raises(ValueError, match="low and high"):
        make(low=2, high=1)


async def test_eof_markers() -> None:
    """O-17: the marker of the streams is b'', that of the protocol a unique object that equals no data."""
    assert EOF_MARKER == b""
    marker: object = PROTOCOL_EOF_MARKER
    assert marker != b""
    assert marker == PROTOCOL_EOF_MARKER
    assert repr(marker) == "EOF_MARKER"
