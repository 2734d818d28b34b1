"""Large messages over real transports, which read them to where they will stay; what comes before and behind them."""

import asyncio

import pytest

from keepwarm.pool.errors import ClientConnectionError
from keepwarm.ws.messages import Message, MsgType
from tests.support.leaks import turns
from tests.support.server import Peer
from tests.support.ws_frames import BINARY, CONTINUATION, PING, TEXT, server_frame
from tests.support.ws_peer import (
    KINDS,
    agree,
    all_of,
    closing,
    frame_from,
    hang_up,
    opened,
    polite_close,
    saying,
    stop_the_clock,
)

pytestmark = pytest.mark.asyncio

MEBIBYTE = 1024 * 1024
LARGE = bytes(range(256)) * 4096
HELLO = server_frame(TEXT, b"hello")


def binary(data: bytes) -> Message:
    return Message(MsgType.binary, data, "")


def text(data: str) -> Message:
    return Message(MsgType.text, data, "")


@KINDS
async def test_large_and_small_in_turns(kind: str) -> None:
    """Messages of all sizes in one stream are received whole and in order."""
    sizes = [MEBIBYTE, 0, 70_000, 3 * MEBIBYTE, 200_000, 5, MEBIBYTE + 1, 65_536, 2 * MEBIBYTE]
    payloads = [(LARGE * 3)[-size:] if size else b"" for size in sizes]
    stream = b"".join(server_frame(BINARY, payload) + HELLO for payload in payloads)
    async with opened(saying(stream, closing()), kind=kind) as o:
        for payload in payloads:
            assert await o.ws.receive() == binary(payload)
            assert await o.ws.receive() == text("hello")
        assert (await o.ws.receive()).tp is MsgType.close


@KINDS
async def test_a_reader_who_is_slow(kind: str) -> None:
    """While reading is paused, before a large message or behind it, nothing is lost and nothing goes on."""
    stream = (HELLO * 20_000 + server_frame(BINARY, LARGE)) * 3
    async with opened(saying(stream), kind=kind) as o:
        for _ in range(3):
            for _ in range(20_000):
                assert await o.ws.receive_str() == "hello"
            await asyncio.sleep(0)
            assert await o.ws.receive_bytes() == LARGE


@KINDS
async def test_fragments_of_a_large_message(kind: str) -> None:
    """With pings between them; the pings are answered, in the middle of the message."""
    parts = [
        server_frame(BINARY, LARGE, fin=False),
        server_frame(PING, b"one"),
        server_frame(CONTINUATION, LARGE, fin=False),
        server_frame(PING, b"two"),
    ]
    answers: list[bytes] = []

    async def script(peer: Peer) -> None:
        await agree(peer)
        for part in parts:
            peer.send(part)
            await peer.flush()
        answers.extend([(await frame_from(peer)).payload for _ in range(2)])
        peer.send(server_frame(CONTINUATION, LARGE[:-1]) + HELLO)
        await polite_close(peer)

    async with opened(script, kind=kind) as o:
        assert await o.ws.receive() == binary(LARGE + LARGE + LARGE[:-1])
        assert await o.ws.receive() == text("hello")
    assert answers == [b"one", b"two"]


@KINDS
@pytest.mark.fault("W25")
async def test_a_connection_that_ends_within_a_large_message(kind: str) -> None:
    """The messages before it are received, then the error; never half a message."""
    async with opened(saying(HELLO, server_frame(BINARY, LARGE)[:-5000], then=hang_up), kind=kind) as o:
        messages = await all_of(o.ws)
        assert messages[0] == text("hello")
        assert [message.tp for message in messages[1:]] == [MsgType.error]
        assert isinstance(messages[1].data, ClientConnectionError)


@KINDS
async def test_closing_within_a_large_message(kind: str) -> None:
    """`close` reads to the peer's close frame, through what is left of the message."""
    half = asyncio.Event()
    frame = server_frame(BINARY, LARGE)

    async def script(peer: Peer) -> None:
        await agree(peer)
        peer.send(HELLO + frame[:300_000])
        await peer.flush()
        await half.wait()
        while (await frame_from(peer)).opcode != 8:
            pass
        peer.send(frame[300_000:] + closing())
        await peer.flush()
        peer.fin()
        await peer.until_closed()

    async with opened(script, kind=kind) as o:
        assert await o.ws.receive() == text("hello")
        half.set()
        assert await o.ws.close()
        assert o.ws.close_code == 1000


@KINDS
@pytest.mark.fault("W26")
async def test_a_large_message_is_a_sign_of_life(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that takes longer than the heartbeat allows for silence does not look like death."""
    clock = stop_the_clock(monkeypatch)
    frame = server_frame(BINARY, LARGE)
    sent, later = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await agree(peer)
        for start in range(0, len(frame), 131_072):
            peer.send(frame[start : start + 131_072])
            await peer.flush()
            sent.set()
            await later.wait()
            later.clear()
        await polite_close(peer)

    async with opened(script, kind=kind, heartbeat=10.0) as o:
        waiting = asyncio.ensure_future(o.ws.receive())
        for _ in range(len(frame) // 131_072 + 1):
            await sent.wait()
            sent.clear()
            await turns(30)
            clock.advance(6.0)
            later.set()
        assert await waiting == binary(LARGE)
