"""Time limits and cancellations in one another: each keeps its own name, and the counters are even."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from keepwarm.client.errors import TotalTimeoutError
from keepwarm.client.session import ClientSession
from tests.support.calling import Conserved, WatchedConnector, fetch, nonce_of, sent, serve, session
from tests.support.server import RecvRequest, ScriptedServer, Stall, answer_all

pytestmark = pytest.mark.asyncio


async def silent_call(calls: ClientSession, server: ScriptedServer) -> "asyncio.Task[Any]":
    """A call that has been sent and gets no answer."""
    task = asyncio.create_task(sent(calls.get(server.url("/x"))))
    await server.until_requests(len(server.requests) + 1)
    return task


@pytest.mark.fault("P17")
@pytest.mark.parametrize("first", ["timeout", "cancel"])
async def test_own_timeout_and_outer_cancel_in_one_tick(first: str) -> None:
    """Both arrive before the caller runs again: the cancellation wins and is not swallowed."""
    connector = WatchedConnector()
    async with serve([RecvRequest(), Stall()], answer_all) as server, session(connector) as calls:
        watch = Conserved(calls, server)
        task = await silent_call(calls, server)
        channel = connector.channels[0]
        strikes: list[Callable[[], object]] = [lambda: channel.on_deadline(float("inf")), task.cancel]
        for strike in strikes if first == "timeout" else reversed(strikes):
            strike()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert task.cancelling() == 1
        await watch.settled(idle=0)
        await watch.healthy()


@pytest.mark.fault("P17")
@pytest.mark.parametrize("inner", [0.02, 30.0])
async def test_timeouts_in_one_another_are_told_apart(inner: float) -> None:
    """asyncio.timeout around a call with a limit of its own: each raises its own error, the counters are even."""
    async with serve([RecvRequest(), Stall()], answer_all) as server, session() as calls:
        watch = Conserved(calls, server)
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.02 if inner > 1 else 30) as outer:
                await calls.get(server.url("/x"), timeout=inner)
        assert outer.expired() is (inner > 1)
        assert isinstance(caught.value, TotalTimeoutError) is (inner < 1)
        assert task.cancelling() == 0
        await asyncio.sleep(0)  # a cancellation that was left over would strike here
        await watch.healthy()


@pytest.mark.fault("P17")
async def test_a_failing_sibling_cancels_the_call_of_a_task_group() -> None:
    """TaskGroup cancels the call from outside: it ends, and the group's own error is the one that comes out."""
    async with serve([RecvRequest(), Stall()], answer_all) as server, session() as calls:
        watch = Conserved(calls, server)

        async def fail() -> None:
            await server.until_requests(1)
            raise LookupError

        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(fetch(calls, server.url("/x")))
                group.create_task(fail())
        assert [type(error) for error in caught.value.exceptions] == [LookupError]
        await watch.settled(idle=0)
        await watch.healthy()


@pytest.mark.fault("P17")
async def test_a_cancelled_caller_may_go_on() -> None:
    """One who catches the cancellation and uncancels can use the session in the same task."""
    async with serve([RecvRequest(), Stall()], answer_all) as server, session(limit=1) as calls:
        watch = Conserved(calls, server)

        async def stubborn() -> str:
            try:
                await calls.get(server.url("/x"))
            except asyncio.CancelledError:
                task = asyncio.current_task()
                assert task is not None
                assert task.uncancel() == 0
            return await nonce_of(await calls.get(server.url("/y")))

        task = asyncio.create_task(stubborn())
        await server.until_requests(1)
        task.cancel()
        assert await task == "/y"
        await watch.healthy()
