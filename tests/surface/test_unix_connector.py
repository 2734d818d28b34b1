"""Section I: HTTP over unix sockets."""

import asyncio
import base64
import hashlib
import inspect
from typing import Any

import pytest

import keepwarm
from keepwarm import BaseConnector, ClientSession, UnixConnector
from tests.support.certificates import client_context
from tests.support.http1 import head
from tests.support.peer import Peer
from tests.support.unix_sockets import serve_at, socket_path

pytestmark = pytest.mark.asyncio


def test_i_01_takes_all_that_the_base_takes() -> None:
    """And is one."""
    assert issubclass(UnixConnector, BaseConnector)
    base, mine = (inspect.signature(kind).parameters for kind in (BaseConnector, UnixConnector))
    assert set(base) < set(mine)
    assert all(mine[name] == base[name] for name in base)


def test_i_02_path() -> None:
    """By position or by name; all else by name only."""
    assert UnixConnector("/run/app.sock").path == UnixConnector(path="/run/app.sock").path == "/run/app.sock"
    kinds = {name: parameter.kind for name, parameter in inspect.signature(UnixConnector).parameters.items()}
    assert kinds.pop("path") == inspect.Parameter.POSITIONAL_OR_KEYWORD
    del kinds["unknown"]  # it takes what does not exist, to say what to use instead
    assert set(kinds.values()) == {inspect.Parameter.KEYWORD_ONLY}
    with pytest.raises(TypeError):
        UnixConnector()  # type: ignore[call-arg]


def test_i_03_path_is_read_only() -> None:
    """A str."""
    connector = UnixConnector("/run/app.sock")
    assert type(connector.path) is str
    with pytest.raises(AttributeError):
        connector.path = "/other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("row", "name", "default"),
    [
        ("I-04", "force_close", False),
        ("I-07", "conn_timeout", None),
        ("I-08", "keepalive_timeout", 30),
        ("I-09", "limit", None),
        ("I-10", "share_cookies", False),
        ("I-11", "force_close", False),
        ("I-12", "loop", None),
    ],
)
def test_parameters_of_unix(row: str, name: str, default: Any) -> None:
    """The reference's parameters with its defaults."""
    assert inspect.signature(UnixConnector).parameters[name].default == default


@pytest.mark.parametrize("row", ["I-07", "I-08", "I-09", "I-10", "I-11", "I-12"])
async def test_what_unix_inherits(row: str) -> None:
    """The base's options work as they do there."""
    loop = asyncio.get_running_loop()
    with pytest.warns(DeprecationWarning, match="share_cookies"):
        connector = UnixConnector(
            "/x", conn_timeout=1.5, keepalive_timeout=7, limit=3, share_cookies=True, force_close=True, loop=loop
        )
    assert (connector.conn_timeout, connector.keepalive_timeout, connector.limit) == (1.5, 7, 3)
    assert (connector.share_cookies, connector.force_close, connector.loop) == (True, True, loop)


@pytest.mark.parametrize("row", ["I-04", "I-05"])
async def test_the_example_of_the_reference(row: str) -> None:
    """Any host will do: it is what the Host header says. The connection is kept; another host gets another one."""
    with socket_path() as path:
        async with serve_at(path) as server, ClientSession(connector=UnixConnector(path=path)) as session:
            for url in ("http://python.org", "http://python.org", "http://example.org:8080"):
                async with session.get(url) as resp:
                    assert resp.status == 200
            hosts = ["python.org", "python.org", "example.org:8080"]
            assert [request.header("host") for request in server.requests] == hosts
            assert server.accepted == 2


async def test_i_06_https() -> None:
    """TLS over the socket, for the URL's host; never plain text."""
    with socket_path() as path:
        connector = UnixConnector(path, ssl_context=client_context())
        async with serve_at(path, tls=True) as server, ClientSession(connector=connector) as session:
            async with session.get("https://a.keepwarm.test/") as resp:
                assert resp.status == 200
            assert server.connections[0].secure
            with pytest.raises(keepwarm.ClientOSError, match="certificate"):
                await session.get("https://python.org/")
            assert len(server.requests) == 1


async def test_i_13_a_missing_file() -> None:
    """ClientOSError, with the path in it."""
    with socket_path() as path:
        async with ClientSession(connector=UnixConnector(path)) as session:
            with pytest.raises(keepwarm.ClientOSError, match=path) as caught:
                await session.get("http://python.org/")
            assert caught.value.errno == 2


async def test_i_14_a_websocket() -> None:
    """ws_connect goes over the socket too."""

    async def echo(peer: Peer) -> None:
        request = await peer.request()
        key = request.header("sec-websocket-key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest()).decode()
        fields = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)]
        peer.send(head("101 Switching Protocols", fields) + b"\x81\x05hello")
        await peer.recv()
        peer.send(b"\x88\x02\x03\xe8")
        await peer.until_closed()

    with socket_path() as path:
        async with serve_at(path, echo) as server, ClientSession(connector=UnixConnector(path)) as session:
            ws = await session.ws_connect("ws://python.org/chat")
            assert (await ws.receive()).data == "hello"
            await ws.close()
            assert server.requests[0].header("host") == "python.org"
