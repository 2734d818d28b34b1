"""`resp.content`: what is fed to it, and how it ends (rows O-09 to O-12 of the surface)."""

import asyncio
from collections.abc import Callable

import pytest

from keepwarm.client.body import (
    StreamReader,
)
from tests.support.stream_reader import WAITING, begin, cancelled, whole

pytestmark = pytest.mark.asyncio


async def test_eof_states() -> None:
    """O-09: is_eof() tells that feed_eof was called, at_eof() that nothing is left besides."""
    stream = StreamReader()
    stream.feed_data(b"ab")
    assert not stream.is_eof()
    assert await stream.read(2) == b"ab"
    assert not stream.at_eof()
    stream.feed_data(b"cd")
    stream.feed_eof()
    stream.feed_eof()
    assert stream.is_eof()
    assert not stream.at_eof()
    assert await stream.read(1) == b"c"
    assert not stream.at_eof()
    assert await stream.read(1) == b"d"
    assert stream.at_eof()


async def test_wait_eof() -> None:
    """O-09: wait_eof() returns at feed_eof, reads nothing, and may stand beside a reader."""
    stream = StreamReader()
    eof = await begin(stream.wait_eof())
    reader = await begin(stream.readany())
    stream.feed_data(b"ab")
    assert await reader == b"ab"
    stream.feed_data(b"cd")
    await asyncio.sleep(0)
    assert not eof.done()
    stream.feed_eof()
    await eof
    await stream.wait_eof()
    assert stream.read_nowait() == b"cd"


async def test_wait_eof_cancelled_or_twice() -> None:
    """O-09, O-13: a second wait_eof() is a RuntimeError that names it; cancelling the first makes room at once."""
    stream = StreamReader()
    stream.feed_data(b"ab")
    first = await begin(stream.wait_eof())
    with pytest.raises(RuntimeError, match=r"wait_eof\(\)"):
        await stream.wait_eof()
    first.cancel()
    asyncio.get_running_loop().call_soon(stream.feed_eof)
    await stream.wait_eof()  # begins before the cancelled task has had its turn
    await cancelled(first)
    assert await stream.read() == b"ab"


async def test_wait_eof_of_a_failed_body() -> None:
    """O-09, O-10: wait_eof() raises what the body failed with, before and during the wait."""
    stream = StreamReader()
    task = await begin(stream.wait_eof())
    stream.set_exception(ConnectionResetError("cut"))
    for waiting in (task, stream.wait_eof()):
        with pytest.raises(ConnectionResetError, match="cut"):
            await waiting


@pytest.mark.parametrize("name", WAITING)
async def test_exception_while_waiting(name: str) -> None:
    """O-10: set_exception() raises in the reader that waits."""
    stream = StreamReader()
    task = await begin(WAITING[name][1](stream))
    assert stream.exception() is None
    error = ConnectionResetError("cut")
    stream.set_exception(error)
    with pytest.raises(ConnectionResetError) as caught:
        await task
    assert caught.value is error
    assert stream.exception() is error


@pytest.mark.parametrize("name", WAITING)
async def test_exception_before_the_read(name: str) -> None:
    """O-10: every read after set_exception() raises, although bytes were buffered."""
    stream = StreamReader()
    stream.feed_data(b"abcdefgh\n")
    stream.set_exception(ConnectionResetError("cut"))
    for _ in range(2):
        with pytest.raises(ConnectionResetError, match="cut"):
            await WAITING[name][1](stream)
    with pytest.raises(ConnectionResetError, match="cut"):
        stream.read_nowait()


async def test_a_cut_body_is_never_a_whole_one() -> None:
    """O-10: read() raises when the body is cut after the first bytes, and an end that is fed later changes nothing."""
    stream = StreamReader()
    task = await begin(stream.read())
    stream.feed_data(b"half")
    stream.set_exception(ConnectionResetError("cut"))
    stream.feed_eof()
    for waiting in (task, stream.read(), stream.wait_eof()):
        with pytest.raises(ConnectionResetError, match="cut"):
            await waiting
    assert not stream.is_eof()
    assert not stream.at_eof()


