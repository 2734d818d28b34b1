"""Section G: TCP, TLS and DNS, and the marks by version (R)."""

import hashlib
import inspect
import socket
import ssl
from types import MappingProxyType
from typing import Any

import pytest

import keepwarm
from keepwarm import BaseConnector, ClientSession, TCPConnector
from tests.support.certificates import client_context, der, leaf, server_context
from tests.support.server import ScriptedServer, unserved_port
from tests.surface.calls import calling
from tests.surface.connecting import Listed

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize(
    ("row", "name", "default"),
    [
        ("G-02", "verify_ssl", True),
        ("G-03", "fingerprint", None),
        ("G-07", "family", 0),
        ("G-08", "ssl_context", None),
        ("G-09", "local_addr", None),
        ("G-10", "conn_timeout", None),
        ("G-11", "keepalive_timeout", 30),
        ("G-12", "limit", None),
        ("G-13", "share_cookies", False),
        ("G-14", "force_close", False),
        ("G-15", "loop", None),
        ("R-10", "local_addr", None),
    ],
)
def test_parameters_of_tcp(row: str, name: str, default: Any) -> None:
    """The reference's parameters with its defaults."""
    assert inspect.signature(TCPConnector).parameters[name].default == default


@pytest.mark.parametrize("row", ["F-01", "G-01"])
def test_everything_is_keyword_only(row: str) -> None:
    """And TCPConnector, a BaseConnector, takes all that its base takes."""
    assert issubclass(TCPConnector, BaseConnector)
    base, tcp = (inspect.signature(kind).parameters for kind in (BaseConnector, TCPConnector))
    assert set(base) <= set(tcp)
    known = [parameter for parameter in [*base.values(), *tcp.values()] if parameter.name != "unknown"]
    assert {parameter.kind for parameter in known} == {inspect.Parameter.KEYWORD_ONLY}
    with pytest.raises(TypeError):
        BaseConnector(None)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("row", "name", "given", "default"),
    [
        ("F-09", "closed", None, False),
        ("F-10", "force_close", True, False),
        ("F-11", "limit", 3, None),
        ("G-16", "verify_ssl", False, True),
        ("G-18", "family", socket.AF_INET, 0),
        ("G-19", "dns_cache", None, False),
        ("G-23", "fingerprint", bytes(32), None),
    ],
)
def test_read_only_attributes(row: str, name: str, given: Any, default: Any) -> None:
    """They say what was given, and cannot be assigned."""
    assert getattr(TCPConnector(), name) == default
    if given is not None:
        assert getattr(TCPConnector(**{name: given}), name) == given
    with pytest.raises(AttributeError):
        setattr(TCPConnector(), name, given)


@pytest.mark.parametrize(
    ("row", "name"),
    [
        *[("R-02", name) for name in ("fingerprint", "force_close", "limit")],
        *[("R-05", name) for name in ("use_dns_cache", "dns_cache", "cached_hosts", "clear_dns_cache", "__enter__")],
        *[("R-10", name) for name in ("local_addr", "close")],
    ],
)
def test_names_added_by_version(row: str, name: str) -> None:
    """What the reference marks as added is there."""
    assert hasattr(TCPConnector, name)


@pytest.mark.parametrize("row", ["R-05"])
def test_a_session_is_a_context_manager(row: str) -> None:
    """Since 0.17."""
    assert hasattr(ClientSession, "__enter__") and hasattr(ClientSession, "__exit__")


@pytest.mark.parametrize("row", ["R-07"])
def test_the_family_is_0_by_default(row: str) -> None:
    """Since 0.18; and a response is an asynchronous context manager."""
    assert TCPConnector().family == 0
    assert hasattr(keepwarm.ClientResponse, "__aenter__")


async def test_g_02_verify_ssl() -> None:
    """False accepts any certificate and any name; True does not."""
    async with ScriptedServer(ssl=server_context("other.keepwarm.test")) as server:
        unchecked = ClientSession(connector=TCPConnector(verify_ssl=False))
        async with unchecked, unchecked.get(server.url()) as resp:
            assert resp.status == 200
        async with ClientSession() as session:
            with pytest.raises(keepwarm.TLSError, match="certificate verify failed"):
                await session.get(server.url())


