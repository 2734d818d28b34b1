"""What the DNS cache keeps, for how long, and in which order. Rows D01, D06, D08, D12."""

import asyncio
import socket
import traceback
from types import MappingProxyType
from typing import Any

import pytest

from keepwarm.pool.address import Address, Answer
from keepwarm.pool.dns_entry import rotated
from keepwarm.pool.dns_options import UNKNOWN_TTL
from keepwarm.pool.endpoint import make_endpoint
from keepwarm.pool.errors import DNSError
from tests.support.fakes import FakeClock
from tests.support.leaks import turns
from tests.support.resolvers import V4, V6, ScriptedResolver, address, make_cache

pytestmark = pytest.mark.asyncio


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def resolver() -> ScriptedResolver:
    return ScriptedResolver("10.0.0.1")


# Answers and their age


async def test_a_kept_answer_is_not_asked_for_again(resolver: ScriptedResolver, clock: FakeClock) -> None:
    cache = make_cache(resolver, clock)
    assert await cache.lookup("a.example", 80) == (address("10.0.0.1"),)
    assert await cache.lookup("a.example", 80) == (address("10.0.0.1"),)
    assert resolver.calls == [("a.example", 80, 0)]


async def test_host_port_and_family_are_kept_apart(resolver: ScriptedResolver, clock: FakeClock) -> None:
    cache = make_cache(resolver, clock)
    for host, port, family in (("a.example", 80, 0), ("a.example", 81, 0), ("a.example", 80, V4), ("b.example", 80, 0)):
        await cache.lookup(host, port, family)
    assert len(resolver.calls) == 4


@pytest.mark.fault("D06")
@pytest.mark.parametrize(
    ("ttl", "holds"),
    [(2.0, 2.0), (0.0, 1.0), (0.4, 1.0), (60.0, 60.0), (86400.0, 60.0), (None, UNKNOWN_TTL)],
)
async def test_a_new_address_is_used_when_the_ttl_has_passed(ttl: float | None, holds: float, clock: FakeClock) -> None:
    """A changed record is used at the latest one TTL, within 1 s and 60 s, after the old one was read."""
    resolver = ScriptedResolver("10.0.0.1", ttl=ttl)
    cache = make_cache(resolver, clock)
    await cache.lookup("a.example", 80)
    resolver.says = Answer((address("10.0.0.2"),), ttl)
    clock.advance(holds - 0.01)
    assert await cache.lookup("a.example", 80) == (address("10.0.0.1"),)
    clock.advance(0.01)
    assert await cache.lookup("a.example", 80) == (address("10.0.0.2"),)


async def test_disabled_keeps_nothing(resolver: ScriptedResolver, clock: FakeClock) -> None:
    cache = make_cache(resolver, clock, enabled=False)
    await cache.lookup("a.example", 80)
    resolver.says = Answer((address("10.0.0.2"),), 60.0)
    assert await cache.lookup("a.example", 80) == (address("10.0.0.2"),)
    assert not cache.cached_hosts
    resolver.says = DNSError(socket.EAI_NONAME, "gone")
    for _ in range(2):
        with pytest.raises(DNSError):
            await cache.lookup("a.example", 80)
    assert len(resolver.calls) == 4


async def test_an_ip_address_is_answered_without_a_lookup(resolver: ScriptedResolver, clock: FakeClock) -> None:
    cache = make_cache(resolver, clock)
    assert await cache.lookup("fe80::1%lo", 80) == (Address("fe80::1%lo", 80, V6),)
    assert await cache.lookup("192.0.2.1", 80, V4) == (address("192.0.2.1"),)
    with pytest.raises(DNSError, match="IPv4 address, but only IPv6") as caught:
        await cache.lookup("192.0.2.1", 80, V6, endpoint=make_endpoint("192.0.2.1"))
    assert caught.value.endpoint == make_endpoint("192.0.2.1")
    assert not resolver.calls
    assert not cache.cached_hosts


# Order


def test_rotation_keeps_the_places_of_the_families() -> None:
    mixed = tuple(map(address, ("::1", "10.0.0.1", "::2", "10.0.0.2", "10.0.0.3")))
    assert [a.host for a in rotated(mixed)] == ["::2", "10.0.0.2", "::1", "10.0.0.3", "10.0.0.1"]
    assert rotated(()) == ()


