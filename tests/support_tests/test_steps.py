"""The cancellation driver meets every await, once or twice, and notices a call that does not give in."""

import asyncio

import pytest

from tests.support.leaks import turns
from tests.support.server import ScriptedServer
from tests.support.steps import cancel_at_every_step

pytestmark = pytest.mark.asyncio


async def test_each_await_is_hit_in_its_turn() -> None:
    reached: list[int] = []
    checked: list[int] = []

    async def call() -> None:
        reached.append(0)
        for step in range(1, 4):
            await asyncio.sleep(0)
            reached[-1] = step

    async def check(k: int) -> None:
        checked.append(k)

    assert await cancel_at_every_step(call, check=check) == 4
    # Step 0 cancels a call that has not begun, so it leaves no entry.
    assert reached == [0, 1, 2, 3]
    assert checked == [0, 1, 2, 3, 4]


async def test_cancel_falls_between_the_result_and_the_one_who_waits(loop: asyncio.AbstractEventLoop) -> None:
    missed: list[str] = []

    def give(future: "asyncio.Future[str]") -> None:
        if not future.done():
            future.set_result("lease")

    async def call() -> str:
        future: asyncio.Future[str] = loop.create_future()
        loop.call_soon(loop.call_soon, give, future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                missed.append(future.result())
            raise

    async def check(k: int) -> None:
        pass

    await cancel_at_every_step(call, check=check)
    assert missed == ["lease"]


async def test_the_second_cancel_comes_one_step_later() -> None:
    hits: list[int] = []

    async def call() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            hits.append(1)
            try:
                await turns(5)
            except asyncio.CancelledError:
                hits.append(2)
            raise

    async def check(k: int) -> None:
        if k == 3:
            raise EOFError  # this call never ends by itself

    with pytest.raises(EOFError) as caught:
        await cancel_at_every_step(call, check=check, double=True)
    assert hits == [1, 2] * 3
    assert caught.value.__notes__ == ["cancelled at step 3 and again at the next"]


async def test_a_swallowed_cancel_is_an_error() -> None:
    async def call() -> str:
        try:
            await turns(3)
        except asyncio.CancelledError:
            return "quiet"
        return "through"

    async def check(k: int) -> None:
        pass

    with pytest.raises(AssertionError, match="swallowed its cancellation and returned 'quiet'"):
        await cancel_at_every_step(call, check=check)


async def test_a_call_that_does_not_end_runs_out_of_steps() -> None:
    async def check(k: int) -> None:
        pass

    with pytest.raises(AssertionError, match="after 20 steps"):
        await cancel_at_every_step(asyncio.Event().wait, check=check, max_steps=20)


async def test_a_real_exchange_is_met_before_and_after_it_reaches_the_server() -> None:
    async with ScriptedServer() as server:

        async def call() -> None:
            reader, writer = await asyncio.open_connection(server.host, server.port)
            try:
                writer.write(b"GET / HTTP/1.1\r\n\r\n")
                await reader.readuntil(b"ok")
            finally:
                writer.transport.abort()

        async def check(k: int) -> None:
            await server.until_idle()

        last = await cancel_at_every_step(call, check=check)
        asked = sum(bool(peer.requests) for peer in server.connections)
        assert last > 3
        assert 1 < asked < server.accepted


async def test_sampling_skips_steps() -> None:
    checked: list[int] = []

    async def check(k: int) -> None:
        checked.append(k)

    assert await cancel_at_every_step(lambda: turns(9), check=check, first=1, every=4) == 13
    assert checked == [1, 5, 9, 13]