async def test_a_failed_body_keeps_no_bytes() -> None:
    """O-10: what nobody can read is not kept; the first exception stays; bytes that come late are counted only."""
    stream = StreamReader()
    stream.feed_data(b"abc")
    first = ConnectionResetError("first")
    stream.set_exception(first)
    stream.set_exception(ValueError("second"))
    stream.feed_data(b"de")
    stream.unread_data(b"f")
    assert stream.exception() is first
    assert (stream.buffered, stream.total_bytes) == (0, 5)


async def test_exception_after_the_end() -> None:
    """O-10: a complete body can be failed too, as closing a response does."""
    stream = whole(b"ab")
    stream.set_exception(RuntimeError("closed"))
    with pytest.raises(RuntimeError, match="closed"):
        await stream.read()


async def test_set_exception_refuses_other_things() -> None:
    """O-10: only an exception can be set."""
    with pytest.raises(TypeError, match="exc must be an exception, got str"):
        StreamReader().set_exception("cut")  # type: ignore[arg-type]


async def test_feed_after_eof() -> None:
    """O-11: feed_data after feed_eof is an AssertionError, with or without bytes."""
    stream = whole(b"ab")
    for data in (b"c", b""):
        with pytest.raises(AssertionError, match="feed_data after feed_eof"):
            stream.feed_data(data)
    assert await stream.read() == b"ab"


@pytest.mark.parametrize("kind", [bytearray, memoryview])
async def test_changeable_pieces_are_copied(kind: Callable[[bytearray], bytearray]) -> None:
    """O-11: what is fed may be changed by the feeder afterwards."""
    source = bytearray(b"abc\n")
    stream = StreamReader()
    stream.feed_data(kind(source))
    stream.unread_data(kind(source))
    source[:] = b"xxxx"
    assert await stream.readline() == b"abc\n"
    assert type(await stream.readany()) is bytes


@pytest.mark.parametrize("junk", [5, "text", None])
async def test_feed_refuses_other_things(junk: object) -> None:
    """O-11: only bytes can be fed."""
    with pytest.raises(TypeError):
        StreamReader().feed_data(junk)  # type: ignore[arg-type]


async def test_empty_pieces_wake_nobody() -> None:
    """O-11: an empty piece is not the end of the body."""
    stream = StreamReader()
    task = await begin(stream.readany())
    stream.feed_data(b"")
    await asyncio.sleep(0)
    assert not task.done()
    stream.feed_data(b"a")
    assert await task == b"a"


async def test_unread_data() -> None:
    """O-11: unread_data() puts bytes in front, in the midst of a piece and after the end as well."""
    stream = whole(b"abcd", b"ef")
    assert await stream.read(2) == b"ab"
    stream.unread_data(b"")
    stream.unread_data(b"AB")
    assert await stream.read(3) == b"ABc"
    assert await stream.read() == b"def"
    assert stream.at_eof()
    stream.unread_data(b"ef")
    assert not stream.at_eof()
    assert await stream.read() == b"ef"


async def test_unread_data_beside_a_reader() -> None:
    """O-11: unread_data() is a RuntimeError while a read waits, and changes nothing."""
    stream = StreamReader()
    stream.feed_data(b"ab")
    task = await begin(stream.readexactly(4))
    with pytest.raises(RuntimeError, match=r"unread_data\(\)"):
        stream.unread_data(b"z")
    stream.feed_data(b"cd")
    assert await task == b"abcd"


async def test_total_bytes() -> None:
    """O-12: total_bytes counts what was fed; reading and unreading leave it alone."""
    stream = StreamReader()
    assert stream.total_bytes == 0
    stream.feed_data(b"abc")
    stream.feed_data(b"de", 2)
    assert await stream.read(4) == b"abcd"
    stream.unread_data(b"cd")
    assert (stream.total_bytes, stream.buffered) == (5, 3)
