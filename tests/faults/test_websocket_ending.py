"""How a WebSocket ends: closing, silence, cancellation, the books of the pool (FAULTS W24 to W30, P41, L05, L07)."""

import asyncio
import gc
from typing import Any

import pytest

from keepwarm.pool.errors import ClientTimeoutError, PoolClosedError
from keepwarm.ws.channel import LINGER_SECONDS
from keepwarm.ws.errors import WebSocketClosedError
from keepwarm.ws.messages import Message, MsgType
from tests.support.calling import Conserved, fetch, numbers, serve, session
from tests.support.fakes import FakeClock
from tests.support.leaks import turns
from tests.support.server import Peer, PeerGone
from tests.support.steps import cancel_at_every_step
from tests.support.ws_frames import BINARY, CLOSE, PING, TEXT, ClientFrame, server_frame
from tests.support.ws_peer import (
    KINDS,
    agree,
    all_of,
    closing,
    echo,
    frame_from,
    hang_up,
    opened,
    polite_close,
    saying,
    stop_the_clock,
)

pytestmark = pytest.mark.asyncio

HELLO = server_frame(TEXT, b"hello")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The clock of every pool that the test makes: it stands still."""
    return stop_the_clock(monkeypatch)


async def mute(peer: Peer) -> None:
    """Agree, read, say nothing."""
    await agree(peer)
    await peer.until_closed()


async def flood(peer: Peer) -> None:
    """Agree, and send messages without end."""
    await agree(peer)
    try:
        while True:
            peer.send(HELLO * 2000)
            await peer.flush()
            await asyncio.sleep(0)
    except PeerGone:
        pass


# Closing


@KINDS
@pytest.mark.parametrize("script", [mute, flood])
@pytest.mark.parametrize("heartbeat", [None, 3.0])
@pytest.mark.fault("W24")
async def test_close_takes_its_timeout_at_most(
    kind: str, script: Any, heartbeat: float | None, clock: FakeClock
) -> None:
    """A peer that is silent, or has filled the queue and goes on: the connection is aborted on time."""
    async with opened(script, kind=kind, timeout=10, heartbeat=heartbeat) as o:
        await turns(20)
        task = asyncio.create_task(o.ws.close())
        await turns(5)
        clock.advance(9.9)
        await turns(5)
        assert not task.done()
        clock.advance(0.2)
        assert await task is True
        assert (o.ws.closed, o.ws.close_code) == (True, 1006)
        assert isinstance(o.ws.exception(), ClientTimeoutError)
        assert (await o.ws.receive()).tp is MsgType.closed
        assert await o.ws.close() is False


@KINDS
@pytest.mark.fault("W24")
async def test_close_finds_the_answer_behind_a_full_queue(kind: str) -> None:
    """Reading was held up when close() was called: it goes on, drops the messages, and finds the close frame."""
    async with opened(saying(*[HELLO * 3000] * 20), kind=kind) as o:
        await turns(20)
        assert await o.ws.close(code=4000, message="enough") is True
        assert (o.ws.close_code, o.ws.exception()) == (4000, None)


@KINDS
async def test_a_server_that_does_not_hang_up(kind: str, clock: FakeClock) -> None:
    """After the closing handshake the connection is closed by us, a second later."""

    async def script(peer: Peer) -> None:
        await agree(peer)
        await frame_from(peer)
        peer.send(closing())
        await peer.until_closed()

    async with opened(script, kind=kind) as o:
        assert await o.ws.close() is True
        assert numbers(o.calls).detached == 1
        clock.advance(LINGER_SECONDS)
        await turns(10)
        assert numbers(o.calls).detached == 0


@pytest.mark.parametrize("kind", ["tls", "fast"])
async def test_a_server_that_does_not_say_goodbye_either(kind: str, clock: FakeClock) -> None:
    """The goodbye of TLS is bounded too: the slot comes back from a peer that neither reads nor speaks any more."""

    async def script(peer: Peer) -> None:
        await agree(peer, glued=closing())
        await frame_from(peer)
        peer.pause()
        await peer.stall()

    async with opened(script, kind=kind) as o:
        assert (await o.ws.receive()).tp is MsgType.close
        await turns(10)
        for _ in range(10):
            clock.advance(1)
            await turns(10)
        assert numbers(o.calls).open == 0


async def test_the_answer_to_a_close_frame_does_not_wait_for_a_reader(clock: FakeClock) -> None:
    """A peer that closes and reads nothing: the WebSocket is over, and its slot comes back."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await agree(peer)
        peer.pause()
        await go.wait()
        peer.send(closing(1001))
        await peer.stall()

    async with opened(script, server={"rcvbuf": 4096}) as o:
        while not o.channel.is_write_paused:
            o.ws.send_bytes(bytes(100_000))
            await asyncio.sleep(0)
        go.set()
        assert await all_of(o.ws) == [Message(MsgType.close, 1001, "")]
        clock.advance(LINGER_SECONDS)
        clock.advance(1)
        await turns(5)
        assert numbers(o.calls).open == 0


