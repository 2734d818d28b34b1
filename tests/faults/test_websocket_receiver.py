"""What a receiver may rely on: the end told without a loss, no wait for nothing, a loop that turns (W15, W17, W25)."""

import asyncio
import zlib

import pytest

from keepwarm.ws.messages import Message, MsgType
from keepwarm.ws.protocol import MAX_BATCH
from tests.support.calling import numbers
from tests.support.leaks import turns
from tests.support.server import Peer
from tests.support.ws_frames import BINARY, RSV1, TEXT, header, server_frame
from tests.support.ws_peer import KINDS, closing, hang_up, opened, polite_close, reset, saying, stop_the_clock

pytestmark = pytest.mark.asyncio

HELLO = server_frame(TEXT, b"hello")
DEFLATE = [("Sec-WebSocket-Extensions", "permessage-deflate")]


@KINDS
@pytest.mark.parametrize("end", [closing(), b"", header(TEXT, 5, rsv=0x20)], ids=["close", "loss", "failure"])
@pytest.mark.fault("W25")
async def test_receiving_while_it_is_not_closed(kind: str, end: bytes) -> None:
    """`while not ws.closed: await ws.receive()` loses no message that came before the end, however it came."""
    async with opened(saying(HELLO * 3 + end, then=hang_up), kind=kind) as o:
        await o.server.until(lambda: o.server.connections[0].lost)
        received = []
        while not o.ws.closed:
            received.append((await o.ws.receive()).data)
        assert received == ["hello"] * 3
        assert (await o.ws.receive()).tp is (MsgType.close if end == closing() else MsgType.error)
        assert o.ws.closed


async def test_closed_is_said_at_once_if_nothing_waits() -> None:
    """Nobody has to receive to learn that the connection is gone."""
    async with opened(saying(then=reset)) as o:
        while not o.ws.closed:
            await turns(1)


@KINDS
async def test_receiving_again_with_autoclose_off(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer's close frame is received once, then `closed` for ever, though the answer has not been given yet."""
    clock = stop_the_clock(monkeypatch)
    async with opened(saying(HELLO + closing(1001), then=Peer.until_closed), kind=kind, autoclose=False) as o:
        received = [await o.ws.receive() for _ in range(4)]
        assert [message.tp for message in received] == [MsgType.text, MsgType.close, MsgType.closed, MsgType.closed]
        await o.ws.send_str("a message may still go out")
        assert await o.ws.close() is True
        assert await o.ws.receive() == Message(MsgType.closed, None, None)
        clock.advance(1)


@KINDS
@pytest.mark.fault("W30")
async def test_a_close_frame_behind_many_messages(kind: str) -> None:
    """The end of the connection is seen at once, and its slot comes back, though nobody has taken the messages yet."""
    many = MAX_BATCH + 100
    async with opened(saying(HELLO * many + closing()), kind=kind) as o:
        await o.server.until(lambda: o.server.connections[0].closed)
        await turns(20)
        assert numbers(o.calls).open == 0
        received = [await o.ws.receive() for _ in range(many + 2)]
        assert [message.tp for message in received[-3:]] == [MsgType.text, MsgType.close, MsgType.closed]


class Turns:
    """How many messages were counted in one turn of the loop, at most."""

    def __init__(self) -> None:
        self.most = 0
        self._count = 0
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self.most = max(self.most, self._count)
        self._count = 0
        self._handle = self._loop.call_soon(self._turn)

    def count(self) -> None:
        self._count += 1

    def stop(self) -> None:
        self._turn()
        self._handle.cancel()


@KINDS
@pytest.mark.fault("W15")
async def test_a_receiver_who_never_waits_does_not_keep_the_loop(kind: str) -> None:
    """Tens of thousands of tiny messages in one segment: the loop turns after each batch of them."""
    many = 40_000
    async with opened(saying(server_frame(BINARY) * many + closing()), kind=kind) as o:
        counted = Turns()
        async for _ in o.ws:
            counted.count()
        counted.stop()
        assert counted.most <= 4 * MAX_BATCH


@KINDS
@pytest.mark.fault("W17")
async def test_bombs_do_not_keep_the_loop(kind: str) -> None:
    """Messages that inflate to a few MiB each, in one segment: one of them a turn."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    frames = []
    for _ in range(8):
        payload = stream.compress(bytes(2_000_000)) + stream.flush(zlib.Z_SYNC_FLUSH)
        frames.append(server_frame(BINARY, payload[:-4], rsv=RSV1))
    script = saying(b"".join(frames) + closing(), extra=DEFLATE, then=polite_close)
    async with opened(script, kind=kind, compress=True) as o:
        counted = Turns()
        async for message in o.ws:
            assert len(message.data) == 2_000_000
            counted.count()
        counted.stop()
        assert counted.most == 1
