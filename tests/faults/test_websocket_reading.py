"""What arrives on a WebSocket: glued, cut, too much, and then nothing more (FAULTS W06, W13 to W17, W20, W25)."""

import asyncio
import tracemalloc
import zlib

import pytest

from keepwarm.pool.errors import ClientConnectionError
from keepwarm.ws.deflate import DeflateOffer
from keepwarm.ws.errors import WebSocketError
from keepwarm.ws.messages import Message, MsgType
from tests.support.leaks import turns
from tests.support.server import Peer, PeerGone
from tests.support.ws_frames import BINARY, CONTINUATION, PING, PONG, RSV1, TEXT, header, server_frame
from tests.support.ws_peer import (
    KINDS,
    agree,
    agreement,
    all_of,
    closing,
    frame_from,
    hang_up,
    opened,
    polite_close,
    reset,
    saying,
)

pytestmark = pytest.mark.asyncio

DEFLATE = [("Sec-WebSocket-Extensions", "permessage-deflate; server_no_context_takeover")]
HELLO = server_frame(TEXT, b"hello")
MEBIBYTE = 1024 * 1024


def text(data: str) -> Message:
    return Message(MsgType.text, data, "")


def packed(data: bytes, opcode: int = BINARY) -> bytes:
    """A compressed message."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    payload = stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)
    return server_frame(opcode, payload[:-4], rsv=RSV1)


# Glued to the handshake


@KINDS
@pytest.mark.fault("W06")
async def test_frames_glued_to_the_answer(kind: str) -> None:
    """Messages in the segment of the 101 are received first, in order."""

    async def script(peer: Peer) -> None:
        await agree(peer, glued=HELLO + server_frame(BINARY, b"\0\1") + HELLO[:3])
        await turns(3)
        peer.send(HELLO[3:])
        await polite_close(peer)

    async with opened(script, kind=kind) as o:
        assert [await o.ws.receive() for _ in range(3)] == [
            text("hello"),
            Message(MsgType.binary, b"\0\1", ""),
            text("hello"),
        ]


@pytest.mark.fault("W06")
async def test_the_answer_and_its_frames_cut_anywhere() -> None:
    """However the 101 and the first messages are cut in two, they are the same."""
    cut = 0

    async def script(peer: Peer) -> None:
        request = await peer.request()
        data = agreement(request) + HELLO + server_frame(TEXT, "grün".encode())
        peer.send(data[:cut])
        await peer.flush()
        await turns(3)
        peer.send(data[cut:])
        await polite_close(peer)

    whole = len(b"HTTP/1.1 101 Switching Protocols\r\n") + 120
    while cut < whole:
        cut += 2
        async with opened(script) as o:
            assert [await o.ws.receive(), await o.ws.receive()] == [text("hello"), text("grün")]


@KINDS
@pytest.mark.fault("W06")
async def test_all_of_a_short_life_in_one_segment(kind: str) -> None:
    """The 101, a message, a close frame and the FIN at once: all is received, and the WebSocket is closed."""

    async def script(peer: Peer) -> None:
        await agree(peer, glued=HELLO + closing(1001, b"bye"))
        await hang_up(peer)

    async with opened(script, kind=kind) as o:
        assert await all_of(o.ws) == [text("hello"), Message(MsgType.close, 1001, "bye")]
        assert (o.ws.closed, o.ws.close_code, o.ws.exception()) == (True, 1001, None)


async def test_much_that_is_glued_is_read_on() -> None:
    """More than is held until the WebSocket is there does not stop the reading, nor does it overrun the reader."""

    async def script(peer: Peer) -> None:
        await agree(peer, glued=HELLO * 30_000)
        await polite_close(peer)

    async with opened(script) as o:
        for _ in range(30_000):
            assert await o.ws.receive() == text("hello")


# Too much


@KINDS
@pytest.mark.fault("W13")
async def test_a_frame_of_a_terabyte(kind: str) -> None:
    """It is refused by its header: one error, 1009 for the peer, nothing is read on."""
    told: list[bytes] = []

    async def script(peer: Peer) -> None:
        await agree(peer)
        peer.send(header(BINARY, 1 << 40))
        told.append((await frame_from(peer)).payload[:2])
        await peer.until_closed()

    async with opened(script, kind=kind) as o:
        (message,) = await all_of(o.ws)
        assert message.tp is MsgType.error
        assert message.data is o.ws.exception()
        assert (message.data.code, o.ws.close_code, o.ws.closed) == (1009, 1009, True)
        await o.server.until_idle()
    assert told == [(1009).to_bytes(2, "big")]


@pytest.mark.fault("W13")
async def test_fragments_that_grow_past_the_limit() -> None:
    """The fragment that passes max_msg_size fails the connection; what came before it counts."""
    part = server_frame(BINARY, b"x" * 600, fin=False)
    script = saying(HELLO + part + server_frame(CONTINUATION, b"x" * 600, fin=False), then=Peer.until_closed)
    async with opened(script, max_msg_size=1000) as o:
        hello, error = await all_of(o.ws)
        assert (hello, error.data.code) == (text("hello"), 1009)


@pytest.mark.fault("W15")
async def test_a_flood_of_empty_fragments() -> None:
    """The peer is cut off after max_fragments."""

    async def flood(peer: Peer) -> None:
        await agree(peer)
        peer.send(server_frame(TEXT, b"", fin=False))
        while True:
            peer.send(server_frame(CONTINUATION, b"", fin=False) * 10_000)
            await peer.flush()
            await asyncio.sleep(0)

    async with opened(flood) as o:
        (error,) = await all_of(o.ws)
        assert (type(error.data), error.data.code) == (WebSocketError, 1008)
        await o.server.until_idle()


@pytest.mark.fault("W15")
@pytest.mark.parametrize("before", [1, 5000, 40_000])
async def test_a_message_behind_many_small_frames(before: int) -> None:
    """Frames that are no messages do not hide the message behind them, even if nothing follows."""
    pongs = server_frame(PONG) * before
    async with opened(saying(pongs + HELLO)) as o:
        assert await o.ws.receive() == text("hello")


async def test_a_flood_does_not_keep_the_loop() -> None:
    """Between batches of frames that are no messages other callbacks run."""
    async with opened(saying(server_frame(PONG) * 30_000 + HELLO)) as o:
        o.channel.data_received(server_frame(PONG) * 20_000 + HELLO)
        ran = 0

        async def count() -> None:
            nonlocal ran
            while True:
                await asyncio.sleep(0)
                ran += 1

        counter = asyncio.create_task(count())
        assert await o.ws.receive() == text("hello")
        counter.cancel()
        assert ran > 10


@pytest.mark.fault("W17")
async def test_a_bomb_is_not_inflated() -> None:
    """A message that would be a gigabyte fails the connection with 1009."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(stream.compress(bytes(MEBIBYTE)) for _ in range(64)) + stream.flush(zlib.Z_SYNC_FLUSH)
    script = saying(server_frame(BINARY, bomb[:-4], rsv=RSV1), extra=DEFLATE, then=Peer.until_closed)
    async with opened(script, compress=DeflateOffer(server_no_context_takeover=True)) as o:
        assert o.ws.compressed
        (error,) = await all_of(o.ws)
        assert error.data.code == 1009


