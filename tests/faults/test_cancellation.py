"""A call that is cancelled, or whose time is up, phase by phase. Every step of every phase: test_every_step.py."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from keepwarm.client.errors import ClientPayloadError, ReadTimeoutError, TotalTimeoutError
from keepwarm.client.response import ClientResponse
from keepwarm.client.timeout import ClientTimeout
from keepwarm.pool.address import Address, Answer
from keepwarm.pool.dial import DialRequest
from keepwarm.pool.errors import ClientTimeoutError, PoolClosedError
from tests.support.calling import (
    PLAIN_AND_TLS,
    Conserved,
    WatchedConnector,
    fetch,
    numbers,
    serve,
    session,
)
from tests.support.dialing import Canaries, black_hole
from tests.support.leaks import turns
from tests.support.resolvers import V4, ScriptedResolver
from tests.support.server import Answer as AnswerStep
from tests.support.server import (
    Handler,
    Peer,
    RecvRequest,
    Repeat,
    Script,
    Stall,
    answer_all,
    chunk,
    head,
    ok,
)

pytestmark = pytest.mark.asyncio


def late(event: asyncio.Event) -> Handler:
    """Answers the first request after the event, and what follows at once."""

    async def script(peer: Peer) -> None:
        request = await peer.request()
        await event.wait()
        peer.send(ok(b"late", nonce=request.nonce))
        await Repeat([AnswerStep()]).run(peer)

    return script


def half(peer_sends: bytes) -> Handler:
    """Answers with a head and part of a body, then nothing."""

    async def script(peer: Peer) -> None:
        request = await peer.request()
        peer.send(head("200 OK", [("X-Nonce", request.nonce), ("Transfer-Encoding", "chunked")]) + chunk(peer_sends))
        await peer.until_closed()

    return script


async def cancelled(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# Before there is a connection


@pytest.mark.fault("P06")
async def test_cancel_during_the_lookup() -> None:
    """The caller is gone, nothing was opened, and another caller of the same name has its answer."""
    async with serve() as server:
        resolver = ScriptedResolver()
        resolver.says = Answer((Address("127.0.0.1", server.port, V4),), 60.0)
        resolver.gate = asyncio.Event()
        connector = WatchedConnector(resolver=resolver)
        async with session(connector) as calls:
            watch = Conserved(calls, server)
            url = f"http://keepwarm.test:{server.port}"
            first, second = (asyncio.create_task(fetch(calls, f"{url}/{k}")) for k in range(2))
            await turns(3)
            await cancelled(first)
            await turns(3)
            stats = numbers(calls)
            assert (stats.waiting, stats.open, server.accepted) == (1, 1, 0)
            resolver.gate.set()
            assert await second == "/1"
            assert server.accepted == 1
            await watch.settled(idle=1)


@pytest.mark.fault("P06")
async def test_cancelling_the_only_caller_ends_the_lookup() -> None:
    """Nobody wants the name any more: the lookup is cancelled, and no connection was opened."""
    resolver = ScriptedResolver("127.0.0.1")
    resolver.gate = asyncio.Event()
    async with session(resolver=resolver) as calls:
        watch = Conserved(calls)
        task = asyncio.create_task(fetch(calls, "http://keepwarm.test/"))
        await turns(3)
        assert len(resolver.calls) == 1
        await cancelled(task)
        await watch.settled(idle=0)
        assert resolver.cancelled == 1


@pytest.mark.fault("P07")
async def test_cancel_during_the_tcp_connect() -> None:
    """The peer's kernel answers no SYN: the slot is free, and the descriptor is closed exactly once."""
    with black_hole() as port:
        async with serve() as server, session(limit=1) as calls:
            watch = Conserved(calls, server)
            task = asyncio.create_task(fetch(calls, f"http://127.0.0.1:{port}/"))
            await turns(5)
            assert numbers(calls).dialling == 1
            await cancelled(task)
            canaries = Canaries()
            for _ in range(5):
                canaries.add()  # takes the number of what was closed; a second close would hit it
                await turns(2)
            assert canaries.release() == []
            await watch.healthy()


