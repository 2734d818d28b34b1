"""Responses that take too long, or that nobody reads: deadlines are passed by moving a clock, never by waiting."""

import asyncio
from collections.abc import Callable

import pytest

from keepwarm.client.errors import ReadTimeoutError, TotalTimeoutError
from keepwarm.client.exchange import DRAIN_BYTES, DRAIN_SECONDS
from keepwarm.client.h1_channel import HIGH_WATER, H1Channel
from keepwarm.client.response import ClientResponse
from keepwarm.client.timeout import ClientTimeout
from keepwarm.client.upload import CONTINUE_SECONDS
from keepwarm.pool import connector as connector_module
from tests.support.calling import PLAIN_AND_TLS, Conserved, WatchedConnector, fetch, numbers, sent, serve, session
from tests.support.fakes import FakeClock
from tests.support.h1_corpus import CHUNKED, LINE
from tests.support.leaks import turns
from tests.support.server import (
    Handler,
    Peer,
    answer_all,
    chunk,
    head,
    ok,
    response,
)

pytestmark = pytest.mark.asyncio

KIB = 1024


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The clock of every connector that is bound during the test."""
    fake = FakeClock()
    monkeypatch.setattr(connector_module, "Clock", lambda loop: fake)
    return fake


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until `condition()` holds."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("this never came true")


class Tap:
    """Sends as much as it is told, one step at a time."""

    def __init__(self, start: bytes) -> None:
        self._start = start
        self._steps: asyncio.Queue[bytes] = asyncio.Queue()

    def send(self, data: bytes) -> None:
        self._steps.put_nowait(data)

    async def __call__(self, peer: Peer) -> None:
        await peer.request()
        peer.send(self._start)
        while True:
            data = await self._steps.get()
            peer.send(data)
            await peer.flush()


def pouring(start: bytes, piece: bytes, counter: list[int]) -> Handler:
    """Sends `piece` for ever, and counts the bytes in `counter[0]`."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(start)
        while True:
            peer.send(piece)
            counter[0] += len(piece)
            await peer.flush()
            await asyncio.sleep(0)

    return script


# Deadlines


@pytest.mark.fault("F40")
@PLAIN_AND_TLS
async def test_slow_header(tls: bool, clock: FakeClock) -> None:
    """A head that comes a byte every 5 s is in time for each read, and too late for the whole."""
    tap, connector = Tap(b""), WatchedConnector()
    async with serve(tap, answer_all, tls=tls) as server, session(connector) as calls:
        watch = Conserved(calls, server)
        call = asyncio.create_task(sent(calls.get(server.url("/x"), timeout=ClientTimeout(total=60, read=6))))
        await server.until_requests(1)
        for byte in LINE[:11]:
            tap.send(bytes([byte]))
            await until(lambda: _last_read(connector) == clock.now())
            clock.advance(5)
            await turns(3)
            assert not call.done()
        tap.send(b" ")
        await until(lambda: _last_read(connector) == clock.now())
        clock.advance(5.01)
        with pytest.raises(TotalTimeoutError, match=r"timeout.total has passed, in the phase 'head'"):
            await call
        await server.until_idle()
        await watch.healthy()


def _last_read(connector: WatchedConnector) -> float:
    channel = connector.channels[0]
    assert isinstance(channel, H1Channel) and channel.exchange is not None
    return channel.exchange.last_read


