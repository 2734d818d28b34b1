"""Section A, sessions and calls: where the reference, the old code and today's Python disagree, what was decided."""

import asyncio
import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

import keepwarm
from keepwarm import ClientSession, HttpVersion10, TCPConnector
from tests.support.http1 import ok, response
from tests.support.leaks import turns
from tests.support.server import (
    Peer,
    ScriptedServer,
    answer_all,
)
from tests.support.threaded import ThreadedServer
from tests.surface.calls import calling, routes, seen, with_answer

pytestmark = pytest.mark.asyncio

LOOPS = pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.SelectorEventLoop], ids=["uvloop", "std"])


@LOOPS
def test_a_01_constructed_outside_a_loop(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """No running loop is needed to make a session or a connector; the loop of the first connect is theirs."""
    asyncio.set_event_loop(None)
    loop = new_loop()
    with ThreadedServer() as server:
        with ClientSession(connector=TCPConnector()) as session:
            assert session.loop is None

            async def fetch() -> int:
                async with session.get(server.url()) as resp:
                    return resp.status

            assert loop.run_until_complete(fetch()) == 200
            assert session.loop is loop
        loop.run_until_complete(turns(5))
        loop.close()


def test_a_02_sync_with_closes() -> None:
    """A plain `with` closes the session."""
    with ClientSession() as session:
        assert not session.closed
    assert session.closed


async def test_a_02_async_with_closes() -> None:
    """So does `async with`."""
    async with ClientSession() as session:
        assert not session.closed
    assert session.closed


@pytest.mark.parametrize("kind", ["session", "connector"])
async def test_a_03_close_works_when_called(kind: str) -> None:
    """The work is done at the call; awaiting what it returns waits until the sockets are gone."""
    async with ScriptedServer() as server:
        connector = TCPConnector()
        session = ClientSession(connector=connector)
        async with session.get(server.url()):
            pass
        closing = session.close() if kind == "session" else connector.close()
        assert session.closed and connector.closed
        await server.until_idle()
        await closing
        await closing
        assert connector.stats().total.open == 0
        session.detach()


@LOOPS
def test_a_03_close_without_a_running_loop(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Neither a loop that rests nor one that never was is in the way."""
    TCPConnector().close()
    ClientSession().close()
    loop = new_loop()
    with ThreadedServer() as server:
        session = ClientSession()

        async def fetch() -> bytes:
            async with session.get(server.url()) as resp:
                return await resp.read()

        assert loop.run_until_complete(fetch()) == b"ok"
        closing = session.close()
        assert session.closed

        async def wait() -> None:
            await closing

        loop.run_until_complete(wait())
    loop.close()


@pytest.mark.parametrize("value", [0, None])
async def test_a_04_keepalive_timeout_of_nothing_keeps(value: float | None) -> None:
    """0 and None keep an idle connection for ever."""
    connector = TCPConnector(keepalive_timeout=value)
    assert connector.keepalive_timeout is None
    async with calling(connector=connector) as (session, server):
        for _ in range(3):
            async with session.get(server.url()):
                pass
            await asyncio.sleep(0.002)
        assert server.accepted == 1


@pytest.mark.parametrize("value", [0, None])
async def test_a_05_conn_timeout_of_nothing(value: float | None) -> None:
    """0 and None are no limit for a dial."""
    connector = TCPConnector(conn_timeout=value)
    assert connector.conn_timeout is None
    async with calling(connector=connector) as (session, server), session.get(server.url()) as resp:
        assert resp.status == 200


async def test_a_05_conn_timeout_is_for_dialling_only() -> None:
    """Who waits for the limit is not cut off by it."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await go.wait()
        peer.send(ok())
        await answer_all(peer)

    async with calling(script, connector=TCPConnector(conn_timeout=0.02, limit=1)) as (session, server):
        first = asyncio.ensure_future(session.get(server.url()))
        await server.until_requests(1)
        second = asyncio.ensure_future(session.get(server.url()))
        await asyncio.sleep(0.05)
        go.set()
        for call in (first, second):
            assert (await call).status == 200


@pytest.mark.parametrize("value", [True, False])
def test_a_06_dns_cache_under_both_names(value: bool) -> None:
    """`dns_cache` as the reference has it, `use_dns_cache` as the parameter is called."""
    connector = TCPConnector(use_dns_cache=value)
    assert connector.dns_cache is connector.use_dns_cache is value


@pytest.mark.parametrize("arguments", [{"host": "localhost"}, {"port": 1}, {}, "both"])
async def test_a_07_only_host_and_port_together_name_one_entry(arguments: Any) -> None:
    """With one of them, everything is cleared."""
    async with calling(connector=TCPConnector(use_dns_cache=True)) as (session, server):
        async with session.get(f"http://localhost:{server.port}/"):
            pass
        connector = session.connector
        assert isinstance(connector, TCPConnector)
        assert list(connector.cached_hosts) == [("localhost", server.port)]
        if arguments == "both":
            connector.clear_dns_cache("localhost", server.port + 1)
            assert len(connector.cached_hosts) == 1
            arguments = {"host": "localhost", "port": server.port}
        connector.clear_dns_cache(**arguments)
        assert connector.cached_hosts == {}


async def test_a_08_json_takes_its_arguments_in_both_styles() -> None:
    """Positional, as the reference shows it, and by keyword."""
    body = json.dumps({"a": "ü"}, ensure_ascii=False).encode("utf-16")
    async with calling(with_answer(response(body=body))) as (session, server), session.get(server.url()) as resp:
        assert await resp.json("utf-16") == {"a": "ü"}
        assert await resp.json("utf-16", str.upper) == '{"A": "Ü"}'
        assert await resp.json(encoding="utf-16", loads=json.loads) == {"a": "ü"}


async def test_a_14_version_in_both_places() -> None:
    """The session takes it and the call takes it, without a warning."""
    assert (await seen(of={"version": HttpVersion10})).version == "HTTP/1.0"
    assert (await seen(version=HttpVersion10)).version == "HTTP/1.0"
    assert (await seen(of={"version": HttpVersion10}, version="1.1")).version == "HTTP/1.1"


async def test_a_28_loop_is_checked(loop: asyncio.AbstractEventLoop) -> None:
    """One loop for session and connector, and for their whole life."""
    other = asyncio.SelectorEventLoop()
    try:
        with pytest.raises(ValueError, match="loop"):
            ClientSession(connector=TCPConnector(loop=other), loop=loop)
        with pytest.raises(TypeError, match="loop"):
            ClientSession(loop="loop")  # type: ignore[arg-type]
        async with calling(loop=loop) as (session, server):
            assert session.loop is loop
            async with session.get(server.url()):
                pass
        async with ScriptedServer() as server:
            foreign_session = ClientSession(loop=other)
            with pytest.raises(RuntimeError, match="belongs to"):
                await foreign_session.get(server.url())
            assert server.accepted == 0
            foreign_session.detach()
    finally:
        other.close()


async def test_a_29_module_functions_work_and_warn() -> None:
    """A connection of its own that is closed afterwards; a connector that was given stays open."""
    async with ScriptedServer() as server:
        with pytest.warns(DeprecationWarning, match="ClientSession"):
            call = keepwarm.get(server.url())
        async with call as resp:
            assert resp.status == 200
        await server.until_idle()
        async with TCPConnector() as connector:
            for _ in range(2):
                with pytest.warns(DeprecationWarning):
                    call = keepwarm.get(server.url(), connector=connector)
                async with call:
                    pass
            assert not connector.closed
            assert server.accepted == 2


async def test_a_31_a_call_is_awaited_or_entered() -> None:
    """Leaving the block releases; leaving it with an exception closes."""
    async with calling(routes(big=response(body=b"x" * 1000, length=2000))) as (session, server):
        call = session.get(server.url())
        assert inspect.isawaitable(call)
        (await call).release()
        async with session.get(server.url()):
            pass
        assert server.accepted == 1
        with pytest.raises(ZeroDivisionError):
            async with session.get(server.url("/big")) as resp:
                raise ZeroDivisionError
        assert resp.connection is None
        await server.until_idle()
