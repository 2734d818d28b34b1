"""A WebSocket in the pool's books, at every turn of the loop, and in a forked child (FAULTS W30, L08; law 4)."""

import asyncio
import contextlib
import pathlib
from collections.abc import AsyncIterator

import pytest

from keepwarm.client.errors import WSServerHandshakeError
from keepwarm.client.session import ClientSession
from keepwarm.pool.stats import EndpointStats
from tests.support.calling import Conserved, fetch, numbers, serve, session
from tests.support.certificates import authority
from tests.support.http1 import response
from tests.support.leaks import turns
from tests.support.programs import run_program
from tests.support.server import Peer, Script, answering
from tests.support.ws_frames import CLOSE, TEXT, server_frame
from tests.support.ws_peer import KINDS, agree, closing, echo, frame_from, hang_up, reset, saying

pytestmark = pytest.mark.asyncio


class Auditor:
    """Looks at the books at every turn of the loop, and notes which states were seen."""

    def __init__(self, calls: ClientSession, limit: int) -> None:
        self.seen: set[str] = set()
        self.turns = 0
        self._calls = calls
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_soon(self._look)
        self._problems: list[EndpointStats] = []

    def _look(self) -> None:
        self.turns += 1
        stats = numbers(self._calls)
        parts = {name: getattr(stats, name) for name in ("idle", "leased", "dialling", "detached", "closing")}
        if stats.open != sum(parts.values()) or min(parts.values()) < 0 or stats.open > self._limit:
            self._problems.append(stats)
        self.seen.update(name for name, count in parts.items() if count)
        self._handle = self._loop.call_soon(self._look)

    def stop(self) -> None:
        self._handle.cancel()
        assert self._problems == []


@contextlib.asynccontextmanager
async def audited(script: Script, kind: str) -> AsyncIterator[tuple[ClientSession, str, Auditor]]:
    async with serve(script, tls=kind != "plain") as server, session(fast_tls=kind == "fast", limit=1) as calls:
        watch = Conserved(calls, server)
        auditor = Auditor(calls, limit=1)
        yield calls, server.url("/ws"), auditor
        # The slot is free again: with a limit of one, the next call would wait for ever.
        with contextlib.suppress(WSServerHandshakeError):
            ws = await calls.ws_connect(server.url("/ws"))
            await ws.close()
        while numbers(calls).open:
            await turns(1)
        auditor.stop()
        assert auditor.turns > 10
        await watch.settled(idle=0)


@KINDS
@pytest.mark.fault("W30")
async def test_the_books_over_a_whole_life(kind: str) -> None:
    """Dialling, leased, idle, leased, detached, and the end: what is open is the sum at every turn."""
    async with audited(echo, kind) as (calls, url, auditor):
        assert await fetch(calls, url.replace("/ws", "/before")) == "/before"
        async with calls.ws_connect(url) as ws:
            await ws.send_str("x")
            assert await ws.receive_str() == "x"
    assert auditor.seen >= {"dialling", "leased", "idle", "detached"}


async def closing_at_once(peer: Peer) -> None:
    """Both send their close frames at the same time."""
    await agree(peer, glued=server_frame(TEXT, b"x"))
    frame = await frame_from(peer)
    peer.send(closing(1001) + server_frame(CLOSE))
    assert frame.opcode == CLOSE
    await hang_up(peer)


ENDS = {
    "refused": answering(lambda request: response("503 Busy", body=b"no")),
    "close": saying(closing(), then=hang_up),
    "both": closing_at_once,
    "fin": saying(then=hang_up),
    "rst": saying(then=reset),
    "broken": saying(server_frame(TEXT, b"x", rsv=0x20)),
}


@KINDS
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.fault("W30")
async def test_the_books_at_every_end(kind: str, end: str) -> None:
    """However the handshake or the WebSocket ends: the slot is held until the socket is gone, and comes back once."""
    async with audited(ENDS[end], kind) as (calls, url, auditor):
        with contextlib.suppress(WSServerHandshakeError):
            ws = await calls.ws_connect(url, timeout=0.05)
            async for _ in ws:
                if end == "both":
                    break
            await ws.close()
    assert ("detached" in auditor.seen) is (end != "refused")


@KINDS
@pytest.mark.fault("W27", "W30")
async def test_the_books_while_it_is_cancelled(kind: str) -> None:
    """The opening, the exchange and the closing cancelled at each turn: the sum holds at every turn after it too."""
    async with audited(echo, kind) as (calls, url, auditor):

        async def call() -> None:
            async with calls.ws_connect(url) as ws:
                await ws.send_str("x")
                await ws.receive()

        for step in range(40):
            task = asyncio.create_task(call())
            for _ in range(step):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    assert auditor.seen >= {"dialling", "leased", "detached"}


@KINDS
@pytest.mark.fault("L08")
async def test_a_fork_with_an_open_websocket(
    kind: str, loop: asyncio.AbstractEventLoop, tmp_path: pathlib.Path
) -> None:
    """A child can do nothing with its parent's WebSocket and opens its own; the parent's goes on, frame by frame."""
    trusted = tmp_path / "authority.pem"
    authority().cert_pem.write_to_path(str(trusted))
    hows = ["leave", "use", "drop", "close"]
    async with serve(echo, tls=kind != "plain") as server:
        name = "asyncio" if isinstance(loop, asyncio.SelectorEventLoop) else "uvloop"
        arguments = (name, server.url("").rstrip("/"), str(trusted), kind, ",".join(hows))
        outcome = await run_program("fork_websocket", *arguments)
        assert outcome.code == 0, outcome.stderr
        expected = {"statuses": [0] * len(hows), "echoes": ["before", *hows], "close_code": 1000}
        assert outcome.said == expected, outcome.stderr
        targets = [request.target for request in server.requests]
        assert targets == ["/parent"] + ["/child"] * len(hows)
        assert all(peer.unread == b"" and peer.tls_error is None for peer in server.connections)


@pytest.mark.fault("W30")
async def test_steering_the_pool_leaves_a_websocket_alone() -> None:
    """Connections that are retired, a pool that is suspended or made smaller: a WebSocket goes on, and is counted."""
    async with serve(echo) as server, session(limit=2) as calls:
        watch, connector = Conserved(calls, server), calls.connector
        assert connector is not None
        sockets = [await calls.ws_connect(server.url("/ws")) for _ in range(2)]
        connector.expire()
        connector.suspend()
        connector.resize(limit=1)
        for ws in sockets:
            await ws.send_str("x")
            assert await ws.receive_str() == "x"
        assert (numbers(calls).open, numbers(calls).detached) == (2, 2)
        connector.resume()
        waiting = asyncio.create_task(fetch(calls, server.url("/after")))
        await sockets[0].close()
        await turns(10)
        assert (waiting.done(), numbers(calls).open) == (False, 1)
        await sockets[1].close()
        assert await waiting == "/after"
        await watch.settled(idle=1)
