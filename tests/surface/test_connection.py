"""Section J: the lease of one connection."""

import asyncio
import gc
from typing import Any

import pytest

from keepwarm import Connection, TCPConnector
from tests.support.leaks import Baseline
from tests.support.server import Peer, ScriptedServer, UntilClosed
from tests.surface.connecting import connect

pytestmark = pytest.mark.asyncio


def test_j_01_connections_come_from_connect() -> None:
    """The constructor asks for what only a pool has."""
    with pytest.raises(TypeError):
        Connection()  # type: ignore[call-arg]


async def test_j_02_closed() -> None:
    """True once closed, released or detached; read-only."""
    async with ScriptedServer([UntilClosed()]) as server, TCPConnector() as connector:
        for end in ("close", "release", "detach"):
            connection = await connect(connector, server)
            assert connection.closed is False
            transport = connection.transport
            getattr(connection, end)()
            assert connection.closed is True
            with pytest.raises(AttributeError):
                connection.closed = False  # type: ignore[misc]
            transport.close()


async def test_j_03_loop(loop: asyncio.AbstractEventLoop) -> None:
    """The loop that it belongs to."""
    async with ScriptedServer([UntilClosed()]) as server, TCPConnector() as connector:
        connection = await connect(connector, server)
        assert connection.loop is loop
        connection.close()


async def test_j_04_close() -> None:
    """The socket is closed; idempotent."""
    async with ScriptedServer([UntilClosed()]) as server, TCPConnector() as connector:
        connection = await connect(connector, server)
        connection.close()
        connection.close()
        connection.release()
        await server.until_idle()
        assert connector.stats().total.idle == 0


async def test_j_05_release() -> None:
    """The connection serves again; idempotent, even when somebody else holds it by then."""
    async with ScriptedServer([UntilClosed()]) as server, TCPConnector() as connector:
        connection = await connect(connector, server)
        connection.release()
        again = await connect(connector, server)
        connection.release()
        connection.close()
        assert not again.closed
        again.release()
        assert (server.accepted, connector.stats().total.idle) == (1, 1)


async def test_j_06_detach() -> None:
    """Never returned, never closed; it counts against the limit until its transport is lost."""
    async with ScriptedServer([UntilClosed()]) as server, TCPConnector(limit=1) as connector:
        connection = await connect(connector, server)
        transport = connection.transport
        connection.detach()
        connection.release()
        connection.close()
        assert not transport.is_closing()
        waiting = asyncio.ensure_future(connect(connector, server))
        await asyncio.sleep(0)
        assert not waiting.done() and connector.stats().total.detached == 1
        transport.close()
        (await waiting).release()
        assert server.accepted == 2


async def test_j_07_reader_and_writer() -> None:
    """Raw bytes both ways."""

    async def echo(peer: Peer) -> None:
        peer.send(await peer.recv_exactly(5))
        await peer.until_closed()

    async with ScriptedServer(echo) as server, TCPConnector() as connector:
        connection = await connect(connector, server)
        reader = connection.reader
        connection.writer.write(b"hello")
        await connection.writer.drain()
        assert await reader.readexactly(5) == b"hello"
        connection.close()


async def test_j_08_an_unclosed_connection(loop: asyncio.AbstractEventLoop, baseline: Baseline) -> None:
    """It is closed, there is a ResourceWarning, and the loop's exception handler hears of it."""
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    async with ScriptedServer([UntilClosed()]) as server, TCPConnector() as connector:
        connection = await connect(connector, server)
        with pytest.warns(ResourceWarning, match="Unclosed connection"):
            del connection
            gc.collect()
        await server.until_idle()
    assert [context["message"] for context in contexts] == ["Unclosed connection"]
    assert isinstance(contexts[0]["client_connection"], Connection)


async def test_j_09_repr() -> None:
    """It shows the endpoint."""
    async with ScriptedServer([UntilClosed()]) as server, TCPConnector() as connector:
        connection = await connect(connector, server)
        assert f"127.0.0.1:{server.port}" in repr(connection)
        connection.close()
