"""What a caller is told when an exchange fails: what was asked, what happened, what to change."""

from typing import TYPE_CHECKING, Final

from keepwarm.client.attempts import ALL, NONE, PART, peer_of
from keepwarm.client.errors import (
    BodyTooLarge,
    ClientPayloadError,
    HttpProcessingError,
    ReadTimeoutError,
    ResponseDisconnected,
    TotalTimeoutError,
)
from keepwarm.pool.errors import ClientError

_SENT: Final = {NONE: "not sent", PART: "sent in part", ALL: "sent"}

if TYPE_CHECKING:
    from keepwarm.client.exchange import Exchange


def in_context(error: ClientError, exchange: "Exchange") -> ClientError:
    """The error with what only the exchange knows: the request, the endpoint, whether the connection was reused."""
    request = exchange.request
    error.endpoint = request.endpoint
    error.reused = exchange.reused
    if error.args and isinstance(error.args[0], str):
        text = f"{request.method} {request.target.url}: {error.args[0]}"
        error.args = (text, *error.args[1:])
        if isinstance(error, HttpProcessingError):
            error.message = text
    return error


def disconnected(exchange: "Exchange", cause: BaseException | None, *, sent: bool, begun: bool) -> ResponseDisconnected:
    """The peer went away before there was a whole head."""
    request = exchange.request
    what = (
        "closed the connection in the middle of the head of its answer to" if begun else "went away before it answered"
    )
    advice = ""
    if exchange.reused and sent and not begun and not request.may_replay:
        advice = (
            f". A {request.method} is not sent twice, as it may have been done: keep keepalive_timeout below the "
            "server's own, or give an Idempotency-Key"
        )
    how = f": {cause}" if cause is not None else ""
    upload, channel = exchange.upload, exchange.channel
    written = NONE if not sent else ALL if upload is None or upload.is_sent else PART
    error = ResponseDisconnected(
        f"{request.endpoint} {what} {request.method} {request.target.url}{how} "
        f"(connection {'reused' if exchange.reused else 'new'}, request {_SENT[written]}){advice}",
        request_sent=sent,
        response_begun=begun,
        written=written,
        endpoint=request.endpoint,
        phase="head",
        reused=exchange.reused,
    )
    error.__cause__ = cause
    if channel is not None:
        error.connection, error.address = channel.number, peer_of(channel)
    return error


def timed_out(exchange: "Exchange", *, of_read: bool) -> ClientError:
    """A time limit of the call has passed: the silence between two reads, or the whole call."""
    request = exchange.request
    phase = "body" if exchange.head is not None else "head"
    if exchange.upload is not None and not exchange.upload.done:
        phase = "send"
    kind: type[ClientError] = ReadTimeoutError if of_read else TotalTimeoutError
    what = (
        f"the peer was silent for timeout.read={exchange.read_timeout:g} s" if of_read else "timeout.total has passed"
    )
    return kind(
        f"{request.method} {request.target.url}: {what}, in the phase {phase!r} "
        f"(connection {'reused' if exchange.reused else 'new'}); raise the limit, or look at why the server is slow",
        endpoint=request.endpoint,
        phase=phase,
        reused=exchange.reused,
    )


def released(exchange: "Exchange") -> ClientError:
    """The body was wanted after the response had been let go of."""
    request = exchange.request
    return ClientPayloadError(
        f"the response to {request.method} {request.target.url} was released, closed or dropped before its body was "
        "read",
        endpoint=request.endpoint,
        reused=exchange.reused,
    )


def check_size(most: int, size: int) -> None:
    """Raise BodyTooLarge for a body of more than `most` bytes (R12)."""
    if size > most:
        raise BodyTooLarge(
            f"the body of the response has {size} bytes or more, and max_body_size is {most}; raise it, or read less",
            expected=most,
            received=size,
        )
