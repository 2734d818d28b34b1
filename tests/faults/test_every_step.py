"""Promise G2: a call that is cancelled at step k, for every k until it is through, leaves nothing behind.

After each k: nobody leased, nobody waiting, open = idle, one descriptor for each idle connection, no task left, and
the next call on the same session gets its own answer.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest

from keepwarm.client.session import ClientSession
from keepwarm.pool.errors import PoolClosedError
from tests.support.calling import PLAIN_AND_TLS, Conserved, fetch, nonce_of, sent, serve, session
from tests.support.leaks import turns
from tests.support.server import Answer, Peer, ScriptedServer, chunk, head, ok
from tests.support.steps import cancel_at_every_step

pytestmark = pytest.mark.asyncio

SINGLE_AND_DOUBLE = pytest.mark.parametrize("double", [False, True], ids=["once", "twice"])
PIECE = b"x" * 30_000


async def serve_all(peer: Peer) -> None:
    """Answers any request; a body of the length in the query comes in chunks, a turn of the loop between them."""
    while True:
        request = await peer.request()
        path, _, chunks = request.target.partition("?")
        if not chunks:
            peer.send(ok(nonce=path))
            continue
        peer.send(head("200 OK", [("X-Nonce", path), ("Transfer-Encoding", "chunked")]))
        for _ in range(int(chunks)):
            peer.send(chunk(PIECE))
            await peer.flush()
            await asyncio.sleep(0)
        peer.send(b"0\r\n\r\n")


@dataclass
class Scene:
    """One session and one server, for one sweep."""

    calls: ClientSession
    server: ScriptedServer
    number: int = 0

    def url(self, query: str = "") -> str:
        """A new path for each call."""
        self.number += 1
        return self.server.url(f"/{self.number}{query}")

    async def get(self) -> None:
        assert await fetch(self.calls, self.url()) == f"/{self.number}"

    async def download(self) -> None:
        async with self.calls.get(self.url("?4")) as got:
            size = 0
            async for piece in got.content.iter_any():
                size += len(piece)
        assert size == 4 * len(PIECE)

    async def upload(self) -> None:
        async def body() -> AsyncIterator[bytes]:
            for _ in range(4):
                yield PIECE
                await asyncio.sleep(0)

        assert await nonce_of(await self.calls.put(self.url(), data=body())) == f"/{self.number}"

    async def upload_bytes(self) -> None:
        assert await nonce_of(await self.calls.put(self.url(), data=PIECE * 4)) == f"/{self.number}"

    async def give_back(self) -> None:
        await (await self.calls.get(self.url("?1"))).release()

    async def give_up(self) -> None:
        got = await self.calls.get(self.url("?4"))
        got.close()
        await asyncio.sleep(0)

    async def lose_all(self) -> None:
        """Reset every connection, so that the next call has to dial."""
        for peer in self.server.connections:
            if not peer.lost:
                peer.rst()
        await self.server.until(lambda: all(peer.lost for peer in self.server.connections))


LINES = pytest.mark.parametrize("line", ["plain", "tls", "fast-tls"])


async def sweep(name: str, line: str, *, double: bool, every: int = 1, warm: bool = True, first: int = 0) -> int:
    """Cancel the scene's method `name` at each step. With `warm` an idle connection awaits it, else it has to dial."""
    tls = line != "plain"
    async with serve(serve_all, tls=tls) as server, session(fast_tls=line == "fast-tls") as calls:
        scene = Scene(calls, server)
        await scene.get()
        watch = Conserved(calls, server)

        async def prepare() -> None:
            if not warm:
                await scene.lose_all()
                await watch.settled(idle=0)

        async def check(k: int) -> None:
            await watch.healthy(f"/after-{k}")
            await prepare()

        await prepare()
        return await cancel_at_every_step(
            getattr(scene, name), check=check, double=double, first=first, every=every, settle=no_wait
        )


async def no_wait() -> None:
    """What Conserved waits for is enough."""


SWEEPS = pytest.mark.parametrize(
    ("name", "warm"),
    [
        ("get", False),
        ("get", True),
        ("download", False),
        ("download", True),
        ("upload", False),
        ("upload", True),
        ("upload_bytes", True),
        ("give_back", True),
        ("give_up", True),
    ],
)


