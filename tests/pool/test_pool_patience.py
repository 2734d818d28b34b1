"""How long callers wait, how many may, and what they are told."""

import asyncio

import pytest

from keepwarm.pool.errors import ClientTimeoutError, ConnectTimeoutError, PoolFullError, PoolTimeoutError
from tests.support.fake_channels import A, B, rig
from tests.support.leaks import turns
from tests.support.lines import lines

pytestmark = pytest.mark.asyncio


@pytest.mark.fault("P46")
async def test_the_pool_timeout() -> None:
    """Its own error, which is no connect timeout; it says why; the place in the queue is gone."""
    async with rig(limit=1, pool_timeout=2.0) as r:
        channel = await r.lease()
        r.clock.advance(10)
        first, second = await r.queue(2)
        r.clock.advance(1.999)
        await turns(1)
        assert not first.done()
        r.clock.advance(0.006)
        with pytest.raises(PoolTimeoutError) as caught:
            await first
        error = caught.value
        assert not isinstance(error, ConnectTimeoutError)
        assert isinstance(error, TimeoutError)
        assert (error.endpoint, error.phase) == (A, "wait")
        assert str(error) == (
            "no connection to http://a.example:80 came free within 2 s: raise limit or pool_timeout, or look for "
            "responses that are not released (limit 1, limit_total None, leased 1, idle 0, dialling 0, detached 0, "
            "closing 0, waiting 2, the oldest for 2 s; held longest: connection 1 to http://a.example:80 for 12 s)"
        )
        with pytest.raises(PoolTimeoutError):
            await second
        assert (r.of().waiting, r.clock.timers) == (0, 0)
        r.pool.release(channel)
        assert r.of().idle == 1


@pytest.mark.fault("R09")
async def test_who_has_a_dial_waits_for_it() -> None:
    """Callers with dials are looked at now and then once their time for the limit is over, and wait on."""
    async with rig(limit=50, at_once=False) as r:
        covered = [r.ask(pool_timeout=1) for _ in range(50)]
        await turns(2)
        (patient,) = await r.queue(1)
        for _ in range(3):
            r.clock.advance(1.1)
            await turns(1)
            assert r.clock.timers == 1
        assert not any(task.done() for task in [*covered, patient])
        for dial in r.dials.pending:
            dial.succeed()
        await turns(2)
        assert ([task.done() for task in covered], patient.done()) == ([True] * 50, False)


@pytest.mark.fault("R09")
async def test_callers_out_of_time_together_are_judged_together() -> None:
    """Twice the callers, twice the steps: the dials are not counted for each of them."""
    cost = []
    for count in (100, 200):
        async with rig(limit=count, at_once=False) as r:
            for _ in range(count):
                r.ask(pool_timeout=1)
            await turns(2)
            await r.queue(1)
            cost.append(lines(lambda: r.clock.advance(1.1)))
    assert cost[1] < 2.5 * cost[0]


@pytest.mark.fault("P46")
async def test_the_callers_own_pool_timeout() -> None:
    """It comes before the pool's; those behind who have more time are served."""
    async with rig(limit=1, pool_timeout=60) as r:
        channel = await r.lease()
        hasty, patient = r.ask(pool_timeout=0.5), r.ask()
        await turns(2)
        r.clock.advance(0.5)
        with pytest.raises(PoolTimeoutError, match=r"within 0\.5 s"):
            await hasty
        r.clock.advance(30)
        r.pool.release(channel)
        assert await patient is channel


async def test_served_in_time() -> None:
    """A wait that has ended well leaves nothing with the clock."""
    async with rig(limit=1, pool_timeout=300) as r:
        channel = await r.lease()
        for _ in range(500):
            (task,) = await r.queue(1)
            r.pool.release(channel)
            assert await task is channel
        assert (r.clock.entries, r.clock.timers) == (0, 0)


async def test_the_calls_deadline_in_the_queue() -> None:
    """It ends the wait for the limit too, and the text names it."""
    async with rig(limit=1, pool_timeout=60) as r:
        await r.lease()
        task = r.ask(deadline=r.clock.now() + 3)
        await turns(2)
        r.clock.advance(3)
        with pytest.raises(PoolTimeoutError, match=r"within 3 s: raise limit or the call's time limit"):
            await task


