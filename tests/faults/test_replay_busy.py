"""A request that is sent a second time (K7) while others keep its endpoint busy."""

import asyncio

import pytest

from tests.support.calling import PLAIN_AND_TLS, Conserved, fetch, serve, session
from tests.support.server import Answer, Handler, Peer, answer_all

pytestmark = pytest.mark.asyncio


def dies_after(count: int) -> Handler:
    """Answers so many requests; then takes the head of one more and ends the connection."""

    async def script(peer: Peer) -> None:
        for _ in range(count):
            await Answer().run(peer)
        await peer.head()
        peer.fin()

    return script


@PLAIN_AND_TLS
@pytest.mark.fault("P24", "P02")
async def test_a_retry_does_not_starve_while_others_keep_the_endpoint_busy(tls: bool) -> None:
    """limit=2 and ten callers that never stop: a call whose connection dies is served before its turn comes again."""
    calls_made = 0
    served_after = None

    async with serve(dies_after(20), answer_all, tls=tls) as server, session(limit=2) as calls:
        watch = Conserved(calls, server)

        async def worker() -> None:
            nonlocal calls_made, served_after
            while calls_made < 400:
                calls_made += 1
                path, begun = f"/{calls_made}", calls_made
                assert await fetch(calls, server.url(path)) == path
                if sum(request.target == path for request in server.requests) == 2:
                    served_after = calls_made - begun

        await asyncio.gather(*(worker() for _ in range(10)))
        assert served_after is not None
        assert served_after < 40  # ten wait in the queue; nearly 400 would follow if it starved
        await watch.healthy()
