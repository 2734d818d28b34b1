"""`resp.content` of a compressed answer: it reads as any other body does, and fails where its coding is broken."""

import asyncio
import gzip

import pytest

from keepwarm.client.body import StreamReader
from keepwarm.client.decoded_body import DecodedStream
from keepwarm.client.decoding import Decoder
from keepwarm.client.decoding_error import ContentDecodingError
from keepwarm.client.errors import ClientPayloadError
from tests.support.codings import TEXT, Source, encode
from tests.support.stream_reader import PATIENT, WAITING, Read, begin, cancelled

pytestmark = pytest.mark.asyncio


def arrived(body: bytes, *codings: str) -> DecodedStream:
    """A body that has come whole."""
    raw = StreamReader()
    raw.feed_data(body)
    raw.feed_eof()
    return DecodedStream(raw, Decoder(codings or ("gzip",)))


# -- it is a stream reader --


async def test_each_way_to_read() -> None:
    """O-01 to O-08: one body, taken in every way."""
    source = Source()
    stream = source.stream
    assert isinstance(stream, StreamReader)
    source.feed(b"one\ntwo\nthree-four-five-six\nseven\n")
    source.end()
    assert await stream.read(0) == b""
    assert await stream.read(2) == b"on"
    assert await stream.readline() == b"e\n"
    assert await stream.readexactly(3) == b"two"
    assert stream.read_nowait(1) == b"\n"
    assert await anext(stream.iter_chunked(6)) == b"three-"
    stream.unread_data(b"THREE-")
    assert await stream.readexactly(10) == b"THREE-four"
    assert await anext(aiter(stream)) == b"-five-six\n"
    assert not stream.at_eof()
    assert await anext(stream.iter_any()) == b"seven\n"
    assert stream.at_eof()
    assert (await stream.read(), await stream.read(5), await stream.readany(), await stream.readline()) == (b"",) * 4
    assert stream.read_nowait() == b""
    assert [piece async for piece in stream.iter_any()] == []
    assert stream.total_bytes == 34
    with pytest.raises(asyncio.IncompleteReadError):
        await stream.readexactly(1)


@pytest.mark.parametrize("size", [1, 10, 1000, 100_000])
@pytest.mark.parametrize("codings", [("gzip",), ("br",), ("deflate", "zstd")])
async def test_the_same_lines_and_bytes(codings: tuple[str, ...], size: int) -> None:
    """O-01 to O-08: whatever pieces the body comes in, also when the reader is always ahead."""
    data = TEXT * 20
    body = encode(data, codings)

    async def feed(raw: StreamReader) -> None:
        for at in range(0, len(body), size):
            raw.feed_data(body[at : at + size])
            await asyncio.sleep(0)
        raw.feed_eof()

    async def read_lines(stream: StreamReader) -> bytes:
        return b"".join([line async for line in stream])

    async def read_exactly(stream: StreamReader) -> bytes:
        return await stream.readexactly(len(data))

    async def read_chunks(stream: StreamReader) -> bytes:
        return b"".join([chunk async for chunk in stream.iter_chunked(77)])

    for read in (StreamReader.read, read_lines, read_exactly, read_chunks):
        raw = StreamReader()
        feeding = asyncio.ensure_future(feed(raw))
        stream = DecodedStream(raw, Decoder(codings))
        assert await read(stream) == data
        assert await stream.read() == b""
        assert stream.at_eof() and stream.is_eof()
        await feeding


@pytest.mark.parametrize("name", WAITING)
async def test_a_read_waits_for_the_peer(name: str) -> None:
    """O-01 to O-08: it ends as soon as the decoded bytes suffice."""
    source = Source()
    source.feed(b"ab")
    if name not in PATIENT:
        await source.stream.readany()
    task = await begin(WAITING[name][1](source.stream))
    assert not task.done()
    source.feed(b"cde\n")
    if name == "read-all":
        source.end()
    got = await task
    if name != "read-all":
        source.end()
    assert isinstance(got, bytes) and got
    assert got + await source.stream.read() == (b"ab" if name in PATIENT else b"") + b"cde\n"


async def test_a_body_at_hand_needs_no_turn_of_the_loop() -> None:
    """A small compressed answer costs as few suspensions as a plain one: none."""
    with pytest.raises(StopIteration) as done:
        arrived(gzip.compress(TEXT)).read().send(None)
    assert done.value.value == TEXT


async def test_an_empty_body() -> None:
    """F45: no bytes at all are no error, whatever the coding."""
    stream = DecodedStream(StreamReader(), Decoder(("gzip", "br")))
    stream.feed_eof()
    assert stream.at_eof()
    assert await stream.read() == b""


