"""Decompression bombs: what is held while they are read (F47), and that drained ones are left alone (F48)."""

import asyncio
import gzip
import random
import tracemalloc
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator

import pytest

from keepwarm.client.body import StreamReader
from keepwarm.client.decoded_body import DecodedStream
from keepwarm.client.decoding import WINDOW, Decoder, decode_small
from keepwarm.client.decoding_error import ContentDecodingError
from keepwarm.client.errors import ClientResponseError, TotalTimeoutError
from tests.support.codings import ENCODERS, decode_all, zeros
from tests.support.stream_reader import Valve, whole

pytestmark = pytest.mark.asyncio

MIB = 1 << 20
SIZE = 24 * MIB
# A part of it that is no window.
EXACT = 98_304
# The window decoded ahead, the two that zlib makes it from, the piece that the test holds, and the compressed one.
SLACK = 5 * WINDOW

Read = Callable[[StreamReader], Awaitable[bytes]]


class Peak:
    """The most memory that was held since `start`, in bytes."""

    def start(self) -> None:
        tracemalloc.start()
        tracemalloc.reset_peak()
        self._base = tracemalloc.get_traced_memory()[0]

    @property
    def size(self) -> int:
        return tracemalloc.get_traced_memory()[1] - self._base


@pytest.fixture
def peak() -> Iterator[Peak]:
    yield Peak()
    tracemalloc.stop()


def bomb(*codings: str, size: int = SIZE) -> bytes:
    body = zeros(size, codings[0])
    for coding in codings[1:]:
        body = ENCODERS[coding](body)
    return body


def arrived(body: bytes, *codings: str, max_size: int | None = None) -> DecodedStream:
    raw = StreamReader()
    raw.feed_data(body)
    raw.feed_eof()
    return DecodedStream(raw, Decoder(codings, max_size=max_size))


CHAINS = [("gzip",), ("deflate",), ("br",), ("zstd",), ("gzip", "gzip"), ("zstd", "br", "gzip")]


@pytest.mark.fault("F47")
@pytest.mark.parametrize("n", [1, 1000, 500_000])
@pytest.mark.parametrize("codings", CHAINS, ids="-".join)
async def test_read_holds_n_and_a_window(codings: tuple[str, ...], n: int, peak: Peak) -> None:
    """F47: read(n) never holds more than n bytes and one window for each coding."""
    stream = arrived(bomb(*codings), *codings)
    peak.start()
    total = len(await stream.read(n))
    for _ in range(20):
        total += len(await stream.read(n))
    assert 0 < total <= 21 * n
    assert stream.buffered <= WINDOW
    assert peak.size < n + SLACK * len(codings)


@pytest.mark.fault("F47")
@pytest.mark.parametrize("codings", CHAINS, ids="-".join)
async def test_a_bomb_can_be_streamed(codings: tuple[str, ...], peak: Peak) -> None:
    """F47: all of it goes by in a few windows of memory."""
    stream = arrived(bomb(*codings), *codings)
    peak.start()
    total = 0
    async for piece in stream.iter_any():
        total += len(piece)
    assert total == SIZE
    assert peak.size < SLACK * len(codings)


@pytest.mark.fault("F47")
@pytest.mark.parametrize(
    "read",
    [
        lambda stream: stream.readexactly(300_000),
        lambda stream: stream.readany(),
        lambda stream: anext(stream.iter_chunked(300_000)),
    ],
)
async def test_other_reads_hold_no_more(read: Read, peak: Peak) -> None:
    """F47: whichever way the bytes are taken. What is joined exists twice for a moment, as in any stream."""
    stream = arrived(bomb("gzip"), "gzip")
    peak.start()
    for _ in range(5):
        assert await read(stream)
        assert stream.buffered <= WINDOW
    assert peak.size < 2 * 300_000 + SLACK


