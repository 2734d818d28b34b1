"""Single frames: what is read, what is refused, and with which close code. Autobahn's groups 1, 3 and 4."""

import pytest

from keepwarm.ws.frames import build_frame
from keepwarm.ws.masking import mask_in_python
from keepwarm.ws.messages import Message, MsgType
from keepwarm.ws.protocol import WSProtocol
from tests.support.ws_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    client_frames,
    each_byte,
    header,
    read,
    server_frame,
    verdict,
)

# Around every border of the three forms of a length.
LENGTHS = [0, 1, 2, 3, 125, 126, 127, 128, 255, 256, 65535, 65536, 65537]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 20, 40])
def test_data_messages_of_any_length(length: int, count: int) -> None:
    """Text comes as str, binary as bytes (N-09), however many come at once."""
    texts = [(chr(97 + i % 26) * length, "") for i in range(count)]
    data = b"".join(server_frame(TEXT, text.encode()) for text, _ in texts)
    assert read(WSProtocol(), data) == [Message(MsgType.text, *text) for text in texts]
    data = b"".join(server_frame(BINARY, text.encode()) for text, _ in texts)
    messages = read(WSProtocol(), data)
    assert messages == [Message(MsgType.binary, text.encode(), extra) for text, extra in texts]
    assert {type(message) for message in messages} == {Message}
    assert {type(message.data) for message in messages} == {bytes}


@pytest.mark.parametrize("length", [0, 1, 125, 126, 300])
def test_a_run_of_equal_frames_that_is_broken(length: int) -> None:
    """What comes after many equal frames is read for what it is, wherever the run ends."""
    for count in range(1, 40):
        whole = server_frame(BINARY, b"x" * length) * count
        for then, expected in (
            (server_frame(TEXT, b"y" * length), Message(MsgType.text, "y" * length, "")),
            (server_frame(BINARY, b"z" * (length + 1)), Message(MsgType.binary, b"z" * (length + 1), "")),
            (server_frame(PING, b"p"), None),
        ):
            protocol = WSProtocol()
            messages = read(protocol, whole + then + whole)
            wanted = [Message(MsgType.binary, b"x" * length, "")] * count
            assert messages == wanted + ([expected] if expected else []) + wanted
            assert protocol.has_output is (expected is None)


def test_a_frame_that_ends_with_the_segment_after_a_run() -> None:
    whole = server_frame(TEXT, b"abcdefgh")
    for cut in range(1, len(whole)):
        protocol = WSProtocol()
        data = whole * 20 + whole[:cut]
        assert len(read(protocol, data)) == 20
        assert protocol.buffered == (1 if cut == 1 else cut - 2)
        assert read(protocol, whole[cut:]) == [Message(MsgType.text, "abcdefgh", "")]
        assert not protocol.buffered


@pytest.mark.fault("W09")
@pytest.mark.parametrize("opcode", [TEXT, BINARY, CONTINUATION, PING, PONG, CLOSE])
@pytest.mark.parametrize("length", [0, 5, 126, 127])
def test_a_masked_frame(opcode: int, length: int) -> None:
    """A server does not mask (RFC 6455, 5.1): 1002."""
    data = bytes([0x80 | opcode, 0x80 | length]) + bytes(300)
    assert verdict(WSProtocol(), data) == ([], 1002)
    assert verdict(WSProtocol(), each_byte(data)) == ([], 1002)


@pytest.mark.fault("W10")
@pytest.mark.parametrize("rsv", [RSV1, RSV2, RSV3, RSV1 | RSV2, RSV1 | RSV3, RSV2 | RSV3, RSV1 | RSV2 | RSV3])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
@pytest.mark.parametrize("length", [0, 5])
def test_reserved_bits(rsv: int, opcode: int, length: int) -> None:
    """Nobody agreed on them: 1002, after the messages before (Autobahn 3)."""
    before = server_frame(TEXT, b"fine")
    data = before + server_frame(opcode, bytes(length), rsv=rsv) + before
    assert verdict(WSProtocol(), data) == ([Message(MsgType.text, "fine", "")], 1002)
    assert verdict(WSProtocol(), each_byte(data)) == ([Message(MsgType.text, "fine", "")], 1002)


@pytest.mark.fault("W10")
@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("length", [0, 5, 200])
def test_reserved_opcodes(opcode: int, length: int) -> None:
    """Autobahn 4: 1002."""
    before = server_frame(BINARY, b"fine")
    data = before + server_frame(opcode, bytes(length)) + server_frame(PING)
    assert verdict(WSProtocol(), data) == ([Message(MsgType.binary, b"fine", "")], 1002)


@pytest.mark.fault("W11")
@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_control_frames_in_fragments_or_too_long(opcode: int) -> None:
    """Judged by the header, before any payload is there (Autobahn 2.5, 5.1, 5.2)."""
    assert verdict(WSProtocol(), header(opcode, 0, fin=False)) == ([], 1002)
    assert verdict(WSProtocol(), header(opcode, 126)[:2]) == ([], 1002)
    assert verdict(WSProtocol(), header(opcode, 65536)[:2]) == ([], 1002)


