"""Messages in fragments, and what comes between them. Autobahn's groups 5 and 2."""

import pytest

from keepwarm.ws.messages import Message, MsgType
from keepwarm.ws.outbound import MOST_PONGS
from keepwarm.ws.protocol import MAX_BATCH, MAX_FRAGMENTS, MAX_MSG_SIZE, WSProtocol
from tests.support.ws_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    RSV1,
    TEXT,
    client_frames,
    close_payload,
    each_byte,
    header,
    read,
    server_frame,
    verdict,
)

START = server_frame(TEXT, b"one, ", fin=False)
MIDDLE = server_frame(CONTINUATION, b"two, ", fin=False)
END = server_frame(CONTINUATION, b"three")
WHOLE = Message(MsgType.text, "one, two, three", "")


@pytest.mark.fault("W12")
def test_control_frames_between_fragments() -> None:
    """Any number of them, of any kind (N-16; Autobahn 5.6 to 5.8, 5.19): the message is whole."""
    controls = server_frame(PING, b"1") + server_frame(PONG, b"2") + server_frame(PING, b"3")
    data = controls + START + controls + MIDDLE + controls + controls + END
    protocol = WSProtocol()
    assert read(protocol, data) == [WHOLE]
    assert [frame.payload for frame in client_frames(protocol.take_output())] == [b"1", b"3"] * 4
    assert read(WSProtocol(), each_byte(data)) == [WHOLE]


@pytest.mark.fault("W12")
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("first", [b"x", b""])
def test_a_new_message_inside_of_one(opcode: int, fin: bool, first: bytes) -> None:
    """1002 (Autobahn 5.18), also when the first fragment was empty."""
    data = server_frame(TEXT, first, fin=False) + server_frame(opcode, b"new", fin=fin)
    assert verdict(WSProtocol(), data) == ([], 1002)


@pytest.mark.fault("W12")
@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("before", [b"", server_frame(TEXT, b"whole"), START + END])
def test_a_continuation_of_nothing(fin: bool, before: bytes) -> None:
    """1002 (Autobahn 5.9 to 5.14), at the start and after a message that is complete."""
    assert verdict(WSProtocol(), before + server_frame(CONTINUATION, b"x", fin=fin))[1] == 1002


@pytest.mark.parametrize("rsv", [RSV1, 0x20, 0x10])
def test_reserved_bits_on_a_continuation(rsv: int) -> None:
    assert verdict(WSProtocol(), START + server_frame(CONTINUATION, b"x", rsv=rsv)) == ([], 1002)


def test_fragments_of_nothing() -> None:
    """Autobahn 6.1.2: three empty fragments are an empty message; content in the middle is the message."""
    empty = server_frame(TEXT, fin=False) + server_frame(CONTINUATION, fin=False) + server_frame(CONTINUATION)
    assert read(WSProtocol(), empty) == [Message(MsgType.text, "", "")]
    data = server_frame(BINARY, fin=False) + server_frame(CONTINUATION, b"x", fin=False) + server_frame(CONTINUATION)
    assert read(WSProtocol(), data) == [Message(MsgType.binary, b"x", "")]


@pytest.mark.fault("W15")
def test_as_many_fragments_as_allowed_and_one_more() -> None:
    """1,024 frames make a message; with the next one the connection fails, whatever is in them."""
    protocol = WSProtocol()
    most = START + server_frame(CONTINUATION, fin=False) * (MAX_FRAGMENTS - 2)
    assert read(protocol, most + server_frame(CONTINUATION)) == [Message(MsgType.text, "one, ", "")]
    assert read(protocol, most + server_frame(CONTINUATION)) == [Message(MsgType.text, "one, ", "")]
    assert verdict(protocol, most + server_frame(CONTINUATION, fin=False) * 2) == ([], 1008)


@pytest.mark.fault("W15")
def test_a_million_empty_fragments() -> None:
    """They stop being read, long before they are all there."""
    protocol = WSProtocol()
    messages: list[Message] = []
    protocol.feed(START, messages)
    flood = server_frame(CONTINUATION, fin=False) * 32768
    fed = 0
    while not protocol.finished:
        protocol.feed(flood if not protocol.has_more else b"", messages)
        fed += 1
        assert protocol.buffered <= len(flood) + 16
    assert fed <= 3
    assert [message.tp for message in messages] == [MsgType.error]


@pytest.mark.fault("W15")
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_segment_of_tiny_messages_is_read_in_parts(opcode: int) -> None:
    """A call makes a bounded number of messages; the rest stays as bytes until the caller has room."""
    protocol = WSProtocol()
    count = 50_000
    data = server_frame(opcode) * count
    messages: list[Message] = []
    protocol.feed(data, messages)
    assert len(messages) <= 2 * MAX_BATCH
    assert protocol.has_more
    assert protocol.buffered == len(data) - 2 * len(messages)
    while protocol.has_more:
        before = len(messages)
        protocol.feed(b"", messages)
        assert before < len(messages) <= before + 2 * MAX_BATCH
    assert len(messages) == count
    assert protocol.buffered == 0


@pytest.mark.fault("W15")
def test_tiny_messages_of_different_lengths_are_read_in_parts() -> None:
    """The bound does not depend on how the frames are arranged."""
    protocol = WSProtocol()
    few = server_frame(TEXT) + server_frame(TEXT, b"a") + server_frame(BINARY, b"bc")
    messages: list[Message] = []
    for data in (server_frame(TEXT) + server_frame(TEXT, b"a"), few):
        protocol.feed(data * 10_000, messages)
        assert protocol.has_more
        while protocol.has_more:
            assert len(messages) <= 2 * MAX_BATCH
            messages.clear()
            protocol.feed(b"", messages)