@pytest.mark.fault("F47")
async def test_other_reads_that_stop_by_themselves(peak: Peak) -> None:
    """F47: a line that never ends is given up at its limit, and read_nowait() decodes one piece."""
    stream = arrived(bomb("gzip"), "gzip")
    peak.start()
    assert 0 < len(stream.read_nowait()) <= WINDOW
    assert stream.buffered == 0
    with pytest.raises(ValueError, match="Line is too long"):
        await stream.readline()
    assert stream.buffered <= 2 * WINDOW
    assert peak.size < SLACK + WINDOW


@pytest.mark.fault("F47")
@pytest.mark.parametrize("coding", ENCODERS)
async def test_the_cap_ends_a_whole_read(coding: str, peak: Peak) -> None:
    """F47: with a cap, read() of everything holds no more than that and a window, then fails, for good."""
    stream = arrived(bomb(coding), coding, max_size=2 * MIB)
    peak.start()
    with pytest.raises(ContentDecodingError, match="limit of 2097152 bytes"):
        await stream.read()
    assert peak.size < 2 * MIB + SLACK
    assert stream.buffered == 0
    with pytest.raises(ContentDecodingError):
        await stream.read(1)


@pytest.mark.fault("F47")
@pytest.mark.parametrize("coding", ENCODERS)
async def test_whole_bodies_hold_no_more(coding: str, peak: Peak) -> None:
    """F47: a decoder ends at its cap, decode_small() after 1 MiB."""
    body = bomb(coding)
    peak.start()
    with pytest.raises(ContentDecodingError):
        decode_all(body, (coding,), 2 * MIB)
    assert peak.size < 2 * MIB + SLACK
    tracemalloc.reset_peak()
    assert decode_small(body, (coding,)) is None
    assert peak.size < MIB + SLACK


@pytest.mark.fault("F47")
@pytest.mark.parametrize("coding", ENCODERS)
async def test_a_long_piece_is_not_copied_for_each_read(coding: str, peak: Peak) -> None:
    """F47: small reads from a large compressed piece leave its rest where it is."""
    decoder = Decoder((coding,))
    decoder.feed(ENCODERS[coding](random.Random(4).randbytes(4 * MIB)))
    peak.start()
    for _ in range(10):
        assert len(decoder.read(1000)) <= 1000
    assert peak.size < SLACK


