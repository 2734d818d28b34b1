"""DNSOptions: what is refused, and what a TCPConnector makes of it. Rows A-06, G-05."""

from dataclasses import FrozenInstanceError
from types import SimpleNamespace
from typing import Any

import pytest

from keepwarm.pool.connection import Connection
from keepwarm.pool.dns_options import MAX_NEGATIVE_TTL, UNKNOWN_TTL, DNSOptions
from keepwarm.pool.dns_stats import DNSStats
from keepwarm.pool.endpoint import make_endpoint
from keepwarm.pool.errors import DNSError
from keepwarm.pool.stats import PoolStats
from keepwarm.pool.tcp_connector import TCPConnector
from tests.support.fakes import FakeClock
from tests.support.leaks import turns
from tests.support.nameserver import NameServer
from tests.support.resolvers import Recording
from tests.support.server import ScriptedServer, UntilClosed

pytestmark = pytest.mark.asyncio


async def connect(connector: TCPConnector, host: str, port: int) -> Connection:
    return await connector.connect(SimpleNamespace(endpoint=make_endpoint(host, port)))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"min_ttl": -1.0}, "min_ttl must be from 0"),
        ({"min_ttl": 61.0}, "min_ttl must not be more than max_ttl"),
        ({"max_ttl": 0.5}, "min_ttl must not be more than max_ttl"),
        ({"max_ttl": float("nan")}, "max_ttl"),
        ({"max_ttl": float("inf")}, "max_ttl must be from 0 to 86400"),
        ({"max_ttl": "60"}, "max_ttl"),
        ({"max_ttl": True}, "max_ttl"),
        ({"negative_ttl": 1.01}, "negative_ttl must be from 0 to 1 "),
        ({"negative_ttl": -0.1}, "negative_ttl"),
        ({"stale_for": -1}, "stale_for"),
        ({"stale_for": 86401}, "stale_for"),
        ({"stale_for": None}, "stale_for"),
        ({"prefetch": -1}, "prefetch must be a whole number of at least 0"),
        ({"prefetch": 1.5}, "prefetch"),
        ({"prefetch": True}, "prefetch"),
        ({"max_entries": 0}, "max_entries must be a whole number of at least 1"),
        ({"nameservers": []}, "nameservers"),
        ({"nameservers": "127.0.0.1"}, "nameservers"),
        ({"nameservers": ["ns.example"]}, "nameservers: 'ns.example' is not an IP address"),
        ({"nameservers": ["127.0.0.1:0"]}, "nameservers"),
        ({"nameservers": ["127.0.0.1:65536"]}, "nameservers"),
        ({"nameservers": ["0x7f.1"]}, "nameservers"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": 61}, "timeout"),
        ({"tries": 0}, "tries"),
        ({"tries": 11}, "tries"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        DNSOptions(**options)


def test_follow_is_a_switch() -> None:
    with pytest.raises(TypeError, match="follow"):
        DNSOptions(follow=1)  # type: ignore[arg-type]


def test_the_options_are_a_value() -> None:
    """Equal if their parts are, frozen, and out of reach of the list that they were made of."""
    servers = ["127.0.0.1:53", "[::1]:53"]
    options = DNSOptions(nameservers=servers)
    servers.append("nonsense")
    assert options.nameservers == ("127.0.0.1:53", "[::1]:53")
    assert options == DNSOptions(nameservers=("127.0.0.1:53", "[::1]:53")) != DNSOptions()
    assert len({options, DNSOptions(), DNSOptions()}) == 2
    with pytest.raises(FrozenInstanceError):
        options.min_ttl = 2.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("ttl", "holds"), [(0.0, 5.0), (4.0, 5.0), (20.0, 20.0), (99.0, 40.0), (float("inf"), 40.0), (None, UNKNOWN_TTL)]
)
def test_the_ttl_is_clamped(ttl: float | None, holds: float) -> None:
    assert DNSOptions(min_ttl=5, max_ttl=40).hold(ttl) == holds
    assert DNSOptions(max_ttl=10).hold(None) == 10.0
    assert MAX_NEGATIVE_TTL == 1.0


# In a connector


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"dns": {"min_ttl": 1}}, TypeError, "dns must be a DNSOptions"),
        ({"dns": DNSOptions(nameservers=["127.0.0.1"])}, ValueError, "nameservers, timeout or tries"),
        ({"dns": DNSOptions(timeout=1)}, ValueError, "nameservers, timeout or tries"),
        ({"dns": DNSOptions(tries=1)}, ValueError, "nameservers, timeout or tries"),
    ],
)
def test_bad_combinations_are_refused(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        TCPConnector(resolver=Recording(), **options)


@pytest.mark.parametrize(
    ("given", "cached"),
    [
        ({}, False),
        ({"use_dns_cache": False}, False),
        ({"use_dns_cache": True}, True),
        ({"dns": DNSOptions()}, True),
        ({"dns": DNSOptions(), "use_dns_cache": False}, False),
    ],
)
def test_who_gives_options_wants_the_cache(given: dict[str, Any], cached: bool) -> None:
    """A-06: `use_dns_cache` says it; without a word from it, `dns` does."""
    connector = TCPConnector(**given)
    assert connector.dns_cache is connector.use_dns_cache is cached
    assert connector.dns == DNSOptions()


async def test_name_servers_and_time_limits_are_the_connectors_own() -> None:
    """The connector asks the name server that it is given, at its port, and as often as it is told."""
    async with NameServer() as dns, ScriptedServer([UntilClosed()]) as server:
        dns.add("a.test", "127.0.0.1", ttl=2)
        dns.mute("b.test")
        options = DNSOptions(nameservers=[dns.address], timeout=0.05, tries=1)
        async with TCPConnector(dns=options) as connector:
            (await connect(connector, "a.test", server.port)).close()
            assert list(connector.cached_hosts) == [("a.test", server.port)]
            with pytest.raises(DNSError, match=f"no name server answered in time.*{dns.address}"):
                await connect(connector, "b.test", server.port)
            assert dns.count("a.test") == dns.count("b.test") == 1
            expected = DNSStats(entries=2, misses=2, lookups=2, failures=1)
            assert connector.stats().dns == expected


async def test_local_names_stay_local() -> None:
    """With name servers of its own a connector still asks the system for the names of this machine."""
    async with (
        NameServer() as dns,
        ScriptedServer([UntilClosed()]) as server,
        TCPConnector(dns=DNSOptions(nameservers=[dns.address])) as connector,
    ):
        (await connect(connector, "localhost", server.port)).close()
        assert dns.total == 0


@pytest.mark.parametrize(
    ("options", "lookups"),
    [({"use_dns_cache": True}, 3), ({"dns": DNSOptions(follow=False)}, 1), ({"use_dns_cache": False}, 1)],
)
async def test_follow_can_be_switched_off(
    options: dict[str, Any], lookups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name with an open connection is looked up again when its answer ends, unless nobody wants that."""
    clock = FakeClock()
    monkeypatch.setattr("keepwarm.pool.connector.Clock", lambda loop: clock)
    resolver = Recording("127.0.0.1")
    async with ScriptedServer([UntilClosed()]) as server, TCPConnector(resolver=resolver, **options) as connector:
        connection = await connect(connector, "a.test", server.port)
        for _ in range(2):
            clock.advance(UNKNOWN_TTL)
            await turns(3)
        assert len(resolver.asked) == lookups == connector.stats().dns.lookups
        connection.close()


def test_numbers_before_the_first_connect() -> None:
    assert TCPConnector().stats() == PoolStats()
