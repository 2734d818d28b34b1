"""dnsmasq as the name server: changing records, a short TTL, silence. Questions are counted in its own log."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from keepwarm.client.session import ClientSession
from keepwarm.pool.dns_options import DNSOptions
from keepwarm.pool.errors import DNSError
from keepwarm.pool.tcp_connector import TCPConnector
from tests.real.dnsmasq import TTL, ZONE, Dnsmasq, running_dnsmasq
from tests.support.dialing import until
from tests.support.fakes import FakeClock
from tests.support.server import ScriptedServer

pytestmark = pytest.mark.asyncio


@pytest.fixture(scope="module")
def dnsmasq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dnsmasq]:
    with running_dnsmasq(tmp_path_factory.mktemp("dnsmasq")) as server:
        yield server


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The clock of every pool that the test makes. The name server has the real one."""
    clock = FakeClock()
    monkeypatch.setattr("keepwarm.pool.connector.Clock", lambda loop: clock)
    return clock


class Service:
    """A session that asks dnsmasq for `name`, and servers on 127.0.0.1, .2, ... that are meant by it."""

    def __init__(self, name: str, session: ClientSession, connector: TCPConnector, servers: list[ScriptedServer]):
        self.session = session
        self.connector = connector
        self.servers = servers
        self.url = f"http://{name}.{ZONE}:{servers[0].port}/"

    async def call(self, **headers: str) -> int:
        async with self.session.get(self.url, headers=headers) as response:
            await response.read()
            return response.status

    async def looked_up(self, times: int) -> None:
        """Wait until that many lookups are over."""
        await until(lambda: self.connector.stats().dns.lookups >= times and not self.connector.stats().dns.refreshing)

    @property
    def open(self) -> list[int]:
        return [server.open for server in self.servers]


@asynccontextmanager
async def service(name: str, dnsmasq: Dnsmasq, servers: int = 1) -> AsyncIterator[Service]:
    options = DNSOptions(nameservers=[dnsmasq.address], timeout=0.1, tries=1)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(ScriptedServer())
        others = [ScriptedServer(host=f"127.0.0.{n}", port=first.port) for n in range(2, servers + 1)]
        peers = [first, *[await stack.enter_async_context(other) for other in others]]
        connector = TCPConnector(dns=options, keepalive_timeout=None)
        session = await stack.enter_async_context(ClientSession(connector=connector))
        yield Service(name, session, connector, peers)


@pytest.mark.fault("D02", "G11")
async def test_a_thousand_calls_are_one_question(dnsmasq: Dnsmasq, request: pytest.FixtureRequest) -> None:
    """1,000 tasks with a cold cache: dnsmasq logs one question for each record type."""
    name = "cold-" + str(len(request.node.name))  # one for each loop: the log goes on
    dnsmasq.says(**{name: ["127.0.0.1"]})
    async with service(name, dnsmasq) as calls:
        statuses = await asyncio.gather(*(calls.call() for _ in range(1000)))
    assert set(statuses) == {200}
    assert (dnsmasq.count(name), dnsmasq.count(name, "AAAA")) == (1, 1)


@pytest.mark.fault("D06")
async def test_connections_follow_the_records(dnsmasq: Dnsmasq, clock: FakeClock) -> None:
    """The records change under open connections: those to the address that left are closed within two TTLs, the new
    address gets the next ones, and no call fails."""
    dnsmasq.says(moving=["127.0.0.1", "127.0.0.2"])
    async with service("moving", dnsmasq, servers=3) as calls:
        assert await asyncio.gather(*(calls.call() for _ in range(2))) == [200, 200]
        assert calls.open == [1, 1, 0]
        dnsmasq.says(moving=["127.0.0.2", "127.0.0.3"])
        clock.advance(TTL)
        await calls.looked_up(2)
        clock.advance(TTL / 2)
        await calls.looked_up(3)
        await calls.servers[0].until_idle()
        assert calls.open == [0, 1, 0]
        assert await asyncio.gather(*(calls.call() for _ in range(6))) == [200] * 6
        assert calls.open[0] == 0 and calls.open[2] > 0
        assert calls.connector.stats().total.retired == {"dns_gone": 1}


@pytest.mark.fault("D06", "D07")
async def test_a_name_server_that_is_stopped(dnsmasq: Dnsmasq, clock: FakeClock) -> None:
    """While dnsmasq hangs, open connections serve and new ones go to the old address; when it is back its new records
    are used."""
    dnsmasq.says(silent=["127.0.0.1"])
    async with service("silent", dnsmasq, servers=2) as calls:
        assert await calls.call() == 200
        dnsmasq.pause()
        try:
            clock.advance(TTL)
            await calls.looked_up(2)
            assert await calls.call() == 200 and calls.servers[0].accepted == 1
            assert await calls.call(Connection="close") == 200
            await calls.servers[0].until_idle()
            assert await calls.call() == 200 and calls.servers[0].accepted == 2
            numbers = calls.connector.stats().dns
            assert numbers.failures >= 1 and numbers.stale >= 1
            clock.advance(61.0)  # longer than old answers are lent
            assert await calls.call(Connection="close") == 200  # the open connection
            await calls.servers[0].until_idle()
            with pytest.raises(DNSError, match="no name server answered in time"):
                await calls.call()
        finally:
            dnsmasq.resume()
        dnsmasq.says(silent=["127.0.0.2"])
        clock.advance(TTL)
        assert await calls.call() == 200
        assert calls.open == [0, 1]


@pytest.mark.fault("D01")
async def test_a_name_that_is_taken_away(dnsmasq: Dnsmasq, clock: FakeClock) -> None:
    """NXDOMAIN ends the old answer at once, open connections go on, and the name works a second after it is back."""
    dnsmasq.says(taken=["127.0.0.1"])
    async with service("taken", dnsmasq) as calls:
        assert await calls.call() == 200
        dnsmasq.says(other=["127.0.0.1"])
        clock.advance(TTL)
        await calls.looked_up(2)
        assert await calls.call(Connection="close") == 200 and calls.servers[0].accepted == 1
        await calls.servers[0].until_idle()
        for _ in range(2):
            with pytest.raises(DNSError, match="NXDOMAIN"):
                await calls.call()
        assert calls.connector.stats().dns.negative_hits >= 1
        dnsmasq.says(taken=["127.0.0.1"])
        clock.advance(1.0)
        assert await calls.call() == 200