async def turns_during(awaitable: Awaitable[object]) -> int:
    """How many turns somebody else had while this was awaited."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counter = asyncio.ensure_future(count())
    await asyncio.sleep(0)
    turns = 0
    try:
        await awaitable
    finally:
        counter.cancel()
    return turns


@pytest.mark.fault("F47")
@pytest.mark.parametrize("coding", ENCODERS)
async def test_the_loop_goes_on_while_a_bomb_is_read(coding: str) -> None:
    """F47: after each MiB everybody else has a turn, although all bytes are at hand."""
    assert await turns_during(arrived(bomb(coding), coding).read()) >= SIZE // MIB - 1


async def every(pieces: AsyncIterable[bytes]) -> None:
    async for _ in pieces:
        pass


async def until_empty(read: Callable[[], Awaitable[bytes]]) -> None:
    while await read():
        pass


# Whole bodies taken in parts, each of which is served at once.
IN_PARTS: dict[str, Callable[[StreamReader], Awaitable[object]]] = {
    "iter_any": lambda stream: every(stream.iter_any()),
    "iter_chunked": lambda stream: every(stream.iter_chunked(WINDOW)),
    "small chunks": lambda stream: every(stream.iter_chunked(1000)),
    "read": lambda stream: until_empty(lambda: stream.read(10_000)),
    "readany": lambda stream: until_empty(stream.readany),
    "readexactly": lambda stream: every(exactly(stream, SIZE // EXACT)),
}


async def exactly(stream: StreamReader, times: int) -> AsyncIterator[bytes]:
    for _ in range(times):
        yield await stream.readexactly(EXACT)


@pytest.mark.fault("F47")
@pytest.mark.parametrize("codings", [("gzip",), ("br",), ("zstd",), ("gzip", "gzip")], ids="-".join)
@pytest.mark.parametrize("how", IN_PARTS)
async def test_the_loop_goes_on_while_a_bomb_is_read_in_parts(how: str, codings: tuple[str, ...]) -> None:
    """F47: the same when no read has to wait, because each is served from what is at hand."""
    stream = arrived(bomb(*codings), *codings)
    assert await turns_during(IN_PARTS[how](stream)) >= SIZE // MIB - 2
    assert stream.total_bytes == SIZE


@pytest.mark.fault("F47")
async def test_the_loop_goes_on_while_lines_are_read() -> None:
    """F47: line by line as well."""
    data = b"a line\n" * (8 * MIB // 7)
    stream = arrived(gzip.compress(data, 1), "gzip")
    assert await turns_during(every(stream)) >= 6
    assert stream.total_bytes == len(data)


@pytest.mark.parametrize("coding", ["", "gzip"])
@pytest.mark.parametrize("how", ["lines", "readline", "readuntil"])
async def test_the_loop_goes_on_while_short_lines_are_read(how: str, coding: str) -> None:
    """One body has as many lines as bytes, and all are at hand: others have a turn after each 1024 of them."""
    data = b"\n" * 20_000
    stream = arrived(gzip.compress(data), "gzip") if coding else whole(data)
    read = {"lines": lambda: anext(aiter(stream), b""), "readline": stream.readline, "readuntil": stream.readuntil}[how]
    assert 18 <= await turns_during(until_empty(read)) <= 20
    assert await turns_during(every(whole(b"\n" * 1000))) == 0


@pytest.mark.fault("F47")
@pytest.mark.parametrize("how", IN_PARTS)
async def test_the_time_limit_is_looked_at_in_each_turn(how: str) -> None:
    """F47: what has come whole is still under the limit of its call, and fails for good when that has passed."""
    late = TotalTimeoutError("timeout.total has passed")
    answers = iter([None, None, late])
    raw = StreamReader()
    raw.feed_data(bomb("gzip"))
    raw.feed_eof()
    errors: list[Exception] = []
    stream = DecodedStream(raw, Decoder(("gzip",)), on_error=errors.append, overdue=lambda: next(answers))
    with pytest.raises(TotalTimeoutError) as caught:
        await IN_PARTS[how](stream)
    assert caught.value is late is stream.exception()
    assert 3 * MIB - 3 * WINDOW <= stream.total_bytes <= 3 * MIB
    assert (stream.buffered, errors) == (0, [])
    with pytest.raises(TotalTimeoutError):
        await stream.read(1)
    with pytest.raises(TotalTimeoutError):
        stream.read_nowait()


@pytest.mark.fault("F47")
async def test_reading_without_waiting_is_under_the_limit_too() -> None:
    """F47: read_nowait() cannot give others a turn, so it looks at the limit each time it decodes."""
    late = TotalTimeoutError("timeout.total has passed")
    answers = iter([None, late])
    raw = StreamReader()
    raw.feed_data(bomb("gzip"))
    stream = DecodedStream(raw, Decoder(("gzip",)), overdue=lambda: next(answers))
    assert stream.read_nowait() == bytes(WINDOW)
    with pytest.raises(TotalTimeoutError):
        stream.read_nowait()


@pytest.mark.fault("F47")
@pytest.mark.parametrize("how", IN_PARTS)
async def test_a_body_of_ordinary_size_pays_for_no_turn(how: str) -> None:
    """Below 1 MiB nobody is asked for the time, and no read waits."""
    raw = StreamReader()
    raw.feed_data(gzip.compress(bytes(9 * EXACT)))
    raw.feed_eof()
    asked: list[None] = []
    stream = DecodedStream(raw, Decoder(("gzip",)), overdue=lambda: asked.append(None))
    read = every(exactly(stream, 9)) if how == "readexactly" else IN_PARTS[how](stream)
    assert await turns_during(read) == 0
    assert (stream.total_bytes, asked) == (9 * EXACT, [])


@pytest.mark.fault("F47")
async def test_the_loop_goes_on_while_a_bomb_of_nothing_is_read(peak: Peak) -> None:
    """F47: a chain whose inner body is long and stands for nothing gives no bytes, and blocks nobody."""
    empty = gzip.compress(b"") * (MIB // 2 // 20)
    stream = arrived(gzip.compress(empty), "gzip", "gzip")
    peak.start()
    assert await turns_during(stream.read()) >= 300
    assert stream.total_bytes == 0 and stream.at_eof()
    assert peak.size < 2 * SLACK


@pytest.mark.fault("F47")
async def test_a_slow_reader_holds_the_peer_back() -> None:
    """F47, O-14: what is not decoded stays in the raw stream, which pauses the connection as ever."""
    valve = Valve()
    raw = StreamReader(low=100, high=200, pause=valve.pause, resume=valve.resume)
    body = gzip.compress(bytes(range(256)) * 40, compresslevel=0)
    stream = DecodedStream(raw, Decoder(("gzip",)))
    raw.feed_data(body[:1000])
    assert valve.calls == ["pause"] and stream.is_paused
    assert await stream.read(10) == bytes(range(10))
    assert valve.calls == ["pause", "resume"]
    raw.feed_data(body[1000:2000])
    assert stream.buffered
    assert await stream.read(10) == bytes(range(10, 20))
    # What is decoded is read first; until then the next piece stays where it is.
    assert valve.calls == ["pause", "resume", "pause"] and raw.buffered == 1000


# -- draining (F48) --


class CountingDecoder(Decoder):
    """Says how often it was asked to decode."""

    __slots__ = ("reads",)

    def __init__(self) -> None:
        super().__init__(("gzip",))
        self.reads = 0

    def read(self, n: int = WINDOW) -> bytes:
        self.reads += 1
        return super().read(n)


@pytest.mark.fault("F48")
async def test_a_drained_bomb_is_never_decompressed() -> None:
    """F48: releasing drops the raw stream; nothing is decoded then, nor by a read that comes too late."""
    released = ClientResponseError("the response was released")
    raw = StreamReader()
    decoder = CountingDecoder()
    errors: list[Exception] = []
    stream = DecodedStream(raw, decoder, on_error=errors.append)
    body = bomb("gzip")
    raw.feed_data(body[:10_000])
    raw.set_exception(released)
    raw.feed_data(body[10_000:])
    reads: list[Read] = [
        StreamReader.read,
        StreamReader.readany,
        StreamReader.readline,
        lambda stream: stream.read(9),
        lambda stream: anext(stream.iter_any()),
    ]
    for read in reads:
        with pytest.raises(ClientResponseError, match="was released"):
            await read(stream)
    with pytest.raises(ClientResponseError, match="was released"):
        stream.read_nowait()
    assert stream.exception() is released
    assert (decoder.reads, decoder.total, raw.buffered) == (0, 0, 0)
    assert errors == []


@pytest.mark.fault("F48")
async def test_what_is_left_of_a_bomb_is_not_decompressed_either() -> None:
    """F48: a body that was read in part is decoded no further once it is released."""
    raw = StreamReader()
    decoder = CountingDecoder()
    stream = DecodedStream(raw, decoder)
    raw.feed_data(bomb("gzip"))
    assert await stream.read(100) == bytes(100)
    reads, total = decoder.reads, decoder.total
    raw.set_exception(ClientResponseError("the response was released"))
    while stream.buffered:
        stream.read_nowait(1000)
    with pytest.raises(ClientResponseError):
        await stream.read()
    assert (decoder.reads, decoder.total) == (reads, total)
