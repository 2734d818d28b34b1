"""Every example about WebSockets does what its first lines say, against a server by other hands."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve, unix_serve
from websockets.exceptions import ConnectionClosed

from examples import websocket_echo, websocket_heartbeat, websocket_reconnect
from tests.support.proxies import RelayingProxy
from tests.support.unix_sockets import socket_path

pytestmark = pytest.mark.asyncio


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@contextlib.asynccontextmanager
async def echo_server(context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async with serve(echo, "127.0.0.1", 0, ssl=context) as server:
        yield next(iter(server.sockets)).getsockname()[1]


EXPECTED = "hello\nagain\ncompressed: True; open sockets: 1\nclosed with 1000\n"


async def test_echo(capsys: pytest.CaptureFixture[str]) -> None:
    """What is sent comes back."""
    async with echo_server() as port:
        await websocket_echo.main(f"ws://127.0.0.1:{port}/", "hello", "again")
    assert capsys.readouterr().out == EXPECTED


async def test_echo_through_a_proxy(capsys: pytest.CaptureFixture[str]) -> None:
    """The proxy sees one CONNECT and nothing else."""
    async with echo_server() as port, RelayingProxy() as proxy:
        url, way = f"ws://chat.test:{port}/", f"http://127.0.0.1:{proxy.port}"
        await websocket_echo.main(url, "hello", "again", proxy=way)
        assert [request.method for request in proxy.requests] == ["CONNECT"]
    assert capsys.readouterr().out == EXPECTED


async def test_echo_over_a_unix_socket(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The host of the URL is only a name."""
    with socket_path() as path:
        async with unix_serve(echo, path):
            await websocket_echo.main("ws://chat.test/", "hello", "again", path=path)
    assert capsys.readouterr().out == EXPECTED


async def test_heartbeat(capsys: pytest.CaptureFixture[str]) -> None:
    """A peer that falls silent without a word is noticed."""

    async def mute(connection: ServerConnection) -> None:
        await connection.send("here")
        connection.transport.pause_reading()  # it will answer no ping
        await connection.wait_closed()

    async with serve(mute, "127.0.0.1", 0, ping_interval=None, close_timeout=0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        await websocket_heartbeat.main(f"ws://127.0.0.1:{port}/", 0.04)
        for connection in server.connections:
            connection.transport.abort()
    assert capsys.readouterr().out.splitlines() == [
        "text: 'here', round trip not yet",
        "lost: ClientTimeoutError after the close code 1006",
        "over: 1006",
    ]


async def test_reconnect(capsys: pytest.CaptureFixture[str]) -> None:
    """A server that ends each connection after two messages is come back to."""

    async def two_at_a_time(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await connection.send("one")
            await connection.send("two")

    async with serve(two_at_a_time, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        assert await websocket_reconnect.main(f"ws://127.0.0.1:{port}/", 5) == 3
    assert capsys.readouterr().out.splitlines() == [
        "connection 1: one",
        "connection 1: two",
        "connection 2: one",
        "connection 2: two",
        "connection 3: one",
        "5 messages over 3 connections",
    ]
