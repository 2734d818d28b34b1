"""The pool without sockets: leasing, letting go, and the numbers."""

import asyncio

import pytest

from keepwarm.pool import states
from keepwarm.pool.endpoint import make_endpoint
from keepwarm.pool.errors import ClientConnectionError
from keepwarm.pool.holdings import LINGER
from keepwarm.pool.keepalive import Keepalive
from tests.support.fake_channels import A, B, rig
from tests.support.leaks import turns

pytestmark = pytest.mark.asyncio


async def test_a_connection_is_used_again() -> None:
    """One dial for calls that follow each other."""
    async with rig() as r:
        first = await r.lease()
        assert r.pool.try_lease(A) is None
        r.pool.release(first)
        assert r.pool.try_lease(A) is first
        assert (first.uses, len(r.dials.made)) == (2, 1)


@pytest.mark.fault("P36")
async def test_one_owner_each() -> None:
    """Nobody gets what somebody else holds, at whatever endpoint."""
    async with rig() as r:
        held = [await r.lease() for _ in range(3)] + [await r.lease(B) for _ in range(3)]
        assert len(set(held)) == 6
        assert (r.of(A).leased, r.of(B).leased, r.total.leased) == (3, 3, 6)


@pytest.mark.fault("P38")
async def test_endpoints_do_not_share() -> None:
    """Another scheme, port or name never gets the connection."""
    async with rig() as r:
        r.pool.release(await r.lease(make_endpoint("a.example", 8080)))
        for other in (make_endpoint("a.example", 8080, True), make_endpoint("a.example", 8081), A):
            assert r.pool.try_lease(other) is None
        assert r.pool.try_lease(make_endpoint("A.Example.", 8080)) is not None


@pytest.mark.fault("P40")
async def test_the_newest_idle_one_first() -> None:
    """Ten idle, one call at a time: always the same one, and the other nine expire."""
    async with rig(keepalive=Keepalive(30)) as r:
        channels = await r.shelved(10)
        for _ in range(25):
            channel = r.pool.try_lease(A)
            assert channel is channels[-1]
            r.clock.advance(0.5)
            r.pool.release(channel)
            r.clock.advance(0.5)
            await turns(1)
        assert [channel.wire.closed for channel in channels] == [False] * 10
        r.clock.advance(10)
        await turns(1)
        assert [channel.wire.closed for channel in channels] == [True] * 9 + [False]
        assert r.of().idle == 1


async def test_giving_a_leased_channel_back_twice() -> None:
    """The pool's own holders are held to the table."""
    async with rig() as r:
        channel = await r.lease()
        r.pool.release(channel)
        with pytest.raises(states.IllegalTransition, match="is not leased"):
            r.pool.release(channel)
        assert r.of().idle == 1


@pytest.mark.fault("P35")
async def test_force_close() -> None:
    """Each connection is closed when it is released, politely, and its slot is free then."""
    async with rig(limit=1, keepalive=Keepalive(force_close=True)) as r:
        for _ in range(3):
            channel = await r.lease()
            r.pool.release(channel)
            assert (r.of().idle, r.of().closing, channel.wire.ended_by) == (0, 1, "close")
            await turns(1)
            assert r.pool.open == 0
        assert r.total.retired == {"force_close": 3}


@pytest.mark.fault("P34")
async def test_closing_twice_frees_one_slot() -> None:
    """In any order: close, close, lost, lost."""
    async with rig(limit=2) as r:
        channel, other = await r.lease(), await r.lease()
        r.pool.close_channel(channel, "error", politely=False)
        r.pool.close_channel(channel, "protocol")
        assert (r.of().leased, r.of().closing, r.pool.open) == (1, 1, 2)
        await turns(1)
        r.pool.channel_lost(channel, "error")
        assert (r.of().leased, r.of().closing, r.pool.open) == (1, 0, 1)
        assert r.total.retired == {"error": 1}
        assert other.state == states.LEASED


@pytest.mark.fault("P34")
async def test_a_detached_connection_keeps_its_slot() -> None:
    """J-06: not closed, never pooled again, counted until its transport is lost, and freed once."""
    async with rig(limit=1) as r:
        channel = await r.lease()
        r.pool.detach(channel)
        assert (r.of().leased, r.of().detached, channel.wire.is_closing()) == (0, 1, False)
        with pytest.raises(states.IllegalTransition):
            r.pool.release(channel)
        (waiting,) = await r.queue(1)
        assert len(r.dials.made) == 1
        channel.wire.lose()
        assert await waiting is not channel
        assert (r.of().detached, r.of().leased, r.pool.open) == (0, 1, 1)


