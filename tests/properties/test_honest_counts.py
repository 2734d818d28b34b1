"""The numbers add up at every turn of the loop, whatever happens (law 4, law 9), and the events tell the same."""

import asyncio
import random
from collections import Counter

import pytest

from keepwarm.pool import states
from keepwarm.pool.connector import BaseConnector
from keepwarm.pool.errors import ClientError
from keepwarm.pool.events import ConnectionEvent, Event, Events
from keepwarm.pool.pool import Pool
from keepwarm.pool.stats import EndpointStats
from tests.support.fake_channels import A, B, C, FakeChannel, Rig, rig
from tests.support.leaks import turns

pytestmark = pytest.mark.asyncio

TURNS = 600
CALLERS = 12


def check(pool: Pool) -> None:
    """Each endpoint's states add up to what is open, and the endpoints to the total; nothing is below zero."""
    stats = pool.stats()
    for one in (stats.total, *stats.endpoints.values()):
        assert one.open == one.idle + one.leased + one.dialling + one.detached + one.closing
        assert min(one.open, one.idle, one.leased, one.dialling, one.detached, one.closing, one.waiting) >= 0
        assert one.dial_failures == sum(one.failures.values())
        assert one.reused <= one.leases
        assert one.age.count == one.uses.count == sum(one.retired.values())
        assert one.dials >= one.dial_failures + one.dial.count
    assert stats.total.open == sum(one.open for one in stats.endpoints.values()) == pool.open
    held = Counter(channel.state for channel in pool.channels)
    total = stats.total
    assert (total.idle, total.leased, total.detached) == tuple(
        held[state] for state in (states.IDLE, states.LEASED, states.DETACHED)
    )
    assert total.closing >= held[states.CLOSING]  # dials that were given up are among them


AFTER = {"leased": "leased", "released": "idle", "detached": "detached", "retired": "going", "dial_started": "going"}


class Mirror:
    """The same numbers, made of nothing but events."""

    def __init__(self, r: Rig) -> None:
        self._state: dict[int | None, str] = {}
        events = Events()
        events.subscribe(self._hear)
        events.attach(r.pool.hear)

    def _hear(self, event: Event) -> None:
        assert isinstance(event, ConnectionEvent)
        before, number = self._state.get(event.connection), event.connection
        if event.kind == "lost" or (event.kind == "dial_ended" and event.reason != "connected"):
            assert before is not None
            del self._state[number]
            return
        after = "idle" if event.kind == "dial_ended" else AFTER[event.kind]
        assert (before is None) is (event.kind == "dial_started")
        assert event.kind not in ("leased", "released") or before != after
        self._state[number] = after

    def check(self, total: EndpointStats) -> None:
        count = Counter(self._state.values())
        assert (count["idle"], count["leased"], count["detached"]) == (total.idle, total.leased, total.detached)
        assert count["going"] == total.dialling + total.closing


async def caller(r: Rig, chance: random.Random) -> None:
    """Leases for a few turns, and ends the lease in one of the ways there are."""
    while True:
        try:
            channel = await r.pool.acquire(chance.choice((A, B, C)), fresh=chance.random() < 0.1, pool_timeout=3)
        except ClientError:
            await asyncio.sleep(0)
            continue
        assert isinstance(channel, FakeChannel)
        try:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
        finally:
            end(r, channel, chance.randrange(8))


def end(r: Rig, channel: FakeChannel, how: int) -> None:
    if how == 0:
        r.pool.close_channel(channel, "error", politely=False)
    elif how == 1:
        r.pool.close_channel(channel, "drain")
    elif how == 2:
        channel.wire.lose()
    elif how == 3:
        r.pool.detach(channel)
        channel.wire.abort()
    elif how == 4:
        r.pool.retire(channel, "age")
        r.pool.release(channel)
    elif channel.state == states.LEASED:
        r.pool.release(channel)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("total", [None, 5], ids=["no-total", "total"])
async def test_the_numbers_add_up_at_every_turn(seed: int, total: int | None) -> None:
    """Callers come, wait, are cancelled; dials succeed, fail and are given up; peers hang up; time passes."""
    chance = random.Random(seed)
    async with rig(limit=3, total=total, at_once=False, conn_timeout=2) as r:
        mirror = Mirror(r)
        tasks = [asyncio.ensure_future(caller(r, chance)) for _ in range(CALLERS)]
        for turn in range(TURNS):
            await asyncio.sleep(0)
            check(r.pool)
            mirror.check(r.total)
            for dial in r.dials.pending:
                what = chance.random()
                if what < 0.3:
                    dial.succeed()
                elif what < 0.4:
                    dial.fail(OSError("no"))
            if turn % 7 == 0:
                victim = chance.randrange(CALLERS)
                tasks[victim].cancel()
                await asyncio.wait([tasks[victim]])
                tasks[victim] = asyncio.ensure_future(caller(r, chance))
            if turn % 11 == 0:
                r.clock.advance(chance.choice((0.1, 1, 31)))
            check(r.pool)
        served = r.total.leases
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        check(r.pool)
        r.pool.close()
        for _ in range(4):
            check(r.pool)
            mirror.check(r.total)
            await turns(1)
    assert served > 200
    assert r.total.dial_failures and r.total.wait.count and len(r.total.retired) >= 5


def test_a_connector_without_a_pool_has_only_zeros() -> None:
    """Before the first connect."""
    assert BaseConnector().stats().total == EndpointStats()
