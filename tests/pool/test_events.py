"""Events: every change of a connection, told in order, at no cost while nobody listens."""

import asyncio
import gc
import logging
import weakref
from typing import Any

import pytest

from keepwarm.pool.connector import BaseConnector
from keepwarm.pool.errors import ConnectError
from keepwarm.pool.events import ConnectionEvent, Event, Events
from tests.support.fake_channels import A, B, Rig, rig

pytestmark = pytest.mark.asyncio


def heard_by(r: Rig) -> list[Any]:
    """What the pool tells from now on."""
    seen: list[Any] = []
    events = Events()
    events.subscribe(seen.append)
    events.attach(r.pool.hear)
    return seen


def told(seen: list[Any]) -> list[tuple[str, int | None, str | None]]:
    """(kind, connection, reason), and nothing of them is left."""
    assert all(type(event) is ConnectionEvent for event in seen)
    found = [(event.kind, event.connection, event.reason) for event in seen]
    seen.clear()
    return found


async def test_the_life_of_a_connection() -> None:
    """Dialled, leased, released, leased again, retired, lost: with its number, its age and its uses."""
    async with rig() as r:
        seen = heard_by(r)
        channel = await r.lease()
        r.clock.advance(2)
        r.pool.release(channel)
        await r.lease()
        r.pool.close_channel(channel, "drain")
        await channel.lost.wait()
        last = seen[-1]
        assert (last.endpoint, last.time, last.uses, last.age) == (A, r.clock.now(), 2, 2.0)
        assert seen[1].dial == channel.dial_times
        assert told(seen) == [
            ("dial_started", 1, None),
            ("dial_ended", 1, "connected"),
            ("leased", 1, None),
            ("released", 1, None),
            ("leased", 1, None),
            ("retired", 1, "drain"),
            ("lost", 1, "drain"),
        ]


async def test_a_connection_that_changes_hands() -> None:
    """Released by the one before it is leased by the other, so nobody ever holds what somebody holds."""
    async with rig(limit=1) as r:
        channel = await r.lease()
        (asked,) = await r.queue(1)
        seen = heard_by(r)
        r.pool.release(channel)
        await asked
        assert told(seen) == [("released", 1, None), ("leased", 1, None)]
        r.pool.detach(channel)
        assert told(seen) == [("detached", 1, None)]
        channel.wire.abort()
        await channel.lost.wait()
        assert [kind for kind, _, _ in told(seen)] == ["lost"]


async def test_how_dials_end() -> None:
    """With an error; given up because nobody wants it; because the pool is closed. Each has a number of its own."""
    async with rig(at_once=False) as r:
        seen = heard_by(r)
        (failing, leaving), (staying,) = await r.queue(2), await r.queue(1, B)
        error = ConnectError(111, "refused", endpoint=A)
        r.dials.made[0].fail(error)
        with pytest.raises(ConnectError):
            await failing
        ended = seen[-1]
        assert (ended.error, ended.dial.total) == (error, 0.0)
        leaving.cancel()
        await asyncio.wait([leaving])
        r.pool.close()
        await asyncio.wait([staying])
        await r.pool.wait_closed()
        assert told(seen) == [
            ("dial_started", 1, None),
            ("dial_started", 2, None),
            ("dial_started", 3, None),
            ("dial_ended", 1, "failed"),
            ("dial_ended", 2, "abandoned"),
            ("dial_ended", 3, "closed"),
        ]


async def test_what_the_peer_ends_is_lost_but_not_retired() -> None:
    """It was not us who let go."""
    async with rig() as r:
        (channel,) = await r.shelved(1)
        seen = heard_by(r)
        channel.wire.lose()
        await channel.lost.wait()
        assert told(seen) == [("lost", 1, "peer_fin")]


async def test_a_listener_that_raises_is_logged_once_and_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """The pool works on, and the others hear on."""

    def broken(event: Event) -> None:
        raise LookupError("not my day")

    async with rig() as r:
        seen: list[Event] = []
        events = Events()
        for listener in (broken, seen.append):
            events.subscribe(listener)
        events.attach(r.pool.hear)
        with caplog.at_level(logging.ERROR):
            r.pool.release(await r.lease())
        assert [event.kind for event in seen] == ["dial_started", "dial_ended", "leased", "released"]
        assert len(caplog.records) == 1 and "broken" in caplog.text and "not my day" in caplog.text
        assert r.total.idle == 1


async def test_the_pool_knows_of_listeners_only_while_there_are_any() -> None:
    """Before the first, after the last, and after one that raised, there is nobody to tell."""
    async with rig() as r:
        events = Events()
        events.attach(r.pool.hear)
        assert r.pool.observer is None and r.pool.events is None
        stop_one, stop_other = events.subscribe(print), events.subscribe(print)
        assert r.pool.observer is events and r.pool.events is events
        stop_one()
        stop_one()
        assert r.pool.observer is events
        stop_other()
        assert r.pool.observer is None and r.pool.events is None
        events.subscribe([].index)  # raises for any event
        r.pool.release(await r.lease())
        assert r.pool.observer is None


async def test_a_listener_must_be_callable() -> None:
    """Told at once, not at the first event."""
    with pytest.raises(TypeError, match="listener must be callable with one event, got 5"):
        Events().subscribe(5)  # type: ignore[arg-type]


async def test_a_listener_keeps_no_forgotten_connector_alive() -> None:
    """The pool knows the listeners, not the connector: a forgotten one must be found by the garbage collector."""
    connector = BaseConnector()
    pool = connector.pool()
    connector.subscribe(print)
    assert pool.observer is not None
    gone = weakref.ref(connector)
    del connector
    gc.collect()
    assert gone() is None and pool.closed