async def test_a_goodbye_is_bounded() -> None:
    """A peer that does not answer holds its slot for LINGER seconds at most, and for as long as that."""
    async with rig(limit=1) as r:
        channel = await r.lease()
        channel.wire.blocked = True
        channel.wire.write(b"stuck")
        r.pool.retire(channel, "drain")
        r.pool.release(channel)
        (waiting,) = await r.queue(1)
        assert (r.of().closing, r.of().waiting, len(r.dials.made)) == (1, 1, 1)
        r.clock.advance(LINGER - 0.001)
        await turns(2)
        assert not waiting.done()
        r.clock.advance(0.001 + 0.005)
        assert await waiting is not channel


async def test_retiring() -> None:
    """An idle channel goes now, a leased one when it comes back; the first reason stays."""
    async with rig() as r:
        (idle,) = await r.shelved(1)
        leased = await r.lease(B)
        r.pool.retire(idle, "cert_reload")
        r.pool.retire(leased, "dns_gone")
        r.pool.retire(leased, "drain")
        assert (idle.state, leased.state) == (states.CLOSING, states.LEASED)
        r.pool.release(leased)
        await turns(1)
        assert r.total.retired == {"cert_reload": 1, "dns_gone": 1}


@pytest.mark.fault("P27")
async def test_what_is_older_than_a_dead_one() -> None:
    """A connection turned out dead on reuse: what has lain idle for longer goes too, what is younger stays."""
    async with rig() as r:
        channels = await r.shelved(5)
        dead = channels[2]
        for channel in reversed(channels):
            assert r.pool.try_lease(A) is channel
        for channel in channels[:2]:
            r.pool.release(channel)
            channel.idle_since = dead.idle_since - 1
        r.clock.advance(1)
        r.pool.release(channels[3])
        r.pool.close_channel(dead, "error", politely=False)
        r.pool.retire_older(dead)
        assert [channel.state for channel in channels[:4]] == [states.CLOSING] * 3 + [states.IDLE]
        assert [channel.wire.ended_by for channel in channels[:3]] == ["abort"] * 3
        await turns(1)
        assert r.total.retired == {"peer_fin": 2, "error": 1}


@pytest.mark.fault("P49")
async def test_nothing_is_left_of_an_endpoint() -> None:
    """No key, no queue, no timer when its last connection goes; what happened there is still counted."""
    async with rig() as r:
        for endpoint in (A, B):
            r.pool.release(await r.lease(endpoint))
        r.clock.advance(31)
        await turns(1)
        assert r.pool.stats().endpoints == {}
        assert (r.clock.timers, r.clock.entries, r.pool.open) == (0, 0, 0)
        assert (r.total.dials, r.total.leases, r.total.retired) == (2, 2, {"idle": 2})


async def test_the_books_balance() -> None:
    """The gauges of one endpoint, of all, and the counters."""
    async with rig(limit=4) as r:
        leased, detached, idle, going = [await r.lease() for _ in range(4)]
        await r.lease(B)
        r.pool.detach(detached)
        r.pool.release(idle)
        r.pool.close_channel(going, "error")
        here = r.of(A)
        assert (here.open, here.leased, here.detached, here.idle, here.closing) == (4, 1, 1, 1, 1)
        assert (here.dialling, here.waiting, here.waits) == (0, 0, 4)
        assert (r.total.open, r.total.leased, r.pool.open) == (5, 2, 5)
        assert (here.dials, here.leases, here.reused) == (4, 4, 0)
        r.pool.release(leased)
        await r.lease()
        assert (r.of().leases, r.of().reused) == (5, 1)


async def test_reused_is_what_had_served() -> None:
    """A spare connection that is leased for the first time has not been reused."""
    async with rig(at_once=False) as r:
        first, second = await r.queue(2)
        r.dials.pending[0].succeed()
        channel = await first
        r.pool.release(channel)
        assert await second is channel
        r.dials.pending[0].succeed()
        await turns(2)
        spare = await r.lease()
        assert spare is not channel
        assert (r.of().dials, r.of().leases, r.of().reused) == (2, 3, 1)


async def test_a_cancelled_lease_is_no_lease() -> None:
    """A new connection whose caller was gone is new for the next one."""
    async with rig(at_once=False) as r:
        first, second = await r.queue(2)
        r.dials.pending[0].succeed()
        await turns(1)
        first.cancel()
        channel = await second
        assert channel.uses == 1
        assert (r.of().leases, r.of().reused) == (1, 0)
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_errors_are_not_shared() -> None:
    """Each caller gets an error of its own."""
    async with rig(at_once=False) as r:
        tasks = await r.queue(2)
        for number, dial in enumerate(r.dials.pending):
            dial.fail(ClientConnectionError(f"no {number}"))
        await turns(2)
        assert [str(task.exception()) for task in tasks] == ["no 0", "no 1"]
