"""Messages and close codes, under the names of the reference."""

import json
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, NamedTuple


class MsgType(IntEnum):
    """What a message is. The first five are opcodes of RFC 6455, 5.2; the last two are keepwarm's own."""

    text = 1
    binary = 2
    close = 8
    ping = 9
    pong = 10
    closed = 20
    error = 21


class Message(NamedTuple):
    """What `receive()` returns.

    ======== ======================== =========
    tp       data                     extra
    ======== ======================== =========
    text     str                      ""
    binary   bytes                    ""
    ping     bytes                    ""
    pong     bytes                    ""
    close    code; 0 if there is none reason, str
    closed   None                     None
    error    the exception            None
    ======== ======================== =========
    """

    tp: MsgType
    data: Any
    extra: str | None

    @property
    def type(self) -> MsgType:
        """The same as `tp`."""
        return self.tp

    def json(self, *, loads: Callable[[Any], Any] = json.loads) -> Any:
        """The data of a text or binary message, read as JSON. Raises what `loads` raises, usually ValueError."""
        return loads(self.data)


MSG_TEXT: Final = MsgType.text
MSG_BINARY: Final = MsgType.binary
MSG_CLOSE: Final = MsgType.close
MSG_PING: Final = MsgType.ping
MSG_PONG: Final = MsgType.pong
MSG_CLOSED: Final = MsgType.closed
MSG_ERROR: Final = MsgType.error

CLOSED_MESSAGE: Final = Message(MSG_CLOSED, None, None)

CLOSE_OK: Final = 1000
CLOSE_GOING_AWAY: Final = 1001
CLOSE_PROTOCOL_ERROR: Final = 1002
CLOSE_UNSUPPORTED_DATA: Final = 1003
CLOSE_INVALID_TEXT: Final = 1007
CLOSE_POLICY_VIOLATION: Final = 1008
CLOSE_MESSAGE_TOO_BIG: Final = 1009
CLOSE_MANDATORY_EXTENSION: Final = 1010
CLOSE_INTERNAL_ERROR: Final = 1011

# Never on the wire (RFC 6455, 7.4.1): what a caller is told when the connection was lost without a close frame.
CLOSE_ABNORMAL: Final = 1006

# RFC 6455, 7.4.1, and what IANA has registered since: 1012 service restart, 1013 try again later, 1014 bad gateway.
REGISTERED_CLOSE_CODES: Final = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))


def may_be_on_the_wire(code: int) -> bool:
    """Whether a close frame may carry this code (SURFACE N-11; RFC 6455, 7.4)."""
    return code in REGISTERED_CLOSE_CODES or 3000 <= code <= 4999
