"""Section N: the names of `keepwarm.websocket`, and what the messages are that carry them."""

import pytest

from keepwarm import websocket
from keepwarm.websocket import Message, MsgType, WebSocketError
from keepwarm.ws.handshake import upgrade_fields
from keepwarm.ws.protocol import WSProtocol
from tests.support.ws_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    client_frames,
    close_payload,
    header,
    read,
    server_frame,
    verdict,
)


@pytest.mark.parametrize(
    ("row", "name", "value"),
    [
        ("N-01", "MSG_TEXT", 1),
        ("N-02", "MSG_BINARY", 2),
        ("N-03", "MSG_CLOSE", 8),
        ("N-04", "MSG_PING", 9),
        ("N-05", "MSG_PONG", 10),
    ],
)
def test_a_name_for_each_type(row: str, name: str, value: int) -> None:
    assert getattr(websocket, name) == value
    assert getattr(websocket, name) in MsgType


def test_n_06_msg_type() -> None:
    assert [(member.name, member.value) for member in MsgType] == [
        ("text", 1),
        ("binary", 2),
        ("close", 8),
        ("ping", 9),
        ("pong", 10),
        ("closed", 20),
        ("error", 21),
    ]


def test_n_07_message() -> None:
    message = Message(MsgType.text, "x", "")
    tp, data, extra = message
    assert (tp, data, extra) == (message.tp, message.data, message.extra) == (MsgType.text, "x", "")


@pytest.mark.parametrize(
    ("payload", "message"),
    [(b"", (8, 0, "")), (close_payload(1000), (8, 1000, "")), (close_payload(4000, "bü".encode()), (8, 4000, "bü"))],
)
def test_n_08_close_message(payload: bytes, message: tuple[int, int, str]) -> None:
    """data is the code, extra the reason; of an empty frame 0 and an empty text."""
    assert read(WSProtocol(), server_frame(CLOSE, payload)) == [message]


def test_n_09_data_messages() -> None:
    """Text is str, binary is bytes, extra is empty."""
    text, binary = read(WSProtocol(), server_frame(TEXT, "ü".encode()) + server_frame(BINARY, b"\xff"))
    assert (text, binary) == ((1, "ü", ""), (2, b"\xff", ""))
    assert (type(text.data), type(binary.data)) == (str, bytes)


def test_n_10_closed_message() -> None:
    assert websocket.closedMessage == (MsgType.closed, None, None)


def test_n_11_close_codes() -> None:
    """The nine names; what is below 3000 and not known is a protocol error."""
    names = [name for name in websocket.__all__ if name.startswith("CLOSE_")]
    codes = sorted(getattr(websocket, name) for name in names)
    assert codes == [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011]
    for code in codes:
        assert read(WSProtocol(), server_frame(CLOSE, close_payload(code))) == [(8, code, "")]
    assert verdict(WSProtocol(), server_frame(CLOSE, close_payload(2000))) == ([], 1002)


def test_n_12_web_socket_error() -> None:
    error = WebSocketError(websocket.CLOSE_PROTOCOL_ERROR, "text")
    assert (error.code, error.message, str(error)) == (1002, "text", "text")


def test_n_13_parser_limits() -> None:
    """4 MiB and 1,024 fragments; both are options."""
    assert verdict(WSProtocol(), header(BINARY, 4 * 1024 * 1024 + 1)) == ([], 1009)
    assert verdict(WSProtocol(max_msg_size=5), server_frame(TEXT, b"123456")) == ([], 1009)
    fragments = server_frame(TEXT, fin=False) + server_frame(CONTINUATION, fin=False)
    assert verdict(WSProtocol(max_fragments=2), fragments + server_frame(CONTINUATION)) == ([], 1008)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (server_frame(TEXT, rsv=0x40), 1002),
        (server_frame(PING, fin=False), 1002),
        (server_frame(PING, bytes(126)), 1002),
        (server_frame(TEXT, b"\xff"), 1007),
    ],
)
def test_n_14_strict_checks(data: bytes, code: int) -> None:
    assert verdict(WSProtocol(), data) == ([], code)


def test_n_15_no_extension_is_offered_unasked() -> None:
    assert "Sec-WebSocket-Extensions" not in dict(upgrade_fields("key"))
    (frame,) = client_frames(WSProtocol().text_frame("x" * 10_000))
    assert frame.rsv == 0


def test_n_16_control_frames_between_fragments() -> None:
    """Any number of them."""
    pings = server_frame(PING, b"p") * 5
    data = server_frame(TEXT, b"a", fin=False) + pings + server_frame(CONTINUATION, b"b", fin=False) + pings
    protocol = WSProtocol()
    assert read(protocol, data + server_frame(CONTINUATION, b"c")) == [(1, "abc", "")]
    assert len(client_frames(protocol.take_output())) == 10
