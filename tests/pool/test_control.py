"""What the owner of a pool does to it: suspend, resize, and close with time to end."""

import asyncio
from typing import Any

import pytest

from keepwarm.pool.control import SHRUNK
from keepwarm.pool.controls import UNCHANGED
from keepwarm.pool.errors import PoolClosedError, PoolFullError, PoolTimeoutError
from keepwarm.pool.limits import Limits
from tests.support.fake_channels import A, B, C, rig
from tests.support.fake_connector import TO_A, FakeConnector
from tests.support.leaks import turns

pytestmark = pytest.mark.asyncio


def served(tasks: "list[asyncio.Task[Any]]") -> list[bool]:
    return [task.done() for task in tasks]


# suspend() and resume()


async def test_nobody_is_served_while_suspended() -> None:
    """Neither by an idle connection, nor by one that comes back, nor by a dial; what is leased goes on."""
    async with rig(limit=3) as r:
        idle, held = await r.shelved(2)
        assert r.pool.try_lease(A) is held
        r.pool.suspend()
        assert r.pool.suspended and r.pool.try_lease(A) is None
        tasks = await r.queue(3)
        r.pool.release(held)
        await turns(3)
        assert served(tasks) == [False] * 3
        assert (r.of().idle, r.of().dials, r.of().waiting) == (2, 2, 3)
        r.pool.resume()
        r.pool.resume()
        channels = [await task for task in tasks]
        assert channels[:2] == [held, idle]
        assert r.of().dials == 3
        for channel in channels:
            r.pool.release(channel)


async def test_the_time_of_those_who_wait_goes_on() -> None:
    """Also of one who had a dial under way: what it brings is not for it."""
    async with rig(at_once=False, pool_timeout=2, conn_timeout=60) as r:
        (task,) = await r.queue(1)
        r.clock.advance(3)
        assert not task.done()
        r.pool.suspend()
        r.clock.advance(0.1)
        await turns(2)
        assert isinstance(task.exception(), PoolTimeoutError)
        (late,) = await r.queue(1)
        r.dials.pending[0].succeed()
        await turns(3)
        assert (r.of().idle, late.done()) == (1, False)
        r.clock.advance(2)
        await turns(2)
        assert isinstance(late.exception(), PoolTimeoutError)


async def test_a_dial_that_has_not_begun_does_not() -> None:
    """It is decided again just before."""
    async with rig() as r:
        task = r.ask()
        r.loop.call_soon(r.pool.suspend)  # between the arrival and the dial
        await turns(3)
        assert (r.dials.made, r.of().waiting) == ([], 1)
        r.pool.resume()
        r.pool.release(await task)


async def test_the_order_holds_over_endpoints() -> None:
    """After resume one slot for two endpoints goes to who came first."""
    async with rig(total=1) as r:
        await r.shelved(1, B)
        r.pool.suspend()
        (first,) = await r.queue(1, A)
        (second,) = await r.queue(1, A)
        r.pool.resume()
        channel = await first
        assert (channel.endpoint, second.done()) == (A, False)
        r.pool.release(channel)
        r.pool.release(await second)


async def test_a_newcomer_does_not_overtake_after_resume() -> None:
    """Those who waited are leased their connections in the call of resume itself."""
    async with rig(limit=1) as r:
        await r.shelved(1)
        r.pool.suspend()
        (waiting,) = await r.queue(1)
        r.pool.resume()
        assert r.pool.try_lease(A) is None
        r.pool.release(await waiting)


async def test_close_ends_a_suspension() -> None:
    """Those who wait are told that it is over."""
    async with rig() as r:
        r.pool.suspend()
        (task,) = await r.queue(1)
        r.pool.close()
        await turns(1)
        assert isinstance(task.exception(), PoolClosedError)
        assert not r.pool.suspended


async def test_a_connector_can_be_suspended_before_it_has_a_pool() -> None:
    """The first call waits."""
    connector = FakeConnector()
    connector.suspend()
    task = asyncio.ensure_future(connector.connect(TO_A))
    await turns(3)
    assert (connector.suspended, task.done(), connector.requests) == (True, False, [])
    assert await connector.warm("http://a.example") == 0
    connector.resume()
    (await task).release()
    await connector.close()
    for call in (connector.suspend, connector.resume, connector.resize):
        with pytest.raises(PoolClosedError):
            call()


# resize()


