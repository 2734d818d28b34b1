"""What can go wrong with a WebSocket, below the tree of keepwarm.pool.errors.

ClientError
    HandshakeError          the server's answer does not agree to speak WebSocket
    WebSocketError          the peer broke the protocol, or passed one of our limits
    ClientConnectionError
        WebSocketClosedError    (also RuntimeError) nothing can be sent any more
"""

from typing import Any

from keepwarm.pool.errors import ClientConnectionError, ClientError


class HandshakeError(ClientError):
    """The answer to the upgrade request is not an agreement (RFC 6455, 4.1). `message` says what is wrong with it."""

    phase = "head"

    def __init__(self, message: str, **context: Any) -> None:
        super().__init__(message, **context)
        self.message = message


class WebSocketError(ClientError):
    """The connection was failed. `code` is the close code that the peer was told, `message` why."""

    phase = "body"

    def __init__(self, code: int, message: str, **context: Any) -> None:
        super().__init__(code, message, **context)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


class WebSocketClosedError(ClientConnectionError, RuntimeError):
    """The WebSocket is closed, by whomever: nothing was sent. The cause tells how it ended, if badly."""

    phase = "send"