@pytest.mark.fault("W12")
def test_a_segment_that_looks_like_a_frame_but_is_payload() -> None:
    """What a segment is depends on what came before it, however whole it looks."""
    inner = server_frame(TEXT, b"hello")
    protocol = WSProtocol()
    whole = [header(BINARY, 3 * len(inner)), inner, inner, inner]
    assert read(protocol, [*whole, inner]) == [
        Message(MsgType.binary, inner * 3, ""),
        Message(MsgType.text, "hello", ""),
    ]
    assert verdict(protocol, [START, inner]) == ([], 1002)


@pytest.mark.fault("W15")
def test_a_message_byte_by_byte() -> None:
    """What is held is the bytes, and not an object for each."""
    protocol = WSProtocol()
    messages: list[Message] = []
    body = bytes(range(256)) * 200
    protocol.feed(header(BINARY, len(body)), messages)
    for i in range(len(body)):
        protocol.feed(body[i : i + 1], messages)
        assert protocol.buffered == (i + 1) % len(body)
    assert messages == [Message(MsgType.binary, body, "")]


@pytest.mark.fault("W13")
def test_fragments_that_grow_beyond_the_limit() -> None:
    """The sum is judged at the header of the fragment that passes it, and what was held is let go."""
    protocol = WSProtocol(max_msg_size=100)
    assert read(protocol, server_frame(BINARY, bytes(60), fin=False)) == []
    assert read(protocol, server_frame(CONTINUATION, bytes(40), fin=False)) == []
    assert protocol.buffered == 100
    assert verdict(protocol, header(CONTINUATION, 1)) == ([], 1009)
    assert protocol.buffered == 0


@pytest.mark.fault("W13")
def test_the_default_limit_is_4_mib() -> None:
    """K6."""
    protocol = WSProtocol()
    quarter = bytes(MAX_MSG_SIZE // 4)
    read(protocol, server_frame(BINARY, quarter, fin=False) + server_frame(CONTINUATION, quarter, fin=False) * 2)
    (message,) = read(protocol, server_frame(CONTINUATION, quarter))
    assert len(message.data) == 4 * 1024 * 1024
    read(protocol, server_frame(BINARY, quarter, fin=False) + server_frame(CONTINUATION, quarter, fin=False) * 3)
    assert verdict(protocol, header(CONTINUATION, 1)) == ([], 1009)


@pytest.mark.fault("W20")
@pytest.mark.parametrize("count", [1, 2, 10, MOST_PONGS, MOST_PONGS + 1, 1000, 50_000])
def test_pings_are_answered_by_a_bounded_number_of_pongs(count: int) -> None:
    """The last ones' (RFC 6455, 5.5.3): however many come, what is to be sent does not grow (Autobahn 2.10, 2.11)."""
    protocol = WSProtocol()
    payloads = [b"%d" % i for i in range(count)]
    assert read(protocol, b"".join(server_frame(PING, payload) for payload in payloads)) == []
    assert protocol.has_output
    frames = client_frames(protocol.take_output())
    assert [(frame.opcode, frame.payload) for frame in frames] == [
        (PONG, payload) for payload in payloads[-MOST_PONGS:]
    ]
    assert not protocol.has_output
    assert protocol.take_output() == b""
    assert protocol.pings == count


@pytest.mark.fault("W20")
def test_a_flood_of_pings_does_not_hold_the_loop() -> None:
    """Each call reads a bounded number of them."""
    protocol = WSProtocol()
    data = server_frame(PING) * 100_000
    protocol.feed(data, [])
    assert protocol.has_more
    assert protocol.pings <= 2 * MAX_BATCH


@pytest.mark.parametrize("length", [0, 1, 125])
def test_pings_and_pongs_without_autoping(length: int) -> None:
    """A-13: both are returned, nothing is answered (Autobahn 2.1 to 2.4, 2.7 to 2.9)."""
    protocol = WSProtocol(autoping=False)
    data = server_frame(PING, b"i" * length) + server_frame(PONG, b"o" * length)
    assert read(protocol, data) == [
        Message(MsgType.ping, b"i" * length, ""),
        Message(MsgType.pong, b"o" * length, ""),
    ]
    assert not protocol.has_output


def test_no_pong_follows_a_close_frame() -> None:
    protocol = WSProtocol()
    read(protocol, server_frame(PING, b"x"))
    protocol.close_frame()
    assert not protocol.has_output
    read(protocol, server_frame(PING, b"y"))
    assert not protocol.has_output


def test_the_pong_comes_before_the_answer_to_a_close_frame() -> None:
    protocol = WSProtocol()
    read(protocol, server_frame(PING, b"x") + server_frame(CLOSE, close_payload(1001)))
    assert [frame.opcode for frame in client_frames(protocol.take_output())] == [PONG, CLOSE]


def test_pings_of_ours() -> None:
    """A-09, L-05: empty by default; text as UTF-8; 125 bytes at the most."""
    protocol = WSProtocol()
    sent = (
        protocol.ping_frame() + protocol.ping_frame("ü") + protocol.ping_frame(b"x" * 125) + protocol.pong_frame(b"y")
    )
    assert [(frame.opcode, frame.payload) for frame in client_frames(sent)] == [
        (PING, b""),
        (PING, "ü".encode()),
        (PING, b"x" * 125),
        (PONG, b"y"),
    ]
    with pytest.raises(ValueError, match=r"^message: at most 125 bytes"):
        protocol.ping_frame("ü" * 63)
    with pytest.raises(TypeError, match=r"^message: must be str or bytes"):
        protocol.pong_frame(1)  # type: ignore[arg-type]
