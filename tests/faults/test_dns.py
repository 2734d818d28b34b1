"""FAULTS D01, D02, D06, D07, X17: a service behind a name, over real sockets and a scripted name server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from keepwarm.client.session import ClientSession
from keepwarm.pool.address import Answer
from keepwarm.pool.dns_options import DNSOptions
from keepwarm.pool.dns_stats import DNSStats
from keepwarm.pool.errors import DNSError
from keepwarm.pool.health import AddressHealth
from keepwarm.pool.proxy_connector import ProxyConnector
from tests.support.calling import PLAIN_AND_TLS, Conserved, fetch, numbers, serve, session
from tests.support.dialing import InOrder, until
from tests.support.fakes import FakeClock
from tests.support.leaks import turns
from tests.support.nameserver import NameServer
from tests.support.resolvers import ScriptedResolver, address
from tests.support.server import ScriptedServer

pytestmark = pytest.mark.asyncio

NAME = "pods.keepwarm.test"
EIGHT = [f"127.0.0.{number}" for number in range(1, 9)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The clock of every pool that the test makes."""
    clock = FakeClock()
    monkeypatch.setattr("keepwarm.pool.connector.Clock", lambda loop: clock)
    return clock


@pytest.fixture
def in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses with equal loads are taken in turn."""
    monkeypatch.setattr(
        "keepwarm.pool.tcp_connector.AddressHealth", lambda now, policy: AddressHealth(now, policy, InOrder())
    )


@asynccontextmanager
async def eight_servers() -> AsyncIterator[list[ScriptedServer]]:
    """One on each of eight addresses, all at the same port."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(ScriptedServer(host=EIGHT[0]))
        others = [ScriptedServer(host=host, port=first.port) for host in EIGHT[1:]]
        yield [first, *[await stack.enter_async_context(server) for server in others]]


def calls_through(dns: NameServer) -> ClientSession:
    return session(dns=DNSOptions(nameservers=[dns.address], timeout=0.2, tries=1))


async def answered(calls: ClientSession, lookups: int) -> None:
    """Wait until that many lookups have been answered, and the pool has drawn its conclusions."""
    assert calls.connector is not None
    connector = calls.connector
    await until(lambda: connector.stats().dns.lookups >= lookups and not connector.stats().dns.refreshing)


@pytest.mark.fault("D06")
async def test_a_rolling_restart_of_eight_servers(clock: FakeClock, in_turn: None) -> None:
    """TTL 1 s: each server leaves the name in turn; a second and a half later its connection is closed, and no call
    reaches it any more. The others keep theirs, and no call fails."""
    async with NameServer() as dns, eight_servers() as servers, calls_through(dns) as calls:
        dns.add(NAME, *EIGHT, ttl=1)
        url = f"http://{NAME}:{servers[0].port}/x"
        await asyncio.gather(*(fetch(calls, url) for _ in EIGHT))
        assert [server.open for server in servers] == [1] * 8
        for number, leaving in enumerate(servers):
            dns.add(NAME, *EIGHT[number + 1 :], *EIGHT[:number], ttl=1)
            clock.advance(1.0)
            await answered(calls, 2 * number + 2)
            assert leaving.open == 1  # one answer may be a part
            clock.advance(0.5)
            await answered(calls, 2 * number + 3)
            await leaving.until_idle()
            requests = len(leaving.requests)
            await asyncio.gather(*(fetch(calls, url) for _ in range(7 - number)))
            assert len(leaving.requests) == requests
            assert [server.open for server in servers] == [0] * (number + 1) + [1] * (7 - number)
            assert numbers(calls).retired == {"dns_gone": number + 1}
        await asyncio.gather(*(fetch(calls, url) for _ in EIGHT))
        assert [server.accepted > 1 for server in servers] == [True] * 7 + [False]
        assert numbers(calls).dial_failures == 0


