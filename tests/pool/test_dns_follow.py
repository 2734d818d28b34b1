"""Names with open connections: looked up again in time, and connections to addresses that left are retired. Row D06."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from keepwarm.pool.address import MAX_PER_FAMILY, Answer
from keepwarm.pool.dns_follow import MOST_AT_ONCE, MOST_PAUSE
from keepwarm.pool.endpoint import make_endpoint
from keepwarm.pool.errors import DNSError
from tests.support.following import FollowRig, hosts
from tests.support.leaks import turns
from tests.support.resolvers import address

pytestmark = pytest.mark.asyncio

AWAY = DNSError(socket.EAI_AGAIN, "no name server answered")
GONE = DNSError(socket.EAI_NONAME, "the name does not exist")


@pytest_asyncio.fixture
async def eight(loop: asyncio.AbstractEventLoop) -> AsyncIterator[FollowRig]:
    """A name with eight addresses, TTL 1 s, and an idle connection to each."""
    rig = FollowRig(loop, *hosts(8))
    await rig.connected(8)
    assert rig.open == hosts(8) and rig.asked == 1
    yield rig
    await rig.close()


# Looked up again


async def test_one_lookup_a_ttl_for_all_connections(eight: FollowRig) -> None:
    """A name with connections is looked up when its answer ends, once, though nobody asks for it."""
    for count in range(1, 6):
        await eight.passes(1.0)
        assert eight.asked == 1 + count
    assert eight.cache.stats().refreshes == 5
    assert eight.open == hosts(8)


@pytest.mark.fault("D06")
async def test_a_new_address_is_there_for_the_next_dial(eight: FollowRig) -> None:
    """The dial after a change finds the new address, and does not wait for a lookup."""
    await eight.says(*hosts(9), after=1.0)
    misses = eight.cache.stats().misses
    await eight.lease(8)  # the idle ones
    assert set(await eight.lease(9)) == {*hosts(9)}
    assert eight.cache.stats().misses == misses


async def test_a_name_without_connections_is_not_asked_about(eight: FollowRig) -> None:
    """With the last connection the lookups end, and so does the timer; with the next one they begin again."""
    for channel in list(eight.pool.channels):
        eight.pool.close_channel(channel, "error", politely=False)
    await turns(3)
    assert eight.clock.timers == 0
    await eight.passes(10.0)
    assert eight.asked == 1
    await eight.connected(1)
    await eight.passes(1.0)
    assert eight.asked == 3


async def test_addresses_are_not_names(loop: asyncio.AbstractEventLoop) -> None:
    rig = FollowRig(loop)
    await rig.connected(1, make_endpoint("192.0.2.1"))
    assert rig.clock.timers == 0 and rig.asked == 0
    await rig.close()


async def test_detached_connections_keep_no_name_alive(loop: asyncio.AbstractEventLoop) -> None:
    """What was upgraded stays with its holder: it is not retired, and its name is not looked up for it."""
    rig = FollowRig(loop, "10.0.0.1")
    channel = (await rig.lease(1))["10.0.0.1"]
    rig.pool.detach(channel)
    for _ in range(5):
        await rig.says("10.0.0.2", after=2.0)
    assert rig.asked == 1 and channel.retiring is None
    await rig.close()


async def test_only_so_many_lookups_at_a_time(loop: asyncio.AbstractEventLoop) -> None:
    """Names whose answers end together are looked up sixteen at a time, and none is forgotten."""
    rig = FollowRig(loop, "10.0.0.1")
    names = [make_endpoint(f"h{number}.example") for number in range(3 * MOST_AT_ONCE)]
    for name in names:
        await rig.connected(1, name)
    rig.resolver.calls.clear()
    rig.resolver.gate = asyncio.Event()
    await rig.passes(1.0)
    assert rig.asked == MOST_AT_ONCE == rig.cache.stats().refreshing
    await rig.passes(0.2)
    assert rig.asked == MOST_AT_ONCE
    rig.resolver.gate.set()
    await turns(5)
    for _ in range(3):
        await rig.passes(0.05)
    assert {host for host, _, _ in rig.resolver.calls} == {name.host for name in names}
    await rig.close()


# Gone


@pytest.mark.fault("D06")
async def test_connections_to_a_gone_address_are_retired_within_two_seconds(eight: FollowRig) -> None:
    """TTL 1 s: a second and a half after an address left, its connection is closed; no other one is."""
    for gone in range(1, 9):
        left = [*hosts(8 - gone, gone + 1), *hosts(gone, 101)]
        await eight.says(*left, after=1.0)
        assert eight.retired == gone - 1  # one answer alone may be a part
        await eight.passes(0.5)
        assert eight.retired == gone
        assert eight.open == hosts(8 - gone, gone + 1)


@pytest.mark.fault("D06")
@pytest.mark.parametrize("pause", [0.1, 0.3, 1.0, 2.5])
async def test_a_rolling_restart_at_any_pace(pause: float, eight: FollowRig) -> None:
    """Eight servers leave the name, one after the other: no connection outlives its server's address by two seconds."""
    left: dict[str, float] = {}
    began = eight.clock.now()
    while eight.open:
        now = eight.clock.now()
        while len(left) < min(8.0, (now - began + 0.01) / pause):
            left[f"10.0.0.{len(left) + 1}"] = now
        await eight.says(*hosts(8 - len(left), len(left) + 1), *hosts(len(left), 101), after=0.1)
        overdue = {host for host, since in left.items() if eight.clock.now() - since > 2.0}
        assert not overdue.intersection(eight.open)
        assert set(eight.open) >= set(hosts(8)) - set(left)
    assert eight.retired == 8


