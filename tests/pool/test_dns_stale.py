"""Answers past their time, answers renewed before it, and what is counted. Rows D01, D06, D07, D12, D13."""

import asyncio
import socket

import pytest

from keepwarm.pool.address import Address, Answer
from keepwarm.pool.dns_cache import DNSCache
from keepwarm.pool.dns_flight import LONGEST, PATIENCE
from keepwarm.pool.dns_stats import DNSStats
from keepwarm.pool.errors import DNSError, PoolClosedError
from tests.support.fakes import FakeClock
from tests.support.leaks import turns
from tests.support.resolvers import ScriptedResolver, address, make_cache

pytestmark = pytest.mark.asyncio

AWAY = DNSError(socket.EAI_AGAIN, "no name server answered")
GONE = DNSError(socket.EAI_NONAME, "the name does not exist")
OLD, NEW = (address("10.0.0.1"),), (address("10.0.0.2"),)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def resolver() -> ScriptedResolver:
    return ScriptedResolver("10.0.0.1", ttl=10.0)


async def ended(cache: DNSCache, clock: FakeClock) -> None:
    """An answer is kept, and its time is over."""
    assert await cache.lookup("a.example", 80) == OLD
    clock.advance(10.0)


async def ask(cache: DNSCache) -> "asyncio.Task[tuple[Address, ...]]":
    task = asyncio.ensure_future(cache.lookup("a.example", 80))
    await turns(3)
    return task


# Lent


@pytest.mark.fault("D07")
async def test_an_old_answer_serves_while_the_name_server_fails(resolver: ScriptedResolver, clock: FakeClock) -> None:
    """For `stale_for` seconds after its end the old answer serves; then the failure is told."""
    cache = make_cache(resolver, clock, stale_for=60.0)
    await ended(cache, clock)
    resolver.says = AWAY
    for _ in range(59):
        assert await cache.lookup("a.example", 80) == OLD
        await turns(3)
        clock.advance(1.0)
    clock.advance(1.1)
    with pytest.raises(DNSError, match="no name server answered"):
        await cache.lookup("a.example", 80)
    assert cache.stats().stale == 59


@pytest.mark.fault("D06")
@pytest.mark.parametrize("late", [0.0, 59.0])
async def test_a_name_server_that_works_is_waited_for(
    late: float, resolver: ScriptedResolver, clock: FakeClock
) -> None:
    """However young the old answer is, nobody gets it if the new one comes in time."""
    cache = make_cache(resolver, clock, stale_for=60.0)
    await ended(cache, clock)
    clock.advance(late)
    resolver.says = Answer(NEW, 10.0)
    resolver.gate = asyncio.Event()
    task = await ask(cache)
    clock.advance(PATIENCE * 0.9)
    await turns(3)
    assert not task.done()
    resolver.gate.set()
    assert await task == NEW
    assert cache.stats().stale == 0 and clock.timers == 0


@pytest.mark.fault("D05")
async def test_a_slow_lookup_lends_the_old_answer_and_goes_on(resolver: ScriptedResolver, clock: FakeClock) -> None:
    """After a quarter of a second all who wait are served; later ones do not wait; the one lookup renews the answer."""
    cache = make_cache(resolver, clock)
    await ended(cache, clock)
    resolver.says = Answer(NEW, 10.0)
    resolver.gate = asyncio.Event()
    waiting = [await ask(cache) for _ in range(3)]
    clock.advance(PATIENCE)
    assert await asyncio.gather(*waiting) == [OLD] * 3
    assert await cache.lookup("a.example", 80) == OLD
    assert len(resolver.calls) == 2 and not resolver.cancelled
    assert cache.stats().refreshing == 1
    resolver.gate.set()
    await turns(3)
    assert await cache.lookup("a.example", 80) == NEW
    assert cache.stats() == DNSStats(entries=1, hits=1, misses=4, stale=4, lookups=2)


async def test_a_failing_name_is_asked_about_once_a_while(resolver: ScriptedResolver, clock: FakeClock) -> None:
    """While old answers are lent there is one lookup for each `negative_ttl`, and none waits for it."""
    cache = make_cache(resolver, clock, negative_ttl=0.5)
    await ended(cache, clock)
    resolver.says = AWAY
    assert await cache.lookup("a.example", 80) == OLD  # waits, and learns that it fails
    for _ in range(10):
        assert await cache.lookup("a.example", 80) == OLD
        await turns(3)
    assert len(resolver.calls) == 2
    clock.advance(0.5)
    resolver.says = Answer(NEW, 10.0)
    assert await cache.lookup("a.example", 80) == OLD  # is not kept waiting
    await turns(3)
    assert await cache.lookup("a.example", 80) == NEW
    assert len(resolver.calls) == 3


@pytest.mark.fault("D01")
@pytest.mark.parametrize("negative_ttl", [0.0, 0.5])
async def test_a_name_that_is_gone_is_gone(negative_ttl: float, resolver: ScriptedResolver, clock: FakeClock) -> None:
    """When the resolver says that the name does not exist the old answer is dropped, whatever comes after."""
    cache = make_cache(resolver, clock, negative_ttl=negative_ttl)
    await ended(cache, clock)
    resolver.says = GONE
    with pytest.raises(DNSError, match="does not exist"):
        await cache.lookup("a.example", 80)
    resolver.says = AWAY
    clock.advance(negative_ttl)
    with pytest.raises(DNSError, match="no name server answered"):
        await cache.lookup("a.example", 80)
    assert cache.stats().stale == 0


