"""Section O: the body as a stream, and the queues."""

import asyncio
from typing import Any

import pytest

import keepwarm
from keepwarm import (
    ChunksQueue,
    DataQueue,
    EmptyStreamReader,
    EofStream,
    FlowControlChunksQueue,
    FlowControlDataQueue,
    FlowControlStreamReader,
    StreamReader,
)
from keepwarm.client import body as streams
from keepwarm.client import queues
from tests.support.dialing import until
from tests.support.http1 import response
from tests.surface.calls import calling, with_answer

pytestmark = pytest.mark.asyncio


def stream(*pieces: bytes, eof: bool = True) -> StreamReader:
    """A stream that holds these pieces."""
    made = StreamReader()
    for piece in pieces:
        made.feed_data(piece)
    if eof:
        made.feed_eof()
    return made


async def test_o_01_read() -> None:
    """Up to n bytes; everything without n; b'' at the end and for 0."""
    body = stream(b"abc", b"def")
    assert await body.read(0) == b""
    assert await body.read(2) == b"ab"
    assert await body.read(n=2) in (b"c", b"cd")
    assert (await body.read()).endswith(b"ef")
    assert await body.read() == await body.read(5) == b""


async def test_o_02_readany() -> None:
    """Whatever is there; b'' at the end."""
    body = stream(b"abc", b"def")
    assert await body.readany() == b"abcdef"
    assert await body.readany() == b""


async def test_o_03_readexactly() -> None:
    """All of it or IncompleteReadError with what there was."""
    body = stream(b"abc", b"def")
    assert await body.readexactly(4) == b"abcd"
    with pytest.raises(asyncio.IncompleteReadError) as caught:
        await body.readexactly(4)
    assert (caught.value.partial, caught.value.expected) == (b"ef", 4)


async def test_o_04_readline() -> None:
    """With its newline; the rest at the end; a line above 64 KiB is an error."""
    body = stream(b"one\ntw", b"o\nrest")
    assert [await body.readline() for _ in range(4)] == [b"one\n", b"two\n", b"rest", b""]
    with pytest.raises(ValueError, match="Line is too long"):
        await stream(b"x" * 65537).readline()


async def test_o_05_read_nowait() -> None:
    """What is buffered; RuntimeError while a reader waits."""
    body = stream(b"abcdef", eof=False)
    assert (body.read_nowait(2), body.read_nowait(), body.read_nowait()) == (b"ab", b"cdef", b"")
    waiting = asyncio.ensure_future(body.read(1))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="read_nowait"):
        body.read_nowait()
    body.feed_data(b"x")
    assert await waiting == b"x"


async def test_o_06_iter_chunked() -> None:
    """Up to n bytes a step."""
    found = [piece async for piece in stream(b"abcde", b"fg").iter_chunked(3)]
    assert b"".join(found) == b"abcdefg" and max(map(len, found)) <= 3


async def test_o_07_iter_any() -> None:
    """As it arrives."""
    assert b"".join([piece async for piece in stream(b"ab", b"c").iter_any()]) == b"abc"


async def test_o_08_lines() -> None:
    """`async for` gives the lines."""
    assert [line async for line in stream(b"one\ntwo", b"\nrest")] == [b"one\n", b"two\n", b"rest"]


async def test_o_09_the_end() -> None:
    """is_eof: fed; at_eof: fed and read; wait_eof waits for it."""
    body = stream(b"abc", eof=False)
    assert (body.is_eof(), body.at_eof()) == (False, False)
    waiting = asyncio.ensure_future(body.wait_eof())
    await asyncio.sleep(0)
    assert not waiting.done()
    body.feed_eof()
    await waiting
    assert (body.is_eof(), body.at_eof()) == (True, False)
    await body.read()
    assert body.at_eof()


async def test_o_10_exception() -> None:
    """The next read raises it, and so does one that waits."""
    body = stream(eof=False)
    assert body.exception() is None
    waiting = asyncio.ensure_future(body.read())
    await asyncio.sleep(0)
    error = ZeroDivisionError()
    body.set_exception(error)
    assert body.exception() is error
    for read in (waiting, body.read(), body.readline()):
        with pytest.raises(ZeroDivisionError):
            await read


async def test_o_11_feeding() -> None:
    """unread_data puts bytes in front; nothing may be fed after the end."""
    body = stream(b"def", eof=False)
    body.unread_data(b"abc")
    body.feed_eof()
    assert await body.read() == b"abcdef"
    with pytest.raises(AssertionError):
        body.feed_data(b"x")


async def test_o_12_total_bytes() -> None:
    """What was fed, read or not."""
    body = stream(b"abc", b"de")
    await body.read(2)
    assert body.total_bytes == 5


@pytest.mark.parametrize("name", ["read", "readany", "readline", "readexactly"])
async def test_o_13_one_reader_at_a_time(name: str) -> None:
    """The second one gets a RuntimeError that names the method."""
    body = stream(eof=False)
    first = asyncio.ensure_future(body.read(1))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match=name):
        await getattr(body, name)(*((1,) if name == "readexactly" else ()))
    body.feed_data(b"x")
    assert await first == b"x"


async def test_o_14_flow_control() -> None:
    """Paused above 128 KiB, resumed below 64."""
    calls: list[str] = []
    body = FlowControlStreamReader(pause=lambda: calls.append("pause"), resume=lambda: calls.append("resume"))
    assert isinstance(body, StreamReader)
    body.feed_data(b"x" * 131072)
    assert calls == []
    body.feed_data(b"x")
    assert calls == ["pause"]
    await body.read(65536)
    assert calls == ["pause"]
    await body.read(1)
    assert calls == ["pause", "resume"]


async def test_o_14_a_response_is_flow_controlled() -> None:
    """A body that nobody reads stops at the peer."""
    answer = response(body=b"x" * 5_000_000)
    async with calling(with_answer(answer)) as (session, server), session.get(server.url()) as resp:
        assert isinstance(resp.content, FlowControlStreamReader)
        await until(lambda: resp.content.is_paused)
        assert resp.content.total_bytes < 2_000_000
        assert len(await resp.read()) == 5_000_000


async def test_o_15_empty_stream_reader() -> None:
    """Always at its end."""
    body = EmptyStreamReader()
    assert body.at_eof() and body.is_eof()
    assert await body.read() == await body.readany() == await body.readline() == b""
    await body.wait_eof()


@pytest.mark.parametrize("make", [DataQueue, ChunksQueue, FlowControlDataQueue, FlowControlChunksQueue])
async def test_o_16_queues(make: Any) -> None:
    """Items in order; at the end DataQueue raises EofStream, the Chunks kinds give b''."""
    queue = make()
    for item in (b"a", b"b"):
        queue.feed_data(item, len(item))
    queue.feed_eof()
    assert [await queue.read(), await queue.read()] == [b"a", b"b"]
    assert queue.at_eof()
    if "Chunks" in make.__name__:
        assert await queue.read() == b""
    else:
        with pytest.raises(EofStream):
            await queue.read()


def test_o_17_eof_markers() -> None:
    """b'' in streams; in protocol an object that equals no data."""
    assert streams.EOF_MARKER == b""
    assert keepwarm.protocol.EOF_MARKER is queues.PROTOCOL_EOF_MARKER
    assert keepwarm.protocol.EOF_MARKER != b""


def test_o_18_default_limit() -> None:
    """65536 bytes."""
    assert streams.DEFAULT_LIMIT == 65536