async def test_more_room_is_used_at_once() -> None:
    """As many dials as there is room for, in the call of resize itself."""
    async with rig(limit=1) as r:
        first = await r.lease()
        tasks = await r.queue(3)
        r.pool.resize(Limits(3))
        assert r.of().dialling == 2
        channels = [await task for task in tasks[:2]]
        assert not tasks[2].done()
        r.pool.release(first)
        for channel in [*channels, await tasks[2]]:
            r.pool.release(channel)


async def test_more_room_in_total() -> None:
    """Those who came first have it, whatever their endpoint."""
    async with rig(total=1) as r:
        held = await r.lease()
        (b,) = await r.queue(1, B)
        (a,) = await r.queue(1, A)
        r.pool.resize(Limits(total=2))
        await turns(3)
        assert (b.done(), a.done()) == (True, False)
        r.pool.resize(Limits())
        await turns(3)
        assert a.done()
        for channel in (held, await a, await b):
            r.pool.release(channel)


async def test_less_room_retires_the_least_recently_used() -> None:
    """Idle ones, politely, and no more than necessary; the reason is `resize`."""
    async with rig() as r:
        channels = await r.shelved(4)
        r.pool.resize(Limits(2))
        assert [channel.wire.ended_by for channel in channels] == ["close", "close", "", ""]
        assert r.of().retired == {SHRUNK: 2}


@pytest.mark.parametrize("limits", [Limits(2), Limits(total=2)])
async def test_less_room_for_leased_ones(limits: Limits) -> None:
    """They go on; the first that come back are closed, until there are as many as allowed. Nobody is handed one too
    many, and nothing is dialled meanwhile."""
    async with rig() as r:
        channels = [await r.lease() for _ in range(4)]
        r.pool.resize(limits)
        (task,) = await r.queue(1)
        assert all(not channel.wire.is_closing() for channel in channels)
        for channel in channels[:2]:
            r.pool.release(channel)
            await turns(3)
        assert (r.of().open, task.done(), r.of().retired) == (2, False, {SHRUNK: 2})
        r.pool.release(channels[2])
        assert await task is channels[2]
        r.pool.release(channels[2])
        r.pool.release(channels[3])
        assert (r.of().idle, r.of().dials) == (2, 4)


async def test_a_dial_that_is_one_too_many() -> None:
    """Nobody waits for it any more, and the limit has shrunk: it is closed."""
    async with rig(at_once=False, conn_timeout=60) as r:
        task = r.loop.create_task(r.pool.warm(A, 2))
        await turns(2)
        r.pool.resize(Limits(1))
        for dial in r.dials.pending:
            dial.succeed()
            await turns(3)
        assert await task == 1
        assert (r.of().open, r.of().retired) == (1, {SHRUNK: 1})


async def test_a_dial_that_has_its_slot_and_has_not_begun() -> None:
    """It is decided again just before: no connection is begun above the new limit."""
    async with rig(at_once=False) as r:
        tasks = [r.ask() for _ in range(3)]
        r.loop.call_soon(r.pool.resize, Limits(1))  # between the arrivals and the dials
        await turns(4)
        assert (len(r.dials.made), r.of().dialling) == (1, 1)
        for task in tasks:
            task.cancel()


async def test_more_in_total_and_less_for_each() -> None:
    """An endpoint that waited for a slot of the total is not given one that its own limit forbids now."""
    async with rig(total=1) as r:
        held = await r.lease()
        (task,) = await r.queue(1)
        r.pool.resize(Limits(1, 2))
        await turns(3)
        assert (r.of().open, task.done()) == (1, False)
        r.pool.release(held)
        r.pool.release(await task)


async def test_a_total_limit_comes_and_goes() -> None:
    """Its order is made of what is there: the least recently used of all endpoints go first."""
    async with rig() as r:
        channels = [(await r.shelved(1, endpoint))[0] for endpoint in (A, B, C)]
        r.pool.resize(Limits(total=2))
        await turns(2)
        assert [channel.retiring for channel in channels] == [SHRUNK, None, None]
        assert r.total.open == 2
        held = [await r.lease(B), await r.lease(B)]
        r.pool.resize(Limits())
        held.append(await r.lease(B))
        assert r.total.open == 3
        for channel in held:
            r.pool.release(channel)


async def test_max_waiting_holds_for_those_who_come() -> None:
    """Those who wait stay."""
    async with rig(limit=1) as r:
        channel = await r.lease()
        tasks = await r.queue(3)
        r.pool.resize(Limits(1, max_waiting=1))
        (refused,) = await r.queue(1)
        assert isinstance(refused.exception(), PoolFullError)
        for task in tasks:
            r.pool.release(channel)
            assert await task is channel
        r.pool.release(channel)


