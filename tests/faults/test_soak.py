"""Promises G1 and G3 at length: never a wrong answer, and keepalive races that nobody notices.

KEEPWARM_SOAK_REQUESTS sets the requests of each test (default 10000). The seed is fixed, so a run can be repeated;
what the kernel does in between cannot.
"""

import asyncio
import os
import random
import socket
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from keepwarm.client.errors import ClientResponseError
from keepwarm.client.session import ClientSession
from keepwarm.pool import states
from tests.support.calling import PLAIN_AND_TLS, Conserved, WatchedConnector, numbers, serve, session
from tests.support.leaks import turns
from tests.support.server import Peer, Request, chunked, ok, response

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(1800)]

REQUESTS = int(os.environ.get("KEEPWARM_SOAK_REQUESTS", "10000"))
SAMPLE = 300
WORKERS = 20

LENGTHS = pytest.mark.parametrize(
    "count", [pytest.param(SAMPLE, id="sample"), pytest.param(REQUESTS, id="long", marks=pytest.mark.soak)]
)


def body_of(nonce: str, size: int) -> bytes:
    """A body that belongs to one nonce and no other, in every place of it."""
    mark = nonce.encode() + b";"
    return mark * (size // len(mark) + 1)


class FaultyServer:
    """Answers with the nonce of the request, and spoils one exchange in twenty."""

    def __init__(self, connector: WatchedConnector, seed: int) -> None:
        self._connector = connector
        self.chance = random.Random(seed)
        self.faults: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()

    async def script(self, peer: Peer) -> None:
        while True:
            request = await peer.request()
            self.seen[request.target] += 1
            if self.chance.random() < 0.05:
                name = self.chance.choice(FAULTS)
                self.faults[name] += 1
                await getattr(self, name)(peer, request)
                if name not in ("surplus_later", "slow", "dripping"):
                    return
            else:
                peer.send(self.answer(request))
            if self.chance.random() < 0.02:
                return  # an end after a good answer, at any idle age

    def is_idle(self, peer: Peer) -> bool:
        """Whether the client's end of this connection lies in its pool."""
        name = peer.transport.get_extra_info("peername")
        idle = [channel.transport for channel in self._connector.channels if channel.state == states.IDLE]
        return any(transport is not None and transport.get_extra_info("sockname") == name for transport in idle)

    def answer(self, request: Request) -> bytes:
        body = body_of(request.target, self.chance.choice([10, 1000, 100_000]))
        if self.chance.random() < 0.3:
            half = len(body) // 2
            return chunked([body[:half], body[half:]], nonce=request.nonce)
        return ok(body, nonce=request.nonce)

    # The faults. Each gets the peer and the request that it has taken.

    async def fin_without_answer(self, peer: Peer, request: Request) -> None:
        peer.fin()

    async def reset_without_answer(self, peer: Peer, request: Request) -> None:
        peer.rst()

    async def reset_in_the_body(self, peer: Peer, request: Request) -> None:
        peer.send(self.answer(request)[:-5])
        await turns(self.chance.randrange(3))
        peer.rst()

    async def cut_in_the_head(self, peer: Peer, request: Request) -> None:
        peer.send(self.answer(request)[: self.chance.randrange(1, 30)])
        peer.fin()

    async def cut_in_the_body(self, peer: Peer, request: Request) -> None:
        peer.send(self.answer(request)[:-5])
        peer.fin()

    async def surplus(self, peer: Peer, request: Request) -> None:
        peer.send(self.answer(request) + ok(b"stray", nonce="/stray"))
        await peer.until_closed()

    async def surplus_later(self, peer: Peer, request: Request) -> None:
        peer.send(self.answer(request))
        await turns(1 + self.chance.randrange(6))
        await peer.flush()
        # Bytes that cross a request on the wire are its answer, as far as anybody can tell. So they are sent while
        # the connection is idle, and they are in the client's kernel before this line ends.
        if self.is_idle(peer):
            send_now(peer, ok(b"stray", nonce="/stray"))

    async def too_short(self, peer: Peer, request: Request) -> None:
        body = body_of(request.target, 100)
        peer.send(response(body=body[:-1], length=len(body), headers=[("X-Nonce", request.nonce)]))
        peer.fin()

    async def not_http(self, peer: Peer, request: Request) -> None:
        peer.send(bytes(self.chance.randrange(256) for _ in range(40)))
        await peer.until_closed()

    async def slow(self, peer: Peer, request: Request) -> None:
        await turns(self.chance.randrange(50))
        peer.send(self.answer(request))

    async def dripping(self, peer: Peer, request: Request) -> None:
        answer = self.answer(request)
        for place in range(0, min(len(answer), 400), 7):
            peer.send(answer[place : place + 7])
            await turns(1)
        peer.send(answer[place + 7 :])


FAULTS = (
    "fin_without_answer",
    "reset_without_answer",
    "reset_in_the_body",
    "cut_in_the_head",
    "cut_in_the_body",
    "surplus",
    "surplus_later",
    "too_short",
    "not_http",
    "slow",
    "dripping",
)


def send_now(peer: Peer, data: bytes) -> None:
    """Past the loop's transport, which may hold a write back until the end of the turn."""
    if peer.tls is not None:
        peer.tls.write(data)
        data = peer.tls.outgoing()
    with socket.socket(fileno=os.dup(peer.transport.get_extra_info("socket").fileno())) as sock:
        sock.send(data)


async def run_workers(count: int, one: Callable[[str], Awaitable[None]]) -> None:
    names = iter(range(count))

    async def worker() -> None:
        for name in names:
            await one(f"/{name}")

    await asyncio.gather(*(worker() for _ in range(WORKERS)))


class Caller:
    """Makes calls of all kinds, some of them cut short, and knows a wrong answer when it sees one."""

    def __init__(self, calls: ClientSession, base: str, seed: int) -> None:
        self.chance = random.Random(seed)
        self.outcomes: Counter[str] = Counter()
        self.posts: set[str] = set()
        self._calls = calls
        self._base = base.rstrip("/")

    async def one(self, path: str) -> None:
        dice = self.chance.random()
        if dice < 0.05:
            task = asyncio.create_task(self.call(path, "GET"))
            await turns(self.chance.randrange(15))
            task.cancel()
            results = await asyncio.gather(task, return_exceptions=True)
            if results[0] is not None and not isinstance(results[0], asyncio.CancelledError):
                raise results[0]
            self.outcomes["cancelled"] += 1
        else:
            await self.call(path, "POST" if dice < 0.25 else "GET")

    async def call(self, path: str, method: str) -> None:
        if method == "POST":
            self.posts.add(path)
        data = body_of(path, 500) if method == "POST" else None
        try:
            async with self._calls.request(method, self._base + path, data=data) as got:
                assert got.headers["X-Nonce"] == path
                if self.chance.random() < 0.1:
                    self.outcomes["unread"] += 1
                    return
                body = await got.read()
                assert body == body_of(path, len(body))[: len(body)], f"wrong body for {path}"
                assert len(body) >= 10
            self.outcomes["served"] += 1
        except ClientResponseError:
            self.outcomes["failed"] += 1


@LENGTHS
@PLAIN_AND_TLS
@pytest.mark.fault("P37", "P20")
async def test_never_a_wrong_answer(count: int, tls: bool) -> None:
    """G1: one exchange in twenty is spoiled and one call in twenty cancelled; no call sees another's bytes."""
    connector = WatchedConnector(limit=8)
    faulty = FaultyServer(connector, seed=1)
    async with serve(faulty.script, tls=tls) as server, session(connector) as calls:
        watch = Conserved(calls, server)
        caller = Caller(calls, server.url(), seed=2)
        await run_workers(count, caller.one)
        await watch.settled()
        assert caller.outcomes["served"] > count * 0.7
        assert caller.outcomes["failed"] > 0
        assert caller.outcomes["cancelled"] > 0
        assert sum(faulty.faults.values()) > count * 0.02
        assert max(faulty.seen[path] for path in caller.posts) == 1
        assert numbers(calls).open <= 8


class RestlessServer:
    """Ends connections all the time, but never under an answer: at random idle ages, and when a request arrives."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.answered: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()

    async def script(self, peer: Peer) -> None:
        served = 0
        while True:
            if served and self.chance.random() < 0.05:
                self.ends["at the request"] += 1
                await peer.recv_exactly(1)
                peer.fin()
                return
            request = await peer.request()
            self.answered[request.target] += 1
            peer.send(ok(nonce=request.nonce))
            served += 1
            if self.chance.random() < 0.1:
                self.ends["idle"] += 1
                await turns(self.chance.randrange(8))
                if self.chance.random() < 0.5:
                    peer.fin()
                else:
                    peer.rst()
                return


@LENGTHS
@PLAIN_AND_TLS
@pytest.mark.fault("P24", "P27", "P42", "F53")
async def test_keepalive_races_are_invisible(count: int, tls: bool) -> None:
    """G3: no GET fails, whenever the server hangs up between two answers."""
    restless = RestlessServer(seed=3)
    async with serve(restless.script, tls=tls) as server, session(limit=8) as calls:
        watch = Conserved(calls, server)
        base = server.url().rstrip("/")

        async def get(path: str) -> None:
            async with calls.get(base + path) as got:
                assert got.headers["X-Nonce"] == path

        await run_workers(count, get)
        assert restless.ends["idle"] > 0
        assert restless.ends["at the request"] > 0
        await watch.settled()


@LENGTHS
@PLAIN_AND_TLS
@pytest.mark.fault("P25")
async def test_no_post_is_made_twice(count: int, tls: bool) -> None:
    """G3: a POST that meets a connection's end fails or is made once; none is answered twice."""
    restless = RestlessServer(seed=4)
    async with serve(restless.script, tls=tls) as server, session(limit=8) as calls:
        watch = Conserved(calls, server)
        base = server.url().rstrip("/")
        failed = 0

        async def post(path: str) -> None:
            nonlocal failed
            try:
                async with calls.post(base + path, data=b"once") as got:
                    assert got.headers["X-Nonce"] == path
            except ClientResponseError:
                failed += 1

        await run_workers(count, post)
        assert max(restless.answered.values()) == 1
        assert 0 < failed < count * 0.3
        await watch.settled()
