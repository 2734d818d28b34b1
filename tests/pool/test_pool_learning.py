"""A pool that learns when an endpoint ends idle connections, and is there first."""

import pytest

from keepwarm.pool import states
from keepwarm.pool.idle_ages import FORGET_AFTER
from keepwarm.pool.keepalive import Keepalive
from tests.support.fake_channels import A, B, FakeChannel, Rig, rig
from tests.support.leaks import turns

pytestmark = pytest.mark.asyncio


async def shelved(r: Rig) -> FakeChannel:
    """A connection to A that has served and lies idle."""
    channel = await r.lease()
    r.pool.release(channel)
    return channel


async def ended_after(r: Rig, *ages: float) -> None:
    """One connection after the other, each ended by the peer when it has lain idle for so long."""
    for age in ages:
        channel = await shelved(r)
        r.clock.advance(age)
        assert channel.state == states.IDLE
        channel.wire.feed_eof()
        await turns(2)


@pytest.mark.fault("P22")
async def test_it_is_there_before_the_peer() -> None:
    """After three FINs at ten seconds, connections are retired at nine, for the reason `learned`."""
    async with rig(keepalive=Keepalive(30)) as r:
        await ended_after(r, 10, 10.2, 10.1)
        channel = await shelved(r)
        r.clock.advance(8.99)
        assert channel.state == states.IDLE
        r.clock.advance(0.02)
        assert (channel.state, channel.retiring) == (states.CLOSING, "learned")
        assert r.total.retired == {"peer_fin": 3, "learned": 1}


async def test_other_endpoints_keep_their_window() -> None:
    """What one endpoint taught is about that endpoint."""
    async with rig(keepalive=Keepalive(30)) as r:
        await ended_after(r, 10, 10, 10)
        (other,) = await r.shelved(1, B)
        r.clock.advance(29)
        assert other.state == states.IDLE


async def test_the_books_may_be_forgotten_in_between() -> None:
    """An endpoint without connections has no books; what it taught stays."""
    async with rig(keepalive=Keepalive(30)) as r:
        await ended_after(r, 10, 10, 10)
        assert A not in r.pool.stats().endpoints
        channel = await shelved(r)
        r.clock.advance(9.01)
        assert channel.retiring == "learned"


async def test_the_smallest_window_counts() -> None:
    """Our own setting, the peer's hint or what it taught, whichever is least; the reason says which it was."""
    async with rig(keepalive=Keepalive(30)) as r:
        await ended_after(r, 20, 20, 20)
        channel = await r.lease()
        channel.idle_hint = 6.0
        r.pool.release(channel)
        r.clock.advance(5.01)
        assert channel.retiring == "idle"
        channel = await r.lease()
        channel.idle_hint = 25.0
        r.pool.release(channel)
        r.clock.advance(18.9)
        assert channel.state == states.IDLE
        r.clock.advance(0.2)
        assert channel.retiring == "learned"


async def test_connections_that_turn_out_dead_teach_too() -> None:
    """No FIN was seen, but three that had lain for ten seconds died as soon as they were used."""
    async with rig(keepalive=Keepalive(30)) as r:
        for _ in range(3):
            channel = await shelved(r)
            r.clock.advance(10)
            assert r.pool.try_lease(A) is channel
            r.pool.close_channel(channel, "error", politely=False)
            r.pool.retire_older(channel)
            await turns(2)
        channel = await shelved(r)
        r.clock.advance(9.01)
        assert channel.retiring == "learned"


async def test_a_connection_that_dies_late_in_its_lease_teaches_nothing() -> None:
    """That was the request, or the server; not the time on the shelf."""
    async with rig(keepalive=Keepalive(30)) as r:
        for _ in range(3):
            channel = await shelved(r)
            r.clock.advance(10)
            assert r.pool.try_lease(A) is channel
            r.clock.advance(2)
            r.pool.close_channel(channel, "error", politely=False)
            r.pool.retire_older(channel)
            await turns(2)
        channel = await shelved(r)
        r.clock.advance(29)
        assert channel.state == states.IDLE


async def test_a_connection_that_was_handed_over_did_not_lie_idle() -> None:
    """From one caller to the next: what it lay idle for before says nothing about its end."""
    async with rig(limit=1, keepalive=Keepalive(30)) as r:
        for _ in range(3):
            channel = await shelved(r)
            r.clock.advance(10)
            assert r.pool.try_lease(A) is channel
            (waiting,) = await r.queue(1)
            r.pool.release(channel)
            assert await waiting is channel
            r.pool.close_channel(channel, "error", politely=False)
            r.pool.retire_older(channel)
            await turns(2)
        channel = await shelved(r)
        r.clock.advance(29)
        assert channel.state == states.IDLE


async def test_a_restart_of_the_server_teaches_nothing() -> None:
    """Twenty connections of all ages end at once, three times."""
    async with rig(keepalive=Keepalive(60)) as r:
        for _ in range(3):
            channels = [await r.lease() for _ in range(20)]
            for channel in channels:
                r.pool.release(channel)
                r.clock.advance(1.5)
            for channel in channels:
                channel.wire.feed_eof()
            await turns(2)
            assert r.of().idle == 0
        channel = await shelved(r)
        r.clock.advance(59)
        assert channel.state == states.IDLE


async def test_it_is_forgotten_slowly() -> None:
    """Ten minutes without a FIN: connections lie for as long as they may again."""
    async with rig(keepalive=Keepalive(30)) as r:
        await ended_after(r, 10, 10, 10)
        r.clock.advance(FORGET_AFTER)
        channel = await shelved(r)
        r.clock.advance(29)
        assert channel.state == states.IDLE


async def test_it_can_be_switched_off() -> None:
    """Nothing is remembered then."""
    async with rig(keepalive=Keepalive(30, learn=False)) as r:
        await ended_after(r, 10, 10, 10, 10)
        channel = await shelved(r)
        r.clock.advance(29)
        assert channel.state == states.IDLE