@pytest.mark.filterwarnings("ignore::keepwarm.WeakFingerprintWarning")
@pytest.mark.parametrize("digest", ["md5", "sha1", "sha256"])
async def test_g_03_fingerprint(digest: str) -> None:
    """The digest of the certificate in DER form, in binary; hex text is refused."""
    pin = hashlib.new(digest, der(leaf())).digest()
    connector = TCPConnector(ssl_context=client_context(), fingerprint=pin)
    async with (
        ScriptedServer(ssl=server_context()) as server,
        ClientSession(connector=connector) as session,
        session.get(server.url()) as resp,
    ):
        assert resp.status == 200
    with pytest.raises(TypeError, match="fingerprint"):
        TCPConnector(fingerprint=pin.hex())  # type: ignore[arg-type]


async def test_g_04_mismatch() -> None:
    """FingerprintMismatch says what was expected and what came; no other address is tried, nothing is sent."""
    resolver = Listed("127.0.0.1", "127.0.0.2")
    connector = TCPConnector(ssl_context=client_context(), fingerprint=bytes(32), resolver=resolver)
    async with ScriptedServer(ssl=server_context()) as server, ClientSession(connector=connector) as session:
        with pytest.raises(keepwarm.FingerprintMismatch) as caught:
            await session.get(f"https://localhost:{server.port}/")
        await server.until_idle()
        assert (server.accepted, server.connections[0].bytes_received) == (1, 0)
    error = caught.value
    assert (error.expected, error.got) == (bytes(32), hashlib.sha256(der(leaf())).digest())
    assert (error.host, error.port) == ("localhost", server.port)


async def test_g_05_use_dns_cache() -> None:
    """Off by default: each dial asks. On: one lookup serves them all."""
    for options, lookups in (({}, 3), ({"use_dns_cache": True}, 1)):
        resolver = Listed("127.0.0.1")
        connector = TCPConnector(resolver=resolver, force_close=True, **options)
        async with calling(connector=connector) as (session, server):
            for _ in range(3):
                async with session.get(f"http://a.test:{server.port}/"):
                    pass
            assert server.accepted == 3
        assert len(resolver.asked) == lookups


@pytest.mark.parametrize("row", ["G-06", "R-06"])
@pytest.mark.parametrize("value", [True, False])
def test_resolve_parameter(row: str, value: bool) -> None:
    """Another name of `use_dns_cache`, deprecated since 0.17; ValueError where they disagree."""
    with pytest.warns(DeprecationWarning, match="use_dns_cache"):
        assert TCPConnector(resolve=value).dns_cache is value
    with pytest.warns(DeprecationWarning), pytest.raises(ValueError, match="disagree"):
        TCPConnector(resolve=value, use_dns_cache=not value)


@pytest.mark.parametrize("family", [0, socket.AF_INET, socket.AF_INET6])
async def test_g_07_family(family: int) -> None:
    """Both, or one kind of address only."""
    resolver = Listed("::1" if family == socket.AF_INET6 else "127.0.0.1")
    async with ScriptedServer(host=resolver.hosts[0]) as server:
        session = ClientSession(connector=TCPConnector(resolver=resolver, family=family))
        async with session, session.get(f"http://a.test:{server.port}/") as resp:
            assert resp.status == 200
        assert resolver.asked == [("a.test", server.port, family)]
    with pytest.raises(ValueError, match="family"):
        TCPConnector(family=socket.AF_UNIX)


async def test_g_08_ssl_context() -> None:
    """The caller's context is used as it is."""
    context = client_context()
    connector = TCPConnector(ssl_context=context)
    assert connector.ssl_context is context
    async with (
        ScriptedServer(ssl=server_context()) as server,
        ClientSession(connector=connector) as session,
        session.get(server.url()) as resp,
    ):
        assert resp.status == 200


async def test_g_09_local_addr() -> None:
    """The socket is bound there."""
    connector = TCPConnector(local_addr=("127.0.0.9", 0))
    async with calling(connector=connector) as (session, server), session.get(server.url()):
        assert server.connections[0].transport.get_extra_info("peername")[0] == "127.0.0.9"


@pytest.mark.parametrize("row", ["G-10", "G-11", "G-12", "G-14"])
def test_what_tcp_inherits(row: str) -> None:
    """The base's options work as they do there."""
    connector = TCPConnector(conn_timeout=1.5, keepalive_timeout=7, limit=3, force_close=True)
    assert (connector.conn_timeout, connector.keepalive_timeout, connector.limit) == (1.5, 7, 3)
    assert connector.force_close is True


