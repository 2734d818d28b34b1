"""Who waits, in which order, for how long; and what becomes of those who leave."""

import asyncio
import gc
import sys
from collections.abc import Callable

import pytest

from keepwarm.pool import states
from keepwarm.pool.channel import Channel
from tests.support.fake_channels import A, B, FakeChannel, Rig, rig
from tests.support.leaks import turns

pytestmark = pytest.mark.asyncio


async def served(r: Rig, tasks: "list[asyncio.Task[Channel]]", channel: Channel) -> list[int]:
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
        for _ in range(2000):
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
    """Callers that take only a new connection get room for one dial each; the next used one goes to who can use it."""
    async with rig(limit=2, at_once=False) as r:
        dialled = await r.queue(2)
        for dial in r.dials.pending:
            dial.succeed()
        await turns(2)
        one, two = (task.result() for task in dialled)
        fresh = await r.queue(2, fresh=True)
        ordinary = r.ask()
        await turns(2)
        r.pool.release(one)  # the oldest of all cannot take it: it makes room for a dial
        await turns(2)
        assert (r.of().dialling, r.of().leased) == (1, 1)
        r.dials.pending[0].succeed()
        new = await fresh[0]
        assert new not in (one, two)
        r.pool.release(two)
        await turns(2)
        assert (r.of().dialling, ordinary.done()) == (1, False)
        r.pool.release(new)
        assert await ordinary is new
        r.dials.pending[0].succeed()
        assert await fresh[1] not in (one, two, new)


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


async def test_everybody_leaves_while_a_dial_fails() -> None:
    """The failed dial finds cancelled callers only; the other dial is given up all the same, and nothing is left."""
    async with rig(at_once=False) as r:
        tasks = await r.queue(2)
        r.dials.pending[0].fail(OSError("refused"))
        for task in tasks:
            task.cancel()
        await turns(4)
        assert (r.dials.made[1].was_cancelled, r.pool.stats().endpoints) == (True, {})


async def test_passed_over_and_then_gone() -> None:
    """A cancelled caller that the total limit has passed over already leaves no empty books behind."""
    async with rig(total=1) as r:
        channel = await r.lease(A)
        (task,) = await r.queue(1, B)
        task.cancel()
        r.pool.release(channel)
        await turns(2)
        assert list(r.pool.stats().endpoints) == [A]