@pytest.mark.fault("F41")
@PLAIN_AND_TLS
@pytest.mark.parametrize("total", [100, None])
async def test_slow_body(tls: bool, clock: FakeClock, total: float | None) -> None:
    """A body that comes a byte every 9.9 s never meets a read timeout of 10 s; the overall timeout ends it, and
    without one it may go on; silence of 10 s does meet it."""
    tap = Tap(LINE + b"Content-Length: 1000\r\n\r\n")
    async with serve(tap, answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        answer = await calls.get(server.url("/x"), timeout=ClientTimeout(total=total, read=10))
        for count in range(1, 11):
            clock.advance(9.9)
            tap.send(b"x")
            await _fed(answer, count)
            assert answer.content.exception() is None
        clock.advance(9.9)
        if total is not None:
            with pytest.raises(TotalTimeoutError, match=r"timeout.total has passed, in the phase 'body'"):
                await answer.read()
        else:
            assert answer.content.exception() is None
            clock.advance(0.2)
            with pytest.raises(ReadTimeoutError, match=r"timeout.read=.* s, in the phase 'body'"):
                await answer.read()
        await server.until_idle()
        await watch.healthy()


async def _fed(answer: ClientResponse, count: int) -> None:
    await until(lambda: answer.content.total_bytes == count)


# Expect: 100-continue


@pytest.mark.fault("F17")
@PLAIN_AND_TLS
@pytest.mark.parametrize("status", ["417 Expectation Failed", "200 OK"])
async def test_expect_answered_by_a_final_status(tls: bool, clock: FakeClock, status: str) -> None:
    """The response is delivered, not one byte of the body is sent, and the next call gets its own answer."""
    heads = 0

    async def script(peer: Peer) -> None:
        nonlocal heads
        request = await peer.head()
        heads = len(request.head)
        assert request.header("expect") == "100-continue"
        peer.send(response(status, b"no", [("X-Nonce", request.nonce)]))
        await peer.until_closed()

    async with serve(script, answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        async with calls.post(server.url("/x"), data=b"body" * 1000, expect100=True) as answer:
            assert (f"{answer.status} {answer.reason}", await answer.read()) == (status, b"no")
        await server.until_idle()
        assert server.connections[0].bytes_received == heads
        await watch.healthy()
        assert server.accepted == 2


@pytest.mark.fault("F18")
@PLAIN_AND_TLS
@pytest.mark.parametrize("says", ["nothing", "100", "102 first", "100 and the answer"])
async def test_expect_with_silence(tls: bool, clock: FakeClock, says: str) -> None:
    """The body goes when the peer says 100, or after the wait; the connection is kept."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        request = await peer.head()
        if says == "102 first":
            peer.send(head("102 Processing"))
        await go.wait()
        if says == "100 and the answer":
            peer.send(head("100 Continue") + ok(nonce="/early"))
            await peer.until_closed()
            return
        if says == "100":
            peer.send(head("100 Continue"))
        await peer.body(request)
        peer.send(ok(nonce=request.body.decode()))
        await answer_all(peer)

    async with serve(script, answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        call = asyncio.create_task(sent(calls.post(server.url("/x"), data=b"body", expect100=True)))
        await server.until_requests(1)
        clock.advance(CONTINUE_SECONDS * 0.9)
        await turns(10)
        assert server.connections[0].unread == b""
        go.set()
        if says in ("nothing", "102 first"):
            clock.advance(CONTINUE_SECONDS * 0.2)
        answer = await call
        assert answer.headers["X-Nonce"] == ("/early" if says == "100 and the answer" else "body")
        await answer.read()
        await watch.healthy()
        assert server.accepted == (2 if says == "100 and the answer" else 1)


# What nobody reads


@pytest.mark.fault("F12")
@PLAIN_AND_TLS
async def test_a_released_body_of_ten_gigabytes(tls: bool, clock: FakeClock) -> None:
    """More than the bound is announced: the connection is closed at once."""
    tap = Tap(LINE + b"Content-Length: 10737418240\r\n\r\nx")
    async with serve(tap, answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        answer = await calls.get(server.url("/x"))
        released = answer.release()
        assert answer.closed
        await released
        await server.until_idle()
        assert numbers(calls).retired == {"error": 1}
        await watch.healthy()


@pytest.mark.fault("F12")
@PLAIN_AND_TLS
async def test_a_released_body_without_end(tls: bool, clock: FakeClock) -> None:
    """An endless body is drained up to the bound in bytes, then the connection is closed; no time need pass."""
    tap = Tap(CHUNKED + chunk(b"x"))
    async with serve(tap, answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        answer = await calls.get(server.url("/x"))
        await answer.content.readexactly(1)
        releasing = asyncio.ensure_future(_settle(answer))
        for _ in range(DRAIN_BYTES // 4096):
            tap.send(chunk(b"x" * 4096))
        await turns(30)
        assert not answer.closed
        tap.send(chunk(b"x" * 4096))
        await releasing
        await server.until_idle()
        await watch.healthy()


@pytest.mark.fault("F12")
@PLAIN_AND_TLS
@pytest.mark.parametrize("comes", [True, False])
async def test_a_released_remainder(tls: bool, clock: FakeClock, comes: bool) -> None:
    """A small remainder that comes in time keeps the connection; one that stalls ends it after the bound in time."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(response(body=b"x", length=1000))
        await go.wait()
        peer.send(b"x" * 999)
        await answer_all(peer)

    async with serve(script, answer_all, tls=tls) as server, session() as calls:
        go = asyncio.Event()
        watch = Conserved(calls, server)
        answer = await calls.get(server.url("/x"))
        releasing = asyncio.ensure_future(_settle(answer))
        await turns(5)
        clock.advance(DRAIN_SECONDS * 0.9)
        await turns(5)
        assert not answer.closed
        if comes:
            go.set()
        else:
            clock.advance(DRAIN_SECONDS * 0.2)
        await releasing
        await watch.settled(idle=int(comes))
        assert await fetch(calls, server.url("/after")) == "/after"
        assert server.accepted == (1 if comes else 2)


async def _settle(answer: ClientResponse) -> None:
    await answer.release()


@pytest.mark.fault("R03")
@PLAIN_AND_TLS
@pytest.mark.parametrize("start", [LINE + b"\r\n", CHUNKED], ids=["until the end", "chunked"])
async def test_slow_consumer(tls: bool, start: bytes) -> None:
    """Nobody reads: reading is paused, at most twice the high-water mark is buffered, and the peer is held up. What
    was held back comes in order when somebody reads."""
    counter = [0]
    piece = b"x" * 65536 if start != CHUNKED else chunk(b"x" * 65536)
    async with serve(pouring(start, piece, counter), answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        answer = await calls.get(server.url("/x"))
        content = answer.content
        await until(lambda: content.is_paused)
        before = -1
        while before != counter[0]:
            before = counter[0]
            await turns(50)
        assert HIGH_WATER < content.total_bytes <= 2 * HIGH_WATER
        for _ in range(20):
            assert await content.readexactly(HIGH_WATER) == b"x" * HIGH_WATER
        await until(lambda: content.is_paused)
        assert content.total_bytes - 20 * HIGH_WATER <= 2 * HIGH_WATER
        answer.close()
        await watch.healthy()


@pytest.mark.fault("T16")
@PLAIN_AND_TLS
async def test_closing_a_half_read_response(tls: bool, clock: FakeClock) -> None:
    """The socket goes at once, without a goodbye to wait for (no clock is moved), and nothing more is received."""
    counter = [0]
    start = LINE + b"Content-Length: 1073741824\r\n\r\n"
    async with serve(pouring(start, b"x" * 65536, counter), answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        answer = await calls.get(server.url("/x"))
        await answer.content.readexactly(1 << 20)
        content = answer.content
        received = content.total_bytes
        answer.close()
        assert answer.closed
        await watch.settled(idle=0)
        assert content.total_bytes == received
        await server.until_idle()
        assert server.connections[0].closed == "rst"
        await watch.healthy()
