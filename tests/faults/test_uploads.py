"""Request bodies that meet a peer which does not want them, does not read them, or goes away."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from keepwarm.client.errors import ClientRequestError, ResponseDisconnected, TotalTimeoutError
from keepwarm.client.timeout import ClientTimeout
from tests.support.calling import PLAIN_AND_TLS, Conserved, WatchedConnector, nonce_of, sent, serve, session
from tests.support.leaks import Baseline, turns
from tests.support.server import Handler, Peer, answer_all, chunked, head, response

pytestmark = pytest.mark.asyncio

MIB = 1024 * 1024
TOO_LARGE = response("413 Content Too Large", b"too large", [("X-Nonce", "/x")])


class Endless:
    """A body without end. Says how much was taken of it, and whether it was finished."""

    def __init__(self, size: int = 65536) -> None:
        self.taken = 0
        self.finished = False
        self._piece = b"x" * size

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            while True:
                self.taken += len(self._piece)
                yield self._piece
        finally:
            self.finished = True


def refuse(how: str, after: int = 0) -> Handler:
    """Reads the head and `after` bytes, answers 413 and ends the connection in one of four ways."""

    async def script(peer: Peer) -> None:
        await peer.head()
        if after:
            await peer.recv_exactly(after)
        peer.pause()  # what the client sends from here on stays unread: the kernel answers a close with a reset
        peer.send(TOO_LARGE)
        await peer.flush()
        if how == "close":
            peer.close()
        elif how == "reset":
            peer.rst()
        elif how == "fin":
            peer.fin()
        await peer.stall()

    return script


@PLAIN_AND_TLS
@pytest.mark.fault("P44", "F16")
@pytest.mark.parametrize("how", ["close", "reset", "fin", "silent"])
@pytest.mark.parametrize("kind", ["bytes", "generator"])
async def test_an_answer_in_the_middle_of_the_upload_is_delivered(tls: bool, how: str, kind: str) -> None:
    """413 and the end of the connection while the body is being sent: the answer arrives, the upload stops."""
    endless = Endless()
    async with serve(refuse(how, after=100_000), answer_all, tls=tls, rcvbuf=8192) as server, session() as calls:
        watch = Conserved(calls, server)
        data: Any = bytes(16 * MIB) if kind == "bytes" else endless.pieces()
        async with calls.post(server.url("/x"), data=data) as got:
            assert (got.status, await got.read()) == (413, b"too large")
        await watch.settled(idle=0)
        assert endless.finished is (kind == "generator")
        await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("P44")
async def test_the_answer_survives_every_moment_of_the_reset(tls: bool) -> None:
    """The same with the reset after n bytes, for many n: no answer is ever lost to the write that fails."""
    for after in range(1, 400_000, 20_011):
        async with serve(refuse("reset", after), tls=tls) as server, session() as calls:
            got = await calls.put(server.url("/x"), data=Endless(20_000).pieces())
            assert (got.status, await got.read()) == (413, b"too large")


@pytest.mark.fault("P44")
@pytest.mark.parametrize("then", ["more", "end"])
async def test_the_answer_survives_a_reset_that_the_loop_could_not_see(then: str) -> None:
    """The peer answers and resets while the source computes: the next write fails, the answer is delivered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        async def pieces() -> AsyncIterator[bytes]:
            yield b"first"
            peer, _ = listener.accept()
            peer.sendall(TOO_LARGE)
            peer.close()  # the request was not read: the kernel resets the connection
            if then == "more":
                for _ in range(3):
                    yield bytes(65536)

        async with session() as calls:
            watch = Conserved(calls)
            async with calls.put(f"http://127.0.0.1:{listener.getsockname()[1]}/x", data=pieces()) as got:
                assert (got.status, await got.read()) == (413, b"too large")
            await watch.settled(idle=0)


