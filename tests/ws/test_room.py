"""Large messages are written where they will stay: what the protocol makes room for, and when it does not."""

import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepwarm.ws.deflate import DeflateOffer, agree
from keepwarm.ws.messages import Message, MsgType
from keepwarm.ws.protocol import WSProtocol
from tests.support.ws_frames import BINARY, CONTINUATION, PING, RSV1, TEXT, header, server_frame

MEBIBYTE = 1024 * 1024
LARGE = bytes(range(256)) * 4096


class Transport:
    """Gives a protocol the bytes of `wire` in reads of `size`: into its room as long as it has some."""

    def __init__(self, protocol: WSProtocol, wire: bytes) -> None:
        self.protocol = protocol
        self.wire = wire
        self.out: list[Message] = []
        self.fed = 0

    def read(self, size: int) -> None:
        protocol, data = self.protocol, self.wire[:size]
        if protocol.has_room:
            room = protocol.room()
            assert room
            size = min(size, len(room), len(self.wire))
            room[:size] = data[:size]
            protocol.filled(size)
        else:
            protocol.feed(data, self.out)
            self.fed += len(data)
        self.wire = self.wire[size:]

    def read_all(self, size: int) -> list[Message]:
        while self.wire:
            self.read(size)
        return self.out


def fed_whole(wire: bytes, **options: object) -> list[Message]:
    out: list[Message] = []
    protocol = WSProtocol(**options)  # type: ignore[arg-type]
    protocol.feed(wire, out)
    return out


def test_a_large_message_is_written_to_its_room() -> None:
    """All but the first read and the end of it, and it is the same message."""
    wire = server_frame(BINARY, LARGE) + server_frame(TEXT, b"after")
    transport = Transport(WSProtocol(), wire)
    assert transport.read_all(131072) == [Message(MsgType.binary, LARGE, ""), Message(MsgType.text, "after", "")]
    assert transport.fed < 131072 + 8192
    assert type(transport.out[0].data) is bytes
    assert not transport.protocol.has_room
    assert transport.protocol.buffered == 0


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(65_000, 400_000), min_size=1, max_size=3),
    reads=st.lists(st.integers(1, 300_000), min_size=1, max_size=12),
    fragments=st.integers(1, 3),
)
def test_it_is_the_same_however_it_is_read(sizes: list[int], reads: list[int], fragments: int) -> None:
    """With rooms and without, whole and in fragments with a ping between: equal messages."""
    wire = b""
    for size in sizes:
        data = (LARGE * 2)[size : 2 * size]
        step = -(-size // fragments)
        parts = [data[i : i + step] for i in range(0, size, step)]
        for i, part in enumerate(parts):
            wire += server_frame(CONTINUATION if i else BINARY, part, fin=i == len(parts) - 1)
            wire += server_frame(PING, b"between")
    transport = Transport(WSProtocol(), wire)
    turn = 0
    while transport.wire:
        transport.read(max(reads[turn % len(reads)], 1000))
        turn += 1
    assert transport.out == fed_whole(wire)
    assert transport.protocol.pings == wire.count(server_frame(PING, b"between"))


def test_what_has_room_may_be_fed_all_the_same() -> None:
    """A transport that finishes its read the old way loses nothing: bytes that are fed go to the room too."""
    wire = server_frame(BINARY, LARGE) + server_frame(TEXT, b"after")
    protocol = WSProtocol()
    out: list[Message] = []
    protocol.feed(wire[:200_000], out)
    assert protocol.has_room
    protocol.feed(wire[200_000:300_000], out)
    room = protocol.room()
    assert room is not None
    room[:100_000] = wire[300_000:400_000]
    protocol.filled(100_000)
    protocol.feed(wire[400_000:], out)
    assert out == [Message(MsgType.binary, LARGE, ""), Message(MsgType.text, "after", "")]
    assert not protocol.has_room


def test_a_message_is_given_out_without_a_copy() -> None:
    """While it is read and received there is one of it."""
    wire = server_frame(BINARY, LARGE)
    transport = Transport(WSProtocol(), wire)
    tracemalloc.start()
    try:
        transport.read_all(65536)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The test's own cuts of the wire are as large as the message.
    assert peak < 3.5 * MEBIBYTE
    assert transport.out[0].data == LARGE


@pytest.mark.fault("W13")
def test_a_header_alone_sets_no_memory_aside() -> None:
    """A peer that announces much and sends little makes us hold little: sixteen times what it sent at most."""
    protocol = WSProtocol(max_msg_size=None)
    out: list[Message] = []
    tracemalloc.start()
    try:
        protocol.feed(header(BINARY, 1 << 40) + bytes(100_000), out)
        assert not protocol.has_room
        protocol = WSProtocol()
        protocol.feed(header(BINARY, 4 * MEBIBYTE) + bytes(1000), out)
        assert not protocol.has_room
        assert tracemalloc.get_traced_memory()[1] < 500_000
        protocol.feed(bytes(4 * MEBIBYTE // 16), out)
        assert protocol.has_room
    finally:
        tracemalloc.stop()


@pytest.mark.fault("W16")
def test_text_is_never_read_unseen() -> None:
    """A fault in a large text is found with the bytes that have it, so it has no room."""
    wire = server_frame(TEXT, b"x" * 500_000 + b"\xff" + b"x" * 500_000)
    protocol = WSProtocol()
    out: list[Message] = []
    protocol.feed(wire[:400_000], out)
    assert (out, protocol.has_room) == ([], False)
    protocol.feed(wire[400_000:600_000], out)
    assert [message.tp for message in out] == [MsgType.error]


def test_what_is_compressed_has_no_room() -> None:
    """It is inflated as it comes, and its size is not that of its frame."""
    stream = zlib.compressobj(0, zlib.DEFLATED, -15)
    data = (stream.compress(LARGE) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
    deflate = agree(DeflateOffer(), [])
    transport = Transport(WSProtocol(deflate=deflate), server_frame(BINARY, data, rsv=RSV1))
    while transport.wire:
        assert not transport.protocol.has_room
        transport.read(100_000)
    assert transport.out == [Message(MsgType.binary, LARGE, "")]


def test_a_failure_takes_the_room_away() -> None:
    """After the end of a conversation there is none."""
    protocol = WSProtocol()
    out: list[Message] = []
    protocol.feed(server_frame(BINARY, LARGE)[:200_000], out)
    assert protocol.has_room
    protocol.filled(len(protocol.room() or b""))
    assert not protocol.has_room
    assert protocol.room() is None
