"""One bound over all endpoints: whose turn it is, and what makes room."""

import pytest

from keepwarm.pool import states
from keepwarm.pool.endpoint import make_endpoint
from tests.support.fake_channels import A, B, C, rig
from tests.support.leaks import turns

pytestmark = pytest.mark.asyncio


async def test_the_sum_is_bounded() -> None:
    """Dials of all endpoints together stay below the total."""
    async with rig(limit=2, total=3, at_once=False) as r:
        for endpoint in (A, B, C):
            await r.queue(2, endpoint)
        assert [r.of(endpoint).dialling for endpoint in (A, B, C)] == [2, 1, 0]
        assert r.pool.open == 3


@pytest.mark.fault("P19")
async def test_the_longest_waiting_is_next() -> None:
    """A is saturated, B and C come later: each slot goes to whoever has waited longest and may dial."""
    async with rig(total=1) as r:
        channel = await r.lease(A)
        (a,), (b,), (c,) = [await r.queue(1, endpoint) for endpoint in (A, B, C)]
        late = await r.queue(5, A)
        r.pool.release(channel)
        assert await a is channel
        r.pool.release(channel)  # five more wait at A, but B has waited longer and has nothing
        await turns(4)
        assert (b.done(), [task.done() for task in late]) == (True, [False] * 5)
        r.pool.release(b.result())
        await turns(4)
        assert c.done()
        r.pool.release(c.result())
        await turns(4)
        assert [task.done() for task in late] == [True, False, False, False, False]


@pytest.mark.fault("P19")
async def test_two_busy_endpoints_keep_their_connections() -> None:
    """Each serves its own callers in turn: no dial for each call."""
    async with rig(total=2) as r:
        held = {A: await r.lease(A), B: await r.lease(B)}
        tasks = {A: await r.queue(20, A), B: await r.queue(20, B)}
        for number in range(20):
            for endpoint, channel in held.items():
                r.pool.release(channel)
                assert await tasks[endpoint][number] is channel
        assert r.total.dials == 2


@pytest.mark.fault("P19")
async def test_a_holder_that_never_ends() -> None:
    """B's only connection is detached for good. Its caller does not wait for ever behind A's queue."""
    async with rig(total=2) as r:
        channel = await r.lease(A)
        r.pool.detach(await r.lease(B))
        (stuck,) = await r.queue(1, B)
        r.clock.advance(0.5)
        await r.queue(1, A)
        served = 0
        while channel.state == states.LEASED and served < 40:
            r.clock.advance(0.1)
            await r.queue(1, A)
            r.pool.release(channel)
            await turns(4)
            served += 1
        assert stuck.done()
        assert 5 <= served <= 8  # until A's oldest caller had come a second after B's


async def test_the_least_recently_used_makes_room() -> None:
    """Only the total blocks: the oldest idle connection of another endpoint goes, and no other."""
    async with rig(total=3) as r:
        (old,) = await r.shelved(1, A)
        (middle,) = await r.shelved(1, B)
        (new,) = await r.shelved(1, A)
        assert new is old  # the same one again: B's is the oldest now
        other = await r.lease(A, fresh=True)
        r.pool.release(other)
        await r.lease(C)
        assert [channel.state for channel in (old, middle, other)] == [states.IDLE, states.CLOSED, states.IDLE]
        assert r.total.retired == {"room": 1}


async def test_no_more_than_needed_makes_room() -> None:
    """One caller, one idle connection closed, at once."""
    async with rig(total=4) as r:
        channels = await r.shelved(4, A)
        await r.lease(B)
        assert [channel.state for channel in channels].count(states.IDLE) == 3
        assert [channel.wire.ended_by for channel in channels if channel.state != states.IDLE] == ["abort"]


