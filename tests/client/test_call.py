"""A call as an awaitable: what it gives to one who awaits it, and what to the second."""

import asyncio

import pytest

from tests.support.calling import Conserved, serve, session
from tests.support.server import Answer, RecvRequest, Send, Wait, response

pytestmark = pytest.mark.asyncio


async def test_a_call_that_runs_as_a_task_cannot_be_awaited_beside_it() -> None:
    """As with a coroutine: two who drive one call would each take the other's steps."""
    gate = asyncio.Event()
    script = [RecvRequest(), Wait(gate), Send(response(body=b"one")), Answer()]
    async with serve(script) as server, session() as calls:
        conserved = Conserved(calls, server)
        call = calls.get(server.url())
        task = asyncio.create_task(call)
        await server.until_requests(1)
        with pytest.raises(RuntimeError, match="awaited already"):
            await call
        with pytest.raises(RuntimeError, match="awaited already"):
            async with call:
                pass
        gate.set()
        assert await (await task).read() == b"one"
        with pytest.raises(RuntimeError, match="already awaited"):
            await call
        assert server.accepted == 1 and len(server.requests) == 1
        await conserved.settled(idle=1)