@KINDS
@pytest.mark.fault("W17")
async def test_many_small_bombs(kind: str) -> None:
    """Messages that are within the limit one by one do not pile up, however small they were on the wire."""
    many = 100
    script = saying(packed(bytes(2 * MEBIBYTE)) * many, extra=DEFLATE)
    async with opened(script, kind=kind, compress=DeflateOffer(server_no_context_takeover=True)) as o:
        assert len((await o.ws.receive()).data) == 2 * MEBIBYTE
        most = 0
        tracemalloc.start()
        try:
            for _ in range(many - 1):
                await turns(3)
                most = max(most, tracemalloc.get_traced_memory()[0])
                assert len((await o.ws.receive()).data) == 2 * MEBIBYTE
        finally:
            tracemalloc.stop()
        assert most < 8 * MEBIBYTE


@pytest.mark.fault("W20")
async def test_a_flood_of_pings_whose_answers_nobody_reads() -> None:
    """The answers are bounded; the connection is given up in the end, and the receiver told why."""

    async def flood(peer: Peer) -> None:
        await agree(peer)
        peer.pause()
        while True:
            peer.send(server_frame(PING, b"x" * 100) * 500)
            await peer.flush()
            await asyncio.sleep(0)

    async with opened(flood, server={"rcvbuf": 4096}) as o:
        (error,) = await all_of(o.ws)
        assert (type(error.data), o.ws.close_code) == (WebSocketError, 1006)
        assert "pings" in str(error.data)
        o.server.connections[0].resume()


@pytest.mark.fault("W20")
async def test_every_ping_is_answered_while_the_peer_reads() -> None:
    """In order, one by one."""
    answers = []

    async def script(peer: Peer) -> None:
        await agree(peer)
        for number in range(20):
            peer.send(server_frame(PING, b"%d" % number))
        for _ in range(20):
            frame = await frame_from(peer)
            answers.append((frame.opcode, frame.payload))
        await polite_close(peer)

    async with opened(script) as o:
        receiver = asyncio.create_task(o.ws.receive())
        await o.server.until(lambda: len(answers) == 20)
        await o.ws.close()
        assert (await receiver).tp is MsgType.closed
    assert answers == [(PONG, b"%d" % number) for number in range(20)]


# Back-pressure


