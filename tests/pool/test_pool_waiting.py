"""Who waits, in which order, for how long; and what becomes of those who leave."""

import asyncio
import gc
import sys
from collections.abc import Callable

import pytest

from keepwarm.pool import states
from keepwarm.pool.errors import ClientTimeoutError, ConnectTimeoutError, PoolFullError, PoolTimeoutError
from tests.support.fake_channels import A, B, FakeChannel, Rig, rig
from tests.support.leaks import turns

pytestmark = pytest.mark.asyncio


async def served(r: Rig, tasks: "list[asyncio.Task[FakeChannel]]", channel: FakeChannel) -> "list[int]":
    """Pass one channel on until nobody takes it; the numbers of those who had it, in order."""
    order: list[int] = []
    while True:
        r.pool.release(channel)
        await turns(2)
        now = [number for number, task in enumerate(tasks) if task.done() and number not in order]
        live = [number for number in now if not tasks[number].cancelled()]
        if not live:
            return order
        assert len(live) == 1
        order += live


@pytest.mark.fault("P02")
async def test_strict_order_of_arrival() -> None:
    """A hundred queued, and a newcomer at each release: nobody overtakes."""
    async with rig(limit=1) as r:
        channel = await r.lease()
        tasks = await r.queue(100)
        for number in range(100):
            r.pool.release(channel)
            assert r.pool.try_lease(A) is None  # the newcomer in the very tick of the release
            tasks += await r.queue(1)
            assert [task.done() for task in tasks[: number + 2]] == [True] * (number + 1) + [False]
        assert await served(r, tasks[100:], channel) == list(range(100))


@pytest.mark.fault("P03")
async def test_cancelled_while_queued() -> None:
    """Fifty of a hundred leave: removed at once, and the others are served in order."""
    async with rig(limit=1) as r:
        channel = await r.lease()
        tasks = await r.queue(100)
        for task in tasks[::2]:
            task.cancel()
        await turns(1)
        assert r.of().waiting == 50
        assert await served(r, tasks, channel) == list(range(1, 100, 2))
        assert all(task.cancelled() for task in tasks[::2])


@pytest.mark.fault("P04")
async def test_cancelled_in_the_tick_of_the_wake_up() -> None:
    """Released, and the woken caller cancelled before it runs: the next one has the channel in the same tick."""
    async with rig(limit=1) as r:
        channel = await r.lease()
        first, second, third = await r.queue(3)
        r.pool.release(channel)
        first.cancel()
        await turns(1)
        assert (first.cancelled(), r.of().waiting, r.of().leased) == (True, 1, 1)
        assert await second is channel
        assert not third.done()
        r.pool.release(channel)
        assert await third is channel


@pytest.mark.fault("P04")
async def test_everybody_is_cancelled_in_that_tick() -> None:
    """The channel passes through all of them and lies idle in the end."""
    async with rig(limit=1) as r:
        channel = await r.lease()
        tasks = await r.queue(10)
        r.pool.release(channel)
        for task in tasks:
            task.cancel()
        await turns(2)
        assert all(task.cancelled() for task in tasks)
        assert (channel.state, r.of().waiting, r.of().idle) == (states.IDLE, 0, 1)


@pytest.mark.fault("P04")
async def test_cancelled_before_the_release() -> None:
    """The future is cancelled but the caller has not run yet: it is nobody."""
    async with rig(limit=1) as r:
        channel = await r.lease()
        first, second = await r.queue(2)
        first.cancel()
        r.pool.release(channel)
        assert await second is channel
        assert first.cancelled()


async def test_a_channel_that_dies_on_its_way() -> None:
    """The caller waits again at its own place; those behind it do not come first."""
    async with rig(limit=1) as r:
        channel = await r.lease()
        tasks = await r.queue(3)
        r.pool.release(channel)
        channel.kernel = "fin"
        await turns(5)
        assert [task.done() for task in tasks] == [True, False, False]
        other = tasks[0].result()
        assert other is not channel
        assert isinstance(other, FakeChannel)
        assert await served(r, tasks[1:], other) == [0, 1]
        assert r.total.retired == {"peer_fin": 1}


async def test_several_channels_die_on_their_way() -> None:
    """Each of their callers comes back to its own place, not in the order of the bad news."""
    async with rig(limit=3) as r:
        channels = [await r.lease() for _ in range(3)]
        tasks = await r.queue(6)
        r.dials.at_once = False
        for channel in channels:
            r.pool.release(channel)
            channel.kernel = "fin"
        await turns(4)
        order: list[int] = []
        for _ in range(6):
            for dial in r.dials.pending[:1]:
                dial.succeed()
            await turns(2)
            new = [number for number, task in enumerate(tasks) if task.done() and number not in order]
            order += new
            lost = tasks[new[0]].result()
            r.pool.close_channel(lost, "error", politely=False)
            await turns(3)
        assert order == [0, 1, 2, 3, 4, 5]