async def test_without_stale_for_a_failure_is_a_failure(resolver: ScriptedResolver, clock: FakeClock) -> None:
    cache = make_cache(resolver, clock, stale_for=0)
    await ended(cache, clock)
    resolver.says = AWAY
    with pytest.raises(DNSError, match="no name server answered"):
        await cache.lookup("a.example", 80)


@pytest.mark.fault("D12")
async def test_what_was_cleared_is_not_lent(resolver: ScriptedResolver, clock: FakeClock) -> None:
    """clear() forgets old answers too."""
    cache = make_cache(resolver, clock)
    await ended(cache, clock)
    cache.clear("a.example", 80)
    resolver.says = AWAY
    with pytest.raises(DNSError, match="no name server answered"):
        await cache.lookup("a.example", 80)


# Renewed early


async def test_a_hot_name_is_renewed_before_its_answer_ends(resolver: ScriptedResolver, clock: FakeClock) -> None:
    """From the fourth use on, the caller in the last tenth starts one lookup and waits for none."""
    cache = make_cache(resolver, clock, prefetch=4)
    for _ in range(4):
        await cache.lookup("a.example", 80)
    clock.advance(8.9)
    await cache.lookup("a.example", 80)
    await turns(3)
    assert len(resolver.calls) == 1
    clock.advance(0.2)
    resolver.gate = asyncio.Event()
    resolver.says = Answer(NEW, 10.0)
    for _ in range(5):
        assert await cache.lookup("a.example", 80) == OLD
        await turns(2)
    assert len(resolver.calls) == 2
    resolver.gate.set()
    await turns(3)
    clock.advance(1.0)  # past the end of the first answer
    assert await cache.lookup("a.example", 80) == NEW
    assert cache.stats() == DNSStats(entries=1, hits=10, misses=1, lookups=2, refreshes=1)


@pytest.mark.parametrize(("prefetch", "uses"), [(0, 20), (4, 3)])
async def test_a_name_that_is_not_hot_is_not_renewed(
    prefetch: int, uses: int, resolver: ScriptedResolver, clock: FakeClock
) -> None:
    cache = make_cache(resolver, clock, prefetch=prefetch)
    await cache.lookup("a.example", 80)
    clock.advance(9.5)
    for _ in range(uses):
        await cache.lookup("a.example", 80)
    await turns(3)
    assert len(resolver.calls) == 1


async def test_a_renewal_that_fails_changes_nothing(resolver: ScriptedResolver, clock: FakeClock) -> None:
    """The answer serves to its end, and the lookup is not repeated by each caller."""
    cache = make_cache(resolver, clock, prefetch=1, negative_ttl=0.5, stale_for=0)
    await cache.lookup("a.example", 80)
    clock.advance(9.2)
    resolver.says = AWAY
    for _ in range(10):
        assert await cache.lookup("a.example", 80) == OLD
        await turns(3)
    assert len(resolver.calls) == 2
    assert cache.stats().failures == 1


@pytest.mark.fault("D03")
async def test_a_renewal_outlives_the_callers_that_joined_it(resolver: ScriptedResolver, clock: FakeClock) -> None:
    """A caller that waits for a renewal and is cancelled does not take it along."""
    cache = make_cache(resolver, clock)
    resolver.gate = asyncio.Event()
    cache.refresh(("a.example", 80, 0))
    task = await ask(cache)
    task.cancel()
    await asyncio.wait([task])
    assert not resolver.cancelled
    resolver.gate.set()
    await turns(3)
    assert await cache.lookup("a.example", 80) == OLD
    assert len(resolver.calls) == 1


# The end


@pytest.mark.fault("D13")
async def test_close_ends_lookups_that_nobody_waits_for(resolver: ScriptedResolver, clock: FakeClock) -> None:
    """close() cancels renewals; no task and no timer stays, and nothing is looked up any more."""
    cache = make_cache(resolver, clock)
    await ended(cache, clock)
    resolver.gate = asyncio.Event()
    cache.refresh(("b.example", 80, 0))
    waiting = await ask(cache)
    assert clock.timers == 1
    cache.close()
    with pytest.raises(PoolClosedError):
        await waiting
    await turns(2)
    assert resolver.cancelled == 2 and clock.timers == 0
    cache.refresh(("c.example", 80, 0))
    await turns(2)
    assert len(resolver.calls) == 3


async def test_a_disabled_cache_refreshes_nothing(resolver: ScriptedResolver, clock: FakeClock) -> None:
    cache = make_cache(resolver, clock, enabled=False)
    cache.refresh(("a.example", 80, 0))
    await turns(2)
    assert not resolver.calls


