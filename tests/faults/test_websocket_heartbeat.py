"""The heartbeat while messages are sent: progress is a sign of life, what the kernel swallows is none (FAULTS W26)."""

import asyncio

import pytest

from keepwarm.pool.errors import ClientTimeoutError
from tests.support.fakes import FakeClock
from tests.support.leaks import turns
from tests.support.server import Peer
from tests.support.ws_peer import KINDS, agree, opened, stop_the_clock

pytestmark = pytest.mark.asyncio


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    return stop_the_clock(monkeypatch)


@KINDS
@pytest.mark.fault("W26")
async def test_a_sender_who_is_faster_than_the_peer(kind: str, clock: FakeClock) -> None:
    """The peer takes less than is written meanwhile, so ever more waits: it is alive as long as it takes anything."""
    step = asyncio.Event()

    async def script(peer: Peer) -> None:
        await agree(peer)
        peer.pause()
        while not peer.closed:
            await step.wait()
            step.clear()
            before = peer.bytes_received
            peer.resume()
            await peer.changes.until(lambda before=before: peer.bytes_received > before + 1_000_000 or peer.closed)
            peer.pause()

    async with opened(script, kind=kind, heartbeat=10, server={"rcvbuf": 4096}) as o:
        o.ws.send_bytes(bytes(20_000_000))
        unsent = o.channel.count_unsent
        assert unsent is not None
        at_the_last_look = 0
        for _ in range(6):
            before = unsent()
            step.set()
            while unsent() >= before:
                await turns(1)
            # What TLS has encrypted is out of sight, but for the fast one.
            while unsent() <= at_the_last_look and kind != "tls":
                o.ws.send_bytes(bytes(100_000))
            at_the_last_look = unsent()
            clock.advance(6)
            assert not o.ws.closed
        clock.advance(10)
        clock.advance(15)
        assert isinstance(o.ws.exception(), ClientTimeoutError)


@KINDS
@pytest.mark.parametrize("before", [0, 1_000_000, 20_000_000])
@pytest.mark.fault("W26")
async def test_sending_to_a_dead_peer(kind: str, before: int, clock: FakeClock) -> None:
    """Messages that go no further than our own buffers do not make it look alive, whichever of them are full."""

    async def script(peer: Peer) -> None:
        await agree(peer)
        peer.pause()
        await peer.stall()

    async with opened(script, kind=kind, heartbeat=10, server={"rcvbuf": 4096}) as o:
        o.ws.send_bytes(bytes(before))
        await turns(100)
        clock.advance(9.9)
        await turns(2)
        clock.advance(0.1)
        assert not o.ws.closed
        o.ws.send_str("is anybody there?")
        clock.advance(4.9)
        await turns(2)
        assert not o.ws.closed
        clock.advance(0.1)
        assert isinstance(o.ws.exception(), ClientTimeoutError)


@KINDS
@pytest.mark.fault("W26")
async def test_sending_now_and_then_to_a_dead_peer(kind: str, clock: FakeClock) -> None:
    """Nor do small messages, one after the other, that the kernel swallows."""

    async def script(peer: Peer) -> None:
        await agree(peer)
        peer.pause()
        await peer.stall()

    async with opened(script, kind=kind, heartbeat=10) as o:
        for _ in range(7):
            assert not o.ws.closed
            o.ws.send_str("is anybody there?")
            clock.advance(2.1)
            await turns(2)
        clock.advance(0.4)
        assert isinstance(o.ws.exception(), ClientTimeoutError)
