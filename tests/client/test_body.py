"""`resp.content`: the ways to read it (rows O-01 to O-08, O-15, O-17, O-18 of the surface)."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from keepwarm.client.body import (
    DEFAULT_LIMIT,
    EOF_MARKER,
    FlowControlStreamReader,
    StreamReader,
)
from keepwarm.client.empty_body import EMPTY_PAYLOAD, EmptyStreamReader
from tests.support.stream_reader import PATIENT, WAITING, begin, cancelled, valved, whole

pytestmark = pytest.mark.asyncio


async def test_read_all() -> None:
    """O-01: read() gives the whole body, then b''."""
    stream = whole(b"ab", b"cd", b"e")
    assert await stream.read() == b"abcde"
    assert await stream.read() == b""


async def test_read_all_wakes_once() -> None:
    """O-01: read() waits through any number of pieces and is woken at the end only."""
    stream = StreamReader()
    task = await begin(stream.read())
    for _ in range(5):
        stream.feed_data(b"abc")
        await asyncio.sleep(0)
        assert not task.done()
        assert stream.buffered == stream.total_bytes
    stream.feed_eof()
    assert await task == b"abc" * 5


async def test_read_n() -> None:
    """O-01: read(n) gives up to n bytes across pieces, does not wait for n, and gives b'' at the end and for n=0."""
    stream = StreamReader()
    assert await stream.read(0) == b""
    stream.feed_data(b"abcd")
    stream.feed_data(b"efgh")
    stream.feed_data(b"ij")
    assert await stream.read(0) == b""
    assert [await stream.read(n) for n in (2, 4, 3)] == [b"ab", b"cdef", b"ghi"]
    assert await stream.read(100) == b"j"
    task = await begin(stream.read(100))
    stream.feed_data(b"k")
    assert await task == b"k"
    stream.feed_eof()
    assert await stream.read(3) == b""


@pytest.mark.parametrize("method", ["read", "readexactly", "read_nowait"])
async def test_a_count_that_is_no_whole_number_takes_nothing(method: str) -> None:
    """As from a division: the bytes are all there for the next read."""
    stream = StreamReader()
    for piece in (b"abc", b"def", b"ghi"):
        stream.feed_data(piece)
    stream.feed_eof()
    with pytest.raises(TypeError, match="float"):
        taken: Any = getattr(stream, method)(9 / 2)
        await taken
    assert stream.buffered == 9 and not stream.at_eof()
    assert [await stream.read(4), await stream.read()] == [b"abcd", b"efghi"]


async def test_one_piece_is_not_copied() -> None:
    """O-01, O-02, O-07: a body of one piece comes out as the object that was fed."""
    piece = bytes(100_000)
    assert await whole(piece).read() is piece
    assert await whole(piece).readany() is piece
    assert await whole(piece).read(len(piece)) is piece
    assert await anext(whole(piece).iter_any()) is piece


async def test_readany() -> None:
    """O-02: readany() gives what is buffered, waits only if that is nothing, and gives b'' at the end."""
    stream = StreamReader()
    stream.feed_data(b"ab")
    stream.feed_data(b"cd")
    assert await stream.read(1) == b"a"
    assert await stream.readany() == b"bcd"
    task = await begin(stream.readany())
    assert not task.done()
    stream.feed_data(b"ef")
    assert await task == b"ef"
    stream.feed_eof()
    assert await stream.readany() == b""


async def test_readexactly() -> None:
    """O-03: readexactly(n) waits for n bytes and leaves the rest."""
    stream = StreamReader()
    stream.feed_data(b"ab")
    task = await begin(stream.readexactly(5))
    stream.feed_data(b"cd")
    await asyncio.sleep(0)
    assert not task.done()
    stream.feed_data(b"efg")
    assert await task == b"abcde"
    assert await stream.readexactly(2) == b"fg"
    assert await stream.readexactly(0) == b""


@pytest.mark.parametrize("early", [True, False], ids=["end before", "end while waiting"])
async def test_readexactly_of_a_short_body(early: bool) -> None:
    """O-03: a body that ends before n raises IncompleteReadError with partial and expected; the rest is read by it."""
    stream = StreamReader()
    stream.feed_data(b"ab")
    if early:
        stream.feed_eof()
    task = await begin(stream.readexactly(5))
    if not early:
        stream.feed_eof()
    with pytest.raises(asyncio.IncompleteReadError) as caught:
        await task
    assert (caught.value.partial, caught.value.expected) == (b"ab", 5)
    assert stream.at_eof()


async def test_readexactly_refuses_a_negative_count() -> None:
    """O-03: n below zero is a ValueError that names n."""
    with pytest.raises(ValueError, match="n must not be negative"):
        await StreamReader().readexactly(-1)


async def test_readline() -> None:
    """O-04: readline() gives lines across pieces, and what is left at the end without its newline."""
    stream = StreamReader()
    stream.feed_data(b"one\ntw")
    assert await stream.readline() == b"one\n"
    task = await begin(stream.readline())
    stream.feed_data(b"o")
    await asyncio.sleep(0)
    assert not task.done()
    stream.feed_data(b"\n\nthr")
    assert await task == b"two\n"
    assert await stream.readline() == b"\n"
    task = await begin(stream.readline())
    stream.feed_eof()
    assert await task == b"thr"
    assert await stream.readline() == b""


@pytest.mark.parametrize("piece", [1000, 4096, 65_535, 200_000])
async def test_readline_takes_a_line_at_the_limit(piece: int) -> None:
    """O-04: a line of exactly 64 KiB, newline included, is not too long, however it is cut."""
    line = b"x" * (DEFAULT_LIMIT - 1) + b"\n"
    data = line + b"y" * 300
    stream = whole(*(data[i : i + piece] for i in range(0, len(data), piece)))
    assert await stream.readline() == line


@pytest.mark.parametrize("piece", [1000, 4096, 65_536, 200_000])
@pytest.mark.parametrize("waits", [True, False], ids=["waiting", "buffered"])
async def test_readline_refuses_a_longer_line(piece: int, waits: bool) -> None:
    """O-04: one byte more is ValueError 'Line is too long', and no byte of it is lost."""
    data = b"x" * DEFAULT_LIMIT + b"\nrest"
    stream = StreamReader()
    task = await begin(stream.readline()) if waits else None
    for i in range(0, len(data), piece):
        stream.feed_data(data[i : i + piece])
    with pytest.raises(ValueError, match="Line is too long"):
        await (task or stream.readline())
    stream.feed_eof()
    assert await stream.read() == data


async def test_readline_refuses_a_long_rest() -> None:
    """O-04: the limit holds for a last line without newline too."""
    with pytest.raises(ValueError, match="Line is too long"):
        await whole(b"x" * (DEFAULT_LIMIT + 1)).readline()
    assert await whole(b"x" * DEFAULT_LIMIT).readline() == b"x" * DEFAULT_LIMIT


async def test_readline_waits_at_the_limit() -> None:
    """O-04: 64 KiB without a newline may still be a whole last line."""
    line = b"x" * DEFAULT_LIMIT
    stream = StreamReader()
    stream.feed_data(line)
    task = await begin(stream.readline())
    assert not task.done()
    stream.feed_eof()
    assert await task == line


async def test_read_nowait() -> None:
    """O-05: read_nowait() gives what is buffered, at most n bytes, and never waits."""
    stream = StreamReader()
    assert stream.read_nowait() == b""
    stream.feed_data(b"abcd")
    stream.feed_data(b"efgh")
    assert stream.read_nowait(3) == b"abc"
    assert stream.read_nowait(0) == b""
    assert stream.read_nowait() == b"defgh"
    stream.feed_data(b"x")
    assert stream.read_nowait(-1) == b"x"


@pytest.mark.parametrize("name", PATIENT)
async def test_read_nowait_beside_a_reader(name: str) -> None:
    """O-05: read_nowait() is a RuntimeError while a reader waits, even with bytes in the buffer."""
    stream = StreamReader()
    stream.feed_data(b"ab")
    task = await begin(WAITING[name][1](stream))
    with pytest.raises(RuntimeError, match=r"read_nowait\(\)"):
        stream.read_nowait()
    await cancelled(task)
    assert stream.read_nowait() == b"ab"


async def test_iter_chunked() -> None:
    """O-06: iter_chunked(n) gives up to n bytes per step and ends with the body."""
    stream = whole(b"abcde", b"f", b"ghijk")
    assert [piece async for piece in stream.iter_chunked(4)] == [b"abcd", b"efgh", b"ijk"]
    assert [piece async for piece in stream.iter_chunked(4)] == []
    task = await begin(anext((waiting := StreamReader()).iter_chunked(4)))
    waiting.feed_data(b"z")
    assert await task == b"z"


@pytest.mark.parametrize("n", [0, -1])
async def test_iter_chunked_refuses_no_size(n: int) -> None:
    """O-06: a size below one is refused at the call, not at the first step."""
    with pytest.raises(ValueError, match="n must be positive"):
        StreamReader().iter_chunked(n)


async def test_iter_any() -> None:
    """O-07: iter_any() gives the pieces as they came."""
    stream = whole(b"abc", b"d", b"ef")
    assert await stream.read(1) == b"a"
    assert [piece async for piece in stream.iter_any()] == [b"bc", b"d", b"ef"]
    assert [piece async for piece in stream.iter_any()] == []
    stream = whole(b"abc", b"d", b"ef")
    assert await stream.read(3) == b"abc"
    assert [piece async for piece in stream.iter_any()] == [b"d", b"ef"]


async def test_lines() -> None:
    """O-08: `async for line in content` gives the lines."""
    assert [line async for line in whole(b"a\nb", b"b\n\nc")] == [b"a\n", b"bb\n", b"\n", b"c"]


@pytest.mark.parametrize("late", [False, True], ids=["at-hand", "late"])
@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b"--b--", b"aab"])
async def test_readuntil_wherever_the_body_is_cut(separator: bytes, late: bool) -> None:
    """A separator is found as in the whole body, however it was cut up: in two places, and into single bytes."""
    body = b"aa" + separator + b"-a" + separator + separator + b"--b-\r-aa rest"
    parts = body.split(separator)
    expected = [part + separator for part in parts[:-1]] + [parts[-1], b""]
    places = [(first, second) for first in range(len(body)) for second in range(first, len(body))]
    for cuts in (*places, tuple(range(1, len(body)))):
        pieces = [body[start:end] for start, end in pairwise((0, *cuts, len(body)))]
        stream = StreamReader() if late else whole(*pieces)
        if late:
            loop = asyncio.get_running_loop()
            for piece in pieces:
                loop.call_soon(stream.feed_data, piece)
            loop.call_soon(stream.feed_eof)
        assert [await stream.readuntil(separator) for _ in expected] == expected


async def test_readuntil_is_woken_by_the_separator_alone() -> None:
    """One wake-up, however many pieces come before, and none for the end of one that began in what was read."""
    stream = StreamReader()
    stream.feed_data(b"x-")
    assert await stream.read(2) == b"x-"
    task = await begin(stream.readuntil(b"--"))
    for piece in (b"-", b"a", b"-", b"b"):
        stream.feed_data(piece)
        await asyncio.sleep(0)
        assert not task.done()
    for piece in (b"-", b"-rest"):
        stream.feed_data(piece)
    assert await task == b"-a-b--"
    assert stream.read_nowait() == b"rest"


async def test_readuntil_has_a_limit() -> None:
    """It is that of a line, the separator included; the bytes stay."""
    longest = b"x" * 65534 + b"--"
    assert await whole(longest, b"y").readuntil(b"--") == longest
    for pieces in ((b"x" + longest,), (b"x" + longest[:-1], b"-"), (b"x" * 65530, b"x" * 20)):
        stream = whole(*pieces, b"more")
        with pytest.raises(ValueError, match=r"^Line is too long: no -- in the next 65536 bytes"):
            await stream.readuntil(b"--")
        assert len(await stream.read()) == sum(map(len, pieces)) + 4


@pytest.mark.parametrize(("separator", "error"), [(b"", ValueError), ("\n", TypeError), (None, TypeError)])
async def test_readuntil_refuses_what_is_no_separator(separator: Any, error: type[Exception]) -> None:
    """Before it reads."""
    stream = whole(b"abc")
    with pytest.raises(error, match="separator must"):
        await stream.readuntil(separator)
    assert await stream.read() == b"abc"


@pytest.mark.parametrize("stream", [EMPTY_PAYLOAD, EmptyStreamReader()], ids=["shared", "own"])
async def test_empty_stream(stream: EmptyStreamReader) -> None:
    """O-15: an empty body is always at its end, whatever is done to it."""
    stream.feed_data(b"ab")
    stream.unread_data(b"ab")
    stream.feed_eof()
    stream.set_exception(ValueError("x"))
    assert isinstance(stream, StreamReader)
    assert stream.exception() is None
    assert stream.is_eof()
    assert stream.at_eof()
    await stream.wait_eof()
    assert [await stream.read(), await stream.read(5), await stream.readany(), await stream.readline()] == [b""] * 4
    assert stream.read_nowait() == b""
    assert [x async for x in stream] + [x async for x in stream.iter_any()] == []
    assert [x async for x in stream.iter_chunked(3)] == []
    with pytest.raises(asyncio.IncompleteReadError):
        await stream.readexactly(1)
    assert stream.total_bytes == 0


async def test_module_defaults() -> None:
    """O-17, O-18: the marks of the module."""
    assert DEFAULT_LIMIT == 65536
    assert EOF_MARKER == b""
    assert FlowControlStreamReader is StreamReader


async def test_repr() -> None:
    """The state shows in the repr, the bytes of the peer do not."""
    stream, _ = valved()
    stream.feed_data(b"\x00secret\x00\x00")
    assert repr(stream) == "<StreamReader 9 of 9 bytes unread, paused>"
    stream.feed_eof()
    stream.set_exception(ValueError())
    assert repr(stream) == "<StreamReader 0 of 9 bytes unread, eof, failed: ValueError>"
