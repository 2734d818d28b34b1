"""Names, values and forms of messages (SURFACE section N)."""

import pickle

import pytest

from keepwarm import websocket
from keepwarm.websocket import Message, MsgType, WebSocketError


def test_types() -> None:
    """N-01 to N-06."""
    assert {member.name: int(member) for member in MsgType} == {
        "text": 1,
        "binary": 2,
        "close": 8,
        "ping": 9,
        "pong": 10,
        "closed": 20,
        "error": 21,
    }
    for member in MsgType:
        assert getattr(websocket, f"MSG_{member.name.upper()}") is member


def test_close_codes() -> None:
    """N-11."""
    codes = {name: getattr(websocket, name) for name in websocket.__all__ if name.startswith("CLOSE_")}
    assert codes == {
        "CLOSE_OK": 1000,
        "CLOSE_GOING_AWAY": 1001,
        "CLOSE_PROTOCOL_ERROR": 1002,
        "CLOSE_UNSUPPORTED_DATA": 1003,
        "CLOSE_INVALID_TEXT": 1007,
        "CLOSE_POLICY_VIOLATION": 1008,
        "CLOSE_MESSAGE_TOO_BIG": 1009,
        "CLOSE_MANDATORY_EXTENSION": 1010,
        "CLOSE_INTERNAL_ERROR": 1011,
    }


def test_message() -> None:
    """N-07: a named tuple of three, with today's name for the type and JSON."""
    message = Message(MsgType.text, '{"a": [1]}', "")
    assert message == (1, '{"a": [1]}', "")
    assert message._fields == ("tp", "data", "extra")
    assert message.type is message.tp is MsgType.text
    assert message.json() == {"a": [1]}
    assert message.json(loads=len) == 10
    assert Message(MsgType.binary, b"[2]", "").json() == [2]
    with pytest.raises(ValueError, match="Expecting value"):
        Message(MsgType.text, "", "").json()
    assert pickle.loads(pickle.dumps(message)) == message


def test_closed_message() -> None:
    """N-10."""
    assert websocket.closedMessage is websocket.closed_message
    assert websocket.closedMessage == (MsgType.closed, None, None)


def test_error() -> None:
    """N-12: it tells code and text, and survives pickling."""
    error = WebSocketError(1002, "a masked frame from a server", phase="body")
    copy = pickle.loads(pickle.dumps(error))
    for one in (error, copy):
        assert (one.code, one.message, one.phase) == (1002, "a masked frame from a server", "body")
        assert str(one) == "a masked frame from a server"
        assert type(one) is WebSocketError
