"""Runs one cell of the fault matrix: a call that the fault hits, the same call again after it, and what is left."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from keepwarm.client.session import ClientSession
from keepwarm.client.timeout import ClientTimeout
from tests.matrix.cells import Cell
from tests.support.calling import numbers, session
from tests.support.certificates import server_context
from tests.support.proxies import ORIGIN, RelayingProxy, through
from tests.support.relay import CLEAR, Faults, Relay
from tests.support.server import Peer, ScriptedServer, response
from tests.support.unix_sockets import socket_path, unix_session

BODY: Final = bytes(range(256)) * 12
# Small: they are run out in every cell with a black hole. A dial has longer, for the next one must have it too.
PATIENCE: Final = 0.1
DIAL_PATIENCE: Final = 0.4
# Nothing takes so long unless it hangs.
HANGS: Final = 20.0
# In the middle of CONNECT's answer, and of the first TLS record.
IN_A_DIAL: Final = 10

_LASTING: Final = {
    "latency": Faults(latency=0.002),
    "bandwidth": Faults(bandwidth=400_000),
    "slicing": Faults(slice_size=7, random_slices=True),
    "slow close": Faults(slow_close=0.02),
}
_IN_A_DIAL: Final = {
    "black hole": Faults(black_hole_after=IN_A_DIAL),
    "reset": Faults(reset_after=IN_A_DIAL),
    "data limit": Faults(fin_after=IN_A_DIAL),
}
_STRIKES: Final = {"black hole": "black hole", "reset": "reset", "data limit": "fin"}


class Origin:
    """The script of the server: where the fault is to strike, it is told to."""

    def __init__(self) -> None:
        self.strike: Callable[[], None] | None = None

    async def __call__(self, peer: Peer) -> None:
        while True:
            request = await peer.request()
            strike, self.strike = self.strike, None
            if request.target.endswith("/head") and strike is not None:
                strike()
                await peer.until_closed()
            elif request.target.endswith("/body") and strike is not None:
                peer.send(response(body=BODY[:1000], length=len(BODY)))
                self.strike = strike  # for the caller, once it has these
                await peer.until_closed()
            elif request.target.endswith("/close"):
                peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY)
                return
            else:
                peer.send(response(body=BODY))


class Rig:
    """A session, the relay that all it sends goes through, the server and the URL to call."""

    def __init__(self, calls: ClientSession, relay: Relay, origin: Origin, url: str) -> None:
        self.calls, self.relay, self.origin, self.url = calls, relay, origin, url

    async def fetch(self, path: str) -> None:
        async with self.calls.get(f"{self.url}/{path}") as got:
            first = await got.content.read(500)
            if self.origin.strike is not None:
                strike, self.origin.strike = self.origin.strike, None
                strike()
            if first + await got.content.read() != BODY:
                raise AssertionError("another body came")


@asynccontextmanager
async def rig(cell: Cell) -> AsyncIterator[Rig]:
    """Everything for one cell; all of it is gone afterwards."""
    way, _, tls = cell.way.partition(", ")
    options = {"conn_timeout": DIAL_PATIENCE} if cell.phase == "dial" and cell.fault == "black hole" else {}
    origin = Origin()
    async with AsyncExitStack() as stack:
        enter, folder = stack.enter_async_context, stack.enter_context
        context = server_context() if tls else None
        if way == "unix":
            here, there = folder(socket_path()), folder(socket_path())
            await enter(ScriptedServer(origin, path=there, ssl=context))
            relay = await enter(Relay(there, listen_path=here))
            calls = unix_session(here, **options)
            url = f"{'https' if tls else 'http'}://localhost"
        else:
            inner = server_context() if way == "CONNECT" else context
            server = await enter(ScriptedServer(origin, ssl=inner))
            proxy = await enter(RelayingProxy(context)) if way == "CONNECT" else server
            relay = await enter(Relay(proxy.port))
            if way == "TCP":
                calls = session(**options)
                url = f"{'https' if tls else 'http'}://127.0.0.1:{relay.port}"
            else:
                calls = through(relay.port, scheme="https" if tls else "http", **options)
                url = f"https://{ORIGIN}:{server.port}" if way == "CONNECT" else f"http://{ORIGIN}"
        yield Rig(await enter(calls), relay, origin, url)


async def run_cell(cell: Cell) -> str:
    """What the call came to: "served", or its error by the documented name. Raises AssertionError where the cell is not
    kept."""
    async with rig(cell) as it:
        error = await asyncio.wait_for(_hit(cell, it), HANGS)
        if not (error is None if cell.outcome is None else isinstance(error, cell.outcome)):
            raise AssertionError(f"{cell.name}: {error!r}, not {cell.outcome}") from error
        it.relay.faults, it.relay.down, it.origin.strike = CLEAR, False, None
        await asyncio.wait_for(it.fetch("after"), HANGS)
        await _check_books(cell, it)
        return "served" if cell.outcome is None else cell.outcome.__name__


async def _hit(cell: Cell, it: Rig) -> BaseException | None:
    """The call that the fault hits."""
    relay, path = it.relay, "x"
    if cell.phase == "idle":
        await it.fetch("before")
    timeout = ClientTimeout(total=PATIENCE) if cell.fault == "black hole" and cell.phase != "dial" else None
    if cell.phase == "always":
        relay.faults, path = _LASTING[cell.fault], "close" if cell.fault == "slow close" else "x"
    elif cell.fault == "down":
        relay.down = True
        relay.cut_off()
    elif cell.phase == "dial":
        relay.faults = _IN_A_DIAL[cell.fault]
    elif cell.phase == "idle":
        relay.links[-1].strike(_STRIKES[cell.fault])
    else:
        path = cell.phase
        it.origin.strike = lambda: relay.links[-1].strike(_STRIKES[cell.fault])
    try:
        if timeout is None:
            await it.fetch(path)
        else:
            async with asyncio.timeout(HANGS):
                await _fetch_within(it, path, timeout)
    except Exception as exc:
        return exc
    return None


async def _fetch_within(it: Rig, path: str, timeout: ClientTimeout) -> None:
    """The dial has all the time it needs; the answer has not."""
    if not it.relay.links:
        strike, it.origin.strike = it.origin.strike, None
        await it.fetch("first")
        it.origin.strike = strike
    async with it.calls.get(f"{it.url}/{path}", timeout=timeout) as got:
        await got.content.read(500)
        if it.origin.strike is not None:
            strike, it.origin.strike = it.origin.strike, None
            strike()
        await got.content.read()


async def _check_books(cell: Cell, it: Rig) -> None:
    """One connection lies idle, and nothing else is left: no slot, no caller, no socket."""
    for _ in range(500):
        stats = numbers(it.calls)
        left = (stats.leased, stats.waiting, stats.dialling, stats.detached, stats.closing)
        alive = sum(link.client.alive and not link.client.eof for link in it.relay.links)
        if not any(left) and (stats.open, stats.idle, alive) == (1, 1, 1):
            return
        await asyncio.sleep(0.002)
    raise AssertionError(
        f"{cell.name}: left behind: {left}, open {stats.open}, idle {stats.idle}, at the relay {alive}"
    )
