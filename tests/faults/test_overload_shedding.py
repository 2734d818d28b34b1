"""Shedding over real sockets: twice as many calls as a server can answer, each with half a second."""

import asyncio
import time
from collections import Counter

import pytest

from keepwarm.client.timeout import ClientTimeout
from keepwarm.pool.errors import ClientTimeoutError, PoolShedError
from tests.support.calling import Conserved, fetch, serve, session
from tests.support.http1 import ok
from tests.support.server import Peer

pytestmark = [pytest.mark.asyncio, pytest.mark.soak, pytest.mark.timeout(120)]

SECONDS, LIMIT, SERVICE, PATIENCE = 10.0, 10, 0.02, 0.5


async def slow(peer: Peer) -> None:
    """Each answer takes SERVICE seconds."""
    while True:
        request = await peer.request()
        await asyncio.sleep(SERVICE)
        peer.send(ok(nonce=request.nonce))


async def test_twice_the_capacity_for_ten_seconds() -> None:
    """Who is refused hears of it before the loop turns once; the others are served in order, nearly all of them in
    time, and nothing is left."""
    loop = asyncio.get_running_loop()
    outcomes: Counter[str] = Counter()
    async with serve(slow) as server, session(limit=LIMIT, shed=True) as calls:
        watch = Conserved(calls, server)

        async def call(number: int) -> None:
            turned: list[None] = []
            loop.call_soon(turned.append, None)
            try:
                await fetch(calls, server.url(f"/{number}"), timeout=ClientTimeout(PATIENCE))
                outcomes["answered"] += 1
            except PoolShedError:
                outcomes["refused"] += 1
                outcomes["refused after a turn"] += len(turned)
            except ClientTimeoutError:
                outcomes["late"] += 1

        tasks: list[asyncio.Task[None]] = []
        began = time.monotonic()
        while (passed := time.monotonic() - began) < SECONDS:
            while len(tasks) < passed * 2 * LIMIT / SERVICE:
                tasks.append(asyncio.create_task(call(len(tasks))))
            await asyncio.sleep(0.001)
        await asyncio.gather(*tasks)
        await watch.settled()
        order = [int(request.target[1:]) for request in server.requests]
    assert outcomes["refused"] > 0.3 * len(tasks)
    assert outcomes["refused after a turn"] == 0
    assert outcomes["late"] < 0.05 * len(tasks)
    # Several connections may be read in another order than the one in which they were given away in one turn.
    ranks = {number: rank for rank, number in enumerate(sorted(order))}
    assert all(abs(ranks[number] - rank) < LIMIT for rank, number in enumerate(order))
