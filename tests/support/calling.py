"""What tests of whole calls need: a session that trusts the scripted server, and proof that a call left nothing."""

import asyncio
from typing import Any

import pytest

from keepwarm.client.context import RequestContext
from keepwarm.client.response import ClientResponse
from keepwarm.client.session import ClientSession
from keepwarm.pool.channel import Channel
from keepwarm.pool.connector import BaseConnector
from keepwarm.pool.dial import DialRequest
from keepwarm.pool.stats import EndpointStats
from keepwarm.pool.tcp_connector import TCPConnector
from tests.support.certificates import client_context, server_context
from tests.support.leaks import open_fds, open_tasks
from tests.support.peer import Changes
from tests.support.server import Script, ScriptedServer

PLAIN_AND_TLS = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])

SETTLE_TURNS = 60


class WatchedConnector(TCPConnector):
    """Keeps the channels that it made. `gate` holds a dial back when it is connected, before the pool hears of it;
    `stubborn` dials that are cancelled there hand their connection in all the same."""

    def __init__(self, **options: Any) -> None:
        super().__init__(ssl_context=client_context(), **options)
        self.channels: list[Channel] = []
        self.gate: asyncio.Event | None = None
        self.stubborn = False
        self.begun = 0
        self._changes = Changes()

    async def until_made(self, count: int) -> None:
        """Wait until `count` connections have been made, those included that the gate holds back."""
        await self._changes.until(lambda: len(self.channels) >= count)

    async def until_stuck(self) -> None:
        """Wait until the first connection's peer takes no more: the transport's buffer is full, and stays so."""
        full = 0
        while full < 20:
            await asyncio.sleep(0)
            full = full + 1 if self.channels and self.channels[0].is_write_paused else 0

    async def _create_connection(self, req: DialRequest) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        self.begun += 1
        transport, channel = await super()._create_connection(req)
        assert isinstance(channel, Channel)
        self.channels.append(channel)
        self._changes.notify()
        if self.gate is not None:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                if not self.stubborn:
                    transport.abort()
                    raise
        return transport, channel


def serve(*scripts: Script, tls: bool = False, **options: Any) -> ScriptedServer:
    """A scripted server, with TLS if `tls`."""
    return ScriptedServer(*scripts, ssl=server_context() if tls else None, **options)


def session(connector: BaseConnector | None = None, *, retry_stale: bool = True, **options: Any) -> ClientSession:
    """A session over `connector`, or over a WatchedConnector with `options`."""
    return ClientSession(connector=connector or WatchedConnector(**options), retry_stale=retry_stale)


def numbers(of: ClientSession) -> EndpointStats:
    """The pool's numbers, over all endpoints."""
    assert of.connector is not None
    return of.connector.stats().total


async def sent(call: RequestContext) -> ClientResponse:
    """The call as a coroutine, for a task of its own."""
    return await call


async def nonce_of(response: ClientResponse) -> str:
    """Read the response to its end; the nonce that the server put on it."""
    async with response:
        await response.read()
        nonce: str = response.headers["X-Nonce"]
        return nonce


async def fetch(of: ClientSession, url: str, **options: Any) -> str:
    """GET the url, whole; the nonce of the answer, which is the path of the url if it is the right one."""
    return await nonce_of(await of.get(url, **options))


class Conserved:
    """Promise G2 for one session and one server: whatever happened, everything is accounted for.

    Made while nothing is under way. `settled()` then waits a few turns of the loop, never for time, and checks:
    nobody leased, nobody waiting, open = idle, one descriptor for each end of each connection, no task left.
    """

    def __init__(self, of: ClientSession, *servers: ScriptedServer) -> None:
        self._session = of
        self._servers = servers
        self._sockets = _sockets() - self._server_ends() - (numbers(of).open if not of.closed else 0)
        self._tasks = _tasks()

    async def settled(self, *, idle: int | None = None) -> None:
        """Raise AssertionError if anything is left; with `idle`, if another number of connections is idle."""
        problems = self.problems(idle)
        for _ in range(SETTLE_TURNS):
            if not problems:
                return
            await asyncio.sleep(0)
            problems = self.problems(idle)
        raise AssertionError("after the call: " + "; ".join(problems))

    async def healthy(self, path: str = "/after") -> None:
        """`settled()`, and the next call on the same session gets its own answer and leaves nothing either."""
        await self.settled()
        assert await fetch(self._session, self._servers[-1].url(path)) == path
        await self.settled()

    def problems(self, idle: int | None = None) -> list[str]:
        """What is not as it should be at this moment."""
        stats = EndpointStats() if self._session.closed else numbers(self._session)
        found = []
        if stats.leased or stats.waiting or stats.open != stats.idle or (idle is not None and stats.idle != idle):
            found.append(f"the books say {stats}")
        sockets = _sockets() - self._server_ends() - self._sockets
        if sockets != stats.idle:
            found.append(f"{sockets} sockets are open, {stats.idle} connections are idle")
        return found + [f"left over: {task!r}" for task in _tasks() - self._tasks]

    def _server_ends(self) -> int:
        return sum(not peer.lost for server in self._servers for peer in server.connections)


def _sockets() -> int:
    return sum(target.startswith("socket:") for target in open_fds().values())


def _tasks() -> set["asyncio.Task[Any]"]:
    """All tasks but this one and those that run the scripts of servers."""
    tasks = open_tasks(asyncio.get_running_loop())
    return {task for task in tasks if not getattr(task.get_coro(), "__qualname__", "").startswith("ScriptedServer.")}
