"""`resp.content`: many short reads, each served at once, leave the others their turns."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from keepwarm.client.body import READS, StreamReader
from keepwarm.client.decoded_body import DecodedStream
from keepwarm.client.decoding import Decoder

pytestmark = pytest.mark.asyncio

SIZE = 20 * READS
BODY = b"a\n" * (SIZE // 2)


def plain() -> StreamReader:
    stream = StreamReader()
    stream.feed_data(BODY)
    stream.feed_eof()
    return stream


def coded() -> StreamReader:
    stream = DecodedStream(StreamReader(), Decoder(["gzip"]))
    stream.feed_data(zlib.compress(BODY, wbits=31))
    stream.feed_eof()
    return stream


@pytest.mark.parametrize("make", [plain, coded])
@pytest.mark.parametrize(
    "read",
    [
        partial(StreamReader.read, n=2),
        partial(StreamReader.readexactly, n=2),
        StreamReader.readline,
        partial(StreamReader.readuntil, separator=b"\n"),
    ],
    ids=["read", "readexactly", "readline", "readuntil"],
)
async def test_short_reads_of_what_is_at_hand(
    make: Callable[[], StreamReader], read: Callable[[StreamReader], Awaitable[bytes]]
) -> None:
    """A buffer holds half a million of them: without turns they would hold the loop for half a second."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    stream = make()
    for _ in range(SIZE // 2):
        assert await read(stream) == b"a\n"
    beside.cancel()
    assert stream.at_eof()
    assert 9 <= turns <= 20


@pytest.mark.parametrize("make", [plain, coded])
async def test_pieces_of_a_body_that_is_at_hand(make: Callable[[], StreamReader]) -> None:
    """The same for `iter_chunked`."""
    seen = []
    pieces = 0
    asyncio.get_running_loop().call_soon(lambda: seen.append(pieces))
    async for _ in make().iter_chunked(1):
        pieces += 1
    assert pieces == SIZE and seen[0] <= READS