async def test_the_ends() -> None:
    """O-09: is_eof() and wait_eof() are about what came, at_eof() about what is left to read."""
    source = Source()
    waiting = await begin(source.stream.wait_eof())
    source.feed(b"abc")
    assert (source.stream.is_eof(), source.stream.at_eof()) == (False, False)
    source.end()
    await waiting
    assert (source.stream.is_eof(), source.stream.at_eof()) == (True, False)
    assert await source.stream.read(3) == b"abc"
    assert source.stream.at_eof() or await source.stream.read(3) == b""
    assert source.stream.at_eof()


async def test_feeding_goes_to_the_source() -> None:
    """O-11: what is fed by hand is coded, what is put back is not."""
    source = Source()
    source.stream.feed_data(gzip.compress(b"body"))
    source.stream.feed_eof()
    with pytest.raises(AssertionError):
        source.stream.feed_data(b"more")
    assert source.stream.total_bytes == 0
    source.stream.unread_data(b"any")
    assert await source.stream.read() == b"anybody"
    assert repr(source.stream) == "<DecodedStream 0 of 4 bytes unread, eof>"


# -- readers --


@pytest.mark.parametrize("second", WAITING)
@pytest.mark.parametrize("first", WAITING)
async def test_two_readers(first: str, second: str) -> None:
    """O-13: a second reader gets a RuntimeError that names its method; the first is served as if alone."""
    source = Source()
    if first in PATIENT:
        source.feed(b"ab")
    alone = await begin(WAITING[first][1](source.stream))
    name, read = WAITING[second]
    with pytest.raises(RuntimeError, match=rf"^{name}\(\) called while another coroutine is already waiting"):
        await read(source.stream)
    with pytest.raises(RuntimeError, match=r"^read_nowait\(\)"):
        source.stream.read_nowait()
    with pytest.raises(RuntimeError, match=r"^unread_data\(\)"):
        source.stream.unread_data(b"x")
    source.feed(b"cde\n")
    with pytest.raises(RuntimeError, match=rf"^{name}\(\)"):
        await read(source.stream)  # the first was woken, and has not had its turn
    source.end()
    got = await alone
    assert isinstance(got, bytes)
    assert got + await source.stream.read() == (b"ab" if first in PATIENT else b"") + b"cde\n"


@pytest.mark.parametrize("name", WAITING)
async def test_cancel_at_the_wait(name: str) -> None:
    """O-01 to O-08: a read that is cancelled at its wait loses no byte, and the next read may start at once."""
    source = Source()
    if name in PATIENT:
        source.feed(b"ab")
    task = await begin(WAITING[name][1](source.stream))
    if name in PATIENT:
        source.feed(b"cd")
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    loop = asyncio.get_running_loop()
    loop.call_soon(source.feed, b"ef")
    loop.call_soon(source.end)
    # This read begins before the cancelled task has had its turn, and still waits when it has.
    assert await source.stream.read() == (b"abcdef" if name in PATIENT else b"ef")
    await cancelled(task)


async def test_the_next_reader_keeps_its_claim() -> None:
    """O-13: when a cancelled read has had its last turn, the reader that began after it is still alone."""
    source = Source()
    first = await begin(source.stream.read())
    first.cancel()
    second = asyncio.ensure_future(source.stream.readexactly(4))
    with pytest.raises(asyncio.CancelledError):
        await first
    await asyncio.sleep(0)
    source.feed(b"ab")
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match=r"^read\(\)"):
        await source.stream.read(1)
    source.feed(b"cd")
    assert await second == b"abcd"


async def test_a_late_clean_up_takes_nobody_elses_claim() -> None:
    """O-13: the same, when the next read begins before the cancelled one has had its turn."""
    source = Source()
    first = await begin(source.stream.read())
    first.cancel()
    coroutine = source.stream.readexactly(4).__await__()
    next(coroutine)
    with pytest.raises(asyncio.CancelledError):
        await first
    source.feed(b"ab")
    with pytest.raises(RuntimeError, match=r"^read\(\)"):
        await source.stream.read(1)
    coroutine.close()
    assert await source.stream.readany() == b"ab"


@pytest.mark.parametrize("name", WAITING)
async def test_cancel_in_the_tick_of_the_wake_up(name: str) -> None:
    """O-01 to O-08: a read that is cancelled after its bytes came, before it ran, leaves them to the next."""
    source = Source()
    task = await begin(WAITING[name][1](source.stream))
    source.feed(b"abcd\n")
    source.end()
    await cancelled(task)
    assert await source.stream.read() == b"abcd\n"


async def test_cancel_between_two_turns() -> None:
    """F47: a long read that gives way to others can be cancelled there, and nothing is lost."""
    data = bytes(range(256)) * 40_000
    stream = arrived(gzip.compress(data))
    task = await begin(stream.read())
    assert 0 < stream.buffered < len(data)
    with pytest.raises(RuntimeError, match=r"^readany\(\)"):
        await stream.readany()
    task.cancel()
    assert await stream.read() == data
    await cancelled(task)


