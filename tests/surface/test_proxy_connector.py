"""Section H: ProxyConnector, and the decisions about proxies."""

import base64
import hashlib
import inspect
import socket
from collections.abc import Awaitable
from typing import Any

import pytest

import keepwarm
from keepwarm import BasicAuth, ClientSession, ProxyConnector, TCPConnector, UnixConnector
from tests.support.certificates import der, leaf, server_context
from tests.support.proxies import ESTABLISHED, ORIGIN, OTHER, PROXY, through, tunnelling
from tests.support.resolvers import Recording
from tests.support.server import Peer, ScriptedServer, UntilClosed, head, response, unserved_port

pytestmark = pytest.mark.asyncio

AUTH = BasicAuth("me", "secret")


@pytest.mark.parametrize(
    ("row", "name", "default"),
    [
        ("H-03", "proxy_auth", None),
        ("H-04", "force_close", True),
        ("H-05", "conn_timeout", None),
        ("H-06", "keepalive_timeout", 30),
        ("H-07", "limit", None),
        ("H-08", "share_cookies", False),
        ("H-09", "loop", None),
    ],
)
def test_parameters_of_proxy(row: str, name: str, default: Any) -> None:
    """The reference's parameters with its defaults, by name only."""
    parameter = inspect.signature(ProxyConnector).parameters[name]
    assert (parameter.default, parameter.kind) == (default, inspect.Parameter.KEYWORD_ONLY)


async def test_h_01_a_tcp_connector() -> None:
    """And takes all of its parameters."""
    assert issubclass(ProxyConnector, TCPConnector)
    pin = hashlib.sha256(der(leaf())).digest()
    connector = ProxyConnector(
        "http://some.proxy.com", verify_ssl=False, fingerprint=pin, use_dns_cache=True, family=socket.AF_INET
    )
    assert (connector.verify_ssl, connector.fingerprint, connector.dns_cache) == (False, pin, True)
    assert connector.family == socket.AF_INET


async def test_h_02_the_url_by_position() -> None:
    """And by name, as in the reference's example. What is no URL of a proxy is a ValueError."""
    assert ProxyConnector("http://some.proxy.com").proxy == "http://some.proxy.com"
    connector = ProxyConnector(proxy="http://some.proxy.com")
    await ClientSession(connector=connector).close()
    for wrong in ("ftp://some.proxy.com", "some.proxy.com", ""):
        with pytest.raises(ValueError, match="proxy"):
            ProxyConnector(wrong)


@pytest.mark.parametrize("row", ["H-03", "H-12"])
async def test_the_credentials(row: str) -> None:
    """A BasicAuth, or a user name in the URL; read-only."""
    assert ProxyConnector("http://p.test", proxy_auth=AUTH).proxy_auth is AUTH
    assert ProxyConnector("http://me:secret@p.test").proxy_auth == AUTH
    assert ProxyConnector("http://p.test").proxy_auth is None
    with pytest.raises(AttributeError):
        ProxyConnector("http://p.test").proxy_auth = AUTH  # type: ignore[misc]
    with pytest.raises(TypeError):
        ProxyConnector("http://p.test", proxy_auth="me:secret")  # type: ignore[arg-type]


async def test_h_04_no_keepalive_by_default() -> None:
    for options, connections in (({"force_close": True}, 2), ({"force_close": False}, 1)):
        async with ScriptedServer() as proxy, through(proxy.port, **options) as session:
            for _ in range(2):
                await (await session.get(f"http://{ORIGIN}/")).read()
            assert proxy.accepted == connections


async def test_h_05_conn_timeout() -> None:
    """Covers CONNECT."""
    async with ScriptedServer([UntilClosed()]) as proxy, through(proxy.port, conn_timeout=0.03) as session:
        with pytest.raises(keepwarm.ConnectTimeoutError):
            await session.get(f"https://{ORIGIN}/")


async def test_h_06_keepalive_timeout() -> None:
    """For what is kept."""
    async with ScriptedServer() as proxy, through(proxy.port, keepalive_timeout=0.01) as session:
        await (await session.get(f"http://{ORIGIN}/")).read()
        await proxy.until_idle()


async def test_h_07_limit_by_target() -> None:
    async with ScriptedServer() as proxy, through(proxy.port, limit=1) as session:
        for host in (ORIGIN, OTHER):
            await (await session.get(f"http://{host}/")).read()
        assert proxy.accepted == 2


async def test_h_08_share_cookies() -> None:
    with pytest.warns(DeprecationWarning):
        assert ProxyConnector("http://p.test", share_cookies=True).share_cookies


