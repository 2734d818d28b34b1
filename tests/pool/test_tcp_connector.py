"""TCPConnector: the reference's parameters, attributes and methods, and a connection made with them."""

import asyncio
import inspect
import socket
import ssl
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest

from keepwarm.pool.address import Address, Answer
from keepwarm.pool.connection import Connection
from keepwarm.pool.connector import BaseConnector
from keepwarm.pool.endpoint import make_endpoint
from keepwarm.pool.errors import ConnectError, ConnectTimeoutError, FingerprintMismatch, WeakFingerprintWarning
from keepwarm.pool.race import TCPKeepAlive
from keepwarm.pool.tcp_connector import TCPConnector
from tests.support.certificates import client_context, server_context
from tests.support.dialing import black_hole
from tests.support.server import ScriptedServer, Stall, UntilClosed, unserved_port

pytestmark = pytest.mark.asyncio


class OneAddress:
    """A resolver that knows one address, and counts."""

    def __init__(self, host: str = "127.0.0.1", family: int = socket.AF_INET) -> None:
        self.host = host
        self.family = family
        self.asked: list[tuple[str, int, int]] = []
        self.closed = 0

    async def resolve(self, host: str, port: int, family: int = 0) -> Answer:
        self.asked.append((host, port, family))
        return Answer((Address(self.host, port, int(self.family)),), 60.0)

    def close(self) -> None:
        self.closed += 1


class Never:
    """A resolver that does not answer."""

    async def resolve(self, host: str, port: int, family: int = 0) -> Answer:
        await asyncio.get_running_loop().create_future()
        raise AssertionError("unreachable")

    def close(self) -> None: ...


async def connect(connector: BaseConnector, host: str, port: int, is_ssl: bool = False) -> Connection:
    return await connector.connect(SimpleNamespace(endpoint=make_endpoint(host, port, is_ssl)))


# The reference


def test_g01_takes_all_parameters_of_the_base() -> None:
    """G-01, G-10..G-15: the base's parameters with the base's defaults, keyword-only."""
    mine = inspect.signature(TCPConnector).parameters
    for name, parameter in inspect.signature(BaseConnector).parameters.items():
        assert mine[name].default == parameter.default, name
    known = {name: parameter.kind for name, parameter in mine.items() if name != "unknown"}  # that one gives advice
    assert set(known.values()) == {inspect.Parameter.KEYWORD_ONLY}
    with pytest.raises(TypeError):
        TCPConnector(True)  # type: ignore[misc]


def test_defaults() -> None:
    """G-02..G-09: what a connector does that was told nothing."""
    connector = TCPConnector()
    assert connector.verify_ssl is True
    assert connector.fingerprint is None
    assert connector.use_dns_cache is False and connector.dns_cache is False
    assert connector.family == 0
    assert connector.local_addr is None
    assert connector.tcp_keepalive == TCPKeepAlive(60, 15, 4)
    assert connector.tls.required_pins == () and connector.tls.fast_tls is False
    assert isinstance(connector.cached_hosts, MappingProxyType) and connector.cached_hosts == {}
    assert connector.keepalive_timeout == 30 and connector.limit is None and connector.force_close is False
    with pytest.raises(RuntimeError, match="first connect"):
        _ = connector.dialer


