"""Sessions and connectors that nobody closes, or that are closed too late (FAULTS L01, L02)."""

import asyncio
import gc
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from keepwarm.client.session import ClientSession
from keepwarm.pool.connector import BaseConnector
from keepwarm.pool.dial import DialRequest
from keepwarm.pool.endpoint import Endpoint, make_endpoint
from keepwarm.pool.errors import PoolClosedError
from keepwarm.pool.tcp_connector import TCPConnector
from tests.support.calling import fetch, serve, session
from tests.support.certificates import client_context
from tests.support.leaks import Baseline, open_fds, turns
from tests.support.server import ScriptedServer
from tests.support.threaded import ThreadedServer

pytestmark = pytest.mark.asyncio

LOOPS = pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.SelectorEventLoop], ids=["uvloop", "std"])
KINDS = pytest.mark.parametrize(
    ("tls", "fast"), [(False, False), (True, False), (True, True)], ids=["plain", "tls", "fast"]
)
PARALLEL = 3


class Request:
    """What `connect` needs."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint


def connector(fast: bool, **options: Any) -> TCPConnector:
    return TCPConnector(ssl_context=client_context(), fast_tls=fast, **options)


def watch_handler(loop: asyncio.AbstractEventLoop) -> list[dict[str, Any]]:
    """What reaches the loop's exception handler from now on."""
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    return contexts


async def use(calls: ClientSession, server: ScriptedServer) -> None:
    """Leave PARALLEL idle connections behind."""
    requests = [asyncio.create_task(fetch(calls, server.url())) for _ in range(PARALLEL)]
    await asyncio.gather(*requests)


@KINDS
@pytest.mark.fault("L01")
async def test_a_forgotten_session_closes_its_connections(
    tls: bool, fast: bool, loop: asyncio.AbstractEventLoop
) -> None:
    """A session that is dropped warns, tells the loop's handler, and its idle connections end, TLS with a goodbye."""
    contexts = watch_handler(loop)
    async with serve(tls=tls) as server:
        calls = session(connector(fast))
        await use(calls, server)
        opened = server.accepted
        with pytest.warns(
            ResourceWarning, match="Unclosed client session .*: use it in `async with`, or await close"
        ) as caught:
            del calls
            gc.collect()
        await server.until_idle()
        assert [peer.closed for peer in server.connections] == ["fin"] * opened
    assert [context["message"] for context in contexts] == ["Unclosed client session"]
    assert isinstance(contexts[0]["client_session"], ClientSession)
    assert len(caught) == 1
    assert isinstance(caught[0].source, ClientSession)


@KINDS
@pytest.mark.fault("L01")
async def test_a_forgotten_connector_says_how_many_connections(
    tls: bool, fast: bool, loop: asyncio.AbstractEventLoop
) -> None:
    """A connector without a session that is dropped with an idle connection warns, and names their number."""
    contexts = watch_handler(loop)
    async with serve(tls=tls) as server:
        owner: BaseConnector = connector(fast)
        lease = await owner.connect(Request(make_endpoint("127.0.0.1", server.port, tls)))
        lease.release()
        del lease
        with pytest.warns(ResourceWarning, match="Unclosed connector .* with 1 connections"):
            del owner
            gc.collect()
        await server.until_idle()
    assert [(context["message"], context["connections"]) for context in contexts] == [("Unclosed connector", 1)]
    assert isinstance(contexts[0]["connector"], BaseConnector)


@pytest.mark.fault("L01")
async def test_in_debug_mode_the_handler_learns_where_it_was_made(loop: asyncio.AbstractEventLoop) -> None:
    """With the loop in debug mode the context has the stack of the session's creation, which ends in this function."""
    contexts = watch_handler(loop)
    loop.set_debug(True)
    try:
        async with serve() as server:
            calls = session(connector(False))
            await use(calls, server)
            with pytest.warns(ResourceWarning, match="Unclosed client session"):
                del calls
                gc.collect()
            await server.until_idle()
    finally:
        loop.set_debug(False)
    names = [frame.name for frame in contexts[0]["source_traceback"]]
    assert names[-2:] == ["test_in_debug_mode_the_handler_learns_where_it_was_made", "session"]


@pytest.mark.fault("L01")
async def test_collected_by_another_thread(loop: asyncio.AbstractEventLoop) -> None:
    """The collector may run in any thread: the connections are closed in the loop's own."""
    closers: list[int] = []
    watch_handler(loop)
    async with serve() as server:

        class Watched(TCPConnector):
            def _release_resources(self) -> None:
                closers.append(threading.get_ident())
                super()._release_resources()

        held = [session(Watched())]
        await use(held[0], server)
        with pytest.warns(ResourceWarning, match="Unclosed client session"):
            thread = threading.Thread(target=held.clear)
            thread.start()
            thread.join()
        await server.until_idle()
    assert closers == [threading.get_ident()]


