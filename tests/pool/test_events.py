"""Events: every change of a connection, told in order, at no cost while nobody listens."""

import asyncio
import gc
import logging
import warnings
import weakref
from typing import Any

import pytest

from keepwarm.pool.connector import BaseConnector
from keepwarm.pool.errors import ConnectError
from keepwarm.pool.events import ConnectionEvent, Event, Events
from tests.support.fake_channels import A, B, Rig, rig
from tests.support.fake_connector import TO_A, FakeConnector
from tests.support.leaks import turns

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


# Listeners that misbehave


@pytest.mark.parametrize("kind", ["dial_started", "dial_ended", "leased", "released", "retired", "lost"])
@pytest.mark.parametrize(
    "change",
    [
        lambda connector: connector.close(),
        lambda connector: connector.close(drain=1),
        lambda connector: connector.expire(),
        lambda connector: connector.suspend(),
        lambda connector: connector.resize(limit=2),
        lambda connector: connector.warm("http://a.example/").send(None),
    ],
    ids=["close", "drain", "expire", "suspend", "resize", "warm"],
)
async def test_a_listener_cannot_change_the_connector(kind: str, change: Any) -> None:
    """It is refused with what to do instead, nothing is done, and the books are right to the end."""
    connector = FakeConnector(limit=1)
    refusals: list[RuntimeError] = []

    def heard(event: Event) -> None:
        if event.kind == kind:
            with pytest.raises(RuntimeError, match="call_soon") as caught:
                change(connector)
            refusals.append(caught.value)

    connector.subscribe(heard)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "coroutine .* was never awaited")
        (await connector.connect(TO_A)).release()
        (await connector.connect(TO_A)).close()
        await turns(3)
    assert refusals
    assert (connector.closed, connector.suspended, connector.limit) == (False, False, 1)
    await connector.close()
    assert (connector.stats().total.open, connector.stats().endpoints) == (0, {})


async def test_a_listener_that_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    """What `result()` of a cancelled task raises ends the listener, not what it was told of."""
    async with rig() as r:
        events = Events()
        cancelled = r.loop.create_future()
        cancelled.cancel()
        events.subscribe(lambda event: cancelled.result())
        events.attach(r.pool.hear)
        channel = await r.lease()
        r.pool.release(channel)
        assert (r.of().open, r.of().idle, r.pool.observer) == (1, 1, None)
    assert "was unsubscribed" in caplog.text


async def test_a_subscription_ends_at_once() -> None:
    """One listener ends that of another, who is not told of the event that is being told."""
    async with rig() as r:
        events = Events()
        seen: list[Event] = []
        ends: list[Any] = []
        events.subscribe(lambda event: ends[0]())
        ends.append(events.subscribe(seen.append))
        events.attach(r.pool.hear)
        r.pool.release(await r.lease())
        assert seen == []
