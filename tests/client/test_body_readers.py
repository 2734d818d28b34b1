"""`resp.content`: two readers (row O-13 of the surface), and readers that are cancelled."""

import asyncio

import pytest

from keepwarm.client.body import (
    StreamReader,
)
from tests.support.stream_reader import PATIENT, WAITING, begin, cancelled

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("second", WAITING)
@pytest.mark.parametrize("first", WAITING)
async def test_two_readers(first: str, second: str) -> None:
    """O-13: a second reader gets a RuntimeError that names its method; the first is served as if alone."""
    stream = StreamReader()
    if first in PATIENT:
        stream.feed_data(b"ab")  # the newcomer could be served with these, and must not be
    alone = await begin(WAITING[first][1](stream))
    name, read = WAITING[second]
    with pytest.raises(RuntimeError, match=rf"^{name}\(\) called while another coroutine is already waiting"):
        await read(stream)
    stream.feed_data(b"cde\n")
    stream.feed_eof()
    got = await alone
    assert isinstance(got, bytes)
    assert got + await stream.read() == (b"ab" if first in PATIENT else b"") + b"cde\n"


async def test_a_woken_reader_keeps_its_claim() -> None:
    """O-13: between the wake-up and the reader's turn no other reader can take its bytes."""
    stream = StreamReader()
    first = await begin(stream.readany())
    stream.feed_data(b"ab")
    with pytest.raises(RuntimeError, match=r"^read_nowait\(\)"):
        stream.read_nowait()
    with pytest.raises(RuntimeError, match=r"^read\(\)"):
        await stream.read(1)
    assert await first == b"ab"


@pytest.mark.parametrize("name", WAITING)
async def test_cancel_at_the_wait(name: str) -> None:
    """O-01 to O-08: a read that is cancelled at its wait loses no byte, and the next read may start at once."""
    stream = StreamReader()
    if name in PATIENT:
        stream.feed_data(b"ab")
    task = await begin(WAITING[name][1](stream))
    if name in PATIENT:
        stream.feed_data(b"cd")
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    loop = asyncio.get_running_loop()
    loop.call_soon(stream.feed_data, b"ef")
    loop.call_soon(stream.feed_eof)
    # This read begins before the cancelled task has had its turn, and still waits when it has.
    assert await stream.read() == (b"abcdef" if name in PATIENT else b"ef")
    await cancelled(task)


@pytest.mark.parametrize("name", WAITING)
async def test_cancel_in_the_tick_of_the_wake_up(name: str) -> None:
    """O-01 to O-08: a read that is cancelled after its bytes came, before it ran, leaves them to the next."""
    stream = StreamReader()
    task = await begin(WAITING[name][1](stream))
    stream.feed_data(b"abcd\n")
    stream.feed_eof()
    await cancelled(task)
    assert await stream.read() == b"abcd\n"


@pytest.mark.parametrize("name", WAITING)
async def test_close_at_the_wait(name: str) -> None:
    """O-01 to O-08: a read that is closed instead of cancelled leaves the stream just as usable."""
    stream = StreamReader(asyncio.get_running_loop())
    coroutine = WAITING[name][1](stream).__await__()
    next(coroutine)
    coroutine.close()
    stream.feed_data(b"abcd\n")
    assert stream.read_nowait() == b"abcd\n"
