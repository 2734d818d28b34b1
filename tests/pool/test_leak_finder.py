"""LeakFinder: a lease that lasts too long is reported once, with the stack that took it."""

import asyncio
from typing import Any

import pytest

from keepwarm.pool.channel import Channel
from keepwarm.pool.connector import BaseConnector
from keepwarm.pool.errors import PoolTimeoutError
from keepwarm.pool.leak_finder import Leak, LeakFinder
from keepwarm.pool.tcp_connector import TCPConnector
from keepwarm.pool.unix_connector import UnixConnector
from tests.support.fake_channels import A, Rig, rig

pytestmark = pytest.mark.asyncio

AFTER = 10.0


def finding(r: Rig) -> list[Leak]:
    """What is reported from now on."""
    found: list[Leak] = []
    r.pool.find_leaks(LeakFinder(r.clock, AFTER, found.append))
    return found


async def careless_caller(r: Rig) -> Channel:
    return await r.lease()


async def test_a_lease_that_lasts_is_reported_once_with_its_stack() -> None:
    """At the threshold, not before, and never again."""
    async with rig() as r:
        found = finding(r)
        channel = await careless_caller(r)
        r.clock.advance(AFTER - 0.1)
        assert found == []
        r.clock.advance(0.1)
        (leak,) = found
        assert (leak.endpoint, leak.connection, leak.seconds) == (A, 1, pytest.approx(AFTER))
        assert "in careless_caller" in str(leak.stack) and "test_leak_finder.py" in str(leak.stack)
        assert "has been held for 10 s" in str(leak) and str(leak.stack) in str(leak)
        r.clock.advance(10 * AFTER)
        assert len(found) == 1
        r.pool.release(channel)


async def test_leases_that_end_in_time_are_not_reported() -> None:
    """Released, closed, detached or lost; and every lease has the whole time."""
    async with rig() as r:
        found = finding(r)
        for end in (r.pool.release, lambda c: r.pool.close_channel(c, "error"), r.pool.detach, lambda c: c.wire.lose()):
            channel = await r.lease()
            r.clock.advance(AFTER - 1)
            end(channel)
        for _ in range(3):
            channel = await r.lease()
            r.clock.advance(AFTER - 1)
            r.pool.release(channel)
        r.clock.advance(AFTER)
        assert found == []


async def test_several_leaks_each_at_its_time() -> None:
    """The one that ended in between is left out."""
    async with rig() as r:
        found = finding(r)
        held = []
        for _ in range(4):
            held.append(await r.lease())
            r.clock.advance(1)
        r.pool.release(held[1])
        r.clock.advance(AFTER - 4)
        assert [leak.connection for leak in found] == [1]
        r.clock.advance(2)
        assert [leak.connection for leak in found] == [1, 3]
        r.clock.advance(1)
        assert [leak.connection for leak in found] == [1, 3, 4]
        for channel in (held[0], held[2], held[3]):
            r.pool.release(channel)


async def test_whoever_hears_of_a_leak_may_end_the_others() -> None:
    """All leaks of one moment are reported, as they were at that moment."""
    async with rig() as r:
        held: list[Channel] = []
        found: list[Leak] = []

        def end_all(leak: Leak) -> None:
            found.append(leak)
            for channel in held:
                r.pool.close_channel(channel, "error")

        r.pool.find_leaks(LeakFinder(r.clock, AFTER, end_all))
        held += [await r.lease() for _ in range(3)]
        r.clock.advance(AFTER)
        assert [(leak.connection, leak.seconds) for leak in found] == [(n, pytest.approx(AFTER)) for n in (1, 2, 3)]


async def test_who_waited_for_the_connection_is_named_not_who_gave_it() -> None:
    """The stack is that of the caller who runs with it."""
    async with rig(limit=1) as r:
        found = finding(r)
        channel = await r.lease()

        async def patient_caller() -> Channel:
            return await r.pool.acquire(A)

        waiting = asyncio.ensure_future(patient_caller())
        await asyncio.sleep(0)
        r.pool.release(channel)
        await waiting
        r.clock.advance(AFTER)
        assert [
            ("patient_caller" in str(leak.stack), leak.stack.place.endswith("in patient_caller")) for leak in found
        ] == [(True, True)]
        r.pool.release(channel)


async def test_without_a_callback_it_is_a_warning() -> None:
    """A ResourceWarning that says where, what and what to do; an error of one report does not swallow the others."""
    async with rig() as r:
        r.pool.find_leaks(LeakFinder(r.clock, AFTER))
        held = [await careless_caller(r) for _ in range(2)]
        with pytest.warns(
            ResourceWarning, match="(?s)connection [12] to .*read the response.*in careless_caller"
        ) as caught:
            r.clock.advance(AFTER)
        assert len(caught) == 2
        for channel in held:
            r.pool.release(channel)


async def test_a_callback_that_raises_does_not_hide_the_other_leaks() -> None:
    """All are reported; the first error goes to whoever drives the clock: the loop's exception handler."""
    async with rig() as r:
        found: list[Leak] = []

        def report(leak: Leak) -> None:
            found.append(leak)
            raise LookupError(f"leak {leak.connection}")

        r.pool.find_leaks(LeakFinder(r.clock, AFTER, report))
        held = [await r.lease() for _ in range(2)]
        with pytest.raises(LookupError, match="leak 1"):
            r.clock.advance(AFTER)
        assert [leak.connection for leak in found] == [1, 2]
        for channel in held:
            r.pool.release(channel)


async def test_a_caller_who_waits_in_vain_is_told_who_holds_what_and_where() -> None:
    """The stack of the oldest holder is in the error, while leaks are looked for."""
    async with rig(limit=1) as r:
        finding(r)
        channel = await careless_caller(r)
        asked = r.ask(pool_timeout=1)
        await asyncio.sleep(0)
        r.clock.advance(1)
        with pytest.raises(PoolTimeoutError, match="careless_caller"):
            await asked
        r.pool.release(channel)


async def test_no_stack_is_taken_while_the_option_is_off() -> None:
    """Nothing watches, and nothing is kept."""
    async with rig() as r:
        channel = await r.lease()
        assert (r.pool.observer, r.pool.leaks, r.pool.trace()) == (None, None, None)
        r.pool.release(channel)


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"leak_after": -1}, ValueError, "leak_after must be 0 or None, or a positive number"),
        ({"leak_after": "5"}, TypeError, "leak_after must be a number of seconds"),
        ({"leak_after": 5, "on_leak": 5}, TypeError, "on_leak must be callable with a Leak"),
        ({"on_leak": print}, ValueError, "on_leak is never called without leak_after"),
    ],
)
async def test_options_are_checked(options: dict[str, Any], kind: type[Exception], text: str) -> None:
    """By every connector, before anything is opened."""
    for make in (BaseConnector, TCPConnector, lambda **given: UnixConnector("/nowhere", **given)):
        with pytest.raises(kind, match=text):
            make(**options)


async def test_the_option_reaches_the_pool() -> None:
    """And 0 is off, like None."""
    for make in (BaseConnector, TCPConnector, lambda **given: UnixConnector("/nowhere", **given)):
        async with make(leak_after=3) as connector:
            assert connector.pool().leaks is not None
        async with make(leak_after=0) as connector:
            assert connector.pool().leaks is None
