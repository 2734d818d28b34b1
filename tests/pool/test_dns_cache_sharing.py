"""Many callers of one lookup, callers that go away, and close(). Rows D02, D03, D13, D14, P06, G11."""

import asyncio
from typing import Any

import pytest

from keepwarm.pool.address import Answer
from keepwarm.pool.endpoint import make_endpoint
from keepwarm.pool.errors import DNSError, PoolClosedError
from keepwarm.pool.resolver import AsyncResolver
from tests.support.fakes import FakeClock
from tests.support.leaks import turns
from tests.support.nameserver import NameServer
from tests.support.resolvers import ScriptedResolver, address, make_cache

pytestmark = pytest.mark.asyncio


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def resolver() -> ScriptedResolver:
    return ScriptedResolver("10.0.0.1")


# Many at once


@pytest.mark.fault("D02", "G11")
@pytest.mark.parametrize("enabled", [True, False])
async def test_a_stampede_makes_one_query(enabled: bool, clock: FakeClock) -> None:
    """1,000 tasks with a cold cache put one question for each record type on the wire, with and without caching."""
    async with NameServer() as dns:
        dns.add("a.example", "10.0.0.1")
        resolver = AsyncResolver([dns.address])
        cache = make_cache(resolver, clock, enabled)
        answers = await asyncio.gather(*(cache.lookup("a.example", 80) for _ in range(1000)))
        cache.close()
        resolver.close()
        assert set(answers) == {(address("10.0.0.1"),)}
        assert dns.queries == {("a.example", "A"): 1, ("a.example", "AAAA"): 1}


@pytest.mark.fault("D03", "P06")
@pytest.mark.parametrize("victim", [0, 1, 2])
async def test_one_cancelled_caller_takes_nobody_with_it(
    victim: int, resolver: ScriptedResolver, clock: FakeClock
) -> None:
    """Whichever of the callers is cancelled, the first one too, the others get the answer of the same lookup."""
    resolver.gate = asyncio.Event()
    cache = make_cache(resolver, clock)
    tasks = [asyncio.ensure_future(cache.lookup("a.example", 80)) for _ in range(3)]
    await turns(2)
    tasks[victim].cancel()
    await turns(2)
    assert tasks[victim].cancelled()
    resolver.gate.set()
    rest = [task for task in tasks if task is not tasks[victim]]
    assert await asyncio.gather(*rest) == [(address("10.0.0.1"),)] * 2
    assert len(resolver.calls) == 1
    assert not resolver.cancelled


@pytest.mark.fault("P06")
async def test_the_last_caller_to_go_cancels_the_lookup(resolver: ScriptedResolver, clock: FakeClock) -> None:
    """A lookup that nobody waits for any more is cancelled; the next caller starts a new one."""
    resolver.gate = asyncio.Event()
    cache = make_cache(resolver, clock)
    tasks = [asyncio.ensure_future(cache.lookup("a.example", 80)) for _ in range(2)]
    await turns(2)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    late = asyncio.ensure_future(cache.lookup("a.example", 80))
    await turns(2)
    assert resolver.cancelled == 1
    resolver.gate.set()
    assert await late == (address("10.0.0.1"),)
    assert len(resolver.calls) == 2


async def test_cancelled_in_the_turn_of_the_answer(resolver: ScriptedResolver, clock: FakeClock) -> None:
    resolver.gate = asyncio.Event()
    cache = make_cache(resolver, clock)
    tasks = [asyncio.ensure_future(cache.lookup("a.example", 80)) for _ in range(2)]
    await turns(2)
    resolver.gate.set()
    for _ in range(10):
        await asyncio.sleep(0)
        if cache.cached_hosts:
            break
    # The callers' futures are done. Whether the first caller has run as well depends on the loop.
    cancelled = tasks[0].cancel()
    await asyncio.wait(tasks)
    assert tasks[0].cancelled() is cancelled
    assert tasks[1].result() == (address("10.0.0.1"),)


async def test_a_lookup_cancelled_from_outside_fails_its_callers(resolver: ScriptedResolver, clock: FakeClock) -> None:
    resolver.says = asyncio.CancelledError()
    cache = make_cache(resolver, clock)
    with pytest.raises(DNSError, match="the lookup was cancelled"):
        await cache.lookup("a.example", 80)
    resolver.says = Answer((address("10.0.0.1"),), 60.0)
    assert await cache.lookup("a.example", 80)


# Closing


@pytest.mark.fault("D13")
async def test_close_during_a_lookup(
    resolver: ScriptedResolver, clock: FakeClock, loop: asyncio.AbstractEventLoop
) -> None:
    """close() is synchronous: callers get PoolClosedError, the lookup is cancelled, no timer or task stays."""
    resolver.gate = asyncio.Event()
    cache = make_cache(resolver, clock)
    endpoint = make_endpoint("a.example")
    callers = [asyncio.ensure_future(cache.lookup("a.example", 80, endpoint=endpoint)) for _ in range(3)]
    await turns(2)
    cache.clear()  # a lookup that was cut off is cancelled too
    callers.append(asyncio.ensure_future(cache.lookup("a.example", 80, endpoint=endpoint)))
    await turns(2)
    cache.close()
    cache.close()
    for outcome in await asyncio.gather(*callers, return_exceptions=True):
        assert isinstance(outcome, PoolClosedError)
        assert outcome.endpoint == endpoint
        assert outcome.phase == "resolve"
    assert resolver.cancelled == 2
    assert clock.scheduler.timers == 0
    with pytest.raises(PoolClosedError):
        await cache.lookup("b.example", 80)
    assert len(resolver.calls) == 2


@pytest.mark.fault("D13")
async def test_close_in_the_turn_of_the_answer(
    resolver: ScriptedResolver, clock: FakeClock, loop: asyncio.AbstractEventLoop
) -> None:
    """An answer that arrives with close() reaches nobody, and is not put into a closed cache."""
    cache = make_cache(resolver, clock)
    # Runs after the lookup has returned, but before the cache hears of it.
    resolver.on_call = lambda: loop.call_soon(cache.close)
    with pytest.raises(PoolClosedError):
        await cache.lookup("a.example", 80)
    assert not cache.cached_hosts


@pytest.mark.fault("D14")
def test_close_after_the_loop_has_closed(clock: FakeClock) -> None:
    """A cache whose loop closed with a lookup pending can still be closed."""
    loop = asyncio.new_event_loop()
    resolver = ScriptedResolver("10.0.0.1")
    cache = make_cache(resolver, clock)

    async def start() -> "asyncio.Task[Any]":
        resolver.gate = asyncio.Event()
        caller = asyncio.ensure_future(cache.lookup("a.example", 80))
        await turns(2)
        return caller

    caller = loop.run_until_complete(start())
    left = asyncio.all_tasks(loop)
    for task in left:
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # this test leaves them on purpose
    loop.close()
    cache.close()
    assert cache.closed
    assert not caller.done()