@pytest.mark.fault("D06")
async def test_a_rolling_restart_to_the_same_addresses(eight: FollowRig) -> None:
    """Each of eight servers leaves the name for two seconds: its connection is gone by then, and no other one."""
    for number in range(1, 9):
        eight.resolver.says = Answer(tuple(address(host) for host in hosts(8) if host != f"10.0.0.{number}"), 1.0)
        for _ in range(20):
            await eight.passes(0.1)
        assert eight.open == hosts(8 - number, number + 1)


@pytest.mark.fault("D06")
async def test_a_move_to_other_addresses(eight: FollowRig) -> None:
    """All addresses change at once: after the second answer nothing leads to the old ones."""
    await eight.says(*hosts(8, 101), after=1.0)
    assert eight.open == hosts(8)
    await eight.passes(0.5)
    assert eight.open == [] and eight.retired == 8


@pytest.mark.fault("D06")
async def test_a_leased_connection_ends_its_use(loop: asyncio.AbstractEventLoop) -> None:
    """A connection in use to a gone address goes on until it comes back, and is not kept then."""
    rig = FollowRig(loop, *hosts(2))
    leased = await rig.lease(2)
    await rig.says("10.0.0.2", after=1.0)
    await rig.passes(0.5)
    assert rig.open == hosts(2) and rig.retired == 0
    for channel in leased.values():
        rig.pool.release(channel)
    assert rig.open == ["10.0.0.2"] and rig.retired == 1
    await rig.close()


async def test_one_answer_without_it_is_not_enough(eight: FollowRig) -> None:
    for _ in range(10):
        await eight.says(*hosts(7), after=1.0)
        await eight.says(*hosts(8), after=0.5)
    assert eight.open == hosts(8)


@pytest.mark.parametrize(("shown", "of"), [(8, 100), (8, 30), (2, 5)])
async def test_a_server_that_shows_a_part_at_random(shown: int, of: int, loop: asyncio.AbstractEventLoop) -> None:
    """Answers that have little in common retire nothing, for most of an hour."""
    rig = FollowRig(loop, *hosts(8), ttl=5.0)
    await rig.lease(8)
    dealer = random.Random(7)
    for _ in range(500):
        await rig.says(*dealer.sample(hosts(of), shown), after=5.0, ttl=5.0)
    assert not any(channel.retiring for channel in rig.pool.channels)
    await rig.close()


@pytest.mark.parametrize(("shown", "of"), [(1, 2), (3, 4)])
async def test_an_address_that_comes_and_goes_is_given_more_time(
    shown: int, of: int, loop: asyncio.AbstractEventLoop
) -> None:
    """A server that leaves out one of few addresses, by chance, does not cost a connection each time."""
    rig = FollowRig(loop, *hosts(of), ttl=5.0)
    dealer = random.Random(7)
    for _ in range(110):  # nothing is forgotten in less than ten minutes
        await rig.connected(of)
        await rig.says(*dealer.sample(hosts(of), shown), after=5.0, ttl=5.0)
    assert rig.retired <= of
    await rig.close()


async def answers_until_gone(rig: FollowRig) -> int:
    """How many answers must lack 10.0.0.4 before a connection to it is retired."""
    channels = await rig.lease(4)
    channel = channels["10.0.0.4"]
    count = 0
    while not channel.retiring:
        await rig.says(*hosts(3), after=5.0, ttl=5.0)
        count += 1
    for other in channels.values():
        rig.pool.close_channel(other, "error")
    await rig.says(*hosts(4), after=5.0, ttl=5.0)
    rig.cache.clear()
    return count


async def test_what_came_and_went_is_forgotten(loop: asyncio.AbstractEventLoop) -> None:
    """Two answers, then four, then eight; after ten minutes two do again."""
    rig = FollowRig(loop, *hosts(4), ttl=5.0)
    keeper = (await rig.lease(4))["10.0.0.1"]
    for channel in list(rig.pool.channels):
        if channel is not keeper:
            rig.pool.close_channel(channel, "error")
    await turns(5)
    rig.cache.clear()
    assert [await answers_until_gone(rig) for _ in range(3)] == [2, 4, 8]
    for _ in range(121):
        await rig.passes(5.0)
    rig.cache.clear()
    assert await answers_until_gone(rig) == 2
    await rig.close()