@pytest.mark.fault("L05")
async def test_close_twice_at_once() -> None:
    """The second one does nothing and says so."""
    async with opened(echo) as o:
        assert sorted(await asyncio.gather(o.ws.close(), o.ws.close())) == [False, True]


async def test_a_close_that_is_refused_did_nothing() -> None:
    """A code or a reason that may not be sent: the WebSocket stays open."""
    async with opened(echo) as o:
        for arguments in ({"code": 1006}, {"code": 999}, {"message": "x" * 124}, {"message": b"\xff"}):
            with pytest.raises(ValueError, match=r"code|message"):
                await o.ws.close(**arguments)
        for wrong in ({"code": "1000"}, {"code": 1000.0}, {"code": True}, {"message": 5}):
            with pytest.raises(TypeError, match=r"code|message"):
                await o.ws.close(**wrong)
        assert not o.ws.closed
        await o.ws.send_str("still here")
        assert (await o.ws.receive()).data == "still here"


async def test_a_receiver_is_woken_by_close() -> None:
    async with opened(echo) as o:
        receiver = asyncio.create_task(o.ws.receive())
        await turns(3)
        await o.ws.close()
        assert (await receiver).tp is MsgType.closed


# Time


@pytest.mark.fault("W26")
async def test_a_heartbeat_that_is_answered(clock: FakeClock) -> None:
    """A ping for each interval of silence, however long; the round trip is known."""
    async with opened(echo, heartbeat=10) as o:
        assert o.ws.latency is None
        for _ in range(5):
            receiver = asyncio.create_task(o.ws.receive())
            clock.advance(10)
            await turns(15)
            receiver.cancel()
            assert o.ws.latency == 0
        assert not o.ws.closed


@KINDS
@pytest.mark.fault("W26")
async def test_a_dead_peer_is_found(kind: str, clock: FakeClock) -> None:
    """After one and a half intervals, not before."""
    async with opened(mute, kind=kind, heartbeat=10) as o:
        receiver = asyncio.create_task(o.ws.receive())
        clock.advance(14.9)
        await turns(3)
        assert not receiver.done()
        clock.advance(0.1)
        message = await receiver
        assert isinstance(message.data, ClientTimeoutError)
        assert (message.tp, o.ws.close_code, o.ws.exception()) == (MsgType.error, 1006, message.data)


@pytest.mark.fault("W26")
async def test_a_pong_behind_a_big_frame(clock: FakeClock) -> None:
    """While bytes come the peer is alive, whenever its pong comes."""
    go: asyncio.Queue[int] = asyncio.Queue()
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await agree(peer)
        frame = server_frame(BINARY, bytes(10_000))
        for start in range(0, len(frame), 1000):
            await go.get()
            peer.send(frame[start : start + 1000])
            await peer.flush()
            sent += 1
        await polite_close(peer)

    async with opened(script, heartbeat=10) as o:
        receiver = asyncio.create_task(o.ws.receive())
        for number in range(11):
            go.put_nowait(number)
            await turns(15)
            clock.advance(12)
            await turns(3)
        assert (await receiver).data == bytes(10_000)
        assert sent == 11


