"""Closing: a session, a connector, one response (FAULTS L05 to L07, L18 to L20, T15 to T17, promise G8)."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any

import pytest

from keepwarm.client.errors import ClientPayloadError
from keepwarm.client.h1_channel import H1Channel
from keepwarm.client.session import ClientSession
from keepwarm.pool.errors import PoolClosedError
from keepwarm.pool.holdings import LINGER
from keepwarm.pool.tcp_connector import TCPConnector
from tests.support.calling import Conserved, fetch, numbers, serve, session
from tests.support.certificates import client_context
from tests.support.dialing import Canaries
from tests.support.fakes import FakeClock
from tests.support.leaks import open_fds, turns
from tests.support.server import Handler, Peer, RecvRequest, ScriptedServer, Send, Stall, head, ok, response

pytestmark = pytest.mark.asyncio

KINDS = pytest.mark.parametrize(
    ("tls", "fast"), [(False, False), (True, False), (True, True)], ids=["plain", "tls", "fast"]
)
TLS_KINDS = pytest.mark.parametrize("fast", [False, True], ids=["loop", "fast"])
MANY = 100
PIECE = 64 * 1024
GIGABYTE = 1 << 30


def connect(fast: bool = False, **options: Any) -> ClientSession:
    return session(TCPConnector(ssl_context=client_context(), fast_tls=fast, **options))


def sockets() -> int:
    return sum(target.startswith("socket:") for target in open_fds().values())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The clock of every pool that the test makes: it stands still."""
    clock = FakeClock()
    monkeypatch.setattr("keepwarm.pool.connector.Clock", lambda loop: clock)
    return clock


def mute_after_answering(count: int) -> tuple[Handler, asyncio.Event]:
    """A script that answers one request when `count` have come, and from then on neither reads nor speaks."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        request = await peer.request()
        await go.wait()
        peer.pause()
        peer.send(ok(nonce=request.nonce))
        await peer.stall()

    return script, go


async def mute_idle(calls: ClientSession, server: ScriptedServer, go: asyncio.Event, count: int) -> None:
    """Make `count` idle connections whose peers are mute."""
    tasks = [asyncio.create_task(fetch(calls, server.url(f"/{k}"))) for k in range(count)]
    await server.until_requests(count)
    go.set()
    await asyncio.gather(*tasks)
    assert numbers(calls).idle == count


# Close means closed


@KINDS
@pytest.mark.fault("L06", "T17")
async def test_close_means_closed(tls: bool, fast: bool, clock: FakeClock) -> None:
    """When ``await close()`` is back every socket is gone, though no peer reads; TLS waits LINGER for its goodbyes."""
    script, go = mute_after_answering(MANY)
    async with serve(script, tls=tls) as server:
        before = sockets()
        calls = connect(fast)
        await mute_idle(calls, server, go, MANY)
        assert sockets() == before + 2 * MANY
        connector = calls.connector
        assert connector is not None
        closing = asyncio.ensure_future(_wait(calls.close()))
        await turns(10)
        if tls and not closing.done():
            assert connector.stats().total.closing > 0
            clock.advance(LINGER)
        await closing
        assert sockets() == before + MANY
        assert connector.stats().total.open == 0
        assert clock.timers == 0


async def _wait(closing: Awaitable[None]) -> None:
    await closing


@KINDS
@pytest.mark.soak
@pytest.mark.fault("L06", "T17")
async def test_closing_a_thousand_mute_peers_in_time(tls: bool, fast: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Promise G8: at most 1 s for 1,000 mute TLS peers, 50 ms for 1,000 plain ones."""
    count, most = 1000, 1.0 if tls else 0.05
    script, go = mute_after_answering(count)
    async with serve(script, tls=tls) as server:
        before = sockets()
        calls = connect(fast)
        await mute_idle(calls, server, go, count)
        started = time.perf_counter()
        await calls.close()
        took = time.perf_counter() - started
        assert sockets() == before + count
    with capsys.disabled():
        kind = ("fast TLS" if fast else "TLS") if tls else "plain"
        print(f"\nclose() of {count} mute {kind} peers: {took * 1000:.0f} ms (at most {most * 1000:.0f})")  # noqa: T201
    assert took <= most