async def pouring(peer: Peer, frame: bytes, sent: list[int]) -> None:
    """Send as much as the client takes."""
    await agree(peer)
    try:
        while True:
            peer.send(frame)
            await peer.flush()
            sent.append(len(frame))
            await asyncio.sleep(0)
    except PeerGone:
        pass


@KINDS
@pytest.mark.parametrize("size", [0, 100, 50_000])
async def test_reading_stops_when_messages_pile_up(kind: str, size: int) -> None:
    """A peer that pours is stopped, whatever the size of its messages; reading takes it up again."""
    sent: list[int] = []
    frame = server_frame(BINARY, bytes(size))
    many = frame * max(1, 200_000 // len(frame))
    async with opened(lambda peer: pouring(peer, many, sent), kind=kind, timeout=0.05) as o:
        before = -1
        while before != len(sent):
            before = len(sent)
            await asyncio.sleep(0.02)
        assert sent
        while len(sent) == before:
            assert len((await o.ws.receive()).data) == size


async def test_what_is_held_for_a_slow_reader_is_bounded() -> None:
    """Not the number of messages but their memory, with Python's own part, stays small while nobody reads."""
    sent: list[int] = []
    async with opened(lambda peer: pouring(peer, server_frame(TEXT) * 20_000, sent), timeout=0.05) as o:
        await o.ws.receive()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        try:
            for _ in range(50):
                await asyncio.sleep(0)
            held = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert held < MEBIBYTE


# The end without a close frame


@KINDS
@pytest.mark.parametrize("end", [hang_up, reset])
@pytest.mark.parametrize("rest", [b"", HELLO[:1], HELLO[:4], server_frame(TEXT, b"hel", fin=False)])
@pytest.mark.fault("W25")
async def test_lost_without_a_close_frame(kind: str, end: object, rest: bytes) -> None:
    """FIN or RST, between messages or in the middle of one: 1006, the cause, and the messages that were received."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await agree(peer, glued=HELLO * 3 + rest)
        await go.wait()
        await (hang_up if end is hang_up else reset)(peer)

    async with opened(script, kind=kind) as o:
        await turns(10)
        go.set()
        *messages, error = await all_of(o.ws)
        assert messages == [text("hello")] * 3
        assert error.tp is MsgType.error
        assert isinstance(error.data, ClientConnectionError)
        assert error.data is o.ws.exception()
        assert str(o.server.port) in str(error.data)
        assert (error.data.endpoint, error.data.phase) == (o.channel.endpoint, "body")
        assert (o.ws.closed, o.ws.close_code) == (True, 1006)
        with pytest.raises(RuntimeError, match="cannot send") as caught:
            o.ws.send_str("x")
        assert caught.value.__cause__ is error.data
        assert await o.ws.close() is True


@KINDS
@pytest.mark.fault("W25")
async def test_messages_before_a_loss_come_before_the_news_of_it(kind: str) -> None:
    """Thousands of messages that were read but not received when the connection breaks are received, then the error.
    That the break was found by a send does not change it."""
    count = 5000
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await agree(peer)
        peer.send(HELLO * count)
        await peer.flush()
        await go.wait()
        peer.rst()

    async with opened(script, kind=kind) as o:
        assert await o.ws.receive() == text("hello")
        await turns(10)
        go.set()
        await o.server.until(lambda: o.server.connections[0].lost)
        while True:
            try:
                o.ws.send_str("x")
            except RuntimeError:
                break
            await asyncio.sleep(0)
        await turns(5)
        *messages, error = await all_of(o.ws)
        assert (error.tp, o.ws.close_code) == (MsgType.error, 1006)
        assert set(messages) == {text("hello")}
        # What lay in the kernel only was thrown away with the reset.
        assert 1024 <= len(messages) + 1 <= count


@KINDS
async def test_a_broken_frame_behind_messages(kind: str) -> None:
    """The messages before it can be received and answered; then comes the error, and the peer is told."""
    told: list[tuple[int, bytes]] = []

    async def script(peer: Peer) -> None:
        await agree(peer)
        peer.send(HELLO * 2 + b"\xff\xff")
        for _ in range(3):
            frame = await frame_from(peer)
            told.append((frame.opcode, frame.payload[:2]))
        await peer.until_closed()

    async with opened(script, kind=kind) as o:
        for number in range(2):
            assert await o.ws.receive() == text("hello")
            assert (o.ws.closed, o.ws.exception()) == (False, None)
            await o.ws.send_str(f"{number}!")
        error = await o.ws.receive()
        assert (error.tp, error.data.code) == (MsgType.error, 1002)
        assert (o.ws.closed, o.ws.close_code, o.ws.exception()) == (True, 1002, error.data)
        assert (await o.ws.receive()).tp is MsgType.closed
        await o.server.until_idle()
    assert told == [(TEXT, b"0!"), (TEXT, b"1!"), (8, b"\x03\xea")]