@pytest.mark.fault("L01")
async def test_an_idle_resolver_goes_without_a_warning(baseline: Baseline) -> None:
    """A dropped connector that has no connection any more warns of nothing, and gives back the rest that it had."""
    released: list[str] = []

    class Watched(TCPConnector):
        def _release_resources(self) -> None:
            released.append("resources")
            super()._release_resources()

    async with serve() as server:
        owner: BaseConnector = Watched(force_close=True)
        lease = await owner.connect(Request(make_endpoint("127.0.0.1", server.port, False)))
        lease.release()
        del lease
        await server.until_idle()
        await turns(3)
        del owner
        gc.collect()
    assert released == ["resources"]
    assert baseline.errors == []


@pytest.mark.fault("L01")
async def test_forgotten_while_it_dials(loop: asyncio.AbstractEventLoop) -> None:
    """A connector that is dropped during a dial is collected all the same, and who waits for the dial is told."""
    watch_handler(loop)

    class Hanging(BaseConnector):
        async def _create_connection(self, req: DialRequest) -> Any:
            raise AssertionError("dialled for a connector that is gone")

    owner = Hanging()
    call = asyncio.create_task(owner.pool().acquire(make_endpoint("127.0.0.1", 9, False)))
    while not owner.stats().total.dialling:
        await turns(1)
    with pytest.warns(ResourceWarning, match="Unclosed connector .* with 1 connections"):
        del owner
        gc.collect()
    with pytest.raises(PoolClosedError):
        await call


# The loop is closed first


async def half(calls: ClientSession, server: ThreadedServer) -> None:
    """Be in the middle of a body when the loop stops."""
    response = await calls.get(server.url("/half"))
    await response.content.readexactly(4)
    await response.read()


async def until_half(reading: "asyncio.Task[None]", calls: ClientSession) -> None:
    connector = calls.connector
    assert connector is not None
    while not connector.stats().total.leased:
        await turns(1)
    while "read" not in _where(reading):
        await turns(1)


def _where(task: "asyncio.Task[None]") -> list[str]:
    """The names of the functions in which a task waits."""
    names, coroutine = [], task.get_coro()
    while coroutine is not None:
        names.append(getattr(coroutine, "__name__", ""))
        coroutine = getattr(coroutine, "cr_await", None)
    return names


def end(how: str, calls: ClientSession, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Close the session, or do not."""
    if how == "close":
        calls.close()
    elif how == "await":
        other = new_loop()
        other.run_until_complete(_await(calls))
        other.close()


async def _await(calls: ClientSession) -> None:
    await calls.close()


@LOOPS
@KINDS
@pytest.mark.fault("L02")
@pytest.mark.parametrize("how", ["close", "await", "del"])
def test_the_loop_is_closed_before_the_session(
    new_loop: Callable[[], asyncio.AbstractEventLoop], tls: bool, fast: bool, how: str
) -> None:
    """Nothing is raised when the loop went first, whatever ends the session, and no descriptor stays open."""
    unraisable: list[Any] = []
    with warnings.catch_warnings(), ThreadedServer(tls=tls) as server, pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore", ResourceWarning)  # the loops' own, about transports that were open
        patch.setattr("sys.unraisablehook", unraisable.append)
        before = open_fds()
        loop = new_loop()
        calls = session(connector(fast))
        loop.run_until_complete(fetch_ok(calls, server))
        loop.close()
        end(how, calls, new_loop)
        del calls
        gc.collect()
        left = {fd: what for fd, what in open_fds().items() if before.get(fd) != what}
        ours = [what for fd, what in left.items() if not what.startswith("socket:")]
        assert ours == []
    # ThreadedServer has seen the end of every connection.
    assert [report.exc_value for report in unraisable] == []


async def fetch_ok(calls: ClientSession, server: ThreadedServer) -> None:
    async with calls.get(server.url()) as response:
        assert await response.read() == b"ok"


@LOOPS
@pytest.mark.fault("L02")
@pytest.mark.parametrize("how", ["close", "del"])
def test_the_loop_is_closed_in_the_middle_of_a_body(
    new_loop: Callable[[], asyncio.AbstractEventLoop], how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A call that was under way when the loop was closed does not trip the session's end."""
    unraisable: list[Any] = []
    with warnings.catch_warnings(), ThreadedServer() as server, pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore", ResourceWarning)
        patch.setattr("sys.unraisablehook", unraisable.append)
        loop = new_loop()
        calls = session(connector(False))
        reading = loop.create_task(half(calls, server))
        loop.run_until_complete(until_half(reading, calls))
        loop.close()
        end(how, calls, new_loop)
        del calls, reading
        gc.collect()
    assert [report.exc_value for report in unraisable] == []
    assert [record.message.split("\n")[0] for record in caplog.records] == ["Task was destroyed but it is pending!"]
