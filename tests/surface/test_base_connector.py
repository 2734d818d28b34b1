"""Section F: what all connectors have in common."""

import asyncio
import gc
import inspect
from typing import Any

import pytest

import keepwarm
from keepwarm import BaseConnector, ClientRequest, ClientSession, Connection, TCPConnector
from keepwarm.pool.dial import DialRequest
from tests.support.dialing import black_hole
from tests.support.http1 import ok, response
from tests.support.leaks import Baseline
from tests.support.server import Peer, ScriptedServer, UntilClosed, answer_all, unserved_port
from tests.surface.calls import calling, routes
from tests.surface.connecting import connect

pytestmark = pytest.mark.asyncio

BOTH = pytest.mark.parametrize("kind", [BaseConnector, TCPConnector])


@pytest.mark.parametrize(
    ("row", "name", "default"),
    [
        ("F-02", "conn_timeout", None),
        ("F-03", "keepalive_timeout", 30),
        ("F-04", "limit", None),
        ("F-06", "share_cookies", False),
        ("F-07", "force_close", False),
        ("F-08", "loop", None),
    ],
)
def test_parameters_of_the_base(row: str, name: str, default: Any) -> None:
    """The reference's parameters with its defaults."""
    assert inspect.signature(BaseConnector).parameters[name].default == default


async def test_f_02_conn_timeout() -> None:
    """ClientTimeoutError, which is a TimeoutError too."""
    with black_hole() as port:
        async with ClientSession(connector=TCPConnector(conn_timeout=0.02)) as session:
            with pytest.raises(keepwarm.ClientTimeoutError) as caught:
                await session.get(f"http://127.0.0.1:{port}/")
    assert isinstance(caught.value, asyncio.TimeoutError)


async def test_f_03_keepalive_timeout() -> None:
    """A connection that lay idle for longer is not used again."""
    async with calling(connector=TCPConnector(keepalive_timeout=0.02)) as (session, server):
        async with session.get(server.url()):
            pass
        await server.until_idle()
        async with session.get(server.url()):
            pass
        assert server.accepted == 2


async def test_f_04_limit() -> None:
    """At most so many connections to one endpoint; another endpoint has its own."""
    async with calling(connector=TCPConnector(limit=1)) as (session, server), ScriptedServer() as other:
        async with session.get(server.url()) as held:
            async with session.get(other.url()):
                pass
            await held.read()
        calls = [session.get(server.url()) for _ in range(5)]
        for resp in await asyncio.gather(*calls):
            resp.close()
        assert (server.accepted, other.accepted) == (1, 1)


async def test_f_05_endpoint_identity() -> None:
    """(host, port, is_ssl), as a tuple."""
    request = ClientRequest("GET", "https://EXAMPLE.org/x")
    assert request.endpoint == ("example.org", 443, True)
    assert ClientRequest("GET", "http://example.org:443/").endpoint == ("example.org", 443, False)


@BOTH
@pytest.mark.parametrize("row", ["F-06", "G-13", "R-01"])
def test_share_cookies(row: str, kind: type[BaseConnector]) -> None:
    """Deprecated since 0.15.2: it warns at the caller's line; `cookies` and `update_cookies` are there."""
    with pytest.warns(DeprecationWarning, match="share_cookies") as caught:
        connector = kind(share_cookies=True)
    assert [warning.filename for warning in caught] == [__file__]
    connector.update_cookies({"a": "b"})
    assert connector.cookies["a"].value == "b"


async def test_f_06_shared_cookies_come_from_answers() -> None:
    """A connector that shares cookies collects what responses set. It hands them to nobody: they have no scope."""
    with pytest.warns(DeprecationWarning):
        connector = TCPConnector(share_cookies=True)
    async with ScriptedServer(routes(set=response(headers=[("Set-Cookie", "a=b; Path=/")]))) as server:
        first = ClientSession(connector=connector)
        async with first.get(server.url("/set")):
            pass
        first.detach()
        assert connector.cookies["a"].value == "b"
        async with ClientSession(connector=connector) as second, second.get(server.url("/next")):
            pass
        assert server.requests[1].header_all("Cookie") == []


async def test_f_07_force_close() -> None:
    """The socket is closed after the call."""
    async with calling(connector=TCPConnector(force_close=True)) as (session, server):
        for _ in range(2):
            async with session.get(server.url()) as resp:
                await resp.read()
            await server.until_idle()
        assert server.accepted == 2


@pytest.mark.parametrize("row", ["F-08", "G-15"])
async def test_loop_is_accepted(row: str, loop: asyncio.AbstractEventLoop) -> None:
    """And it is the connector's from then on."""
    async with TCPConnector(loop=loop) as connector:
        assert connector.loop is loop
    assert BaseConnector(loop=loop).loop is loop
    with pytest.raises(TypeError, match="loop"):
        BaseConnector(loop=1)  # type: ignore[arg-type]


