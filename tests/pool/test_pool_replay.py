"""Callers who insist on a new connection, because theirs died under a request: they go ahead of the others."""

import pytest

from keepwarm.pool import states
from keepwarm.pool.errors import PoolTimeoutError
from tests.support.fake_channels import A, B, rig
from tests.support.leaks import turns

pytestmark = pytest.mark.asyncio


@pytest.mark.fault("P02", "P24")
async def test_it_does_not_starve_at_a_busy_endpoint() -> None:
    """At the limit the next connection that comes back makes room for its dial, whoever else waits."""
    async with rig(limit=2) as r:
        one, two = await r.lease(), await r.lease()
        others = await r.queue(10)
        (again,) = await r.queue(1, fresh=True)
        r.pool.release(one)
        assert (one.state, r.of().retired) == (states.CLOSING, {"room": 1})
        r.pool.release(two)  # room is on its way: this one goes to the oldest of the others
        await turns(4)
        assert await again not in (one, two)
        assert [task.done() for task in others] == [True] + [False] * 9
        assert await others[0] is two
        assert (r.of().dials, r.of().retired) == (3, {"room": 1})


async def test_a_dial_under_way_is_enough() -> None:
    """It takes the next new connection, whoever that was dialled for; what comes back goes to the others."""
    async with rig(limit=2, at_once=False) as r:
        first, second = await r.queue(2)
        r.dials.pending[0].succeed()
        channel = await first
        (again,) = await r.queue(1, fresh=True)
        r.pool.release(channel)
        assert await second is channel
        new = r.dials.pending[0].succeed()
        assert await again is new
        assert (r.of().dials, r.of().retired) == (2, {})


async def test_room_under_the_limit_costs_no_connection() -> None:
    """Nothing is closed where a dial may start at once."""
    async with rig(limit=2, at_once=False) as r:
        (first,) = await r.queue(1)
        r.dials.pending[0].succeed()
        channel = await first
        (again,) = await r.queue(1, fresh=True)
        r.pool.release(channel)
        assert (channel.state, r.of().dialling) == (states.IDLE, 1)
        r.dials.pending[0].succeed()
        assert await again is not channel


async def test_one_connection_makes_room_for_each() -> None:
    """Two that insist cost two connections and no more; among themselves they keep the order of arrival."""
    async with rig(limit=3) as r:
        held = [await r.lease() for _ in range(3)]
        others = await r.queue(3)
        first, second = await r.queue(2, fresh=True)
        r.pool.release(held[0])
        await turns(4)
        assert (first.done(), second.done()) == (True, False)
        for channel in held[1:]:
            r.pool.release(channel)
        await turns(4)
        assert second.done()
        assert [task.done() for task in others] == [True, False, False]
        assert r.of().retired == {"room": 2}


async def test_one_who_is_gone_costs_nothing() -> None:
    """Cancelled before the connection came back: it goes to the oldest of the others."""
    async with rig(limit=1) as r:
        channel = await r.lease()
        (other,) = await r.queue(1)
        (again,) = await r.queue(1, fresh=True)
        again.cancel()
        r.pool.release(channel)
        assert await other is channel
        assert r.of().dials == 1


@pytest.mark.fault("P19")
async def test_the_total_limit_is_no_less_fair() -> None:
    """Its own endpoint's next connection makes room, and the slot is not for those elsewhere who came before."""
    async with rig(total=2) as r:
        mine, theirs = await r.lease(A), await r.lease(B)
        await r.queue(3, A)
        await r.queue(3, B)
        (again,) = await r.queue(1, A, fresh=True)
        r.pool.release(mine)
        await turns(4)
        assert again.done()
        assert (mine.state, theirs.state, r.of(B).waiting) == (states.CLOSED, states.LEASED, 3)
        assert (r.of(A).waiting, r.total.retired) == (3, {"room": 1})


@pytest.mark.fault("P19")
async def test_with_nothing_of_its_own_under_the_total_limit() -> None:
    """Another endpoint had the dead one's slot already: its next connection goes, though older callers wait there."""
    async with rig(total=1) as r:
        theirs = await r.lease(B)
        await r.queue(3, B)
        await r.queue(1, A)
        (again,) = await r.queue(1, A, fresh=True)
        r.pool.release(theirs)
        await turns(4)
        assert (again.done(), theirs.state, r.of(A).waiting) == (True, states.CLOSED, 1)


async def test_a_full_queue_does_not_refuse_it() -> None:
    """max_waiting is for arrivals: a request that has been served once is bounded by the limit."""
    async with rig(limit=1, max_waiting=1) as r:
        channel = await r.lease()
        (other,) = await r.queue(1)
        (again,) = await r.queue(1, fresh=True)
        r.pool.release(channel)
        new = await again
        r.pool.release(new)
        assert await other is new


@pytest.mark.fault("P46")
async def test_who_loses_a_dial_to_it_is_told_in_time() -> None:
    """The time for the limit was over for both who were dialled for: now the last one has no dial, and hears of it."""
    async with rig(limit=2, pool_timeout=1, at_once=False) as r:
        first, second = await r.queue(2)
        r.clock.advance(2)
        await turns(1)
        assert (first.done(), second.done()) == (False, False)
        (again,) = await r.queue(1, fresh=True)
        r.clock.advance(0.01)
        await turns(1)
        assert (first.done(), second.done(), again.done()) == (False, True, False)
        with pytest.raises(PoolTimeoutError, match="dialling 2"):
            await second
        for dial in r.dials.pending:
            dial.succeed()
        assert await again is not await first