@pytest.mark.fault("X17")
async def test_a_proxy_is_not_followed_for_its_targets(clock: FakeClock) -> None:
    """The address of a proxy says nothing about the targets behind it: their connections stay, their names unasked."""
    resolver = ScriptedResolver("127.0.0.1", ttl=1.0)
    async with ScriptedServer() as proxy:
        resolver.says = Answer((address("127.0.0.1", proxy.port),), 1.0)
        url = f"http://proxy.test:{proxy.port}"
        connector = ProxyConnector(url, force_close=False, resolver=resolver, dns=DNSOptions())
        async with session(connector) as calls:
            await fetch(calls, "http://target.test/x")
            resolver.says = Answer((address("127.0.0.2", proxy.port),), 1.0)
            for _ in range(5):
                clock.advance(1.0)
                await turns(3)
            assert resolver.calls == [("proxy.test", proxy.port, 0)]
            await fetch(calls, "http://target.test/x")
            assert proxy.accepted == 1 and not numbers(calls).retired


@PLAIN_AND_TLS
@pytest.mark.fault("D07")
async def test_a_name_server_that_falls_silent(tls: bool, clock: FakeClock) -> None:
    """Warm connections do not notice; new ones are made to the old address for a minute; then the failure is told."""
    async with NameServer() as dns, serve(tls=tls) as server, calls_through(dns) as calls:
        dns.add(NAME, "127.0.0.1", ttl=1)
        url = server.url("/x").replace("127.0.0.1", NAME)
        proof = Conserved(calls, server)
        assert await fetch(calls, url) == "/x"
        dns.mute(NAME)
        clock.advance(1.0)
        await answered(calls, 2)
        assert await fetch(calls, url) == "/x" and server.accepted == 1
        assert await fetch(calls, url, headers={"Connection": "close"}) == "/x"
        await server.until_idle()
        assert await fetch(calls, url, headers={"Connection": "close"}) == "/x" and server.accepted == 2
        await server.until_idle()
        clock.advance(60.0)
        with pytest.raises(DNSError, match="no name server answered"):
            await fetch(calls, url)
        dns.add(NAME, "127.0.0.1", ttl=1)
        clock.advance(1.0)
        assert await fetch(calls, url) == "/x"
        await proof.settled(idle=1)


@pytest.mark.fault("D01")
@pytest.mark.parametrize("rcode", ["NXDOMAIN", "SERVFAIL", "REFUSED"])
async def test_a_failure_is_forgotten_within_a_second(rcode: str, clock: FakeClock) -> None:
    """Calls that come together, or at once after a failure, share it; a second later the name server is asked again."""
    async with NameServer() as dns, serve() as server, calls_through(dns) as calls:
        dns.fail(NAME, rcode)
        url = server.url("/x").replace("127.0.0.1", NAME)
        outcomes = await asyncio.gather(*(fetch(calls, url) for _ in range(5)), return_exceptions=True)
        with pytest.raises(DNSError) as caught:
            await fetch(calls, url)
        assert {type(outcome) for outcome in outcomes} == {DNSError} and caught.value.phase == "resolve"
        asked = dns.count(NAME)
        assert numbers(calls).open == 0
        dns.add(NAME, "127.0.0.1")
        clock.advance(1.0)
        assert await fetch(calls, url) == "/x"
        assert dns.count(NAME) == asked + 1


@pytest.mark.fault("D02", "G11")
async def test_a_thousand_calls_to_a_cold_name(clock: FakeClock) -> None:
    """They put one question for each record type on the wire."""
    async with NameServer() as dns, serve() as server:
        dns.add(NAME, "127.0.0.1")
        dns.hold(NAME)
        options = DNSOptions(nameservers=[dns.address])
        async with session(dns=options, limit=50) as calls:
            url = server.url("/x").replace("127.0.0.1", NAME)
            many = asyncio.gather(*(fetch(calls, url) for _ in range(1000)))
            await dns.asked(NAME, qtype="A")
            await dns.asked(NAME, qtype="AAAA")
            dns.release(NAME)
            assert set(await many) == {"/x"}
            assert dns.queries == {(NAME, "A"): 1, (NAME, "AAAA"): 1}
            assert calls.connector is not None
            assert calls.connector.stats().dns == DNSStats(entries=1, misses=50, lookups=1)