async def test_f_12_close() -> None:
    """Idle and leased connections are closed, who waits is told."""
    async with ScriptedServer([UntilClosed()]) as server:
        connector = TCPConnector(limit=2)
        idle, leased = await connect(connector, server), await connect(connector, server)
        waiting = asyncio.ensure_future(connect(connector, server))
        await asyncio.sleep(0)
        third = asyncio.ensure_future(connect(connector, server))
        await asyncio.sleep(0)
        idle.release()
        (await waiting).release()
        closing = connector.close()
        assert connector.closed and leased.closed
        await asyncio.gather(third, return_exceptions=True)
        await closing
        await server.until_idle()
    connector = TCPConnector(limit=1)
    async with ScriptedServer([UntilClosed()]) as server:
        await hold(connector, server)
        waiting = asyncio.ensure_future(connect(connector, server))
        await asyncio.sleep(0)
        await connector.close()
        with pytest.raises(keepwarm.PoolClosedError):
            await waiting


async def hold(connector: BaseConnector, server: ScriptedServer) -> None:
    """Lease a connection and leave it to close()."""
    held = await connect(connector, server)
    held.detach()


async def test_f_13_connect() -> None:
    """A free connection or a new one; it waits while the limit is exhausted; newest idle and oldest waiter first."""
    async with ScriptedServer([UntilClosed()]) as server, TCPConnector(limit=2) as connector:
        first, second = await connect(connector, server), await connect(connector, server)
        assert isinstance(first, Connection)
        channels = first.channel, second.channel
        waiting = [asyncio.ensure_future(connect(connector, server)) for _ in range(2)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        first.release()
        oldest = await waiting[0]
        assert oldest.channel is channels[0] and not waiting[1].done()
        second.release()
        youngest = await waiting[1]
        oldest.release()
        youngest.release()
        newest = await connect(connector, server)
        assert newest.channel is channels[1]
        newest.release()
        assert server.accepted == 2


class OwnConnector(BaseConnector):
    """Connects to one place, whatever the URL says."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port
        self.asked: list[tuple[str, int, bool]] = []

    async def _create_connection(self, req: DialRequest) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        self.asked.append((req.host, req.port, req.ssl))
        loop = asyncio.get_running_loop()
        return await loop.create_connection(req.channel_factory, "127.0.0.1", self.port)


async def test_f_14_create_connection() -> None:
    """A subclass says how to connect: (transport, protocol). The base does not know."""
    async with ScriptedServer() as server:
        async with ClientSession(connector=OwnConnector(server.port)) as session:
            async with session.get("http://elsewhere.test/x") as resp:
                assert resp.status == 200
            connector = session.connector
            assert isinstance(connector, OwnConnector) and connector.asked == [("elsewhere.test", 80, False)]
        async with BaseConnector() as base:
            with pytest.raises(NotImplementedError, match="_create_connection"):
                await connect(base, server)


async def test_f_15_connections_are_kept_by_default() -> None:
    """By TCPConnector and by connectors of one's own."""
    async with ScriptedServer() as server:
        for connector in (TCPConnector(), OwnConnector(server.port)):
            before = server.accepted
            async with ClientSession(connector=connector) as session:
                for _ in range(2):
                    async with session.get(server.url()):
                        pass
            assert server.accepted == before + 1


async def test_f_16_the_base_can_be_made() -> None:
    """Only connecting fails."""
    async with BaseConnector() as connector:
        assert not connector.closed
    assert connector.closed


async def test_f_17_an_unclosed_connector(loop: asyncio.AbstractEventLoop, baseline: Baseline) -> None:
    """With connections it warns, tells the loop, and closes them; without any it says nothing."""
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    async with ScriptedServer() as server:
        connector = TCPConnector()
        (await connect(connector, server)).release()
        with pytest.warns(ResourceWarning, match="Unclosed connector"):
            del connector
            gc.collect()
        await server.until_idle()
    assert [(context["message"], context["connections"]) for context in contexts] == [("Unclosed connector", 1)]
    assert isinstance(contexts[0]["connector"], TCPConnector)
    TCPConnector()
    gc.collect()
    assert len(contexts) == 1


async def stray(peer: Peer) -> None:
    await peer.request()
    peer.send(ok() + b"stray bytes")
    await peer.until_closed()


@pytest.mark.parametrize(
    ("script", "options"),
    [
        (answer_all, {"force_close": True}),
        (routes(x=response(headers=[("Connection", "close")])), {}),
        (stray, {}),
        (routes(x=response(body=b"x" * 200_000)), {}),
    ],
    ids=["force_close", "told to close", "stray bytes", "unread"],
)
async def test_f_18_what_is_not_kept(script: Any, options: dict[str, Any]) -> None:
    """A connection that was told to close, has unread bytes, or must not be kept."""
    async with calling(script, connector=TCPConnector(**options)) as (session, server):
        for _ in range(2):
            async with session.get(server.url("/x")):
                pass
            await server.until_idle()
        assert server.accepted == 2


async def test_f_19_error_texts() -> None:
    """They begin as they always did."""
    async with ClientSession() as session:
        with unserved_port() as port, pytest.raises(keepwarm.ClientOSError) as caught:
            await session.get(f"http://127.0.0.1:{port}/")
        assert str(caught.value).startswith(f"Cannot connect to host 127.0.0.1:{port} ssl:False [Connection refused]")
    with black_hole() as port:
        async with ClientSession(connector=TCPConnector(conn_timeout=0.02)) as session:
            with pytest.raises(keepwarm.ClientTimeoutError) as late:
                await session.get(f"http://127.0.0.1:{port}/")
        assert str(late.value).startswith(f"Connection timeout to host 127.0.0.1:{port} ssl:False")
