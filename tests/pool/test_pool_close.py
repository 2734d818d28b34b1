"""The end of a pool: everybody is told, everything goes, nothing is left."""

import asyncio

import pytest

from keepwarm.pool import states
from keepwarm.pool.errors import PoolClosedError
from keepwarm.pool.holdings import LINGER
from keepwarm.pool.pool import Pool
from tests.support.fake_channels import A, B, FakeChannel, FakeDials, rig
from tests.support.fakes import FakeClock
from tests.support.leaks import turns

pytestmark = pytest.mark.asyncio


@pytest.mark.fault("P47")
async def test_everybody_who_waits_is_told() -> None:
    """A hundred queued: all have the error in one tick."""
    async with rig(limit=1, pool_timeout=60) as r:
        await r.lease()
        tasks = await r.queue(100)
        r.pool.close()
        await turns(1)
        assert {type(task.exception()) for task in tasks} == {PoolClosedError}
        error = tasks[0].exception()
        assert isinstance(error, PoolClosedError)
        assert (error.endpoint, error.phase) == (A, "wait")
        assert str(error) == "the connector was closed while this call waited for a connection to http://a.example:80"


@pytest.mark.fault("P48")
@pytest.mark.parametrize("late", [False, True])
async def test_closed_during_a_dial(late: bool) -> None:
    """The caller hears *closed*; the dial is cancelled, and a socket that comes all the same is closed."""
    async with rig(limit=1, at_once=False) as r:
        (task,) = await r.queue(1)
        channel = r.dials.pending[0].succeed() if late else None
        r.pool.close()
        with pytest.raises(PoolClosedError):
            await task
        await turns(3)
        assert (r.pool.open, r.dials.made[0].was_cancelled) == (0, True)
        assert channel is None or channel.state == states.CLOSED


@pytest.mark.fault("P48")
async def test_closed_before_a_dial_began() -> None:
    """No connection is made."""
    async with rig(at_once=False) as r:
        task = r.ask()
        await turns(1)
        r.pool.close()
        await turns(2)
        assert isinstance(task.exception(), PoolClosedError)
        assert (r.dials.made, r.pool.open) == ([], 0)


@pytest.mark.fault("P48")
async def test_a_dial_that_comes_after_the_end() -> None:
    """A _create_connection that swallows its cancellation: the late connection is closed politely."""
    async with rig(at_once=False) as r:
        clean_up = r.dials.clean_up = r.loop.create_future()
        (task,) = await r.queue(1)
        r.pool.close()
        await turns(2)
        late = FakeChannel(A, r.loop)
        late.open()
        clean_up.set_exception(Late(late))
        await turns(3)
        assert isinstance(task.exception(), PoolClosedError)
        assert r.pool.open == 0


class Late(Exception):
    """A dial's clean-up that fails with something of its own."""


@pytest.mark.fault("P47")
async def test_closed_in_the_tick_of_a_hand_over() -> None:
    """The caller was given a connection and has not woken: *closed*, not a fault of the peer's."""
    async with rig(limit=1) as r:
        channel = await r.lease()
        (task,) = await r.queue(1)
        r.pool.release(channel)
        r.pool.close()
        with pytest.raises(PoolClosedError, match="was closed while this call waited"):
            await task
        assert r.total.retired == {"drain": 1}


@pytest.mark.fault("P48")
async def test_closed_in_the_tick_of_a_new_connection() -> None:
    """The same with a connection that was never used."""
    async with rig(limit=1, at_once=False) as r:
        (task,) = await r.queue(1)
        channel = r.dials.pending[0].succeed()
        await turns(1)
        assert channel.state == states.LEASED
        r.pool.close()
        with pytest.raises(PoolClosedError):
            await task


@pytest.mark.fault("P47")
async def test_after_the_end() -> None:
    """No lease, no waiting, no dial; and closing again changes nothing."""
    async with rig() as r:
        r.pool.close()
        r.pool.close()
        assert r.pool.closed
        assert r.pool.try_lease(A) is None
        with pytest.raises(PoolClosedError, match="the connector is closed; make a new one") as caught:
            await r.pool.acquire(A)
        assert caught.value.endpoint == A
        assert r.dials.made == []


async def test_idle_ones_politely_the_others_at_once() -> None:
    """Holders are told before their transport goes; a detached connection goes too."""
    async with rig() as r:
        idle, leased, detached = await r.lease(), await r.lease(), await r.lease(B)
        r.pool.release(idle)
        r.pool.detach(detached)
        r.pool.close()
        assert [channel.wire.ended_by for channel in (idle, leased, detached)] == ["close", "abort", "abort"]
        assert [channel.was_told for channel in (idle, leased, detached)] == [False, True, True]
        await turns(1)
        assert [channel.state for channel in (idle, leased, detached)] == [states.CLOSED] * 3
        assert (r.pool.open, r.total.retired) == (0, {"drain": 3})


@pytest.mark.fault("L06")
async def test_a_peer_that_does_not_say_goodbye() -> None:
    """It is cut off after LINGER seconds; until then wait_closed waits."""
    async with rig() as r:
        (channel,) = await r.shelved(1)
        channel.wire.blocked = True
        channel.wire.write(b"stuck")
        r.pool.close()
        waiting = r.loop.create_task(r.pool.wait_closed())
        await turns(3)
        assert (waiting.done(), r.pool.open) == (False, 1)
        r.clock.advance(LINGER)
        await turns(3)
        assert (waiting.done(), r.pool.open) == (True, 0)


@pytest.mark.fault("L05")
async def test_waiting_for_the_end() -> None:
    """By several at once; cancelling one of them changes nothing for the pool or the others."""
    async with rig() as r:
        await r.lease()
        r.pool.close()
        one, two, three = (r.loop.create_task(r.pool.wait_closed()) for _ in range(3))
        await turns(0)
        two.cancel()
        await asyncio.gather(one, two, three, return_exceptions=True)
        assert (one.cancelled(), two.cancelled(), three.cancelled()) == (False, True, False)
        assert r.pool.open == 0
        await r.pool.wait_closed()


async def test_the_end_of_many_endpoints_is_linear() -> None:
    """No walk over all endpoints for each that goes."""
    asked = 0

    class Counting(Pool):
        @property
        def open(self) -> int:
            nonlocal asked
            asked += 1
            return super().open

    loop = asyncio.get_running_loop()
    clock = FakeClock()
    dials = FakeDials(loop, at_once=True)
    pool = Counting(loop, clock, dials, FakeChannel)
    for number in range(100):
        pool.release(await pool.acquire(A._replace(port=1000 + number)))
    pool.close()
    await pool.wait_closed()
    assert (asked, pool.open, clock.timers) == (0, 0, 0)


@pytest.mark.fault("L02")
def test_the_loop_was_closed_first() -> None:
    """No exception, and nothing is left: waiters, dials, idle and leased connections."""
    loop = asyncio.new_event_loop()
    clock = FakeClock()
    dials = FakeDials(loop)
    pool = Pool(loop, clock, dials, FakeChannel, conn_timeout=5)

    async def use() -> None:
        tasks = [loop.create_task(pool.acquire(endpoint)) for endpoint in (A, A, B)]
        await turns(2)
        for dial in dials.pending[:2]:
            dial.succeed()
        await turns(2)
        pool.release(tasks[0].result())
        tasks[2].cancel()
        await turns(3)

    loop.run_until_complete(use())
    assert pool.open == 2
    loop.close()
    pool.close()
    assert (pool.open, pool.channels, clock.entries) == (0, set(), 0)
    assert [dial.was_cancelled for dial in dials.made] == [False, False, True]