@pytest.mark.fault("P39")
async def test_resize_is_the_one_way() -> None:
    """`limit` cannot be set; resize changes what it is given, refuses what is no limit, and changes nothing then."""
    connector = FakeConnector(limit=2, limit_total=9, pool_timeout=1)
    with pytest.raises(AttributeError):
        connector.limit = 3  # type: ignore[misc]
    connector.resize(limit=3)
    assert connector.limits == Limits(3, 9, None, 1)
    (await connector.connect(TO_A)).release()
    connector.resize(limit=None, limit_total=None, max_waiting=4)
    assert (connector.limit, connector.limits) == (None, Limits(None, None, 4, 1))
    bad: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"limit": 0}, ValueError),
        ({"limit_total": "9"}, TypeError),
        ({"limit": 5, "max_waiting": -1}, ValueError),
    ]
    for change, error in bad:
        with pytest.raises(error, match=list(change)[-1]):
            connector.resize(**change)
    assert connector.limits == Limits(None, None, 4, 1)
    assert repr(UNCHANGED) == "UNCHANGED"
    await connector.close()


# close(drain=)


async def test_calls_in_flight_may_end() -> None:
    """Idle ones go now, waiters and newcomers are told, a call that ends in time is not cut."""
    async with rig(limit=2) as r:
        held, idle = await r.lease(), (await r.shelved(1))[0]
        other = r.pool.try_lease(A)
        assert other is idle
        tasks = await r.queue(1)
        r.pool.close(drain=5)
        await turns(1)
        assert isinstance(tasks[0].exception(), PoolClosedError)
        with pytest.raises(PoolClosedError):
            await r.pool.acquire(A)
        r.clock.advance(4.9)
        assert not held.was_told
        r.pool.release(held)
        assert (held.wire.ended_by, held.was_told, idle.was_told) == ("close", False, False)
        r.clock.advance(0.2)
        assert (idle.was_told, idle.wire.ended_by) == (True, "abort")
        await r.pool.wait_closed()


async def test_a_drain_that_is_over_early_ends_early() -> None:
    """With the last call; no timer is left."""
    async with rig() as r:
        held = await r.lease()
        r.pool.close(drain=1000)
        r.pool.release(held)
        await r.pool.wait_closed()
        assert (r.clock.timers, r.pool.is_draining) == (0, False)


@pytest.mark.parametrize("again", [None, 1.0, 100.0])
async def test_closing_again_hastens_the_end(again: float | None) -> None:
    """At once, or after the new time if that is earlier; never later."""
    async with rig() as r:
        held = await r.lease()
        r.pool.close(drain=10)
        r.pool.close(drain=again)
        assert held.was_told is (again is None)
        r.clock.advance(1)
        assert held.was_told is (again != 100.0)
        r.clock.advance(9)
        assert held.was_told


async def test_a_detached_connection_is_drained_too() -> None:
    """A WebSocket has the same time to end."""
    async with rig() as r:
        channel = await r.lease()
        r.pool.detach(channel)
        r.pool.close(drain=3)
        r.clock.advance(2)
        assert not channel.wire.is_closing()
        r.clock.advance(1)
        assert (channel.was_told, channel.wire.ended_by) == (True, "abort")


@pytest.mark.parametrize("drain", [None, 0])
async def test_no_time_is_no_drain(drain: float | None) -> None:
    """As close() without it."""
    connector = FakeConnector()
    held = await connector.connect(TO_A)
    closing = connector.close(drain=drain)
    assert held.closed
    assert connector.made[0].wire.ended_by == "abort"
    await closing


async def test_draining_a_connector() -> None:
    """Closed at once for newcomers; bad numbers are refused with nothing closed; waiting for it may be cancelled."""
    connector = FakeConnector()
    held = await connector.connect(TO_A)
    for bad, error in (("1", TypeError), (-1, ValueError)):
        with pytest.raises(error, match="drain"):
            connector.close(drain=bad)  # type: ignore[arg-type]
    assert not connector.closed

    async def close() -> None:
        await connector.close(drain=60)

    task = asyncio.ensure_future(close())
    await turns(2)
    task.cancel()
    await turns(2)
    assert (connector.closed, task.cancelled(), held.closed) == (True, True, False)
    with pytest.raises(PoolClosedError):
        await connector.connect(TO_A)
    await connector.close()
    assert held.closed and connector.stats().total.open == 0