def test_g_17_ssl_context_is_made_when_it_is_read() -> None:
    """And stays the same; it checks certificates and names unless told not to."""
    connector = TCPConnector()
    context = connector.ssl_context
    assert isinstance(context, ssl.SSLContext) and connector.ssl_context is context
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    unchecked = TCPConnector(verify_ssl=False).ssl_context
    assert (unchecked.verify_mode, unchecked.check_hostname) == (ssl.CERT_NONE, False)
    with pytest.raises(AttributeError):
        connector.ssl_context = context  # type: ignore[misc]


@pytest.mark.parametrize("row", ["G-20", "R-06"])
def test_resolve_attribute(row: str) -> None:
    """Deprecated name of `dns_cache`."""
    with pytest.warns(DeprecationWarning, match="dns_cache"):
        assert TCPConnector(use_dns_cache=True).resolve is True


async def cached(*hosts: str) -> TCPConnector:
    """A connector with these hosts in its cache."""
    connector = TCPConnector(use_dns_cache=True, resolver=Listed("127.0.0.1"))
    async with ScriptedServer() as server:
        session = ClientSession(connector=connector)
        for host in hosts:
            async with session.get(f"http://{host}:{server.port}/", headers={"Connection": "close"}):
                pass
        session.detach()
        await server.until_idle()
    return connector


async def test_g_21_cached_hosts() -> None:
    """A read-only mapping from (host, port) to dicts with what getaddrinfo would say."""
    async with await cached("a.test") as connector:
        hosts = connector.cached_hosts
        assert type(hosts) is MappingProxyType
        ((key, entries),) = hosts.items()
        assert key[0] == "a.test"
        assert [set(entry) for entry in entries] == [{"hostname", "host", "port", "family", "proto", "flags"}]
        assert (entries[0]["hostname"], entries[0]["host"], entries[0]["port"]) == ("a.test", "127.0.0.1", key[1])
        with pytest.raises(AttributeError):
            connector.cached_hosts = hosts  # type: ignore[misc]
    assert TCPConnector().cached_hosts == {}


@pytest.mark.parametrize("row", ["G-22", "R-06"])
async def test_resolved_hosts(row: str) -> None:
    """Deprecated name of `cached_hosts`."""
    async with await cached("a.test") as connector:
        with pytest.warns(DeprecationWarning, match="cached_hosts"):
            assert connector.resolved_hosts == connector.cached_hosts != {}


async def test_g_24_clear_dns_cache() -> None:
    """Both given: that entry; otherwise all."""
    async with await cached("a.test", "b.test") as connector:
        (first, port), second = connector.cached_hosts
        connector.clear_dns_cache(first, port)
        assert list(connector.cached_hosts) == [second]
        connector.clear_dns_cache(host=second[0], port=second[1])
        connector.clear_dns_cache()
        assert connector.cached_hosts == {}


@pytest.mark.parametrize("row", ["G-25", "R-06"])
async def test_clear_resolved_hosts(row: str) -> None:
    """Deprecated name of `clear_dns_cache`."""
    async with await cached("a.test", "b.test") as connector:
        (first, port), second = connector.cached_hosts
        with pytest.warns(DeprecationWarning, match="clear_dns_cache"):
            connector.clear_resolved_hosts(first, port)
        assert list(connector.cached_hosts) == [second]
        with pytest.warns(DeprecationWarning):
            connector.clear_resolved_hosts()
        assert connector.cached_hosts == {}


async def test_g_26_several_addresses() -> None:
    """One that refuses is no harm while another answers; if none does, ClientOSError tells of all."""
    resolver = Listed("127.0.0.3", "127.0.0.1")
    async with ScriptedServer() as server, ClientSession(connector=TCPConnector(resolver=resolver)) as session:
        async with session.get(f"http://a.test:{server.port}/") as resp:
            assert resp.status == 200
        with unserved_port() as port, pytest.raises(keepwarm.ClientOSError) as caught:
            await session.get(f"http://a.test:{port}/")
        assert "127.0.0.3" in str(caught.value) and "127.0.0.1" in str(caught.value)


def test_g_27_the_default_connector() -> None:
    """What a session makes when it is given none."""
    with ClientSession() as session:
        assert type(session.connector) is TCPConnector