@TLS_KINDS
@pytest.mark.fault("L05")
async def test_close_again_and_again(fast: bool, clock: FakeClock) -> None:
    """close() twice, at the same time, and cancelled while it waits: all sockets go, and each call comes back."""
    script, go = mute_after_answering(2)
    async with serve(script, tls=True) as server:
        before = sockets()
        calls = connect(fast)
        connector = calls.connector
        assert connector is not None
        await mute_idle(calls, server, go, 2)
        first = asyncio.ensure_future(_wait(connector.close()))
        second = asyncio.ensure_future(_wait(connector.close()))
        await turns(2)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        third = asyncio.ensure_future(_wait(calls.close()))
        await turns(10)
        clock.advance(LINGER)
        await asyncio.gather(first, third)
        assert sockets() == before + 2
        await calls.close()
        await connector.close()
        assert calls.closed
        assert connector.closed


@KINDS
@pytest.mark.fault("L05")
async def test_a_close_that_nobody_awaits(tls: bool, fast: bool) -> None:
    """close() does its work when it is called: without an await the sockets go all the same."""
    async with serve(tls=tls) as server:
        calls = connect(fast)
        await fetch(calls, server.url("/a"))
        calls.close()
        await server.until_idle()
        assert [peer.closed for peer in server.connections] == ["fin"]


# In flight


@KINDS
@pytest.mark.fault("L07")
async def test_close_with_calls_in_flight(tls: bool, fast: bool) -> None:
    """Whoever waits for a head, a body or the end of an upload has PoolClosedError at once, and no socket is left."""
    never = asyncio.Event()

    async def upload() -> AsyncIterator[bytes]:
        yield b"begun"
        await never.wait()

    async def script(peer: Peer) -> None:
        request = await peer.head()
        if request.target == "/body":
            peer.send(response(body=b"half", length=8))
        await peer.until_closed()

    async with serve(script, tls=tls) as server, connect(fast) as calls:
        watch = Conserved(calls, server)
        before = sockets()
        body = await calls.get(server.url("/body"))
        assert await body.content.readexactly(4) == b"half"
        tasks = [
            asyncio.ensure_future(_head(calls, server)),
            asyncio.ensure_future(body.read()),
            asyncio.ensure_future(_upload(calls, server, upload())),
        ]
        await server.until_requests(3)
        await turns(3)
        await calls.close()
        assert sockets() <= before + len(tasks)  # the server's ends may still be open
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(error) for error in errors] == [PoolClosedError] * 3
        assert "in flight" in str(errors[0])
        await server.until_idle()
        await watch.settled()


async def _head(calls: ClientSession, server: ScriptedServer) -> object:
    return await calls.get(server.url("/head"))


async def _upload(calls: ClientSession, server: ScriptedServer, data: AsyncIterator[bytes]) -> object:
    return await calls.post(server.url("/upload"), data=data)


# One response