async def test_each_lookup_starts_with_the_next_address(clock: FakeClock) -> None:
    cache = make_cache(ScriptedResolver("::1", "::2", "10.0.0.1", "10.0.0.2"), clock)
    orders = [[a.host for a in await cache.lookup("a.example", 80)] for _ in range(3)]
    assert orders == [
        ["::1", "::2", "10.0.0.1", "10.0.0.2"],
        ["::2", "::1", "10.0.0.2", "10.0.0.1"],
        ["::1", "::2", "10.0.0.1", "10.0.0.2"],
    ]


@pytest.mark.parametrize("enabled", [True, False])
async def test_callers_of_one_lookup_start_with_different_addresses(enabled: bool, clock: FakeClock) -> None:
    cache = make_cache(ScriptedResolver("10.0.0.1", "10.0.0.2", "10.0.0.3"), clock, enabled)
    answers = await asyncio.gather(*(cache.lookup("a.example", 80) for _ in range(3)))
    assert sorted(answer[0].host for answer in answers) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


# Failures


@pytest.mark.fault("D01")
async def test_a_failure_is_kept_for_half_a_second(resolver: ScriptedResolver, clock: FakeClock) -> None:
    """A failed lookup is not repeated within 0.5 s, and is afterwards: a name that comes back is found."""
    good = resolver.says
    resolver.says = DNSError(socket.EAI_NONAME, "no such name")
    cache = make_cache(resolver, clock)
    for _ in range(2):
        with pytest.raises(DNSError, match="no such name"):
            await cache.lookup("a.example", 80)
    assert len(resolver.calls) == 1
    assert not cache.cached_hosts
    resolver.says = good
    clock.advance(0.5)
    assert await cache.lookup("a.example", 80) == (address("10.0.0.1"),)


async def test_each_caller_gets_an_error_of_its_own(resolver: ScriptedResolver, clock: FakeClock) -> None:
    resolver.says = DNSError(socket.EAI_AGAIN, "later")
    cache = make_cache(resolver, clock)
    here, there = make_endpoint("a.example"), make_endpoint("a.example", 80, True)
    calls = [cache.lookup("a.example", 80, endpoint=here), cache.lookup("a.example", 80, endpoint=there)]
    errors: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
    for _ in range(3):  # kept ones too
        with pytest.raises(DNSError) as caught:
            await cache.lookup("a.example", 80)
        errors.append(caught.value)
    assert len({id(error) for error in [*errors, resolver.says]}) == 6
    assert [error.endpoint for error in errors] == [here, there, None, None, None]
    assert {(error.errno, error.phase) for error in errors} == {(socket.EAI_AGAIN, "resolve")}
    assert len({len(traceback.extract_tb(error.__traceback__)) for error in errors[2:]}) == 1


@pytest.mark.parametrize(
    ("raised", "number", "text"),
    [
        (OSError(24, "Too many open files"), 24, "OSError: .*Too many open files"),
        (KeyError("a\x1b[31m"), socket.EAI_FAIL, r"KeyError: .*x1b"),
    ],
)
async def test_what_a_foreign_resolver_raises_becomes_a_dns_error(
    raised: Exception, number: int, text: str, resolver: ScriptedResolver, clock: FakeClock
) -> None:
    resolver.says = raised
    cache = make_cache(resolver, clock)
    with pytest.raises(DNSError, match=text) as caught:
        await cache.lookup("a.example", 80)
    assert caught.value.errno == number
    assert caught.value.__cause__ is raised
    assert str(caught.value).isprintable()


async def test_an_empty_answer_is_a_failure(clock: FakeClock) -> None:
    cache = make_cache(ScriptedResolver(), clock)
    with pytest.raises(DNSError, match="found no address"):
        await cache.lookup("a.example", 80)


# The cache and its owner


@pytest.mark.fault("D12")
async def test_ten_thousand_names_stay_within_the_bound(resolver: ScriptedResolver, clock: FakeClock) -> None:
    """The cache holds at most max_entries names and gives up the one that was not used for longest."""
    cache = make_cache(resolver, clock, max_entries=100)
    await cache.lookup("kept.example", 80)
    for number in range(10_000):
        await cache.lookup(f"h{number}.example", 80)
        if number % 50 == 0:
            await cache.lookup("kept.example", 80)
    hosts = cache.cached_hosts
    assert len(hosts) == 100
    assert ("kept.example", 80) in hosts
    assert ("h9999.example", 80) in hosts
    assert ("h9000.example", 80) not in hosts
    assert resolver.calls.count(("kept.example", 80, 0)) == 1