@pytest.mark.fault("W26")
async def test_paused_reading_is_no_death(clock: FakeClock) -> None:
    """The silence is ours while nobody takes the messages that came."""
    async with opened(saying(*[HELLO * 3000] * 3), heartbeat=10) as o:
        await turns(20)
        for _ in range(10):
            clock.advance(9)
            await turns(3)
        for _ in range(9000):
            assert (await o.ws.receive()).data == "hello"
        assert not o.ws.closed


@pytest.mark.fault("W26")
async def test_a_peer_that_takes_what_is_sent_is_alive(clock: FakeClock) -> None:
    """A slow upload: the ping waits behind it, and its progress is a sign of life. Without progress it is dead."""
    step = asyncio.Event()

    async def script(peer: Peer) -> None:
        await agree(peer)
        peer.pause()
        while True:
            await step.wait()
            step.clear()
            before = peer.bytes_received
            peer.resume()
            await peer.changes.until(lambda before=before: peer.bytes_received > before + 3_000_000 or peer.closed)
            peer.pause()

    async with opened(script, heartbeat=10, server={"rcvbuf": 4096}) as o:
        o.ws.send_bytes(bytes(60_000_000))
        unsent = o.channel.count_unsent
        assert unsent is not None
        for _ in range(8):
            before = unsent()
            step.set()
            while unsent() >= before:
                await turns(1)
            clock.advance(6)
            await turns(3)
            assert not o.ws.closed
        clock.advance(10)
        clock.advance(15)
        assert o.ws.closed
        assert isinstance(o.ws.exception(), ClientTimeoutError)


async def test_receive_timeout(clock: FakeClock) -> None:
    """It raises and changes nothing: the next message is received. An argument goes before the option."""
    async with opened(echo, receive_timeout=5) as o:
        for timeout, seconds in ((None, 5.0), (2, 2.0)):
            receiver = asyncio.create_task(o.ws.receive(timeout))
            await turns(2)
            clock.advance(seconds)
            with pytest.raises(ClientTimeoutError, match=f"within {seconds:g} s"):
                await receiver
        for wrong in (-1, "5", True):
            with pytest.raises((ValueError, TypeError), match="timeout"):
                await o.ws.receive(wrong)  # type: ignore[arg-type]
        o.ws.send_str("x")
        assert (await o.ws.receive()).data == "x"


# Cancellation