@KINDS
@pytest.mark.fault("T16")
async def test_closing_a_half_read_response(tls: bool, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing in the middle of a gigabyte ends the connection at once; not a byte of it is taken any more."""
    arrived: list[int] = []
    real = H1Channel.data_received

    def data_received(channel: H1Channel, data: bytes) -> None:
        arrived.append(len(data))
        real(channel, data)

    monkeypatch.setattr(H1Channel, "data_received", data_received)

    async def flood(peer: Peer) -> None:
        await peer.request()
        peer.send(head("200 OK", [("Content-Length", str(GIGABYTE))]))
        while not peer.lost:
            peer.send(bytes(PIECE))
            await peer.flush()

    async with serve(flood, tls=tls) as server, connect(fast) as calls:
        watch = Conserved(calls, server)
        reply = await calls.get(server.url())
        await reply.content.readexactly(PIECE)
        arrived.clear()
        reply.close()
        await server.until_idle()
        assert arrived == []
        await watch.settled(idle=0)
        with pytest.raises(ClientPayloadError):
            await reply.read()


@TLS_KINDS
@pytest.mark.fault("T15")
async def test_a_goodbye_on_an_idle_connection(fast: bool, clock: FakeClock) -> None:
    """close_notify with TCP left open retires an idle connection at once; its socket is gone after LINGER at most."""

    async def wave(peer: Peer) -> None:
        request = await peer.request()
        peer.send(ok(nonce=request.nonce))
        await leave.wait()
        _say_goodbye(peer)
        peer.pause()
        await peer.stall()

    leave = asyncio.Event()
    async with serve(wave, [RecvRequest(), Send(ok(nonce="/b")), Stall()], tls=True) as server, connect(fast) as calls:
        before = sockets()
        await fetch(calls, server.url("/a"))
        leave.set()
        while numbers(calls).idle:
            await turns(1)
        assert numbers(calls).retired == {"peer_fin": 1}
        await turns(5)
        clock.advance(LINGER)
        while numbers(calls).open:
            await turns(1)
        assert sockets() == before + 1
        assert await fetch(calls, server.url("/b")) == "/b"
        assert server.accepted == 2


@TLS_KINDS
@pytest.mark.fault("T15")
async def test_a_goodbye_in_the_middle_of_a_body(fast: bool, clock: FakeClock) -> None:
    """close_notify with TCP left open cuts a body short like a FIN, and the socket is gone after LINGER at most."""

    async def wave(peer: Peer) -> None:
        await peer.request()
        peer.send(response(body=b"half", length=8))
        _say_goodbye(peer)
        peer.pause()
        await peer.stall()

    async with serve(wave, tls=True) as server, connect(fast) as calls:
        reply = await calls.get(server.url())
        with pytest.raises(ClientPayloadError, match="received 4 bytes, expected 8"):
            await reply.read()
        clock.advance(LINGER)
        while numbers(calls).open:
            await turns(1)


def _say_goodbye(peer: Peer) -> None:
    """close_notify, and nothing below it."""
    tls = peer.tls
    assert tls is not None
    tls.say_goodbye()
    peer.send_raw(tls.outgoing())


# Who owns what


@pytest.mark.fault("L18")
async def test_detach_leaves_the_connector_alone() -> None:
    """After detach() the session is closed and the connector is not: another session goes on with its connections."""
    async with serve() as server:
        first = session()
        connector = first.connector
        assert connector is not None
        await fetch(first, server.url("/a"))
        first.detach()
        assert first.closed
        assert not connector.closed
        assert first.connector is None
        with pytest.raises(RuntimeError, match="Session is closed"):
            await fetch(first, server.url("/refused"))
        await first.close()
        async with session(connector) as second:
            assert await fetch(second, server.url("/b")) == "/b"
        assert connector.closed
        assert server.accepted == 1
        assert [request.target for request in server.requests] == ["/a", "/b"]


@pytest.mark.fault("L19")
async def test_a_session_closes_the_connector_that_it_was_given() -> None:
    """Of two sessions on one connector the first to close closes it for both (B-02), and the other one says so."""
    async with serve() as server:
        first = session()
        connector = first.connector
        assert connector is not None
        second = session(connector)
        assert await fetch(second, server.url("/a")) == "/a"
        await first.close()
        assert connector.closed
        assert second.closed
        with pytest.raises(PoolClosedError, match="closed"):
            await fetch(second, server.url("/refused"))
        await second.close()
        assert server.accepted == 1


@pytest.mark.fault("L19")
async def test_detach_is_how_to_share() -> None:
    """Sessions that detach instead of closing leave the connector to its owner."""
    async with serve() as server, TCPConnector() as connector:
        for path in ("/a", "/b", "/c"):
            calls = session(connector)
            assert await fetch(calls, server.url(path)) == path
            calls.detach()
        assert not connector.closed
        assert server.accepted == 1


# Descriptors


@pytest.fixture
def canaries() -> Iterator[Canaries]:
    canaries = Canaries()
    yield canaries
    assert canaries.release() == []


@KINDS
@pytest.mark.fault("L20")
async def test_each_descriptor_is_closed_once(tls: bool, fast: bool, canaries: Canaries) -> None:
    """However a connection ends, its number is closed once: whoever has the number next keeps it."""

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.target == "/half":
                peer.send(response(body=b"half", length=8))
                continue
            peer.send(ok(nonce=request.nonce))
            if request.target == "/fin":
                peer.fin()
            elif request.target == "/rst":
                peer.rst()

    async with serve(script, tls=tls) as server:
        for ending in ("close", "fin", "rst", "half", "cancel", "abandon"):
            calls = connect(fast)
            await _end_in_one_way(ending, calls, server)
            await calls.close()
            for _ in range(3):
                canaries.add()
            await turns(10)
            for _ in range(3):
                canaries.add()


async def _end_in_one_way(ending: str, calls: ClientSession, server: ScriptedServer) -> None:
    if ending == "half":
        (await calls.get(server.url("/half"))).close()
    elif ending == "cancel":
        task = asyncio.ensure_future(fetch(calls, server.url("/half")))
        await server.until(lambda: server.requests and server.requests[-1].target == "/half")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    elif ending == "abandon":
        task = asyncio.ensure_future(fetch(calls, server.url()))
        await turns(2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    else:
        await fetch(calls, server.url(f"/{ending}"))
        while ending != "close" and numbers(calls).open:
            await turns(1)