@pytest.mark.parametrize("row", ["H-10", "H-11"])
async def test_names(row: str) -> None:
    """Only the proxy's name is looked up. `proxy` is its URL, read-only."""
    resolver = Recording("127.0.0.1")
    async with ScriptedServer() as proxy, through(proxy.port, resolver=resolver) as session:
        await (await session.get(f"http://{ORIGIN}/")).read()
        assert isinstance(session.connector, ProxyConnector)
        assert session.connector.proxy == f"http://{PROXY}:{proxy.port}"
        with pytest.raises(AttributeError):
            session.connector.proxy = "http://other"  # type: ignore[misc]
    assert resolver.asked == [PROXY]


@pytest.mark.parametrize("row", ["H-13", "H-16", "H-17"])
async def test_plain_requests(row: str) -> None:
    """Absolute form and credentials on every request of a kept connection; Host is the target's."""
    async with ScriptedServer() as proxy, through(proxy.port, proxy_auth=AUTH) as session:
        for _ in range(2):
            await (await session.get(f"http://{ORIGIN}/x")).read()
        assert proxy.accepted == 1
        for request in proxy.requests:
            assert (request.target, request.header("Host")) == (f"http://{ORIGIN}/x", ORIGIN)
            assert request.header_all("Proxy-Authorization") == [AUTH.encode()]


async def test_h_14_a_tunnel() -> None:
    """CONNECT, then TLS; a refusal raises HttpProxyError with code and message."""
    refusal = response("407 Who are you")

    async def refuse(peer: Peer) -> None:
        await peer.head()
        peer.send(refusal)
        await peer.until_closed()

    async with ScriptedServer(tunnelling(), refuse) as proxy, through(proxy.port, force_close=True) as session:
        async with session.get(f"https://{ORIGIN}/") as resp:
            assert resp.status == 200
        with pytest.raises(keepwarm.HttpProxyError) as caught:
            await session.get(f"https://{ORIGIN}/")
        assert (caught.value.code, caught.value.message) == (407, "Who are you")
        assert isinstance(caught.value, keepwarm.HttpProcessingError)


async def test_h_15_no_proxy_there() -> None:
    with unserved_port() as port:
        async with through(port) as session:
            with pytest.raises(keepwarm.ProxyConnectionError):
                await session.get(f"http://{ORIGIN}/")


@pytest.mark.parametrize("row", ["H-18", "A-20"])
async def test_tls_inside_the_tunnel(row: str) -> None:
    """Verified by the origin's name; a pin is checked there too, before a byte of the request."""
    strange = server_context(OTHER)
    async with ScriptedServer(tunnelling(context=strange)) as proxy, through(proxy.port) as session:
        with pytest.raises(keepwarm.TLSError, match="certificate"):
            await session.get(f"https://{ORIGIN}/")
    async with ScriptedServer(tunnelling()) as proxy, through(proxy.port, fingerprint=bytes(32)) as session:
        with pytest.raises(keepwarm.FingerprintMismatch):
            await session.get(f"https://{ORIGIN}/")
        await proxy.until_idle()
        assert [request.method for request in proxy.requests] == ["CONNECT"]


async def greet(peer: Peer) -> None:
    """A WebSocket server that says hello."""
    request = await peer.request()
    key = request.header("sec-websocket-key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest()).decode()
    fields = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)]
    peer.send(head("101 Switching Protocols", fields) + b"\x81\x05hello")
    await peer.recv()
    peer.send(b"\x88\x02\x03\xe8")
    await peer.until_closed()


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_h_19_a_websocket(scheme: str) -> None:
    """Inside a tunnel, with TLS or without; the reference sent ws with an absolute URL, which few proxies pass on."""

    async def plain_tunnel(peer: Peer) -> None:
        await peer.head()
        peer.send(ESTABLISHED)
        await greet(peer)

    script, port = (tunnelling(greet), 443) if scheme == "wss" else (plain_tunnel, 80)
    async with ScriptedServer(script) as proxy, through(proxy.port, proxy_auth=AUTH) as session:
        ws = await session.ws_connect(f"{scheme}://{ORIGIN}/chat")
        assert (await ws.receive()).data == "hello"
        await ws.close()
        first, last = proxy.requests
        assert (first.target, first.header("Proxy-Authorization")) == (f"{ORIGIN}:{port}", AUTH.encode())
        assert (last.target, last.header("Host"), last.header("Proxy-Authorization")) == ("/chat", ORIGIN, "")


async def test_a_30_no_typo_is_copied() -> None:
    """The reference tells users of unix sockets to use ProxyConnector, and compares where it should assign."""
    assert "ProxyConnector" not in (inspect.getdoc(UnixConnector) or "")
    connector = ProxyConnector(proxy="http://some.proxy.com")
    closing: Awaitable[None] = ClientSession(connector=connector).close()
    await closing
    assert connector.closed
