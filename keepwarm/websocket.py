"""Messages, their types and the close codes of WebSockets (SURFACE section N)."""

from keepwarm.ws.errors import WebSocketError
from keepwarm.ws.messages import (
    CLOSE_GOING_AWAY,
    CLOSE_INTERNAL_ERROR,
    CLOSE_INVALID_TEXT,
    CLOSE_MANDATORY_EXTENSION,
    CLOSE_MESSAGE_TOO_BIG,
    CLOSE_OK,
    CLOSE_POLICY_VIOLATION,
    CLOSE_PROTOCOL_ERROR,
    CLOSE_UNSUPPORTED_DATA,
    MSG_BINARY,
    MSG_CLOSE,
    MSG_CLOSED,
    MSG_ERROR,
    MSG_PING,
    MSG_PONG,
    MSG_TEXT,
    Message,
    MsgType,
)
from keepwarm.ws.messages import CLOSED_MESSAGE as closedMessage

closed_message = closedMessage

__all__ = [
    "CLOSE_GOING_AWAY",
    "CLOSE_INTERNAL_ERROR",
    "CLOSE_INVALID_TEXT",
    "CLOSE_MANDATORY_EXTENSION",
    "CLOSE_MESSAGE_TOO_BIG",
    "CLOSE_OK",
    "CLOSE_POLICY_VIOLATION",
    "CLOSE_PROTOCOL_ERROR",
    "CLOSE_UNSUPPORTED_DATA",
    "MSG_BINARY",
    "MSG_CLOSE",
    "MSG_CLOSED",
    "MSG_ERROR",
    "MSG_PING",
    "MSG_PONG",
    "MSG_TEXT",
    "Message",
    "MsgType",
    "WebSocketError",
    "closedMessage",
    "closed_message",
]