@LINES
@SINGLE_AND_DOUBLE
@SWEEPS
async def test_a_call(line: str, double: bool, name: str, warm: bool) -> None:
    """Dialling, warm, reading, sending, giving back."""
    assert await sweep(name, line, double=double, warm=warm) > 3


@pytest.mark.soak
@LINES
@SINGLE_AND_DOUBLE
@SWEEPS
async def test_a_call_many_times(line: str, double: bool, name: str, warm: bool) -> None:
    """The same thirty times over: which step meets which await varies a little from run to run."""
    for _ in range(30):
        await sweep(name, line, double=double, warm=warm)


async def sweep_the_queue(tls: bool, *, double: bool, warm: bool) -> int:
    """limit=1, one caller ahead and one behind: the one in the middle is cancelled at each step."""
    async with serve(serve_all, tls=tls) as server, session(limit=1) as calls:
        scene = Scene(calls, server)
        await scene.get()
        watch = Conserved(calls, server)
        neighbours: list[asyncio.Task[str]] = []

        def between_two() -> Coroutine[Any, Any, object]:
            neighbours.append(asyncio.create_task(fetch(calls, server.url("/ahead"))))
            asyncio.get_running_loop().call_soon(
                lambda: neighbours.append(asyncio.create_task(fetch(calls, server.url("/behind"))))
            )
            return scene.get()

        async def check(k: int) -> None:
            await asyncio.sleep(0)  # a call that is cancelled at step 0 ends before the neighbour has begun
            assert await asyncio.gather(*neighbours) == ["/ahead", "/behind"]
            neighbours.clear()
            await watch.healthy(f"/after-{k}")
            assert calls.connector is not None
            assert calls.connector.stats().total.idle == 1
            if not warm:
                await scene.lose_all()
                await watch.settled(idle=0)

        if not warm:
            await scene.lose_all()
        return await cancel_at_every_step(between_two, check=check, double=double, settle=no_wait)


@PLAIN_AND_TLS
@SINGLE_AND_DOUBLE
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.fault("P03", "P04", "P10")
async def test_a_call_in_the_queue(tls: bool, double: bool, warm: bool) -> None:
    """Whatever the step, the callers ahead of it and behind it are served, and nothing is left."""
    assert await sweep_the_queue(tls, double=double, warm=warm) > 5


@pytest.mark.soak
@PLAIN_AND_TLS
@SINGLE_AND_DOUBLE
@pytest.mark.parametrize("warm", [False, True])
async def test_a_call_in_the_queue_many_times(tls: bool, double: bool, warm: bool) -> None:
    """The same thirty times over."""
    for _ in range(30):
        await sweep_the_queue(tls, double=double, warm=warm)


async def answers_once(peer: Peer) -> None:
    await Answer().run(peer)
    await peer.until_closed()


@PLAIN_AND_TLS
@SINGLE_AND_DOUBLE
@pytest.mark.fault("P15", "L05")
async def test_closing_the_session(tls: bool, double: bool) -> None:
    """close() with one connection leased, one dialling and callers in the queue, cancelled at each step: closed."""
    async with serve(answers_once, tls=tls) as server:
        stray: list[asyncio.Task[Any]] = []
        calls: ClientSession
        watch: Conserved

        async def prepare() -> None:
            nonlocal calls, watch
            calls = session(limit=2)
            watch = Conserved(calls, server)
            await fetch(calls, server.url("/first"))
            stray.extend(asyncio.create_task(sent(calls.get(server.url(f"/{k}")))) for k in range(4))
            await turns(2)

        async def close() -> None:
            await calls.close()

        async def check(k: int) -> None:
            assert calls.closed
            assert {type(result) for result in await asyncio.gather(*stray, return_exceptions=True)} == {
                PoolClosedError
            }
            stray.clear()
            await server.until_idle()
            await watch.settled(idle=0)
            await prepare()

        await prepare()
        # At step 0 the coroutine ends before its first line, and has closed nothing.
        assert await cancel_at_every_step(close, check=check, double=double, settle=no_wait, first=1) > 1
        await calls.close()
        await asyncio.gather(*stray, return_exceptions=True)
