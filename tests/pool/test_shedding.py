"""Shedding: its options, the pace it goes by, and whom it refuses."""

import pickle
from collections.abc import Coroutine
from typing import Any

import pytest

from keepwarm.pool.channel import Channel
from keepwarm.pool.connector import BaseConnector
from keepwarm.pool.errors import PoolClosedError, PoolFullError, PoolShedError
from keepwarm.pool.pace import Pace
from keepwarm.pool.shedding import Shedding, check_shed
from keepwarm.pool.tcp_connector import TCPConnector
from tests.support.fake_channels import A, B, FakeChannel, Rig, rig
from tests.support.leaks import turns
from tests.support.lines import lines
from tests.support.overload import Overload

# The options


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"window": 0}, ValueError, "window must be a positive number of seconds"),
        ({"window": float("inf")}, ValueError, "window must be a positive number"),
        ({"window": float("nan")}, ValueError, "window must be a positive number"),
        ({"window": "5"}, TypeError, "window must be a number"),
        ({"evidence": 0}, ValueError, "evidence must be at least 1"),
        ({"evidence": 2.5}, TypeError, "evidence must be a whole number"),
        ({"evidence": True}, TypeError, "evidence must be a number"),
        ({"headroom": 1}, ValueError, "headroom must be a share"),
        ({"headroom": -0.1}, ValueError, "headroom must be a share"),
        ({"headroom": None}, TypeError, "headroom must be a number"),
    ],
)
def test_what_is_refused(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Shedding(**options)


def test_how_it_is_given() -> None:
    """Off by default; True means the defaults."""
    assert check_shed(False) is check_shed(None) is None
    assert check_shed(True) == Shedding(window=10.0, evidence=5, headroom=0.1)
    assert check_shed(Shedding(3)) == Shedding(window=3)
    assert BaseConnector().limits.shed is None
    assert TCPConnector(shed=True).limits.shed == Shedding()
    for wrong in (1, "yes", 0.5):
        with pytest.raises(TypeError, match="shed must be True, False or a Shedding"):
            TCPConnector(shed=wrong)  # type: ignore[arg-type]


# The pace


def pace_of(*leases: tuple[float, float], options: Shedding | None = None) -> Pace:
    """A pace after leases that ended at these times and had lasted so long; somebody waits from 0 on."""
    pace = Pace(options or Shedding())
    pace.resume(0.0)
    for ended, held in leases:
        pace.advance(ended, held)
    return pace


def test_a_steady_pace() -> None:
    """Twenty in two seconds are ten a second; the hold is the average."""
    pace = pace_of(*[(number / 10, 0.5) for number in range(1, 21)])
    assert pace.per_second(2.0) == pytest.approx(10)
    assert pace.hold == pytest.approx(0.5)


def test_too_little_to_go_by() -> None:
    """The pace is known from the evidence on, and not for ever: it is forgotten in a silence."""
    assert Pace(Shedding()).per_second(5.0) is None
    assert Pace(Shedding()).hold == 0
    few = pace_of(*[(0.001 * number, 1.0) for number in range(1, 5)])
    assert few.per_second(0.004) is None
    few.advance(0.005, 1.0)
    few.advance(0.006, 1.0)
    assert few.per_second(0.006) == pytest.approx(1000, rel=0.01)
    assert few.per_second(0.5) == pytest.approx(12, rel=0.1)
    assert few.per_second(5.0) is None


def test_all_at_one_time() -> None:
    """No time has passed: that is no pace."""
    assert pace_of(*[(0.0, 1.0)] * 50).per_second(0.0) is None


def test_it_follows() -> None:
    """After three windows the old pace counts for a twentieth; what lies between two busy times for nothing."""
    pace = pace_of(*[(number / 100, 0.1) for number in range(1, 1001)], options=Shedding(window=2))
    assert pace.per_second(10.0) == pytest.approx(100, rel=0.01)
    pace.resume(1000.0)
    for number in range(1, 61):
        pace.advance(1000 + number / 10, 0.1)
    assert pace.per_second(1006.0) == pytest.approx(10, rel=0.5)
    silence = pace.per_second(1007.0)
    assert silence is not None
    assert silence < 12


def test_a_pause_is_not_counted() -> None:
    """Time in which nobody waits says nothing of what the endpoint can do."""
    pace = pace_of(*[(number / 100, 0.1) for number in range(1, 101)])
    before = pace.per_second(1.0)
    pace.resume(4.0)
    assert pace.per_second(4.0) == pytest.approx(before)


# Whom it refuses


async def paced(r: Rig, *, every: float = 0.1, times: int = 20) -> FakeChannel:
    """One connection that has been handed on so often, at that interval; somebody waits, and it is leased."""
    channel = await r.lease()
    await r.queue(1)
    for _ in range(times):
        r.clock.advance(every)
        await r.queue(1)
        r.pool.release(channel)
    await turns(2)
    return channel


@pytest.mark.asyncio
async def test_the_error() -> None:
    """At once, in the turn of the arrival, with what was estimated and from what; it is a PoolFullError."""
    async with rig(limit=1, shed=Shedding(headroom=0)) as r:
        await paced(r)
        await r.queue(9)
        assert r.of().waiting == 10
        late = r.ask(deadline=r.clock.now() + 1.05)
        fits = r.ask(deadline=r.clock.now() + 1.15)
        await turns(1)
        assert (late.done(), fits.done()) == (True, False)
        error = late.exception()
        assert isinstance(error, PoolShedError)
        assert isinstance(error, PoolFullError)
        assert (error.endpoint, error.phase) == (A, "wait")
        assert error.estimated_wait == pytest.approx(1.1)
        assert error.pace == pytest.approx(10)
        assert error.shortage is not None
        assert (error.shortage.waiting, error.shortage.leased, error.shortage.limit) == (10, 1, 1)
        assert str(error) == (
            "no connection to http://a.example:80 would come free in time: 10 wait for the limit already and 10 are "
            "served in a second, so it would take about 1.1 s, and the call can wait for 1.05 s: raise limit, give the "
            "call more time, or send less (limit 1, limit_total None, leased 1, idle 0, dialling 0, detached 0, "
            "closing 0, waiting 10, the oldest for 0 s; held longest: connection 1 to http://a.example:80 for 0 s)"
        )
        copy = pickle.loads(pickle.dumps(error))
        assert (copy.shortage, copy.pace, copy.estimated_wait) == (error.shortage, error.pace, error.estimated_wait)


@pytest.mark.asyncio
@pytest.mark.parametrize("limit_of_time", ["deadline", "pool_timeout", "answer_by"])
async def test_every_limit_of_time_counts(limit_of_time: str) -> None:
    """The queue must be over by the first of them; the answer needs the connection for a while besides."""
    async with rig(limit=1, shed=Shedding(headroom=0)) as r:
        await paced(r)
        await r.queue(4)
        # Five wait: the connection would come in 0.6 s, and a call has had it for 0.1 s.
        for seconds, is_refused in ((0.55, True), (0.65, limit_of_time == "answer_by"), (0.75, False)):
            when = seconds if limit_of_time == "pool_timeout" else r.clock.now() + seconds
            task = r.ask(**{limit_of_time: when})  # type: ignore[arg-type]
            await turns(2)
            assert task.done() is is_refused, seconds
            task.cancel()
            await turns(2)


@pytest.mark.asyncio
async def test_headroom() -> None:
    """A part of the call's time is not to be spent in the queue."""
    async with rig(limit=1, shed=Shedding(headroom=0.5)) as r:
        await paced(r)
        await r.queue(4)
        hasty, patient = r.ask(pool_timeout=1.15), r.ask(pool_timeout=1.25)
        await turns(2)
        assert (hasty.done(), patient.done()) == (True, False)


@pytest.mark.asyncio
async def test_whom_it_never_refuses() -> None:
    """Nobody without a deadline, nobody whom nobody waits before, nobody at an endpoint that is not known, and no
    request that is sent again."""
    async with rig(limit=1, shed=Shedding()) as r:
        channel = await paced(r)
        endless, again = r.ask(), r.ask(deadline=r.clock.now() + 0.01, fresh=True)
        await turns(2)
        assert not (endless.done() or again.done())
        again.cancel()
        await r.lease(B)
        hasty = [r.ask(B, deadline=r.clock.now() + 0.01) for _ in range(9)]
        await turns(2)
        assert not any(task.done() for task in hasty)
        while r.of().waiting:
            r.pool.release(channel)
        await turns(2)
        first = r.ask(deadline=r.clock.now() + 1e-6)
        await turns(2)
        assert not first.done()


@pytest.mark.asyncio
async def test_a_dial_of_ones_own() -> None:
    """Where the limit has room nobody is refused: what comes next is a dial, not the queue."""
    async with rig(limit=1, shed=Shedding(), per_host={"b.example": None}, at_once=False) as r:
        tasks = [r.ask(B, deadline=r.clock.now() + 0.01) for _ in range(50)]
        await turns(2)
        assert not any(task.done() for task in tasks)
        assert r.of(B).dialling == 50


@pytest.mark.asyncio
async def test_a_stall_is_no_reason() -> None:
    """When nothing moves for long the pace is not known any more, and callers wait as long as they can."""
    async with rig(limit=1, shed=Shedding(window=1)) as r:
        await paced(r, every=0.05)
        task = r.ask(deadline=r.clock.now() + 0.05)
        await turns(1)
        assert isinstance(task.exception(), PoolShedError)
        r.clock.advance(3)
        task = r.ask(deadline=r.clock.now() + 0.05)
        await turns(1)
        assert not task.done()


@pytest.mark.asyncio
async def test_one_long_lease_spoils_nothing() -> None:
    """An hour's download that ends says little of how long the next call takes."""
    async with rig(limit=2, shed=Shedding(headroom=0)) as r:
        long = await r.lease()
        r.clock.advance(3600)
        await paced(r)
        r.pool.release(long)
        await turns(2)
        task = r.ask(answer_by=r.clock.now() + 0.6)
        await turns(1)
        assert not task.done()


@pytest.mark.asyncio
async def test_connections_that_serve_once() -> None:
    """Where each call has a connection of its own, the pace is that of connections that end."""
    async with rig(limit=1, shed=Shedding(headroom=0)) as r:
        await r.lease()
        queued = await r.queue(20)
        for task in queued[:15]:
            r.clock.advance(0.1)
            (held,) = r.pool.channels
            r.pool.close_channel(held, "error", politely=False)
            await turns(4)
            assert task.done()
        hasty, patient = r.ask(deadline=r.clock.now() + 0.55), r.ask(deadline=r.clock.now() + 0.75)
        await turns(1)
        assert (hasty.done(), patient.done()) == (True, False)


@pytest.mark.asyncio
async def test_max_waiting_comes_first() -> None:
    """Both may refuse; the hard bound speaks."""
    async with rig(limit=1, shed=Shedding(), max_waiting=1) as r:
        channel = await r.lease()
        for _ in range(20):
            r.clock.advance(0.1)
            await r.queue(1)
            r.pool.release(channel)
        await turns(2)
        await r.queue(1)
        task = r.ask(deadline=r.clock.now() + 0.01)
        await turns(1)
        assert type(task.exception()) is PoolFullError


@pytest.mark.asyncio
@pytest.mark.fault("R09")
@pytest.mark.fault("G10")
async def test_a_refusal_costs_the_same_in_a_long_queue() -> None:
    """As many steps with two thousand callers in the queue as with twenty."""
    cost = []
    for waiting in (20, 2000):
        async with rig(limit=1, shed=Shedding()) as r:
            await paced(r)
            await r.queue(waiting)
            caller = r.pool.acquire(A, deadline=r.clock.now() + 0.1)

            def arrive(caller: Coroutine[Any, Any, Channel] = caller) -> None:
                with pytest.raises(PoolShedError):
                    caller.send(None)

            cost.append(lines(arrive))
    assert cost[1] <= cost[0] + 5


@pytest.mark.asyncio
@pytest.mark.fault("P47")
async def test_close_with_callers_waiting() -> None:
    """All of them are told in one turn that the connector is closed."""
    async with rig(limit=9, per_host={"*.example": 1}, shed=Shedding()) as r:
        await paced(r)
        tasks = await r.queue(100)
        r.pool.close()
        await turns(1)
        assert {type(task.exception()) for task in tasks} == {PoolClosedError}


# Overload


@pytest.mark.asyncio
@pytest.mark.parametrize(("limit", "service", "patience"), [(10, 0.1, 1.0), (1, 0.05, 1.0), (4, 0.5, 2.0)])
async def test_twice_the_capacity(limit: int, service: float, patience: float) -> None:
    """For ten seconds: who is refused is refused in the turn of its arrival, all others are answered in time and in
    order, the connections are never idle, and nothing is left."""
    async with rig(limit=limit, shed=Shedding()) as r:
        load = Overload(r, lambda: service, patience)
        await load.run(10, 2 * limit / service)
        assert set(load.outcomes) == {"answered", "PoolShedError"}
        assert [call.ended for call in load.refused] == [call.arrived for call in load.refused]
        assert [call.number for call in load.served] == sorted(call.number for call in load.served)
        assert load.outcomes["answered"] >= 10 * limit / service
        assert (r.of().idle, r.of().leased, r.of().waiting) == (limit, 0, 0)


@pytest.mark.asyncio
async def test_twice_the_capacity_without_shedding() -> None:
    """The same calls wait for as long as they have, and most answers come too late: what shedding is for."""
    async with rig(limit=10) as r:
        load = Overload(r, lambda: 0.1, 1.0)
        await load.run(10, 200)
        assert load.outcomes["answered"] < 0.25 * 1000
