"""A server at twice its capacity for ten seconds, over real sockets: who is refused hears at once, nothing is left."""

import asyncio

import pytest

from keepwarm.client.session import ClientSession
from keepwarm.pool.errors import PoolFullError, PoolTimeoutError
from keepwarm.pool.tcp_connector import TCPConnector
from tests.support.calling import Conserved
from tests.support.http1 import ok
from tests.support.server import Peer, ScriptedServer

pytestmark = [pytest.mark.asyncio, pytest.mark.soak]

SECONDS = 10.0
LIMIT = 10
SERVICE = 0.02
# Twice what ten connections can do.
INTERVAL = SERVICE / LIMIT / 2
WAITING = 50
POOL_TIMEOUT = 0.05
# What a refusal may take from the moment in which it is certain.
REFUSED_WITHIN = 0.05


async def slow(peer: Peer) -> None:
    """Each answer takes SERVICE seconds."""
    while True:
        request = await peer.request()
        await asyncio.sleep(SERVICE)
        peer.send(ok(nonce=request.nonce))


@pytest.mark.parametrize("kind", ["queue", "wait"])
async def test_twice_the_capacity(kind: str) -> None:
    """A full queue refuses on arrival, a wait that is over when it is over, each within 50 ms; the server is kept busy,
    and calls are served in the order of their arrival, as far as it can be seen from behind ten connections."""
    options = {"max_waiting": WAITING} if kind == "queue" else {"pool_timeout": POOL_TIMEOUT}
    certain = 0.0 if kind == "queue" else POOL_TIMEOUT
    loop = asyncio.get_running_loop()
    late: list[float] = []
    served = refused = 0
    stall = 0.0  # the longest time for which the loop did not run: that is the machine's, not ours
    async with ScriptedServer(slow) as server:
        connector = TCPConnector(limit=LIMIT, **options)  # type: ignore[arg-type]
        async with ClientSession(connector=connector) as session:
            left = Conserved(session, server)

            async def call(number: int) -> None:
                nonlocal served, refused
                began = loop.time()
                try:
                    async with session.get(server.url(f"/{number}")) as response:
                        await response.read()
                except (PoolFullError, PoolTimeoutError):
                    refused += 1
                    late.append(loop.time() - began - certain)
                else:
                    served += 1

            tasks: list[asyncio.Task[None]] = []
            began = before = loop.time()
            while (now := loop.time()) < began + SECONDS:
                stall, before = max(stall, now - before - INTERVAL), now
                while len(tasks) * INTERVAL < now - began:
                    tasks.append(asyncio.create_task(call(len(tasks))))
                await asyncio.sleep(INTERVAL)
            await asyncio.gather(*tasks)
            await left.settled()
            assert connector.stats().total.open <= LIMIT
        order = [int(request.target[1:]) for request in server.requests]
    assert served + refused == len(tasks)
    places = {number: place for place, number in enumerate(sorted(order))}
    assert all(abs(places[number] - place) < LIMIT for place, number in enumerate(order))
    assert refused > len(tasks) / 4
    assert served > SECONDS / SERVICE * LIMIT / 2
    assert max(late) <= REFUSED_WITHIN + stall
