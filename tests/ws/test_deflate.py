"""permessage-deflate: what is agreed on, and the two streams (RFC 7692). Autobahn's groups 12 and 13 in small."""

import tracemalloc
import zlib
from collections.abc import Iterable

import pytest

from keepwarm.ws.deflate import DeflateOffer, Deflater, DeflateSettings, agree
from keepwarm.ws.errors import HandshakeError
from keepwarm.ws.messages import Message, MsgType
from keepwarm.ws.protocol import MAX_MSG_SIZE, WSProtocol
from tests.support.ws_frames import (
    BINARY,
    CONTINUATION,
    PING,
    RSV1,
    TEXT,
    client_frames,
    each_byte,
    header,
    read,
    server_frame,
    verdict,
)

SETTINGS = DeflateSettings(min_size=1)
HELLO = bytes.fromhex("f248cdc9c90700")  # RFC 7692, 7.2.3.1


def compressed(payload: bytes, bits: int = 15, level: int = 9) -> bytes:
    """One message of a server that keeps no context."""
    stream = zlib.compressobj(level, zlib.DEFLATED, -bits)
    return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflated(payloads: Iterable[bytes], *, keep: bool = True, bits: int = 15) -> list[bytes]:
    """What a server makes of the client's messages."""
    messages = []
    stream = zlib.decompressobj(-bits)
    for payload in payloads:
        messages.append(stream.decompress(payload + b"\x00\x00\xff\xff"))
        if not keep:
            stream = zlib.decompressobj(-bits)
    return messages


