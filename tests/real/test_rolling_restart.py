"""Eight nginx behind one name, restarted one after the other under load: no call fails, and the load stays even."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from benchmarks.nginx import Nginx, free_port, running
from keepwarm.client.session import ClientSession
from keepwarm.pool.dns_options import DNSOptions
from keepwarm.pool.tcp_connector import TCPConnector
from tests.real.dnsmasq import ZONE, Dnsmasq, running_dnsmasq

pytestmark = pytest.mark.asyncio

HOSTS = [f"127.0.0.{number}" for number in range(2, 10)]
NAME = "pods"
CALLERS = 600
# Connections that the servers end by themselves, as nginx does after a thousand requests, give way to others: that is
# how a server that is back gets its share.
KEEPALIVE_REQUESTS = 20
PAUSE = 0.1
# What a connection to a gone address may live on, in seconds.
GONE_WITHIN = 2.0

HTTP = """
    server {{
        listen {host}:{port} backlog=1024;
        keepalive_requests {requests};
        location / {{ return 200 "{{}}"; }}
    }}
"""


class Fleet:
    """The servers by address, and the name server that knows which of them serve."""

    def __init__(self, servers: dict[str, Nginx], names: Dnsmasq, port: int) -> None:
        self.servers = servers
        self.names = names
        self.url = f"http://{NAME}.{ZONE}:{port}/"

    def announce(self, hosts: list[str]) -> None:
        self.names.says(**{NAME: hosts})


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    port = free_port()
    with ExitStack() as stack:
        servers = {}
        for host in HOSTS:
            http = HTTP.format(host=host, port=port, requests=KEEPALIVE_REQUESTS)
            nginx = Nginx(tmp_path_factory.mktemp("nginx"), http, (port,), host=host)
            servers[host] = stack.enter_context(running(nginx))
        names = stack.enter_context(running_dnsmasq(tmp_path_factory.mktemp("dnsmasq")))
        yield Fleet(servers, names, port)


class Load:
    """So many callers at a time, again and again, each with a connection of its own."""

    def __init__(self, session: ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self.calls = 0
        self.failures: list[str] = []

    async def run(self) -> None:
        while True:
            await self.burst()
            await asyncio.sleep(PAUSE)

    async def burst(self) -> None:
        await asyncio.gather(*(self._call() for _ in range(CALLERS)))

    async def _call(self) -> None:
        self.calls += 1
        try:
            async with self._session.get(self._url) as response:
                await response.read()
                if response.status != 200:
                    self.failures.append(f"status {response.status}")
        except Exception as exc:
            self.failures.append(f"{type(exc).__name__}: {exc}")


def open_by_host(connector: TCPConnector) -> Counter[str]:
    """How many connections there are to each address."""
    transports = [channel.transport for channel in connector.pool().channels if channel.transport is not None]
    return Counter(transport.get_extra_info("peername")[0] for transport in transports if not transport.is_closing())


async def until_gone(connector: TCPConnector, host: str) -> float:
    """Wait until no connection leads to `host`; the seconds that it took."""
    now = asyncio.get_running_loop().time
    began = now()
    while open_by_host(connector)[host]:
        await asyncio.sleep(0.02)
        assert now() - began < 5 * GONE_WITHIN, f"there still are connections to {host}: {open_by_host(connector)}"
    return now() - began


@pytest.mark.fault("D06")
async def test_a_rolling_restart_of_eight_nginx(fleet: Fleet) -> None:
    """Each leaves the name, is restarted once nobody is connected to it, and comes back. No GET fails, connections to
    an address that left are gone within two seconds, and in the end each has its share, a fifth more or less."""
    fleet.announce(HOSTS)
    options = DNSOptions(nameservers=[fleet.names.address], timeout=0.5, tries=2)
    connector = TCPConnector(dns=options)
    async with ClientSession(connector=connector) as session:
        load = Load(session, fleet.url)
        running_load = asyncio.create_task(load.run())
        slowest = 0.0
        try:
            for host in HOSTS:
                await asyncio.to_thread(fleet.announce, [other for other in HOSTS if other != host])
                slowest = max(slowest, await until_gone(connector, host))
                nginx = fleet.servers[host]
                await asyncio.to_thread(nginx.quit)
                nginx.start()
                await asyncio.to_thread(fleet.announce, HOSTS)
        finally:
            running_load.cancel()
            await asyncio.wait([running_load])
        # The last one is known again when the answer of before has ended; then every connection has its turn to end.
        while not all(open_by_host(connector)[host] for host in HOSTS):
            await load.burst()
            await asyncio.sleep(PAUSE)
        for _ in range(2 * KEEPALIVE_REQUESTS):
            await load.burst()
        spread: Counter[str] = Counter()
        for _ in range(KEEPALIVE_REQUESTS // 2):
            await load.burst()
            spread.update(open_by_host(connector))
        retired = connector.stats().total.retired
    assert load.failures == []
    assert load.calls > 20 * CALLERS
    # On a machine that does nothing else it is GONE_WITHIN; one that is busy stalls the loop and the servers.
    assert slowest <= 2.5 * GONE_WITHIN
    assert retired["dns_gone"] > 0
    even = sum(spread.values()) / len(HOSTS)
    assert all(0.8 * even <= spread[host] <= 1.2 * even for host in HOSTS), spread
