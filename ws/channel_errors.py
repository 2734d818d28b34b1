"""What the user of a WebSocket is told when its connection ends, or does not do what was asked."""

from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.errors import ClientConnectionError, ClientTimeoutError, PoolClosedError
from keepwarm.ws.errors import WebSocketClosedError, WebSocketError
from keepwarm.ws.messages import CLOSE_POLICY_VIOLATION


def lost(endpoint: Endpoint, exc: BaseException | None) -> ClientConnectionError:
    """The connection ended without a close frame."""
    error = ClientConnectionError(
        f"the WebSocket connection to {endpoint} was lost without a close frame"
        + (f": {exc}" if exc is not None else ": the peer, or something on the way, ended it"),
        endpoint=endpoint,
        phase="body",
    )
    error.__cause__ = exc
    return error


def sending_is_over(endpoint: Endpoint, cause: BaseException | None, close_code: int | None) -> WebSocketClosedError:
    """Why nothing can be sent. `close_code` is that of the peer's close frame, if one came."""
    if cause is not None:
        why = f"it ended with {type(cause).__name__}: {cause}"
    elif close_code is not None:
        why = f"it is closed, and the code of the peer's close frame was {close_code}"
    else:
        why = "it was closed"
    error = WebSocketClosedError(
        f"cannot send on the WebSocket to {endpoint}: {why}; open a new one with ws_connect",
        endpoint=endpoint,
        phase="send",
    )
    error.__cause__ = cause
    return error


def nothing_came(endpoint: Endpoint, seconds: float) -> ClientTimeoutError:
    """`receive` waited in vain."""
    return ClientTimeoutError(
        f"no WebSocket message came from {endpoint} within {seconds:g} s; the WebSocket is still usable: receive "
        "again, or give a longer receive_timeout",
        endpoint=endpoint,
        phase="body",
    )


def nothing_said(endpoint: Endpoint, interval: float) -> ClientTimeoutError:
    """The heartbeat found the peer dead."""
    return ClientTimeoutError(
        f"the WebSocket peer at {endpoint} said nothing for {1.5 * interval:g} s and did not answer a ping; the "
        "connection was aborted. If the peer is only slow, give a longer heartbeat",
        endpoint=endpoint,
        phase="body",
    )


def close_overdue(endpoint: Endpoint) -> ClientTimeoutError:
    """The peer did not take part in the closing handshake."""
    return ClientTimeoutError(
        f"the WebSocket peer at {endpoint} did not answer the close frame in time; the connection was aborted. The "
        "timeout of ws_connect says how long close() waits",
        endpoint=endpoint,
        phase="body",
    )


def pings_unread(endpoint: Endpoint, count: int) -> WebSocketError:
    """The peer pings and does not read."""
    return WebSocketError(
        CLOSE_POLICY_VIOLATION,
        f"the WebSocket peer at {endpoint} sent more than {count} pings and read the answer to none; the connection "
        "was aborted",
        endpoint=endpoint,
    )


def connector_closed(endpoint: Endpoint) -> PoolClosedError:
    """The user closed the session or the connector first."""
    return PoolClosedError(
        f"the connector was closed while a WebSocket to {endpoint} was open; close the WebSocket first",
        endpoint=endpoint,
        phase="body",
    )


def belongs_elsewhere(endpoint: Endpoint) -> PoolClosedError:
    """After a fork, or with a loop that is closed."""
    return PoolClosedError(
        f"the WebSocket to {endpoint} belongs to another process, or to an event loop that is closed",
        endpoint=endpoint,
        phase="body",
    )