@pytest.mark.parametrize(
    ("offer", "value"),
    [
        (DeflateOffer(), "permessage-deflate; client_max_window_bits"),
        (DeflateOffer(client_max_window_bits=None), "permessage-deflate"),
        (DeflateOffer(client_max_window_bits=10), "permessage-deflate; client_max_window_bits=10"),
        (
            DeflateOffer(server_no_context_takeover=True, client_no_context_takeover=True, server_max_window_bits=8),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=8; "
            "client_max_window_bits",
        ),
    ],
)
def test_what_is_offered(offer: DeflateOffer, value: str) -> None:
    assert offer.field_value() == value


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("server_max_window_bits", 7, ValueError),
        ("server_max_window_bits", 16, ValueError),
        ("client_max_window_bits", 8, ValueError),
        ("client_max_window_bits", 16, ValueError),
        ("client_max_window_bits", True, TypeError),
        ("level", 0, ValueError),
        ("level", 10, ValueError),
        ("level", None, ValueError),
        ("min_size", 0, ValueError),
        ("min_size", None, ValueError),
        ("min_size", "64", TypeError),
    ],
)
def test_an_offer_that_cannot_be(option: str, value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"{option} must be"):
        DeflateOffer(**{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("offer", "answer", "settings"),
    [
        (DeflateOffer(), [], DeflateSettings()),
        (
            DeflateOffer(),
            [("server_no_context_takeover", None), ("client_no_context_takeover", None)],
            DeflateSettings(True, True),
        ),
        (
            DeflateOffer(),
            [("client_max_window_bits", "9"), ("server_max_window_bits", "8")],
            DeflateSettings(False, False, 8, 9),
        ),
        (DeflateOffer(), [("client_max_window_bits", "8")], DeflateSettings(False, False, 15, 8)),
        (DeflateOffer(client_max_window_bits=10), [], DeflateSettings(client_max_window_bits=10)),
        (DeflateOffer(client_max_window_bits=None), [], DeflateSettings()),
        (DeflateOffer(client_no_context_takeover=True), [], DeflateSettings(client_no_context_takeover=True)),
        (
            DeflateOffer(server_max_window_bits=12),
            [("server_max_window_bits", "10")],
            DeflateSettings(server_max_window_bits=10),
        ),
        (DeflateOffer(level=1, min_size=5), [], DeflateSettings(level=1, min_size=5)),
    ],
)
def test_what_is_agreed(offer: DeflateOffer, answer: list[tuple[str, str | None]], settings: DeflateSettings) -> None:
    assert agree(offer, answer) == settings


@pytest.mark.parametrize(
    ("offer", "answer", "complaint"),
    [
        (DeflateOffer(), [("unknown", None)], "unknown parameter unknown"),
        (DeflateOffer(), [("Server_Max_Window_Bits", "10")], "unknown parameter"),
        (DeflateOffer(), [("client_max_window_bits", "9")] * 2, "twice"),
        (DeflateOffer(), [("server_no_context_takeover", None)] * 2, "twice"),
        (DeflateOffer(), [("server_no_context_takeover", "true")], "has a value"),
        (DeflateOffer(), [("client_max_window_bits", None)], "not 8 to 15"),
        (DeflateOffer(), [("server_max_window_bits", None)], "not 8 to 15"),
        *(
            (DeflateOffer(), [("server_max_window_bits", bits)], "not 8 to 15")
            for bits in ("7", "16", "08", "-9", "+9", "9.0", "1O", "", "٩", "10 ")
        ),
        (DeflateOffer(client_max_window_bits=None), [("client_max_window_bits", "9")], "was not offered"),
        (DeflateOffer(client_max_window_bits=10), [("client_max_window_bits", "11")], "10 was offered"),
        (DeflateOffer(server_max_window_bits=10), [("server_max_window_bits", "11")], "10 was offered"),
        (DeflateOffer(server_max_window_bits=10), [], "lacks the server_max_window_bits"),
        (DeflateOffer(server_no_context_takeover=True), [], "lacks the server_no_context_takeover"),
    ],
)
def test_an_answer_that_is_none(offer: DeflateOffer, answer: list[tuple[str, str | None]], complaint: str) -> None:
    """Unknown, repeated, out of range, not offered: the handshake fails (RFC 7692, 7.1)."""
    with pytest.raises(HandshakeError, match=complaint):
        agree(offer, answer)


@pytest.mark.parametrize(
    ("payload", "note"),
    [
        (HELLO, "7.2.3.1"),
        (bytes.fromhex("000500faff48656c6c6f00"), "7.2.3.3: a block without compression"),
        (bytes.fromhex("f348cdc9c9070000"), "7.2.3.4: a block with BFINAL"),
        (bytes.fromhex("f248050000 00ffff cac9c90700".replace(" ", "")), "7.2.3.5: two blocks"),
    ],
)
def test_the_examples_of_the_rfc(payload: bytes, note: str) -> None:
    hello = Message(MsgType.text, "Hello", "")
    whole = server_frame(TEXT, payload, rsv=RSV1)
    assert read(WSProtocol(deflate=SETTINGS), whole * 3) == [hello] * 3, note
    assert read(WSProtocol(deflate=SETTINGS), each_byte(whole * 3)) == [hello] * 3, note
    cut = server_frame(TEXT, payload[:3], fin=False, rsv=RSV1) + server_frame(PING)
    cut += server_frame(CONTINUATION, payload[3:])
    assert read(WSProtocol(deflate=SETTINGS), cut) == [hello], note


def test_the_context_is_kept_between_messages() -> None:
    """RFC 7692, 7.2.3.2: the second "Hello" refers to the first."""
    second = bytes.fromhex("f200110000")
    data = server_frame(TEXT, HELLO, rsv=RSV1) + server_frame(TEXT, second, rsv=RSV1)
    hello = Message(MsgType.text, "Hello", "")
    assert read(WSProtocol(deflate=SETTINGS), data) == [hello, hello]
    without = DeflateSettings(server_no_context_takeover=True)
    assert verdict(WSProtocol(deflate=without), data) == ([hello], 1007)


def test_messages_that_are_not_compressed_come_between() -> None:
    """RSV1 is per message, and does not touch the context."""
    protocol = WSProtocol(deflate=SETTINGS)
    data = [server_frame(TEXT, HELLO, rsv=RSV1), server_frame(TEXT, b"plain"), server_frame(BINARY, b"\xff" * 70000)]
    data.append(server_frame(TEXT, bytes.fromhex("f200110000"), rsv=RSV1))
    assert [message.data for message in read(protocol, data)] == ["Hello", "plain", b"\xff" * 70000, "Hello"]


@pytest.mark.parametrize("payload", [b"\x00", b"\x02\x00", compressed(b"")])
def test_an_empty_message(payload: bytes) -> None:
    """RFC 7692, 7.2.3.6."""
    data = server_frame(TEXT, payload, rsv=RSV1) + server_frame(TEXT, HELLO, rsv=RSV1)
    assert [message.data for message in read(WSProtocol(deflate=SETTINGS), data)] == ["", "Hello"]


@pytest.mark.fault("W10")
def test_rsv1_is_for_first_frames_of_data_messages() -> None:
    for data in (
        server_frame(PING, HELLO, rsv=RSV1),
        server_frame(TEXT, HELLO[:2], rsv=RSV1, fin=False) + server_frame(CONTINUATION, HELLO[2:], rsv=RSV1),
        server_frame(TEXT, b"x", rsv=RSV1 | 0x20),
    ):
        assert verdict(WSProtocol(deflate=SETTINGS), data) == ([], 1002)


@pytest.mark.parametrize("payload", [b"\xff\xff\xff", b"\x06", HELLO + b"\xff", HELLO + b"\xff\xff"])
def test_what_cannot_be_inflated(payload: bytes) -> None:
    assert verdict(WSProtocol(deflate=SETTINGS), server_frame(BINARY, payload, rsv=RSV1)) == ([], 1007)


def test_a_compressed_message_that_stops_inside_of_a_block() -> None:
    """It is never delivered with what the tail makes of its rest."""
    body = bytes(range(256)) * 4
    failed = 0
    for level in (0, 1, 9):
        payload = compressed(body, level=level)
        for cut in range(1, len(payload)):
            (message,) = read(WSProtocol(deflate=SETTINGS), server_frame(BINARY, payload[:cut], rsv=RSV1))
            if message.tp is MsgType.error:
                assert message.data.code == 1007
                failed += 1
            else:
                assert body.startswith(message.data)
    assert failed > 1000


@pytest.mark.fault("W16")
def test_compressed_text_that_is_not_utf_8() -> None:
    """1007, as soon as it is inflated."""
    payload = compressed(b"ok \xff" + b"x" * 1000)
    assert verdict(WSProtocol(deflate=SETTINGS), server_frame(TEXT, payload, rsv=RSV1)) == ([], 1007)
    data = server_frame(TEXT, payload, rsv=RSV1, fin=False)
    assert verdict(WSProtocol(deflate=SETTINGS), data) == ([], 1007)


@pytest.mark.fault("W17")
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_bomb(opcode: int) -> None:
    """A megabyte that inflates to a gigabyte: 1009, and no more than the limit and one byte is ever made."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    mebibyte = stream.compress(bytes(1 << 20)) + stream.flush(zlib.Z_FULL_FLUSH)
    bomb = mebibyte * 1024
    assert len(bomb) < 1 << 21
    for data in (server_frame(opcode, bomb, rsv=RSV1), server_frame(opcode, bomb[:10_000], rsv=RSV1, fin=False)):
        protocol = WSProtocol(deflate=SETTINGS)
        tracemalloc.start()
        assert verdict(protocol, data) == ([], 1009)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # The limit, and what zlib holds while it joins its blocks.
        assert peak < 3 * MAX_MSG_SIZE
        assert protocol.buffered == 0


@pytest.mark.fault("W17")
@pytest.mark.parametrize("limit", [1, 100, 65536, 100_000])
def test_the_limit_is_that_of_the_inflated_message(limit: int) -> None:
    """Exactly the limit is allowed, over any number of fragments; one byte more is not."""
    for extra, payload in enumerate((compressed(b"x" * limit), compressed(b"x" * (limit + 1)))):
        for cut in (0, 1, len(payload) // 2, len(payload)):
            protocol = WSProtocol(deflate=SETTINGS, max_msg_size=limit)
            data = server_frame(BINARY, payload[:cut], rsv=RSV1, fin=False) + server_frame(CONTINUATION, payload[cut:])
            if extra:
                assert verdict(protocol, data) == ([], 1009)
            else:
                assert read(protocol, data) == [Message(MsgType.binary, b"x" * limit, "")]


@pytest.mark.fault("W13")
def test_a_compressed_payload_beyond_all_reason_is_refused_by_its_header() -> None:
    """What cannot be compressed may be a little longer than the limit, and no more."""
    payload = compressed(bytes(100_000), level=0)
    assert len(payload) > 100_000
    protocol = WSProtocol(deflate=SETTINGS, max_msg_size=100_000)
    assert [len(message.data) for message in read(protocol, server_frame(BINARY, payload, rsv=RSV1))] == [100_000]
    assert verdict(protocol, header(BINARY, 101_000, rsv=RSV1)) == ([], 1009)
    assert verdict(WSProtocol(deflate=SETTINGS), header(BINARY, 1 << 40, rsv=RSV1)) == ([], 1009)


def test_streams_that_end_again_and_again() -> None:
    """Each end costs us more than the peer, so a message may have a few of them only."""
    one = bytes.fromhex("f348cdc9c90700")  # "Hello" with BFINAL
    few = server_frame(TEXT, one * 10 + b"\x00", rsv=RSV1)
    assert read(WSProtocol(deflate=SETTINGS), few * 20) == [Message(MsgType.text, "Hello" * 10, "")] * 20
    many = server_frame(TEXT, one * 1000 + b"\x00", rsv=RSV1)
    assert verdict(WSProtocol(deflate=SETTINGS), many) == ([], 1008)
    assert verdict(WSProtocol(deflate=SETTINGS), each_byte(many)) == ([], 1008)


@pytest.mark.parametrize("bits", [9, 10, 15])
@pytest.mark.parametrize("keep", [True, False])
def test_what_the_client_compresses(bits: int, keep: bool) -> None:
    """The peer needs no more than the window that was agreed on; without takeover each message stands alone."""
    settings = DeflateSettings(client_no_context_takeover=not keep, client_max_window_bits=bits, min_size=1)
    protocol = WSProtocol(deflate=settings)
    bodies = [b"Hello" * 10, bytes(range(256)) * 40, b"x", b"Hello" * 10, b"y" * 70_000]
    frames = client_frames(b"".join(protocol.binary_frame(body) for body in bodies))
    assert {(frame.rsv, frame.opcode, frame.fin) for frame in frames} == {(RSV1, BINARY, True)}
    assert inflated((frame.payload for frame in frames), keep=keep, bits=bits) == bodies
    if not keep:
        assert frames[3].payload == frames[0].payload
    elif bits == 15:
        assert len(frames[3].payload) < len(frames[0].payload)


def test_messages_below_min_size_are_sent_as_they_are() -> None:
    """So are empty ones, always, and control frames."""
    protocol = WSProtocol(deflate=DeflateSettings(min_size=10))
    sent = protocol.text_frame("") + protocol.text_frame("x" * 9) + protocol.text_frame("x" * 10)
    sent += protocol.ping_frame(b"x" * 100) + protocol.close_frame(1000, "x" * 100)
    assert [frame.rsv for frame in client_frames(sent)] == [0, 0, RSV1, 0, 0]


def test_a_window_that_zlib_cannot_make_is_answered_with_plain_messages() -> None:
    """client_max_window_bits=8 is valid; a message may always be sent uncompressed (RFC 7692, 6.1)."""
    protocol = WSProtocol(deflate=agree(DeflateOffer(), [("client_max_window_bits", "8")]))
    (frame,) = client_frames(protocol.text_frame("x" * 1000))
    assert (frame.rsv, frame.payload) == (0, b"x" * 1000)
    # The other direction: zlib inflates what was made for 256 bytes.
    protocol = WSProtocol(deflate=agree(DeflateOffer(), [("server_max_window_bits", "8")]))
    assert [m.data for m in read(protocol, server_frame(TEXT, HELLO, rsv=RSV1))] == ["Hello"]


@pytest.mark.fault("W27")
def test_each_frame_is_whole_when_its_call_returns() -> None:
    """Nothing of a message stays in the compressor: frames that are written in order can be read in order."""
    deflater = Deflater(SETTINGS)
    bodies = [bytes([i]) * i * 100 for i in range(1, 50)]
    stream = zlib.decompressobj(-15)
    for body in bodies:
        payload = deflater.deflate(body)
        assert stream.decompress(payload + b"\x00\x00\xff\xff") == body


def test_the_default_limit_holds_for_compressed_messages() -> None:
    payload = compressed(bytes(MAX_MSG_SIZE))
    (message,) = read(WSProtocol(deflate=SETTINGS), server_frame(BINARY, payload, rsv=RSV1))
    assert len(message.data) == MAX_MSG_SIZE