def test_attributes_say_what_was_given() -> None:
    """G-16..G-19, G-23: read-only attributes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    connector = TCPConnector(
        ssl_context=context,
        fingerprint=bytes(32),
        use_dns_cache=True,
        family=socket.AF_INET6,
        local_addr=("::1", 0),
        tcp_keepalive=None,
        limit=3,
    )
    assert connector.ssl_context is context and connector.verify_ssl is True
    assert connector.fingerprint == bytes(32)
    assert connector.dns_cache is True and connector.use_dns_cache is True
    assert connector.family == socket.AF_INET6
    assert connector.local_addr == ("::1", 0) and connector.tcp_keepalive is None and connector.limit == 3
    for name in ("verify_ssl", "ssl_context", "fingerprint", "dns_cache", "use_dns_cache", "family", "cached_hosts"):
        with pytest.raises(AttributeError):
            setattr(connector, name, None)


def test_g17_contexts_are_shared() -> None:
    """G-17: built on first read, the same for equal connectors, another one without verification."""
    assert TCPConnector().ssl_context is TCPConnector().ssl_context
    assert TCPConnector(verify_ssl=False).ssl_context is not TCPConnector().ssl_context
    assert TCPConnector(verify_ssl=False).ssl_context.verify_mode == ssl.CERT_NONE


@pytest.mark.parametrize("value", [True, False])
def test_g06_resolve_is_deprecated(value: bool) -> None:
    """G-06, G-20: `resolve` is another name for `use_dns_cache`; disagreement is a ValueError."""
    with pytest.warns(DeprecationWarning, match="use_dns_cache") as caught:
        connector = TCPConnector(resolve=value)
    assert caught[0].filename == __file__
    assert connector.dns_cache is value
    with pytest.warns(DeprecationWarning, match="dns_cache"):
        assert connector.resolve is value
    with pytest.warns(DeprecationWarning):
        assert TCPConnector(resolve=value, use_dns_cache=value).dns_cache is value
    with pytest.warns(DeprecationWarning), pytest.raises(ValueError, match="disagree"):
        TCPConnector(resolve=value, use_dns_cache=not value)


def test_a_weak_fingerprint_warns_at_the_callers_line() -> None:
    """A-18: the warning names the place to change."""
    with pytest.warns(WeakFingerprintWarning) as caught:
        TCPConnector(fingerprint=bytes(16))
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"verify_ssl": False, "ssl_context": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}, ValueError, "verify_ssl"),
        ({"fingerprint": b"short"}, ValueError, "fingerprint"),
        ({"family": 99}, ValueError, "family"),
        ({"family": True}, ValueError, "family"),
        ({"family": socket.AF_UNIX}, ValueError, "family"),
        ({"local_addr": "127.0.0.1"}, TypeError, "local_addr"),
        ({"local_addr": ("127.0.0.1", 65536)}, ValueError, "local_addr"),
        ({"local_addr": ("", 0)}, ValueError, "local_addr"),
        ({"local_addr": (1, 0)}, TypeError, "local_addr"),
        ({"use_dns_cache": 1}, TypeError, "use_dns_cache"),
        ({"resolve": "yes"}, TypeError, "resolve"),
        ({"resolver": object()}, TypeError, "resolver"),
        ({"tcp_keepalive": True}, TypeError, "tcp_keepalive"),
        ({"handshake_timeout": -1}, ValueError, "handshake_timeout"),
        ({"limit": 0}, ValueError, "limit"),
    ],
)
def test_bad_options(options: dict[str, Any], error: type[Exception], text: str) -> None:
    """An option that cannot be used is refused at construction, by name."""
    with pytest.raises(error, match=text):
        TCPConnector(**options)


async def test_dns_cache() -> None:
    """G-05, G-21..G-25: what is cached can be seen and cleared, under both names."""
    resolver = OneAddress()
    async with ScriptedServer([UntilClosed()]) as server, TCPConnector(resolver=resolver, use_dns_cache=True) as conn:
        for name in ("a.test", "b.test", "a.test"):
            (await connect(conn, name, server.port)).close()
        assert [host for host, _, _ in resolver.asked] == ["a.test", "b.test"]
        entry = {"hostname": "a.test", "host": "127.0.0.1", "port": server.port, "family": socket.AF_INET}
        entry |= {"proto": socket.IPPROTO_TCP, "flags": socket.AI_NUMERICHOST}
        assert conn.cached_hosts["a.test", server.port] == [entry]
        with pytest.raises(TypeError):
            conn.cached_hosts["c.test", 1] = []  # type: ignore[index]
        with pytest.warns(DeprecationWarning):
            assert conn.resolved_hosts == conn.cached_hosts
        conn.clear_dns_cache("a.test", server.port)
        assert list(conn.cached_hosts) == [("b.test", server.port)]
        with pytest.warns(DeprecationWarning):
            conn.clear_resolved_hosts("b.test")  # not both are given, so everything goes
        assert conn.cached_hosts == {}
    assert resolver.closed == 0


async def test_without_the_cache_each_dial_asks() -> None:
    """G-05: nothing is kept by default."""
    resolver = OneAddress()
    async with ScriptedServer([UntilClosed()]) as server, TCPConnector(resolver=resolver) as connector:
        for _ in range(2):
            (await connect(connector, "a.test", server.port)).close()
        assert len(resolver.asked) == 2 and connector.cached_hosts == {}
        connector.clear_dns_cache()


async def test_family_and_local_addr_reach_the_dial() -> None:
    """G-07, G-09: the resolver is asked for the family, the socket is bound."""
    resolver = OneAddress()
    async with (
        ScriptedServer([UntilClosed()]) as server,
        TCPConnector(resolver=resolver, family=socket.AF_INET, local_addr=("127.0.0.9", 0)) as connector,
    ):
        connection = await connect(connector, "a.test", server.port)
        assert resolver.asked == [("a.test", server.port, socket.AF_INET)]
        assert connection.channel.transport is not None
        assert connection.channel.transport.get_extra_info("sockname")[0] == "127.0.0.9"
        connection.close()


async def test_an_address_of_the_wrong_family() -> None:
    """G-07: an IPv6 address is not dialled by a connector that is for IPv4."""
    async with TCPConnector(family=socket.AF_INET) as connector:
        with pytest.raises(ConnectError, match="family"):
            await connect(connector, "::1", 80)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
async def test_the_own_resolver(host: str) -> None:
    """Names of this machine and addresses need no name server."""
    async with ScriptedServer([UntilClosed()], host="::1" if host == "::1" else "127.0.0.1") as server:
        connector = TCPConnector()
        connection = await connect(connector, host, server.port)
        connection.close()
        await connector.close()
        await server.until_idle()


async def test_g26_the_error_of_a_refused_dial() -> None:
    """G-26, F-19: the error begins as it always did and lists what was tried."""
    with unserved_port() as port:
        async with TCPConnector(resolver=OneAddress()) as connector:
            with pytest.raises(ConnectError) as caught:
                await connect(connector, "a.test", port)
    assert str(caught.value).startswith(f"Cannot connect to host a.test:{port} ssl:False [Connection refused]")
    assert caught.value.attempts == ((f"127.0.0.1:{port}", "Connection refused"),)


@pytest.mark.fault("D05")
async def test_conn_timeout_covers_the_lookup() -> None:
    """A resolver that hangs is a ConnectTimeoutError in the phase resolve."""
    async with TCPConnector(resolver=Never(), conn_timeout=0.02) as connector:
        with pytest.raises(ConnectTimeoutError) as caught:
            await connect(connector, "a.test", 80)
        assert caught.value.phase == "resolve"
        assert connector.stats().total.open == 0


@pytest.mark.fault("P07")
async def test_conn_timeout_covers_tcp() -> None:
    """Swallowed packets are a ConnectTimeoutError that names the address."""
    with black_hole() as port:
        async with TCPConnector(resolver=OneAddress(), conn_timeout=0.02) as connector:
            with pytest.raises(ConnectTimeoutError, match=rf"127\.0\.0\.1:{port}: no answer yet") as caught:
                await connect(connector, "a.test", port)
            assert caught.value.phase == "connect"


@pytest.mark.fault("T11")
@pytest.mark.parametrize("fast_tls", [False, True])
async def test_conn_timeout_covers_tls(fast_tls: bool) -> None:
    """A handshake that stalls is cut off at conn_timeout, and the slot is free again."""
    async with ScriptedServer([Stall()]) as server:
        connector = TCPConnector(ssl_context=client_context(), conn_timeout=0.05, fast_tls=fast_tls, limit=1)
        for _ in range(2):
            with pytest.raises(ConnectTimeoutError) as caught:
                await connect(connector, "localhost", server.port, True)
            assert caught.value.phase == "tls"
        await connector.close()
        await server.until_idle()


@pytest.mark.fault("T05", "G14")
@pytest.mark.parametrize("fast_tls", [False, True])
async def test_g04_wrong_pin(fast_tls: bool) -> None:
    """G-04: FingerprintMismatch from connect(), and not a byte at the server."""
    async with ScriptedServer(ssl=server_context()) as server:
        connector = TCPConnector(ssl_context=client_context(), fingerprint=bytes(32), fast_tls=fast_tls)
        with pytest.raises(FingerprintMismatch):
            await connect(connector, "localhost", server.port, True)
        await connector.close()
        await server.until_idle()
        assert (server.accepted, server.connections[0].bytes_received) == (1, 0)


@pytest.mark.parametrize("fast_tls", [False, True])
async def test_a_tls_connection_is_kept_and_closed(fast_tls: bool) -> None:
    """Released, the connection serves again; close() ends it with the server's knowledge."""
    async with ScriptedServer([UntilClosed()], ssl=server_context()) as server:
        connector = TCPConnector(ssl_context=client_context(), fast_tls=fast_tls)
        first = await connect(connector, "localhost", server.port, True)
        channel = first.channel
        first.release()
        second = await connect(connector, "localhost", server.port, True)
        assert second.channel is channel
        second.release()
        await connector.close()
        await server.until_idle()
        assert server.accepted == 1