@PLAIN_AND_TLS
@pytest.mark.fault("F16", "P44")
@pytest.mark.parametrize("how", ["close", "silent"])
async def test_a_body_that_hangs_does_not_hold_the_answer_back(tls: bool, how: str) -> None:
    """The generator waits for something that never comes; the peer answers 413. The generator is finished."""
    state: list[str] = []

    async def hanging() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            state.append("waits")
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # cleaning up may take its time
            state.append("finished")

    async with serve(refuse(how), answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        async with calls.post(server.url("/x"), data=hanging()) as got:
            assert (got.status, await got.read()) == (413, b"too large")
        await watch.settled(idle=0)
        assert state in (["waits", "finished"], [])
        await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("F16")
async def test_an_answer_in_parts_stops_the_upload_too(tls: bool) -> None:
    """The head of a 500 comes first, its body later: nothing more is sent in between, and the body is whole."""
    go_on = asyncio.Event()
    endless = Endless()

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.send(head("500 Oops", [("Content-Length", "9"), ("X-Nonce", "/x")]) + b"too ")
        await go_on.wait()
        peer.send(b"large")
        await peer.until_closed()

    async with serve(script, answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        got = await calls.post(server.url("/x"), data=endless.pieces())
        await turns(3)
        assert endless.finished
        go_on.set()
        assert (got.status, await got.read()) == (500, b"too large")
        await watch.settled(idle=0)
        await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("P11")
@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_peer_that_goes_away_while_the_upload_waits(tls: bool, how: str) -> None:
    """The window is full and drain() waits; the peer resets. One error, nothing logged, nothing left."""
    endless = Endless()
    proceed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.pause()
        await proceed.wait()
        if how == "reset":
            peer.rst()
        else:
            peer.close()

    connector = WatchedConnector()
    async with serve(script, answer_all, tls=tls, rcvbuf=8192) as server, session(connector) as calls:
        watch = Conserved(calls, server)
        call = asyncio.create_task(sent(calls.post(server.url("/x"), data=endless.pieces())))
        await connector.until_stuck()
        proceed.set()
        with pytest.raises(ResponseDisconnected) as caught:
            await call
        assert caught.value.request_sent
        await watch.settled(idle=0)
        assert endless.finished
        await watch.healthy()


async def never_reads(peer: Peer) -> None:
    peer.pause()
    await peer.stall()


@PLAIN_AND_TLS
@pytest.mark.fault("P45", "R11")
async def test_a_peer_that_stops_reading_bounds_what_is_taken_of_the_body(tls: bool) -> None:
    """The upload waits, no more than the buffers hold is taken from its source, and the time limit ends it."""
    endless = Endless()
    connector = WatchedConnector()
    async with (
        serve(never_reads, answer_all, tls=tls, rcvbuf=8192) as server,
        session(connector) as calls,
    ):
        watch = Conserved(calls, server)
        limit = ClientTimeout(total=0.1)
        call = asyncio.create_task(sent(calls.post(server.url("/x"), data=endless.pieces(), timeout=limit)))
        await connector.until_stuck()
        taken = endless.taken
        await turns(20)
        assert endless.taken == taken
        transport = connector.channels[0].transport
        assert transport is not None
        assert transport.get_write_buffer_size() <= 2 * transport.get_write_buffer_limits()[1]
        with pytest.raises(TotalTimeoutError) as caught:
            await call
        assert caught.value.phase == "send"
        await watch.settled(idle=0)
        assert endless.finished
        await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("P11")
@pytest.mark.parametrize("kind", ["bytes", "generator"])
async def test_cancelling_a_stuck_upload_closes_the_connection(tls: bool, kind: str) -> None:
    """The peer does not read; the call is cancelled: closed at once, the slot is free, the body is finished."""
    endless = Endless()
    connector = WatchedConnector(limit=1)
    async with serve(never_reads, answer_all, tls=tls, rcvbuf=8192) as server, session(connector) as calls:
        watch = Conserved(calls, server)
        data: Any = bytes(32 * MIB) if kind == "bytes" else endless.pieces()
        call = asyncio.create_task(sent(calls.post(server.url("/x"), data=data)))
        await connector.until_stuck()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await watch.settled(idle=0)
        assert endless.finished is (kind == "generator")
        await watch.healthy()


# The source of the body


@PLAIN_AND_TLS
@pytest.mark.fault("O09")
async def test_a_source_that_fails_ends_the_call_and_the_connection(tls: bool) -> None:
    """The error of the generator comes out, and no last chunk makes the rest look like a whole body."""

    async def failing() -> AsyncIterator[bytes]:
        yield b"first"
        raise LookupError("out of bytes")

    async with serve(tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        with pytest.raises(ClientRequestError, match="LookupError: out of bytes") as caught:
            await calls.post(server.url("/x"), data=failing())
        assert isinstance(caught.value.__cause__, LookupError)
        await watch.settled(idle=0)
        await server.until_idle()
        assert server.requests[0].trailers == []
        assert b"0\r\n\r\n" not in server.connections[0].unread
        await watch.healthy()


@pytest.mark.fault("O09")
async def test_a_source_that_is_cancelled_from_inside_ends_the_call() -> None:
    """The generator awaits a task that somebody else cancels: the call fails, it does not wait for ever."""
    never = asyncio.create_task(asyncio.Event().wait())

    async def cancelled_inside() -> AsyncIterator[bytes]:
        yield b"first"
        await never

    async with serve() as server, session() as calls:
        watch = Conserved(calls, server)
        call = asyncio.create_task(sent(calls.post(server.url("/x"), data=cancelled_inside())))
        await server.until_requests(1)
        await turns(3)
        never.cancel()
        with pytest.raises(ClientRequestError, match="CancelledError"):
            await call
        await watch.settled(idle=0)
        await watch.healthy()


@pytest.mark.fault("O09")
async def test_a_source_that_fails_while_it_is_finished_is_reported_once(baseline: Baseline) -> None:
    """The answer is there and stands; what the generator raises while it is closed goes to the loop's handler."""

    async def fails_late() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            raise LookupError("while closing")

    async def script(peer: Peer) -> None:
        await peer.recv_until(b"first")
        peer.send(TOO_LARGE)
        await peer.until_closed()

    async with serve(script, answer_all) as server, session() as calls:
        watch = Conserved(calls, server)
        async with calls.post(server.url("/x"), data=fails_late()) as got:
            assert got.status == 413
        await watch.settled(idle=0)
        assert len(baseline.errors) == 1
        assert "while closing" in baseline.errors[0]
        assert "body" in baseline.errors[0]
        baseline.errors.clear()
        await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("P16", "F16")
async def test_a_success_before_the_body_is_sent_ends_the_upload_with_the_answer(tls: bool) -> None:
    """A 200 may come while the body is on its way. Once it is whole the rest is not sent, and nothing is reused."""
    endless = Endless(1000)

    async def script(peer: Peer) -> None:
        request = await peer.head()
        await peer.recv_exactly(5000)
        peer.send(chunked([b"early"], nonce=request.target))
        await peer.until_closed()

    async with serve(script, answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        async with calls.post(server.url("/x"), data=endless.pieces()) as got:
            assert (got.status, await got.read()) == (200, b"early")
        await watch.settled(idle=0)
        assert endless.finished
        await watch.healthy()


@PLAIN_AND_TLS
async def test_many_uploads_at_once_keep_their_bodies_apart(tls: bool) -> None:
    """Thirty streamed bodies over five connections: each arrives whole, and under its own name."""

    async def body(name: bytes) -> AsyncIterator[bytes]:
        for _ in range(10):
            yield name * 100
            await asyncio.sleep(0)

    async with serve(tls=tls) as server, session(limit=5) as calls:
        watch = Conserved(calls, server)
        names = [f"/{number}" for number in range(30)]
        posts = (sent(calls.post(server.url(name), data=body(name.encode()))) for name in names)
        for name, got in zip(names, await asyncio.gather(*posts), strict=True):
            assert await nonce_of(got) == name
        assert {request.target: request.body for request in server.requests} == {
            name: name.encode() * 1000 for name in names
        }
        await watch.healthy()