@pytest.mark.parametrize(("agreed", "needed"), [(10, 16), (31, 2)])
async def test_a_name_that_settles_is_believed_again(agreed: int, needed: int, loop: asyncio.AbstractEventLoop) -> None:
    """After answers without anything in common it takes more of them, until 32 in a row have agreed."""
    rig = FollowRig(loop, *hosts(4), ttl=5.0)
    channels = await rig.lease(4)
    for number in range(4):
        await rig.says(f"10.0.1.{number}", after=5.0, ttl=5.0)
    for _ in range(1 + agreed):
        await rig.says(*hosts(4), after=5.0, ttl=5.0)
    count = 0
    while not channels["10.0.0.4"].retiring:
        await rig.says(*hosts(3), after=5.0, ttl=5.0)
        count += 1
    assert count == needed
    await rig.close()


async def test_a_family_that_is_missing_says_nothing(loop: asyncio.AbstractEventLoop) -> None:
    """Half of a lookup may have failed: without any IPv6 address in the answer those connections stay."""
    rig = FollowRig(loop, "10.0.0.1", "::1")
    rig.resolver.says = Answer((address("::1"), address("10.0.0.1")), 1.0)
    leased = await rig.lease(1)
    assert set(leased) == {"::1"}
    for _ in range(5):
        await rig.says("10.0.0.1", after=1.0)
    assert rig.open == ["::1"] and not leased["::1"].retiring
    for _ in range(2):
        await rig.says("10.0.0.1", "::2", after=1.0)
    assert leased["::1"].retiring == "dns_gone"
    await rig.close()


async def test_a_list_that_was_cut_says_nothing(loop: asyncio.AbstractEventLoop) -> None:
    """Of more addresses than are kept, some are always missing."""
    rig = FollowRig(loop, "10.0.0.200")
    await rig.connected(1)
    for _ in range(5):
        await rig.says(*hosts(MAX_PER_FAMILY), after=1.0)
    assert rig.open == ["10.0.0.200"]
    await rig.says(*hosts(MAX_PER_FAMILY - 1), after=1.0)
    await rig.passes(1.0)
    assert rig.open == []
    await rig.close()


@pytest.mark.parametrize("ttl", [60.0, 20.0])
async def test_an_answer_out_of_a_cache_is_not_a_second_one(ttl: float, loop: asyncio.AbstractEventLoop) -> None:
    """A cache on the way repeats its answer with the time that is left of it: that confirms nothing."""
    rig = FollowRig(loop, "10.0.0.1", ttl=ttl)
    await rig.connected(1)
    await rig.says("10.0.0.2", after=ttl, ttl=ttl)
    await rig.says("10.0.0.2", after=ttl / 2, ttl=ttl / 2)
    assert rig.asked == 3 and rig.open == ["10.0.0.1"]
    await rig.says("10.0.0.2", after=ttl / 2, ttl=ttl)
    assert rig.asked == 4 and rig.open == []
    await rig.close()


# Failures


@pytest.mark.fault("D07", "D01")
@pytest.mark.parametrize("error", [AWAY, GONE, OSError("anything")])
async def test_failures_retire_nothing(error: Exception, eight: FollowRig) -> None:
    """No failure, and not even the news that the name is gone, costs a connection; lookups become rarer."""
    for _ in range(300):
        await eight.fails(error, after=1.0)
    assert eight.open == hosts(8)
    assert eight.asked <= 8 + 300 / MOST_PAUSE
    await eight.says(*hosts(7), after=MOST_PAUSE)
    await eight.passes(0.5)
    await eight.passes(0.5)
    assert eight.open == hosts(7)


async def test_a_lookup_that_hangs_is_not_repeated(eight: FollowRig) -> None:
    eight.resolver.gate = asyncio.Event()
    for _ in range(100):
        await eight.passes(1.0)
    assert eight.asked == 2
    eight.resolver.gate.set()


# The end


async def test_nothing_happens_after_close(eight: FollowRig) -> None:
    eight.follower.close()
    await eight.passes(10.0)
    assert eight.asked == 1
    eight.resolver.gate = None
    await eight.lease(9)  # one more than there are: its dial is not followed
    await eight.passes(10.0)
    assert eight.asked == 2


@pytest.mark.fault("D13")
async def test_an_answer_that_comes_with_the_end(loop: asyncio.AbstractEventLoop) -> None:
    """A renewal under way when everything is closed is cancelled, and its answer reaches nobody."""
    rig = FollowRig(loop, *hosts(2))
    await rig.connected(2)
    rig.resolver.gate = asyncio.Event()
    await rig.passes(1.0)
    rig.resolver.gate.set()
    await rig.close()
    await turns(3)
    assert rig.retired == 0