async def answers_half_a_hello(peer: Peer) -> None:
    await peer.recv_exactly(1)
    peer.send(b"\x16\x03\x03\x00\x7a\x02\x00")
    await peer.stall()


@pytest.mark.fault("P08")
@pytest.mark.parametrize("script", [[Stall()], answers_half_a_hello], ids=["mute", "half-a-hello"])
async def test_cancel_during_the_tls_handshake(script: Script) -> None:
    """The handshake stalls: the transport is aborted at once and the slot is free."""
    async with serve(script) as server, session(limit=1) as calls:
        watch = Conserved(calls, server)
        task = asyncio.create_task(fetch(calls, f"https://127.0.0.1:{server.port}/"))
        await server.until(lambda: server.connections and server.connections[0].bytes_received)
        await turns(3)
        assert numbers(calls).dialling == 1
        await cancelled(task)
        await watch.settled(idle=0)


# In the tick in which something else happens


class ReadyAndCancelled(WatchedConnector):
    """Cancels `victim` in the tick in which its connection is ready: after it was made, before its caller wakes."""

    victim: "asyncio.Task[Any] | None" = None

    async def _create_connection(self, req: DialRequest) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        made = await super()._create_connection(req)
        if self.victim is not None:
            # Queued before the wake-up that the pool is about to queue.
            asyncio.get_running_loop().call_soon(self.victim.cancel)
            self.victim = None
        return made


@PLAIN_AND_TLS
@pytest.mark.fault("P10")
async def test_cancel_in_the_tick_in_which_the_connection_is_ready(tls: bool) -> None:
    """Nobody else waits: the connection becomes idle, and the next call takes it."""
    connector = ReadyAndCancelled()
    async with serve(tls=tls) as server, session(connector) as calls:
        watch = Conserved(calls, server)
        task = connector.victim = asyncio.create_task(fetch(calls, server.url("/x")))
        with pytest.raises(asyncio.CancelledError):
            await task
        await watch.settled(idle=1)
        await watch.healthy()
        assert server.accepted == 1
        assert [request.target for request in server.requests] == ["/after"]


@PLAIN_AND_TLS
@pytest.mark.fault("P10", "P04")
async def test_cancel_in_that_tick_with_others_waiting(tls: bool) -> None:
    """limit=1: the next in line gets the connection in the same tick; no second one is made."""
    connector = ReadyAndCancelled(limit=1)
    async with serve(tls=tls) as server, session(connector) as calls:
        watch = Conserved(calls, server)
        first = connector.victim = asyncio.create_task(fetch(calls, server.url("/x")))
        others = [asyncio.create_task(fetch(calls, server.url(f"/{k}"))) for k in range(3)]
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await asyncio.gather(*others) == ["/0", "/1", "/2"]
        assert server.accepted == 1
        await watch.healthy()


# While the answer is awaited or read


@PLAIN_AND_TLS
@pytest.mark.fault("P12")
@pytest.mark.parametrize(
    ("limit", "error"),
    [
        (None, asyncio.CancelledError),
        (ClientTimeout(total=0.03), TotalTimeoutError),
        (ClientTimeout(read=0.03), ReadTimeoutError),
    ],
    ids=["cancel", "total", "read"],
)
async def test_a_late_answer_reaches_nobody_else(
    tls: bool, limit: ClientTimeout | None, error: type[ClientTimeoutError]
) -> None:
    """The call ends before its answer comes; the answer comes later. The next call gets its own."""
    event = asyncio.Event()
    async with serve(late(event), answer_all, tls=tls) as server, session(limit=1) as calls:
        watch = Conserved(calls, server)
        if limit is None:
            task = asyncio.create_task(fetch(calls, server.url("/late")))
            await server.until_requests(1)
            await cancelled(task)
        else:
            with pytest.raises(error) as caught:
                await calls.get(server.url("/late"), timeout=limit)
            assert caught.value.phase == "head"
        event.set()
        assert await fetch(calls, server.url("/next")) == "/next"
        assert server.accepted == 2
        await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("P13")