@pytest.mark.fault("P49")
async def test_a_channel_that_dies_with_its_endpoint() -> None:
    """The last connection goes while its caller is on the way to it, and somebody else opens the endpoint anew."""
    async with rig(limit=1) as r:
        channel = await r.lease()
        (first,) = await r.queue(1)
        r.dials.at_once = False
        r.pool.release(channel)
        channel.wire.lose()  # nothing is left: the endpoint is forgotten
        second = r.ask()
        await turns(3)
        assert (r.of().waiting, r.of().dialling, r.pool.open) == (2, 1, 1)
        r.dials.pending[0].succeed()
        await turns(2)
        assert (first.done(), second.done()) == (True, False)
        r.pool.release(first.result())
        assert await second is first.result()
        assert (r.total.leases, r.total.dials) == (4, 2)


@pytest.mark.fault("R09")
async def test_a_hundred_thousand_waiters() -> None:
    """Half of them are cancelled: each cancellation and each hand-over costs the same number of steps."""
    async with rig(limit=1) as r:
        channel = await r.lease()
        tasks = await r.queue(100_000)
        for task in tasks[::2]:
            task.cancel()
        at_first = steps(lambda: r.pool.release(channel))
        await turns(2)
        assert r.of().waiting == 49_999
        for _ in range(20_000):
            r.pool.release(channel)
            await turns(1)
        later = steps(lambda: r.pool.release(channel))
        await turns(2)
        assert abs(later - at_first) <= 3  # at first the cancelled one in front is passed over
        for task in tasks:
            task.cancel()
        gc.collect()
        await turns(2)
        assert (r.of().waiting, r.of().leased) == (0, 1)


def steps(call: Callable[[], object]) -> int:
    """How many Python functions a call runs, itself included."""
    count = 0

    def profile(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return count


async def test_what_insists_on_a_new_one_hides_nothing() -> None:
    """A caller that takes only a new connection waits; the idle one goes to whoever can use it."""
    async with rig(limit=2, at_once=False) as r:
        dialled = await r.queue(2)
        for dial in r.dials.pending:
            dial.succeed()
        await turns(2)
        one, two = (task.result() for task in dialled)
        fresh = await r.queue(2, fresh=True)
        ordinary = r.ask()
        await turns(2)
        r.pool.release(one)
        assert await ordinary is one
        assert [task.done() for task in fresh] == [False, False]
        r.pool.release(two)  # nobody can take it: it makes room for a dial
        await turns(2)
        assert (r.of().dialling, r.of().leased) == (1, 1)
        r.dials.pending[0].succeed()
        new = await fresh[0]
        assert new not in (one, two)
        r.pool.release(one)
        await turns(2)
        r.dials.pending[0].succeed()
        assert await fresh[1] is not new


async def test_a_newcomer_beside_those_who_insist() -> None:
    """An idle connection is leased at once while callers wait who may not have it."""
    async with rig(at_once=False) as r:
        (first,) = await r.queue(1)
        r.dials.pending[0].succeed()
        channel = await first
        r.pool.release(channel)
        (insists,) = await r.queue(1, fresh=True)
        assert r.pool.try_lease(A) is channel
        r.dials.pending[0].succeed()
        assert await insists is not channel


async def test_a_new_one_with_no_room() -> None:
    """At limit 1 the idle connection itself makes room for the new one."""
    async with rig(limit=1) as r:
        channel = await r.lease()
        r.pool.release(channel)
        assert await r.lease(fresh=True) is not channel
        assert r.total.retired == {"room": 1}


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
            "no connection to http://a.example:80 came free within 2 s (limit 1, limit_total None, leased 1, idle 0, "
            "dialling 0, detached 0, closing 0, waiting 2; the oldest holder has had a connection to "
            "http://a.example:80 for 12 s); raise limit or pool_timeout, or look for responses that are not released"
        )
        with pytest.raises(PoolTimeoutError):
            await second
        assert (r.of().waiting, r.clock.timers) == (0, 0)
        r.pool.release(channel)
        assert r.of().idle == 1


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
        with pytest.raises(PoolTimeoutError, match=r"within 3 s .* raise limit or the call's time limit"):
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


async def test_max_waiting() -> None:
    """The next caller is told at once, with the numbers; a place that comes free can be taken."""
    async with rig(limit=1, max_waiting=2) as r:
        channel = await r.lease()
        tasks = await r.queue(2)
        with pytest.raises(PoolFullError) as caught:
            await r.pool.acquire(A)
        assert (caught.value.endpoint, caught.value.phase) == (A, "wait")
        assert str(caught.value) == (
            "cannot queue for http://a.example:80: 2 callers wait already and max_waiting is 2 (limit 1, limit_total "
            "None, leased 1, idle 0, dialling 0, detached 0, closing 0, waiting 2); raise limit or max_waiting, or "
            "send less"
        )
        await r.lease(B)  # each endpoint has a queue of its own
        tasks[0].cancel()
        await turns(1)
        tasks += await r.queue(1)
        assert await served(r, tasks, channel) == [1, 2]


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
        with pytest.raises(PoolTimeoutError, match=r"oldest holder has had a connection to http://b\.example:80 for"):
            await task
        r.pool.detach(channel)
        (task,) = await r.queue(1)
        r.clock.advance(1)
        with pytest.raises(PoolTimeoutError, match="nothing is leased"):
            await task
