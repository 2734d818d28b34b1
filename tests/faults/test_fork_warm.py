"""Forked children of a program that keeps connections warm (FAULTS L08, L09)."""

import asyncio

import pytest

from tests.support.calling import serve
from tests.support.programs import run_program
from tests.support.server import Peer, ok

pytestmark = pytest.mark.asyncio


@pytest.mark.fault("L08", "L09")
async def test_a_child_of_a_warm_pool_starts_clean(loop: asyncio.AbstractEventLoop) -> None:
    """It has no connection and no refill of the parent's; the parent's connections serve on, and drain."""

    async def script(peer: Peer) -> None:
        while True:
            peer.send(ok(nonce=(await peer.request()).nonce))

    name = "asyncio" if isinstance(loop, asyncio.SelectorEventLoop) else "uvloop"
    async with serve(script) as server:
        outcome = await run_program("forks_warm", name, server.url("").rstrip("/"))
        assert outcome.code == 0, outcome.stderr
        assert outcome.said == {"child": 0, "idle": 3, "dials": 3, "open": 0}
        paths = [[request.target for request in peer.requests] for peer in server.connections]
        assert sorted(paths) == [[], [], ["/child"], ["/parent"]]
        assert all(peer.unread == b"" for peer in server.connections)
