"""What a caller is told of an answer that it cannot use."""

from collections.abc import Sequence
from typing import Any

from keepwarm.client.errors import ClientResponseError, ContentTypeError
from keepwarm.client.exchange import Exchange
from keepwarm.client.request import ClientRequest
from keepwarm.client.request_info import describe
from keepwarm.pool.errors import printable


def refused(request: ClientRequest, exchange: Exchange, history: Sequence[Any]) -> ClientResponseError:
    """The status is 400 or more, and that is not good enough."""
    status, reason = (0, "") if exchange.head is None else (exchange.head.status, exchange.head.reason)
    error = ClientResponseError(
        f"{request.method} {request.target.url} answered {status} {printable(reason)}",
        endpoint=request.endpoint,
        phase="head",
        reused=exchange.reused,
    )
    describe(error, request, exchange.head, history)
    return error


def wrong_type(
    request: ClientRequest, exchange: Exchange, history: Sequence[Any], kind: str, expected: str
) -> ContentTypeError | None:
    """The media type is `kind`, where `expected` was wanted; None if it will do."""
    wanted = expected.partition(";")[0].strip().lower()
    if kind == wanted:
        return None
    if wanted == "application/json" and kind.startswith("application/") and kind.endswith("+json"):
        return None
    status = 0 if exchange.head is None else exchange.head.status
    error = ContentTypeError(
        f"{request.method} {request.target.url} answered {status} with a body of the type '{printable(kind)}', and "
        f"content_type is '{printable(expected)}'; content_type=None takes any",
        endpoint=request.endpoint,
        reused=exchange.reused,
    )
    describe(error, request, exchange.head, history)
    return error
