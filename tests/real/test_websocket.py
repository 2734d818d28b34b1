"""WebSockets to servers by other hands: websockets, uvicorn, nginx in front of one, squid in between."""

import asyncio
import contextlib
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trustme
from websockets.asyncio.server import ServerConnection, serve

import keepwarm
from benchmarks.nginx import HOST, Nginx, accepts, free_port, running
from tests.real.squid import LOGIN, PASSWORD, Squid, running_squid

pytestmark = pytest.mark.asyncio

# What nginx needs to pass an upgrade on. The place that has none of it shows what a refusal looks like.
PROXY = """
    map $http_upgrade $upgrade {{ default upgrade; '' close; }}
    ssl_certificate {directory}/server.pem;
    ssl_certificate_key {directory}/server.pem;
    server {{
        listen {host}:{plain};
        listen {host}:{secure} ssl;
        location / {{
            proxy_pass http://{host}:{upstream};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $upgrade;
            proxy_read_timeout 1s;
        }}
        location /no-upgrade {{ proxy_pass http://{host}:{upstream}; }}
    }}
"""

UVICORN = """
async def app(scope, receive, send):
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept", "subprotocol": (scope["subprotocols"] or [None])[0]})
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            return
        kept = {name: event[name] for name in ("text", "bytes") if event.get(name) is not None}
        await send({"type": "websocket.send", **kept})
"""


async def _echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@contextlib.asynccontextmanager
async def echo_server(context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async with serve(_echo, HOST, 0, ssl=context, max_size=None) as server:
        yield next(iter(server.sockets)).getsockname()[1]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(scope="module")
def serving(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST, "localhost").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def squid() -> Iterator[Squid]:
    with running_squid() as found:
        yield found


async def talk(session: keepwarm.ClientSession, url: str, *, compress: bool = True) -> None:
    """Text and data of every kind of length, whole and in order."""
    async with session.ws_connect(url, compress=compress) as ws:
        for size in (0, 125, 126, 65_535, 65_536, 1_000_000):
            await ws.send_str("\u20ac" * (size // 3))
            await ws.send_bytes(b"\x00\xff" * (size // 2))
        for size in (0, 125, 126, 65_535, 65_536, 1_000_000):
            assert await ws.receive_str() == "\u20ac" * (size // 3)
            assert await ws.receive_bytes() == b"\x00\xff" * (size // 2)
        assert ws.compressed is compress
    assert ws.close_code == 1000 and ws.exception() is None


@pytest.mark.parametrize("compress", [True, False])
async def test_websockets(compress: bool) -> None:
    """The websockets server: with permessage-deflate and without."""
    async with echo_server() as port, keepwarm.ClientSession() as session:
        await talk(session, f"ws://{HOST}:{port}/", compress=compress)


async def test_websockets_over_tls(serving: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    """The same inside TLS."""
    connector = keepwarm.TCPConnector(ssl_context=trusting)
    async with echo_server(serving) as port, keepwarm.ClientSession(connector=connector) as session:
        await talk(session, f"wss://{HOST}:{port}/")


async def test_many_at_once() -> None:
    """Fifty at once over one session, each with its own answers."""

    async def one(number: int) -> None:
        async with session.ws_connect(url) as ws:
            for turn in range(20):
                await ws.send_str(f"{number}.{turn}")
                assert await ws.receive_str() == f"{number}.{turn}"

    async with echo_server() as port, keepwarm.ClientSession() as session:
        url = f"ws://{HOST}:{port}/"
        await asyncio.gather(*(one(number) for number in range(50)))


@pytest.fixture
def uvicorn_port(tmp_path: Path) -> Iterator[int]:
    """A uvicorn that echoes, and takes the first subprotocol."""
    (tmp_path / "echo_app.py").write_text(UVICORN)
    port = free_port()
    options = ["--host", HOST, "--port", str(port), "--log-level", "error", "--ws-max-size", "10000000"]
    command = [sys.executable, "-m", "uvicorn", "echo_app:app", *options]
    server = subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.DEVNULL)
    try:
        wait_until_accepts(port, server)
        yield port
    finally:
        server.terminate()
        server.wait()


def wait_until_accepts(port: int, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(200):
        assert server.poll() is None, "the server ended"
        if accepts(port):
            return
        time.sleep(0.05)
    raise AssertionError("the server does not listen")


async def test_uvicorn(uvicorn_port: int) -> None:
    """uvicorn, with a subprotocol."""
    url = f"ws://{HOST}:{uvicorn_port}/"
    async with keepwarm.ClientSession() as session:
        await talk(session, url)
        async with session.ws_connect(url, protocols=("chat.v2", "chat.v1")) as ws:
            assert ws.protocol == "chat.v2"


async def test_nginx_in_front(tmp_path: Path, authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    """nginx as a reverse proxy, plain and TLS; one place of it does not pass upgrades on; an idle one is cut off."""
    authority.issue_cert(HOST, "localhost").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    plain, secure = free_port(), free_port()
    async with echo_server() as upstream:
        http = PROXY.format(directory=tmp_path, host=HOST, plain=plain, secure=secure, upstream=upstream)
        connector = keepwarm.TCPConnector(ssl_context=trusting)
        with running(Nginx(tmp_path, http, (plain, secure))):
            async with keepwarm.ClientSession(connector=connector) as session:
                await talk(session, f"ws://{HOST}:{plain}/")
                await talk(session, f"wss://{HOST}:{secure}/")
                with pytest.raises(keepwarm.WSServerHandshakeError) as refused:
                    await session.ws_connect(f"ws://{HOST}:{plain}/no-upgrade")
                assert refused.value.code >= 400 and refused.value.body
                async with session.ws_connect(f"ws://{HOST}:{plain}/") as ws:
                    assert (await ws.receive()).tp is keepwarm.MsgType.error  # nothing was said for a second
                    assert ws.close_code == 1006


async def test_squid_in_between(squid: Squid, serving: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    """Through squid with a login: one CONNECT for each WebSocket, with TLS inside and without."""
    proxy = f"http://{LOGIN}:{PASSWORD}@{HOST}:{squid.port}"
    async with echo_server(serving) as secure, echo_server() as plain:
        connector = keepwarm.ProxyConnector(proxy, ssl_context=trusting, force_close=False)
        async with keepwarm.ClientSession(connector=connector) as session:
            await talk(session, f"wss://{HOST}:{secure}/")
            await talk(session, f"ws://{HOST}:{plain}/")
    expected = [["CONNECT", f"{HOST}:{secure}"], ["CONNECT", f"{HOST}:{plain}"]]
    for _ in range(200):
        if len(tunnels(squid)) >= len(expected):
            break
        await asyncio.sleep(0.05)
    assert tunnels(squid)[-2:] == expected


def tunnels(squid: Squid) -> list[list[str]]:
    return [line[1:3] for line in squid.logged() if line[1] == "CONNECT"]