@pytest.mark.parametrize("form", [b"\x82\x7e\x00\x7d", b"\x82\x7f" + (65535).to_bytes(8, "big"), b"\x81\x7e\x00\x00"])
def test_lengths_that_are_not_in_their_shortest_form(form: bytes) -> None:
    """RFC 6455, 5.2: the minimal number of bytes must be used."""
    assert verdict(WSProtocol(), form + bytes(70000)) == ([], 1002)
    assert verdict(WSProtocol(), each_byte(form)) == ([], 1002)


def test_a_length_with_its_first_bit_set() -> None:
    assert verdict(WSProtocol(max_msg_size=None), b"\x82\x7f" + (1 << 63).to_bytes(8, "big")) == ([], 1002)


@pytest.mark.fault("W13")
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("limit", [1, 100, 125, 126, 5000, 65535, 65536, 100000])
def test_a_message_of_the_limit_and_one_byte_more(opcode: int, limit: int) -> None:
    """The limit itself is allowed; one byte more is 1009, told when the header is there and nothing else."""
    protocol = WSProtocol(max_msg_size=limit)
    (message,) = read(protocol, server_frame(opcode, b"x" * limit))
    assert len(message.data) == limit
    assert verdict(protocol, header(opcode, limit + 1)) == ([], 1009)
    assert protocol.buffered == 0
    whole = server_frame(opcode, b"x" * (limit + 1))
    assert verdict(WSProtocol(max_msg_size=limit), whole) == ([], 1009)


@pytest.mark.fault("W13")
@pytest.mark.parametrize("length", [4 * 1024 * 1024 + 1, 1 << 40, (1 << 63) - 1])
def test_a_length_beyond_all_reason(length: int) -> None:
    """Nothing is waited for, nothing is allocated."""
    assert verdict(WSProtocol(), each_byte(header(BINARY, length))) == ([], 1009)


def test_nothing_is_heard_after_a_failure() -> None:
    protocol = WSProtocol()
    assert verdict(protocol, server_frame(3) + server_frame(TEXT, b"x"))[1] == 1002
    assert read(protocol, server_frame(TEXT, b"x")) == []
    assert protocol.take_output() == b""
    assert not protocol.has_output
    assert protocol.buffered == 0


@pytest.mark.parametrize("length", LENGTHS)
def test_what_the_client_sends(length: int) -> None:
    """L-15: masked, one frame, in the shortest form."""
    protocol = WSProtocol()
    text = "ü" * (length // 2) + "x" * (length % 2)
    for data, opcode, payload in (
        (protocol.text_frame(text), TEXT, text.encode()),
        (protocol.binary_frame(text.encode()), BINARY, text.encode()),
        (protocol.binary_frame(bytearray(text.encode())), BINARY, text.encode()),
        (protocol.binary_frame(memoryview(text.encode())), BINARY, text.encode()),
    ):
        (frame,) = client_frames(data)
        assert (frame.fin, frame.rsv, frame.opcode, frame.payload) == (True, 0, opcode, payload)
        form = 2 if length < 126 else 4 if length < 65536 else 10
        assert len(data) == form + 4 + length


def test_a_view_of_every_second_byte_is_sent_as_what_it_shows() -> None:
    (frame,) = client_frames(WSProtocol().binary_frame(memoryview(b"abcdef")[::2]))
    assert frame.payload == b"ace"


def test_a_frame_after_the_letter_of_the_rfc() -> None:
    """RFC 6455, 5.7: a single-frame masked text message "Hello"."""
    frame = build_frame(0x81, b"Hello", bytes.fromhex("37fa213d"), mask_in_python)
    assert frame == bytes.fromhex("818537fa213d7f9f4d5158")


@pytest.mark.parametrize("data", [b"x", bytearray(b"x"), 1, None])
def test_text_that_is_none(data: object) -> None:
    """L-07: TypeError, before anything is built."""
    with pytest.raises(TypeError, match=r"^data: must be str"):
        WSProtocol().text_frame(data)  # type: ignore[arg-type]


@pytest.mark.parametrize("data", ["x", 1, None, [1]])
def test_bytes_that_are_none(data: object) -> None:
    """L-08."""
    with pytest.raises(TypeError, match=r"^data: must be bytes"):
        WSProtocol().binary_frame(data)  # type: ignore[arg-type]


def test_text_that_utf_8_cannot_express() -> None:
    with pytest.raises(ValueError, match=r"^data: has a lone surrogate at position 2"):
        WSProtocol().text_frame("ab\udc80")
    with pytest.raises(ValueError, match=r"^message: has a lone surrogate at position 0"):
        WSProtocol().ping_frame("\ud800")


@pytest.mark.parametrize("option", ["max_msg_size", "max_fragments"])
def test_limits_that_cannot_be(option: str) -> None:
    with pytest.raises(ValueError, match=f"^{option} must be at least 1"):
        WSProtocol(**{option: 0})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=f"^{option} must be a whole number"):
        WSProtocol(**{option: 1.5})  # type: ignore[arg-type]


def test_no_limits() -> None:
    protocol = WSProtocol(max_msg_size=None, max_fragments=None)
    (message,) = read(protocol, server_frame(BINARY, bytes(5 * 1024 * 1024)))
    assert len(message.data) == 5 * 1024 * 1024
    pieces = [server_frame(TEXT, b"x", fin=False)] + [server_frame(CONTINUATION, b"y", fin=False)] * 3000
    (message,) = read(protocol, [*pieces, server_frame(CONTINUATION)])
    assert message.data == "x" + "y" * 3000
