"""The opening handshake of a WebSocket: a request that asks for the upgrade, and what is made of its answer."""

import ssl
from typing import Any, ClassVar, Final

from keepwarm.client.errors import TooManyRedirects, WSServerHandshakeError
from keepwarm.client.request import ClientRequest
from keepwarm.client.response import ClientResponse
from keepwarm.client.ws_options import WSOptions
from keepwarm.pool.endpoint import Endpoint, TunnelEndpoint
from keepwarm.pool.errors import ClientError, FingerprintMismatch, PoolClosedError, printable
from keepwarm.pool.proxy_errors import HttpProxyError
from keepwarm.pool.upgraded import Upgraded
from keepwarm.ws.channel import WSChannel
from keepwarm.ws.errors import HandshakeError
from keepwarm.ws.handshake import Agreement, verify_answer
from keepwarm.ws.protocol import WSProtocol
from keepwarm.ws.websocket import ClientWebSocketResponse

# What trying again does not mend.
_LASTING: Final = (ValueError, TypeError, TooManyRedirects, FingerprintMismatch, PoolClosedError)
# Statuses, of the server or of a proxy, that may be others a little later.
_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
# What a refusal says is worth reading, but not at any price (FAULTS W01).
REFUSAL_BYTES: Final = 65536
REFUSAL_SECONDS: Final = 1.0


class UpgradeRequest(ClientRequest):
    """A request that asks for another protocol. Its `headers` name it. A connection on which the answer was another
    one is not used again: something on the way may have taken the request at its word (FAULTS W01)."""

    wants_upgrade: ClassVar[bool] = True

    __slots__ = ()

    def _forward_proxy(self) -> None:
        """Proxies do not pass upgrades on, so they are asked for a tunnel (FAULTS W07)."""

    def _lease_endpoint(self) -> Endpoint:
        endpoint = self.target.endpoint
        if endpoint.is_ssl or self.options.forward_proxy is None:
            return endpoint
        return TunnelEndpoint(*endpoint)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.wants_close = True


async def make_websocket(
    response: ClientResponse, options: WSOptions, key: str, ws_class: type[ClientWebSocketResponse]
) -> ClientWebSocketResponse:
    """The WebSocket that `response` agrees to. Raises WSServerHandshakeError, with the connection closed or given
    back, if it does not. Cancelling it closes the connection."""
    upgraded = response.upgraded
    if upgraded is None:
        raise await _refusal(response, _why_not(response))
    try:
        agreement = verify_answer(
            response.status, response.headers, key=key, protocols=options.protocols, deflate=options.deflate
        )
        return _adopt(upgraded, response, agreement, options, ws_class)
    except HandshakeError as exc:
        upgraded.close("protocol")
        raise _handshake_error(response, exc.message, b"") from None
    except BaseException:
        upgraded.close("error")
        raise


def _adopt(
    upgraded: Upgraded,
    response: ClientResponse,
    agreement: Agreement,
    options: WSOptions,
    ws_class: type[ClientWebSocketResponse],
) -> ClientWebSocketResponse:
    protocol = WSProtocol(
        max_msg_size=options.max_msg_size,
        max_fragments=options.max_fragments,
        deflate=agreement.deflate,
        autoping=options.autoping,
        autoclose=options.autoclose,
    )
    channel = WSChannel(upgraded, protocol, heartbeat=options.heartbeat)
    websocket = ws_class(
        channel,
        response,
        subprotocol=agreement.protocol,
        timeout=options.timeout,
        receive_timeout=options.receive_timeout,
        compressed=agreement.deflate is not None,
    )
    channel.start()
    return websocket


def _why_not(response: ClientResponse) -> str:
    reason = printable(response.reason)
    return f"the server answered {response.status} {reason}".rstrip() + ", where 101 would agree to a WebSocket"


async def _refusal(response: ClientResponse, why: str) -> WSServerHandshakeError:
    body = b""
    response.hurry(REFUSAL_SECONDS)
    try:
        while len(body) < REFUSAL_BYTES:
            data = await response.content.read(REFUSAL_BYTES - len(body))
            if not data:
                break
            body += data
    except ClientError:
        pass  # the status is what counts
    finally:
        response.close()
    return _handshake_error(response, why, body)


def _handshake_error(response: ClientResponse, why: str, body: bytes) -> WSServerHandshakeError:
    error = WSServerHandshakeError(
        code=response.status,
        message=f"no WebSocket at {response.url}: {why}",
        headers=response.headers,
        body=body,
        endpoint=response.endpoint,
        phase="head",
    )
    error.history = response.history
    return error


def is_worth_retrying(error: BaseException) -> bool:
    """Whether a connection attempt that ended so may go better a little later: trouble of the network, or of a server
    that says it is its own. What the caller asked wrongly stays wrong."""
    if isinstance(error, WSServerHandshakeError):
        return error.code in _PASSING
    if isinstance(error, HttpProxyError) and error.code:
        return error.code in _PASSING
    if isinstance(error, _LASTING) or _is_certificate_refused(error):
        return False
    return isinstance(error, (ClientError, OSError, TimeoutError))


def _is_certificate_refused(error: BaseException) -> bool:
    """Whether that is at the bottom of it: an error of the TLS with a proxy has that TLS's own error as its cause."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__
    return cause is not None
