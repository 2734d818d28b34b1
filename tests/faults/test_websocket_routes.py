"""WebSockets over every way out: direct, TLS, CONNECT for both kinds, a unix socket."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve, unix_serve

from keepwarm.client.session import ClientSession
from keepwarm.pool.tcp_connector import TCPConnector
from keepwarm.pool.unix_connector import UnixConnector
from keepwarm.ws.messages import MsgType
from tests.support.certificates import client_context, server_context
from tests.support.proxies import ORIGIN, RelayingProxy, through

pytestmark = pytest.mark.asyncio


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@asynccontextmanager
async def echo_server(context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A WebSocket server by other hands; its port."""
    async with serve(echo, "127.0.0.1", 0, ssl=context) as server:
        yield next(iter(server.sockets)).getsockname()[1]


async def talk(session: ClientSession, url: str) -> None:
    async with session.ws_connect(url, compress=True) as ws:
        for size in (5, 300, 70_000):
            await ws.send_str("k" * size)
            assert await ws.receive_str() == "k" * size
        await ws.send_bytes(b"\0\1")
        assert (await ws.receive()).tp is MsgType.binary
        assert session.connector is not None
        assert session.connector.stats().total.detached == 1
    assert ws.close_code == 1000


@pytest.mark.parametrize("scheme", ["ws", "http", "wss", "https"])
async def test_direct(scheme: str) -> None:
    """The four schemes are two: with TLS and without (D-08)."""
    secure = scheme in ("wss", "https")
    connector = TCPConnector(ssl_context=client_context())
    async with (
        echo_server(server_context() if secure else None) as port,
        ClientSession(connector=connector) as session,
    ):
        await talk(session, f"{scheme}://localhost:{port}/")


@pytest.mark.fault("W07")
@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("proxied", ["http", "https"])
async def test_through_a_proxy(scheme: str, proxied: str) -> None:
    """Both kinds go through a tunnel: a proxy need not know about upgrades (H-19)."""
    context = server_context() if scheme == "wss" else None
    async with echo_server(context) as port, RelayingProxy(server_context() if proxied == "https" else None) as proxy:
        async with through(proxy.port, scheme=proxied, proxy_auth=None) as session:
            await talk(session, f"{scheme}://{ORIGIN}:{port}/chat")
        assert [(request.method, request.target) for request in proxy.requests] == [("CONNECT", f"{ORIGIN}:{port}")]


@pytest.mark.fault("W07", "X06")
async def test_a_tunnel_in_plain_text_is_no_forward_connection() -> None:
    """A connection on which the proxy passes requests on never carries a WebSocket, nor the other way round."""
    async with echo_server() as port, RelayingProxy() as proxy:
        async with through(proxy.port, userinfo="me:secret@") as session:
            await talk(session, f"ws://{ORIGIN}:{port}/")
            assert session.connector is not None
            assert session.connector.stats().total.dials == 1
            await talk(session, f"ws://{ORIGIN}:{port}/")
        assert [request.method for request in proxy.requests] == ["CONNECT", "CONNECT"]
        assert all(request.header("Proxy-Authorization").startswith("Basic ") for request in proxy.requests)


@pytest.mark.parametrize("secure", [False, True])
async def test_over_a_unix_socket(secure: bool, tmp_path: Path) -> None:
    """The host of the URL is only a name there (I-05)."""
    path = str(tmp_path / "ws.sock")
    connector = UnixConnector(path, ssl_context=client_context())
    async with (
        unix_serve(echo, path, ssl=server_context() if secure else None),
        ClientSession(connector=connector) as session,
    ):
        await talk(session, f"{'wss' if secure else 'ws'}://{ORIGIN}/")