async def test_the_calls_deadline_in_a_dial() -> None:
    """The caller is told where its own dial was; nobody else needs the dial, so it is given up."""
    async with rig(at_once=False) as r:
        task = r.ask(deadline=r.clock.now() + 3)
        await turns(2)
        r.dials.pending[0].request.phase = "tls"
        r.clock.advance(3)
        with pytest.raises(ClientTimeoutError) as caught:
            await task
        assert not isinstance(caught.value, PoolTimeoutError)
        assert caught.value.phase == "tls"
        assert str(caught.value).startswith("Connection timeout to host a.example:80 ssl:False [the time limit of the")
        await turns(2)
        assert (r.dials.made[0].was_cancelled, r.pool.open) == (True, 0)


async def test_a_dial_that_is_bounded_goes_on() -> None:
    """With conn_timeout a dial outlives the caller whose time was too short, and serves the next one."""
    async with rig(at_once=False, conn_timeout=10) as r:
        task = r.ask(deadline=r.clock.now() + 3)
        await turns(2)
        r.clock.advance(3)
        with pytest.raises(ClientTimeoutError):
            await task
        assert r.of().dialling == 1
        channel = r.dials.pending[0].succeed()
        await turns(2)
        assert r.pool.try_lease(A) is channel


async def test_the_pool_timeout_is_for_the_limit_only() -> None:
    """Once a dial is under way for a caller, its wait for the limit is over: conn_timeout bounds the dial."""
    async with rig(limit=1, pool_timeout=1, at_once=False, conn_timeout=30) as r:
        covered, queued = await r.queue(2)
        r.clock.advance(1.1)
        await turns(1)
        assert (covered.done(), queued.done()) == (False, True)
        assert isinstance(queued.exception(), PoolTimeoutError)
        r.clock.advance(20)
        channel = r.dials.pending[0].succeed()
        assert await covered is channel


async def test_a_time_limit_of_the_call_is_named_as_such() -> None:
    """The advice is to change what ended the wait."""
    async with rig(limit=1, pool_timeout=9.0) as r:
        channel = await r.lease()
        task = asyncio.ensure_future(r.pool.acquire(A, pool_timeout=2.0))
        await turns(1)
        r.clock.advance(2.1)
        with pytest.raises(PoolTimeoutError, match="raise limit or the pool limit of the call's timeout, or look"):
            await task
        r.pool.release(channel)


async def test_max_waiting_counts_those_who_have_no_dial() -> None:
    """The number in the error is the one that is compared."""
    async with rig(limit=1, max_waiting=1, at_once=False) as r:
        dialled, queued = await r.queue(2)
        with pytest.raises(PoolFullError, match=r"max_waiting is 1 and 1 wait for the limit already: .*waiting 2, "):
            await r.pool.acquire(A)
        queued.cancel()
        await turns(1)
        channel = r.dials.pending[0].succeed()
        assert await dialled is channel
        r.pool.release(channel)


async def test_max_waiting() -> None:
    """The next caller is told at once, with the numbers; a place that comes free can be taken."""
    async with rig(limit=1, max_waiting=2) as r:
        channel = await r.lease()
        tasks = await r.queue(2)
        with pytest.raises(PoolFullError) as caught:
            await r.pool.acquire(A)
        assert (caught.value.endpoint, caught.value.phase) == (A, "wait")
        assert str(caught.value) == (
            "cannot queue for http://a.example:80: max_waiting is 2 and 2 wait for the limit already: raise limit "
            "or max_waiting, or send less (limit 1, limit_total None, leased 1, idle 0, dialling 0, detached 0, "
            "closing 0, waiting 2, the oldest for 0 s; held longest: connection 1 to http://a.example:80 for 0 s)"
        )
        await r.lease(B)  # each endpoint has a queue of its own
        tasks[0].cancel()
        await turns(1)
        tasks += await r.queue(1)
        for task in tasks[1:]:
            r.pool.release(channel)
            assert await task is channel


async def test_max_waiting_counts_those_without_a_dial() -> None:
    """Callers for whom a dial is under way do not fill the queue."""
    async with rig(limit=3, max_waiting=1, at_once=False) as r:
        tasks = await r.queue(5)
        assert [task.done() for task in tasks] == [False] * 4 + [True]
        assert isinstance(tasks[4].exception(), PoolFullError)


async def test_the_oldest_holder_elsewhere() -> None:
    """With a total limit the holder may be at another endpoint; without any holder the text says so."""
    async with rig(total=1, pool_timeout=1) as r:
        channel = await r.lease(B)
        (task,) = await r.queue(1)
        r.clock.advance(1)
        with pytest.raises(PoolTimeoutError, match=r"held longest: connection 1 to http://b\.example:80 for"):
            await task
        r.pool.detach(channel)
        (task,) = await r.queue(1)
        r.clock.advance(1)
        with pytest.raises(PoolTimeoutError, match="nothing is leased"):
            await task
