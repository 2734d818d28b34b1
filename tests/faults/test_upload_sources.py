"""Sources of request bodies that raise what is no Exception."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import uvloop

from keepwarm.client.errors import ClientRequestError
from keepwarm.pool.tcp_connector import TCPConnector
from tests.support.calling import Conserved, numbers, serve, session
from tests.support.leaks import turns
from tests.support.server import Peer, answer_all, response
from tests.support.threaded import ThreadedServer


class Stop(BaseException):
    """An exception of somebody's own."""


async def never_answers(peer: Peer) -> None:
    await peer.head()
    await peer.until_closed()


def plain(error: BaseException) -> Iterator[bytes]:
    yield b"x"
    raise error


async def asynchronous(error: BaseException) -> AsyncIterator[bytes]:
    yield b"x"
    raise error


@pytest.mark.asyncio
@pytest.mark.fault("O09", "L15")
@pytest.mark.parametrize("source", [plain, asynchronous])
@pytest.mark.parametrize("kind", [GeneratorExit, Stop])
async def test_a_source_that_raises_no_exception_ends_the_call(
    source: Callable[[BaseException], Any], kind: type[BaseException]
) -> None:
    """The call fails at once with a ClientRequestError that it caused; nothing is logged, the loop goes on."""
    async with serve(never_answers, answer_all) as server, session() as calls:
        watch = Conserved(calls, server)
        with pytest.raises(ClientRequestError, match=f"{kind.__name__}: boom") as caught:
            await calls.post(server.url("/x"), data=source(kind("boom")), timeout=None)
        assert isinstance(caught.value.__cause__, kind)
        await watch.settled(idle=0)
        gc.collect()  # the baseline fails the test for an exception that nobody has retrieved
        await watch.healthy()


@pytest.mark.asyncio
@pytest.mark.fault("O09", "L15")
async def test_a_source_that_raises_no_exception_while_it_is_finished_is_reported() -> None:
    """The answer stands; what comes while the generator is closed goes to the loop's handler."""

    async def fails_late() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            raise Stop("while closing")

    async def script(peer: Peer) -> None:
        await peer.recv_until(b"first")
        peer.send(response("413 Content Too Large", b"", [("X-Nonce", "/x")]))
        await peer.until_closed()

    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
    async with serve(script, answer_all) as server, session() as calls:
        watch = Conserved(calls, server)
        async with calls.post(server.url("/x"), data=fails_late()) as got:
            assert got.status == 413
        await watch.settled(idle=0)
        assert [type(context["exception"]) for context in said] == [Stop]
        assert "source of the body of POST" in said[0]["message"]
        await watch.healthy()


@pytest.mark.fault("O09", "L15")
@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.SelectorEventLoop], ids=["uvloop", "std"])
@pytest.mark.parametrize("source", [plain, asynchronous])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_source_leaves_the_loop(
    new_loop: Callable[[], asyncio.AbstractEventLoop], source: Callable[[BaseException], Any], kind: type[BaseException]
) -> None:
    """It comes out of the loop as from any task; the call has failed and the connection is closed."""
    with ThreadedServer() as server:
        loop = new_loop()
        said: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda loop, context: said.append(context))
        calls = session(TCPConnector(limit=1))

        async def post() -> None:
            await calls.post(server.url("/mute"), data=source(kind("boom")), timeout=None)

        async def ended(call: "asyncio.Task[None]") -> None:
            with pytest.raises(ClientRequestError, match=kind.__name__):
                await call
            await turns(5)
            assert numbers(calls).open == 0
            async with calls.get(server.url("/after")) as got:
                assert await got.read() == b"ok"
            await calls.close()

        call = loop.create_task(post())
        with pytest.raises(kind, match="boom"):
            loop.run_forever()
        loop.run_until_complete(ended(call))
        gc.collect()
        assert said == []
        loop.close()