@KINDS
@pytest.mark.parametrize("double", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.fault("W27", "W30")
async def test_cancel_the_opening_anywhere(kind: str, double: bool, warm: bool) -> None:
    """ws_connect, a message there and back, and close, cancelled at each step: nothing is left."""
    async with serve(echo, tls=kind != "plain") as server, session(fast_tls=kind == "fast") as calls:
        watch = Conserved(calls, server)

        async def call() -> None:
            ws = await calls.ws_connect(server.url("/ws"))
            try:
                await ws.send_str("x")
                assert (await ws.receive()).data == "x"
            finally:
                await ws.close()

        async def check(k: int) -> None:
            await watch.healthy(f"/after-{k}")
            if not warm:
                for peer in server.connections:
                    if not peer.lost:
                        peer.rst()
                await server.until(lambda: all(peer.lost for peer in server.connections))
                await watch.settled(idle=0)

        assert await cancel_at_every_step(call, check=check, double=double) > 5


@pytest.mark.fault("W27")
@pytest.mark.parametrize("compress", [False, True])
async def test_cancel_receive_anywhere(compress: bool) -> None:
    """A cancelled receive takes no message: they all come, once, in order."""
    number = 0

    async def script(peer: Peer) -> None:
        await agree(peer)
        while (frame := await frame_from(peer)).opcode != CLOSE:
            peer.send(server_frame(TEXT, frame.payload))
        peer.send(server_frame(CLOSE, frame.payload))
        await hang_up(peer)

    async with opened(script, compress=compress) as o:
        got: list[str] = []

        async def call() -> None:
            o.ws.send_str(str(number))
            got.append((await o.ws.receive()).data)

        async def check(k: int) -> None:
            nonlocal number
            if k and len(got) <= number:
                got.append((await o.ws.receive()).data)
            if k:
                number += 1

        await cancel_at_every_step(call, check=check)
        assert got == [str(n) for n in range(number)]


@pytest.mark.fault("W27", "W28")
@pytest.mark.parametrize("compress", [False, True])
async def test_cancelled_and_concurrent_senders(compress: bool) -> None:
    """Each frame is whole, whoever of the senders waits, is cancelled or does not even await."""
    received: list[bytes] = []

    async def script(peer: Peer) -> None:
        extra = [("Sec-WebSocket-Extensions", "permessage-deflate")] if compress else []
        await agree(peer, extra)
        peer.pause()
        await go.wait()
        peer.resume()
        while (frame := await frame_from(peer)).opcode != CLOSE:
            received.append(frame.payload)
        peer.send(server_frame(CLOSE, frame.payload))
        await hang_up(peer)

    go = asyncio.Event()
    async with opened(script, compress=compress, server={"rcvbuf": 4096}) as o:

        async def sender(number: int) -> None:
            for _ in range(20):
                await o.ws.send_bytes(bytes([number]) * 60 if compress else bytes([number]) * 50_000)

        tasks = [asyncio.create_task(sender(number)) for number in range(8)]
        await turns(10)
        for task in tasks[::2]:
            task.cancel()
        await turns(2)
        go.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        o.ws.send_bytes(b"last")
        await o.ws.close()
    assert received.pop() == b"last"
    assert all(len(set(payload)) == 1 for payload in received)
    assert [sum(payload[0] == number for payload in received) for number in (1, 3, 5, 7)] == [20] * 4


@pytest.mark.fault("W28")
async def test_a_second_receiver_is_refused() -> None:
    async with opened(echo) as o:
        first = asyncio.create_task(o.ws.receive())
        await turns(2)
        with pytest.raises(RuntimeError, match="another task is receiving"):
            await o.ws.receive()
        o.ws.send_str("for the first")
        assert (await first).data == "for the first"


async def test_a_sender_who_waits_is_told_of_the_end() -> None:
    """The connection is aborted while the peer does not read: who waits for room gets WebSocketClosedError."""

    async def script(peer: Peer) -> None:
        await agree(peer)
        peer.pause()
        await peer.stall()

    async with opened(script, server={"rcvbuf": 4096}, timeout=0.02) as o:
        while not o.channel.is_write_paused:
            o.ws.send_bytes(bytes(100_000))

        async def send() -> None:
            await o.ws.send_bytes(b"x")

        sender = asyncio.create_task(send())
        await turns(2)
        await o.ws.close()
        with pytest.raises(WebSocketClosedError, match="cannot send") as caught:
            await sender
        assert caught.value.endpoint == o.channel.endpoint


@pytest.mark.fault("W27", "L05")
@KINDS
async def test_a_cancelled_close_still_closes(kind: str) -> None:
    async with opened(mute, kind=kind) as o:
        task = asyncio.create_task(o.ws.close())
        await turns(3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert o.ws.closed
        await turns(10)
        assert numbers(o.calls).open == 0


# The books


@KINDS
@pytest.mark.fault("W30")
async def test_a_websocket_holds_its_slot(kind: str) -> None:
    """With limit=1 the next request waits until the WebSocket is gone; it gets a new connection."""
    async with serve(echo, tls=kind != "plain") as server, session(fast_tls=kind == "fast", limit=1) as calls:
        watch = Conserved(calls, server)
        assert await fetch(calls, server.url("/before")) == "/before"
        ws = await calls.ws_connect(server.url("/ws"))
        stats = numbers(calls)
        assert (stats.open, stats.detached, stats.idle, stats.leased) == (1, 1, 0, 0)
        assert server.accepted == 1
        waiting = asyncio.create_task(fetch(calls, server.url("/next")))
        await turns(5)
        assert numbers(calls).waiting == 1
        await ws.close()
        assert await waiting == "/next"
        assert server.accepted == 2
        await watch.settled(idle=1)


@KINDS
@pytest.mark.fault("W30", "P41")
async def test_a_forgotten_websocket(kind: str) -> None:
    """It warns, and its connection is closed."""
    async with serve(mute, tls=kind != "plain") as server, session(fast_tls=kind == "fast") as calls:
        watch = Conserved(calls, server)
        ws = await calls.ws_connect(server.url("/ws"))
        with pytest.warns(ResourceWarning, match="Unclosed WebSocket"):
            del ws
            gc.collect()
        await watch.settled(idle=0)


@pytest.mark.fault("W30", "P41")
async def test_a_forgotten_websocket_whose_peer_has_closed() -> None:
    """With autoclose off the answer was the user's: the connection is closed all the same."""
    async with serve(saying(closing(), then=Peer.until_closed)) as server, session() as calls:
        watch = Conserved(calls, server)
        ws = await calls.ws_connect(server.url("/ws"), autoclose=False)
        assert (await ws.receive()).tp is MsgType.close
        with pytest.warns(ResourceWarning, match="Unclosed WebSocket"):
            del ws
            gc.collect()
        await watch.settled(idle=0)


@KINDS
@pytest.mark.fault("W30", "L07")
async def test_closing_the_session_with_websockets_open(kind: str) -> None:
    """Receivers are told, senders are refused, nothing hangs."""
    async with serve(mute, tls=kind != "plain") as server:
        calls = session(fast_tls=kind == "fast")
        sockets = [await calls.ws_connect(server.url("/ws")) for _ in range(3)]
        receiver = asyncio.create_task(sockets[0].receive())
        closer = asyncio.create_task(sockets[1].close())
        await turns(3)
        await calls.close()
        assert isinstance((await receiver).data, PoolClosedError)
        assert await closer is True
        for ws in sockets:
            assert (ws.closed, ws.close_code) == (True, 1006)
            with pytest.raises(WebSocketClosedError):
                ws.send_str("x")
            assert await all_of(ws) == ([Message(MsgType.error, ws.exception(), None)] if ws is sockets[2] else [])
        await server.until_idle()


@pytest.mark.fault("L08")
async def test_a_websocket_that_belongs_elsewhere(clock: FakeClock) -> None:
    """After a fork, or with its loop closed, a WebSocket touches neither: it says so, and is closed."""
    async with serve(mute) as server, session() as calls:
        ws = await calls.ws_connect(server.url("/ws"))
        assert calls.connector is not None
        (transport,) = calls.connector.pool().abandon()
        (error,) = await all_of(ws)
        assert isinstance(error.data, PoolClosedError)
        assert "another process" in str(error.data)
        with pytest.raises(WebSocketClosedError):
            ws.send_str("x")
        assert (ws.get_extra_info("peername"), await ws.close()) == (None, True)
        await turns(5)
        assert server.connections[0].closed == ""
        assert server.connections[0].unread == b""
        transport.abort()


async def test_a_websocket_outlives_the_detached_session() -> None:
    async with serve(echo) as server, session() as owner:
        calls = session(owner.connector)
        ws = await calls.ws_connect(server.url("/ws"))
        calls.detach()
        await ws.send_str("x")
        assert (await ws.receive()).data == "x"
        await ws.close()


async def test_nothing_but_masked_frames_goes_out() -> None:
    """What the peer got is whole frames with fresh keys, a ping and a pong of the user's among them."""

    async def script(peer: Peer) -> None:
        await agree(peer)
        frames.extend([await frame_from(peer) for _ in range(4)])
        await polite_close(peer)

    frames: list[ClientFrame] = []
    async with opened(script) as o:
        o.ws.send_str("a")
        o.ws.send_bytes(memoryview(b"b"))
        o.ws.ping("c")
        o.ws.pong(b"d")
        await o.ws.close()
    assert [(frame.opcode, frame.payload) for frame in frames] == [
        (TEXT, b"a"),
        (BINARY, b"b"),
        (PING, b"c"),
        (10, b"d"),
    ]
    assert len({frame.key for frame in frames}) == 4
