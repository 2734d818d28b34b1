"""Arrivals at twice the capacity, by the count: who is refused hears at once, who is served is served in order."""

import asyncio
from dataclasses import dataclass, field

import pytest

from keepwarm.pool.channel import Channel
from keepwarm.pool.errors import ClientTimeoutError, PoolFullError, PoolTimeoutError
from tests.support.fake_channels import A, Rig, rig
from tests.support.leaks import turns

pytestmark = pytest.mark.asyncio

TICK = 0.1
# Ten connections, each busy for a tick: a hundred calls a second. Two hundred arrive, for ten seconds.
LIMIT = 10
ARRIVALS = 20
TICKS = 100


@dataclass
class Outcome:
    """Numbers of calls, in the order in which they were served or refused, and at what tick."""

    served: list[int] = field(default_factory=list)
    refused: dict[int, tuple[float, BaseException]] = field(default_factory=dict)
    arrived: dict[int, float] = field(default_factory=dict)


async def overload(r: Rig, *, deadline: float | None = None) -> Outcome:
    """Twenty calls a tick, of which ten can be served; each holds its connection for one tick."""
    outcome = Outcome()
    held: list[Channel] = []

    async def call(number: int) -> None:
        now = r.clock.now()
        outcome.arrived[number] = now
        try:
            ends = {} if deadline is None else {"deadline": now + deadline}
            channel = await r.pool.acquire(A, **ends)
        except (PoolFullError, ClientTimeoutError) as error:
            outcome.refused[number] = (r.clock.now(), error)
        else:
            outcome.served.append(number)
            held.append(channel)

    tasks: list[asyncio.Task[None]] = []
    number = 0
    for tick in range(TICKS + TICKS):
        if tick < TICKS:
            for _ in range(ARRIVALS):
                tasks.append(asyncio.create_task(call(number)))
                number += 1
        await turns(4)
        ended, held[:] = list(held), []
        for channel in ended:
            r.pool.release(channel)
        await turns(2)
        r.clock.advance(TICK)
        await turns(2)
        if tick >= TICKS and all(task.done() for task in tasks) and not held:
            break
    await asyncio.gather(*tasks)
    return outcome


def check(r: Rig, outcome: Outcome) -> None:
    """Everybody heard, in order, and nothing is left."""
    calls = TICKS * ARRIVALS
    assert sorted([*outcome.served, *outcome.refused]) == list(range(calls))
    assert outcome.served == sorted(outcome.served)
    # The capacity was used to the full while there was more than enough to do.
    assert len(outcome.served) >= TICKS * LIMIT
    numbers = r.of()
    assert (numbers.leased, numbers.waiting, numbers.dialling, numbers.open) == (0, 0, 0, numbers.idle)
    assert numbers.open <= LIMIT
    assert r.clock.timers <= 1


async def test_a_bounded_queue_refuses_at_once() -> None:
    """max_waiting: a call that finds the queue full is told in the moment in which it arrives."""
    async with rig(limit=LIMIT, max_waiting=30) as r:
        outcome = await overload(r)
        check(r, outcome)
        assert len(outcome.refused) > TICKS * (ARRIVALS - LIMIT) * 0.9
        for number, (when, error) in outcome.refused.items():
            assert isinstance(error, PoolFullError)
            assert when == outcome.arrived[number]


async def test_a_bounded_wait_refuses_when_it_is_over() -> None:
    """pool_timeout: whoever waits in vain is told when the time is over, within a tick, and nobody waits for longer."""
    async with rig(limit=LIMIT, pool_timeout=0.5) as r:
        outcome = await overload(r)
        check(r, outcome)
        for number, (when, error) in outcome.refused.items():
            assert isinstance(error, PoolTimeoutError)
            assert 0.5 <= when - outcome.arrived[number] <= 0.5 + TICK


async def test_a_deadline_of_the_call_is_kept() -> None:
    """The call's own time limit ends its wait as well."""
    async with rig(limit=LIMIT) as r:
        outcome = await overload(r, deadline=0.5)
        check(r, outcome)
        assert outcome.refused
        for number, (when, _) in outcome.refused.items():
            assert 0.5 <= when - outcome.arrived[number] <= 0.5 + TICK