async def test_a_reader_of_the_source_is_in_the_way() -> None:
    """O-13: two who read one body by two names are told so."""
    source = Source()
    task = await begin(source.raw.read())
    with pytest.raises(RuntimeError, match="another coroutine is already waiting"):
        await source.stream.read()
    source.raw.feed_eof()
    assert await task == b""


# -- failures --


@pytest.mark.fault("F45")
@pytest.mark.parametrize("name", WAITING)
async def test_a_broken_body_fails_every_read(name: str) -> None:
    """F45: the reader gets the error, the connection hears of it once, and it stays an error."""
    raw = StreamReader()
    errors: list[Exception] = []
    stream = DecodedStream(raw, Decoder(("gzip",)), on_error=errors.append)
    task = await begin(WAITING[name][1](stream))
    raw.feed_data(b"this is not gzip")
    with pytest.raises(ContentDecodingError) as caught:
        await task
    assert errors == [caught.value]
    assert stream.exception() is caught.value
    reads: list[Read] = [read for _, read in WAITING.values()]
    for read in reads:
        with pytest.raises(ContentDecodingError) as again:
            await read(stream)
        assert again.value is caught.value
    with pytest.raises(ContentDecodingError):
        stream.read_nowait()
    assert errors == [caught.value]


@pytest.mark.fault("F45")
@pytest.mark.parametrize("size", [1, 12, 40, 60])
@pytest.mark.parametrize("late", [False, True])
async def test_a_body_cut_short_is_never_whole(size: int, late: bool) -> None:
    """F45: whether its end is at hand or comes later, no read() of the rest returns."""
    raw = StreamReader()
    errors: list[Exception] = []
    stream = DecodedStream(raw, Decoder(("gzip",)), on_error=errors.append)
    raw.feed_data(gzip.compress(TEXT)[:size])
    if late:
        task = await begin(stream.read())
        raw.feed_eof()
        with pytest.raises(ContentDecodingError, match="cut short"):
            await task
    else:
        raw.feed_eof()
        with pytest.raises(ContentDecodingError, match="cut short"):
            while await stream.read(10):
                pass
    assert len(errors) == 1
    assert not stream.at_eof()


@pytest.mark.fault("F45")
async def test_looking_for_the_end_finds_that_it_is_missing() -> None:
    """F45: at_eof() of a body that was cut short is false, so that whoever loops on it comes to the error."""
    raw = StreamReader()
    stream = DecodedStream(raw, Decoder(("gzip",)))
    raw.feed_data(gzip.compress(b"abc")[:-1])
    assert await stream.readexactly(3) == b"abc"
    raw.feed_eof()
    assert not stream.at_eof()
    with pytest.raises(ContentDecodingError, match="cut short"):
        await stream.read(1)


@pytest.mark.fault("F45")
async def test_garbage_fails_the_whole_body() -> None:
    with pytest.raises(ContentDecodingError, match="something follows"):
        await arrived(gzip.compress(TEXT) + b"garbage").read()


@pytest.mark.parametrize("name", WAITING)
async def test_the_error_of_the_source_is_raised(name: str) -> None:
    """O-10: a connection that breaks fails the reader that waits, and all later ones; it is no decoding error."""
    source = Source()
    if name in PATIENT:
        source.feed(b"ab")
    task = await begin(WAITING[name][1](source.stream))
    error = ClientPayloadError("the connection ended in the middle of the body")
    source.raw.set_exception(error)
    with pytest.raises(ClientPayloadError) as caught:
        await task
    assert caught.value is error is source.stream.exception()
    with pytest.raises(ClientPayloadError):
        await source.stream.read(1)
    assert source.errors == []


async def test_set_exception_fails_both() -> None:
    """O-10: as in any stream, the reader that waits hears of it."""
    source = Source()
    task = await begin(source.stream.read())
    error = ValueError("enough")
    source.stream.set_exception(error)
    with pytest.raises(ValueError, match="enough"):
        await task
    assert source.raw.exception() is source.stream.exception() is error


async def test_set_exception_between_two_turns() -> None:
    stream = arrived(gzip.compress(bytes(8 << 20)))
    task = await begin(stream.read())
    stream.set_exception(ValueError("enough"))
    with pytest.raises(ValueError, match="enough"):
        await task
    assert stream.buffered == 0


async def test_cancel_wins_over_a_source_that_fails() -> None:
    """A task that was cancelled ends as cancelled, even if the connection broke in the same turn."""
    source = Source()
    task = await begin(source.stream.read())
    task.cancel()
    source.raw.set_exception(ClientPayloadError("gone"))
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ClientPayloadError, match="gone"):
        await source.stream.read()
