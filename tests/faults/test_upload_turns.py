"""Request bodies whose source never waits: the rest of the loop goes on, time limits included."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from keepwarm.client.errors import TotalTimeoutError
from keepwarm.client.timeout import ClientTimeout
from tests.support.calling import Conserved, serve, session
from tests.support.server import Peer, answer_all

pytestmark = [pytest.mark.asyncio, pytest.mark.fault("R11")]

PIECES = 500
# A turn of the upload is 256 KiB or sixteen pieces, whichever comes first.
TURN_BYTES = 262144
TURN_PIECES = 16


class Hasty:
    """A source that never waits, and a ticker beside it: what was taken of the one between two turns of the other."""

    def __init__(self, piece: bytes, count: int = PIECES) -> None:
        self._piece = piece
        self._count = count
        self._since = 0
        self.worst = 0

    def plain(self) -> Iterator[bytes]:
        for _ in range(self._count):
            self._since += 1
            self.worst = max(self.worst, self._since)
            yield self._piece

    async def asynchronous(self) -> AsyncIterator[bytes]:
        for piece in self.plain():
            yield piece

    async def tick(self) -> None:
        while True:
            self._since = 0
            await asyncio.sleep(0)


@pytest.mark.parametrize("kind", ["plain", "asynchronous"])
@pytest.mark.parametrize("size", [0, 1, 1024, 30_000, 65536])
@pytest.mark.parametrize("compress", [None, "gzip"])
async def test_everybody_else_has_a_turn_between_the_pieces(kind: str, size: int, compress: str | None) -> None:
    """However small the pieces and however fast the peer, a turn of the loop takes a few pieces only."""
    hasty = Hasty(b"x" * size)
    data: Any = getattr(hasty, kind)()
    async with serve() as server, session() as calls:
        watch = Conserved(calls, server)
        ticker = asyncio.create_task(hasty.tick())
        async with calls.post(server.url("/x"), data=data, compress=compress) as got:
            assert got.status == 200
            await got.read()
        ticker.cancel()
        # The ticker and the upload may take their turns in either order.
        assert hasty.worst <= 2 * min(TURN_PIECES, TURN_BYTES // max(size, 1) + 1)
        if compress is None:
            assert len(server.requests[0].body) == PIECES * size
        await watch.settled()


async def test_a_body_in_memory_in_tiny_chunks_lets_the_others_in() -> None:
    """`chunked=1` makes a write of every byte."""
    turns = 0

    async def tick() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with serve() as server, session() as calls:
        ticker = asyncio.create_task(tick())
        async with calls.post(server.url("/x"), data=b"x" * 8000, chunked=1) as got:
            await got.read()
        ticker.cancel()
        assert turns >= 8000 // TURN_PIECES


async def sink(peer: Peer) -> None:
    await peer.head()
    await peer.until_closed()


@pytest.mark.parametrize("kind", ["plain", "asynchronous"])
@pytest.mark.parametrize("piece", [b"", b"x"], ids=["empty", "one byte"])
async def test_a_body_without_end_is_ended_by_the_time_limit(kind: str, piece: bytes) -> None:
    """The peer reads all there is and never answers; the source never waits."""
    hasty = Hasty(piece, 10**9)
    data: Any = getattr(hasty, kind)()
    async with serve(sink, answer_all) as server, session() as calls:
        watch = Conserved(calls, server)
        with pytest.raises(TotalTimeoutError) as caught:
            await calls.post(server.url("/x"), data=data, timeout=ClientTimeout(total=0.1))
        assert caught.value.phase == "send"
        await watch.settled(idle=0)
        await watch.healthy()