async def test_as_many_as_wait_make_room() -> None:
    """Callers of several endpoints, each with an idle connection of another in its way."""
    async with rig(total=3) as r:
        await r.shelved(3, A)
        endpoints = [make_endpoint(f"{number}.example") for number in range(3)]
        tasks = [r.ask(endpoint) for endpoint in endpoints]
        await turns(6)
        assert [task.done() for task in tasks] == [True] * 3
        assert r.total.retired == {"room": 3}


async def test_its_own_idle_one_makes_room() -> None:
    """Who insists on a new connection at the only endpoint: the idle one there goes, not nothing."""
    async with rig(total=1) as r:
        (channel,) = await r.shelved(1, A)
        assert await r.lease(A, fresh=True) is not channel


async def test_its_own_limit_is_no_reason_to_close_others() -> None:
    """The endpoint's own limit blocks: nobody else's idle connection is closed for it."""
    async with rig(limit=1, total=2) as r:
        await r.shelved(1, B)
        await r.lease(A)
        await r.queue(1, A)
        assert (r.of(B).idle, r.of(A).waiting) == (1, 1)


async def test_a_goodbye_is_waited_for() -> None:
    """A slot that is about to come back is enough: no idle connection is closed beside it."""
    async with rig(total=2) as r:
        (idle,) = await r.shelved(1, A)
        leaving = await r.lease(B)
        r.pool.close_channel(leaving, "error")
        await r.lease(C)
        assert idle.state == states.IDLE


async def test_released_while_another_endpoint_waits() -> None:
    """A connection that nobody at its own endpoint wants makes room the moment it is idle."""
    async with rig(total=1) as r:
        channel = await r.lease(A)
        (task,) = await r.queue(1, B)
        r.pool.release(channel)
        assert channel.state == states.CLOSING
        await task
        assert (r.of(A).open, r.of(B).leased) == (0, 1)


async def test_a_dial_that_fails_gives_its_slot_on() -> None:
    """To the longest waiting endpoint, which may be another one."""
    async with rig(total=1, at_once=False) as r:
        (a,), (b,) = await r.queue(1, A), await r.queue(1, B)
        r.dials.pending[0].fail(OSError("refused"))
        await turns(3)
        assert isinstance(a.exception(), OSError)
        assert (r.of(B).dialling, r.pool.open) == (1, 1)
        r.dials.pending[0].succeed()
        await b


async def test_those_who_leave_are_not_dialled_for() -> None:
    """A caller without a dial leaves: the slot goes to the next endpoint in line."""
    async with rig(total=1) as r:
        channel = await r.lease(A)
        (b,), (c,) = await r.queue(1, B), await r.queue(1, C)
        b.cancel()
        await turns(1)
        r.pool.release(channel)
        await c
        assert r.of(B).dials == 0


async def test_many_endpoints_one_slot() -> None:
    """Two hundred endpoints wait for one slot: each has its turn, in order."""
    async with rig(total=1) as r:
        channel = await r.lease(A)
        endpoints = [make_endpoint(f"{number}.example") for number in range(200)]
        tasks = [(await r.queue(1, endpoint))[0] for endpoint in endpoints]
        r.pool.release(channel)
        for number, task in enumerate(tasks):
            await task
            assert sum(other.done() for other in tasks) == number + 1
            r.pool.release(task.result())
        await turns(2)
        assert len(r.pool.stats().endpoints) == 1


async def test_a_channel_that_dies_on_its_way_keeps_the_place_among_endpoints() -> None:
    """Its caller waits again where it was: before the callers of other endpoints who came later."""
    async with rig(total=2) as r:
        channel, other = await r.lease(A), await r.lease(C)
        (first,) = await r.queue(1, A)
        (b,), (later,) = await r.queue(1, B), await r.queue(1, A)
        r.pool.release(channel)
        r.pool.release(other)  # the endpoints are put in order: B comes before the later caller of A
        channel.kernel = "fin"  # and now the first one wakes
        await turns(6)
        assert [dial.endpoint for dial in r.dials.made] == [A, C, A, B]
        assert (first.done(), b.done(), later.done()) == (True, True, False)