@pytest.mark.fault("D12")
async def test_clear_forgets_one_entry_or_all(resolver: ScriptedResolver, clock: FakeClock) -> None:
    """clear(host, port) removes that entry, in all families; with one of the two missing it removes everything."""
    cache = make_cache(resolver, clock)

    async def fill() -> None:
        for host, family in (("a.example", 0), ("a.example", V4), ("b.example", 0)):
            await cache.lookup(host, 80, family)

    await fill()
    cache.clear("a.example", 80)
    assert set(cache.cached_hosts) == {("b.example", 80)}
    for arguments in ({}, {"host": "a.example"}, {"port": 80}):
        await fill()
        cache.clear(**arguments)
        assert not cache.cached_hosts


@pytest.mark.fault("D12")
@pytest.mark.parametrize("arguments", [(), ("a.example", 80)])
async def test_clear_cuts_off_the_lookup_in_flight(
    arguments: tuple[Any, ...], resolver: ScriptedResolver, clock: FakeClock
) -> None:
    """An answer asked for before clear() serves its callers, but nobody after it, and is not kept."""
    resolver.gate = asyncio.Event()
    cache = make_cache(resolver, clock)
    before = asyncio.ensure_future(cache.lookup("a.example", 80))
    await turns(2)
    cache.clear(*arguments)
    resolver.gate.set()
    assert await before == (address("10.0.0.1"),)
    assert not cache.cached_hosts


@pytest.mark.fault("D12")
async def test_nobody_joins_a_lookup_from_before_clear(resolver: ScriptedResolver, clock: FakeClock) -> None:
    """A lookup after clear() asks anew, though one from before is still in flight; its answer is the one kept."""
    resolver.gate = asyncio.Event()
    cache = make_cache(resolver, clock)
    before = asyncio.ensure_future(cache.lookup("a.example", 80))
    await turns(2)
    cache.clear()
    after = asyncio.ensure_future(cache.lookup("a.example", 80))
    await turns(2)
    resolver.gate.set()
    await asyncio.gather(before, after)
    await cache.lookup("a.example", 80)
    assert len(resolver.calls) == 2


async def test_cached_hosts_is_read_only_and_has_the_documented_keys(clock: FakeClock) -> None:
    cache = make_cache(ScriptedResolver("10.0.0.1", "::1"), clock)
    await cache.lookup("a.example", 80)
    hosts = cache.cached_hosts
    assert isinstance(hosts, MappingProxyType)
    flags, proto = int(socket.AI_NUMERICHOST), int(socket.IPPROTO_TCP)
    common = {"hostname": "a.example", "port": 80, "proto": proto, "flags": flags}
    entries = sorted(hosts["a.example", 80], key=lambda entry: str(entry["host"]))
    assert entries == [{**common, "host": "10.0.0.1", "family": V4}, {**common, "host": "::1", "family": V6}]
    clock.advance(60.0)
    assert not cache.cached_hosts


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"max_entries": 0}, "max_entries"),
        ({"max_entries": True}, "max_entries"),
        ({"min_ttl": -1.0}, "min_ttl"),
        ({"min_ttl": 61.0}, "min_ttl"),
        ({"max_ttl": float("nan")}, "max_ttl"),
        ({"negative_ttl": 1.5}, "negative_ttl"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], name: str, clock: FakeClock) -> None:
    with pytest.raises(ValueError, match=name):
        make_cache(ScriptedResolver(), clock, **options)


async def test_bad_questions_are_refused(resolver: ScriptedResolver, clock: FakeClock) -> None:
    cache = make_cache(resolver, clock)
    with pytest.raises(ValueError, match="family"):
        await cache.lookup("a.example", 80, int(socket.AF_UNIX))
    with pytest.raises(ValueError, match="port"):
        await cache.lookup("a.example", 65536)
    with pytest.raises(TypeError, match="host"):
        await cache.lookup(b"a.example", 80)  # type: ignore[arg-type]
    assert not resolver.calls