async def test_failures_are_counted(resolver: ScriptedResolver, clock: FakeClock) -> None:
    cache = make_cache(resolver, clock)
    resolver.says = GONE
    for _ in range(3):
        with pytest.raises(DNSError):
            await cache.lookup("a.example", 80)
    assert cache.stats() == DNSStats(entries=1, misses=1, negative_hits=2, lookups=1, failures=1)
    await cache.lookup("192.0.2.1", 80)
    assert cache.stats().lookups == 1


# What a resolver of the caller's may return


@pytest.mark.fault("D16")
@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Answer((Address("b.example", 80, 2),), 1.0), "not an IP address"),
        (Answer((Address("10.0.0.1\r\nX: y", 80, 2),), 1.0), "not an IP address"),
        (Answer((Address("127.1", 80, 2),), 1.0), "not an IP address"),
        (Answer((Address("::1", 80, int(socket.AF_INET)),), 1.0), "not an IP address of family"),
        (Answer((Address("10.0.0.1", 65536, int(socket.AF_INET)),), 1.0), "the port 65536"),
        (Answer(("10.0.0.1",), 1.0), "gave str, not an Address"),  # type: ignore[arg-type]
        (["10.0.0.1"], "returned list, not an Answer"),
        (None, "returned NoneType, not an Answer"),
    ],
)
async def test_an_answer_that_is_none_is_refused(answer: object, text: str, clock: FakeClock) -> None:
    """Whatever a resolver returns, only IP addresses are dialled; the error says what came instead."""
    resolver = ScriptedResolver()
    resolver.says = answer  # type: ignore[assignment]
    with pytest.raises(DNSError, match=text) as caught:
        await make_cache(resolver, clock).lookup("a.example", 80)
    assert str(caught.value).isprintable()


@pytest.mark.fault("D17")
async def test_ten_thousand_addresses_are_cut(clock: FakeClock) -> None:
    """No resolver can make a dial try, or the cache keep, more than 32 addresses of a family."""
    many = tuple(address(f"10.1.{n // 256}.{n % 256}") for n in range(10_000))
    resolver = ScriptedResolver()
    resolver.says = Answer((*many, *many, address("::1")), 60.0)
    assert len(await make_cache(resolver, clock).lookup("a.example", 80)) == 33


@pytest.mark.parametrize("ttl", [float("nan"), "60", True])
async def test_a_ttl_that_is_no_number_is_not_known(ttl: object, clock: FakeClock) -> None:
    resolver = ScriptedResolver()
    resolver.says = Answer(OLD, ttl)  # type: ignore[arg-type]
    cache = make_cache(resolver, clock)
    await cache.lookup("a.example", 80)
    clock.advance(29.9)
    await cache.lookup("a.example", 80)
    assert len(resolver.calls) == 1
    clock.advance(0.1)
    await cache.lookup("a.example", 80)
    assert len(resolver.calls) == 2


# Lookups that never end


@pytest.mark.fault("D07")
async def test_a_lookup_that_is_lost_is_given_up(resolver: ScriptedResolver, clock: FakeClock) -> None:
    """Everybody who asks joins the lookup under way. Were it never given up, one that the resolver has lost would make
    the name unusable for ever."""
    cache = make_cache(resolver, clock)
    resolver.gate = asyncio.Event()
    first = await ask(cache)
    clock.advance(LONGEST - 1.0)
    second = await ask(cache)
    clock.advance(1.0)
    for task in (first, second):
        with pytest.raises(DNSError, match="has not answered for 120 s"):
            await task
    assert (resolver.cancelled, len(resolver.calls)) == (1, 1)
    resolver.gate = None
    clock.advance(1.0)  # the failure is remembered for half a second
    assert await cache.lookup("a.example", 80) == OLD
    assert (cache.stats().failures, cache.stats().lookups, cache.refreshing) == (1, 2, 0)


@pytest.mark.fault("D07")
async def test_a_lost_lookup_whose_answer_is_lent(resolver: ScriptedResolver, clock: FakeClock) -> None:
    """As long as the old answer may serve it does; then callers wait for the new lookup, not for the lost one."""
    cache = make_cache(resolver, clock, stale_for=200.0)
    await ended(cache, clock)
    resolver.gate = asyncio.Event()
    first = await ask(cache)
    clock.advance(PATIENCE)
    assert await first == OLD and cache.refreshing == 1
    clock.advance(LONGEST - PATIENCE)
    await turns(3)
    assert (resolver.cancelled, cache.refreshing) == (1, 0)
    resolver.gate, resolver.says = None, Answer(NEW, 10.0)
    clock.advance(1.0)
    assert await cache.lookup("a.example", 80) == OLD  # it fails, as far as is known: nobody waits for the next try
    await turns(3)
    assert await cache.lookup("a.example", 80) == NEW


@pytest.mark.fault("D07")
async def test_a_lost_lookup_without_the_cache(resolver: ScriptedResolver, clock: FakeClock) -> None:
    """Lookups are shared there too."""
    cache = make_cache(resolver, clock, enabled=False)
    resolver.gate = asyncio.Event()
    first = await ask(cache)
    clock.advance(LONGEST)
    with pytest.raises(DNSError, match="has not answered"):
        await first
    resolver.gate = None
    assert await cache.lookup("a.example", 80) == OLD