async def test_cancel_in_the_middle_of_the_body(tls: bool) -> None:
    """read() is cancelled half-way: the connection is closed, the slot is free."""
    async with serve(half(b"half"), answer_all, tls=tls) as server, session(limit=1) as calls:
        watch = Conserved(calls, server)
        got = await calls.get(server.url("/x"))
        task = asyncio.create_task(got.read())
        await turns(3)
        await cancelled(task)
        assert got.closed
        await watch.settled(idle=0)
        await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("P13")
async def test_a_time_limit_in_the_middle_of_the_body(tls: bool) -> None:
    """timeout.total bounds the body too: the error says so, the connection is closed."""
    async with serve(half(b"half"), answer_all, tls=tls) as server, session(limit=1) as calls:
        watch = Conserved(calls, server)
        got = await calls.get(server.url("/x"), timeout=0.05)
        with pytest.raises(TotalTimeoutError) as caught:
            await got.read()
        assert caught.value.phase == "body"
        await watch.settled(idle=0)
        await watch.healthy()


# While the response is given back


def release(got: ClientResponse) -> Awaitable[object]:
    return got.release()


async def leave_block(got: ClientResponse) -> None:
    async with got:
        pass


@PLAIN_AND_TLS
@pytest.mark.fault("P15")
@pytest.mark.parametrize("how", [release, leave_block])
async def test_cancel_while_the_rest_is_drained(tls: bool, how: Callable[[ClientResponse], Awaitable[object]]) -> None:
    """Draining is cut short: the connection is closed at once, the slot is free."""
    async with serve(half(b"half"), answer_all, tls=tls) as server, session(limit=1) as calls:
        watch = Conserved(calls, server)
        got = await calls.get(server.url("/x"))

        async def drain() -> None:
            await how(got)

        task = asyncio.create_task(drain())
        await turns(3)
        assert not task.done()
        await cancelled(task)
        assert got.closed
        await watch.settled(idle=0)
        await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("P15", "L05")
async def test_a_cancelled_close_still_closes(tls: bool) -> None:
    """session.close() does its work when it is called: cancelling the wait changes nothing."""
    async with serve([RecvRequest(), Stall()], tls=tls) as server:
        calls = session()
        watch = Conserved(calls, server)
        task = asyncio.create_task(fetch(calls, server.url("/x")))
        await server.until_requests(1)

        async def close() -> None:
            await calls.close()

        closing = asyncio.create_task(close())
        await turns(1)
        closing.cancel()
        await asyncio.wait([closing])
        with pytest.raises(PoolClosedError):
            await task
        await server.until_idle()
        await watch.settled(idle=0)


@PLAIN_AND_TLS
@pytest.mark.fault("P16")
async def test_an_exception_in_the_block_keeps_a_connection_that_is_clean(tls: bool) -> None:
    """The body was complete: the connection went back before the block, and stays."""
    async with serve(tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        with pytest.raises(LookupError):
            async with calls.get(server.url("/x")) as got:
                assert got.status == 200
                raise LookupError
        await watch.settled(idle=1)
        await watch.healthy()
        assert server.accepted == 1


@PLAIN_AND_TLS
@pytest.mark.fault("P16")
@pytest.mark.parametrize("error", [LookupError, asyncio.CancelledError, GeneratorExit])
async def test_an_exception_in_the_block_closes_one_that_is_not(tls: bool, error: type[BaseException]) -> None:
    """The body was not complete: the connection is closed at once, without draining."""
    async with serve(half(b"half"), answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        with pytest.raises(error):
            async with calls.get(server.url("/x")) as got:
                raise error
        assert got.closed
        with pytest.raises(ClientPayloadError):
            await got.read()
        await watch.settled(idle=0)
        await watch.healthy()
