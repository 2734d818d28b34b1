"""WebSocketCalls: the part of a session that opens WebSockets."""

from collections.abc import AsyncGenerator, Iterable
from typing import Any, Never

from keepwarm.client.backoff import Backoff
from keepwarm.client.foreign import unknown_argument
from keepwarm.client.redirects import check_redirects
from keepwarm.client.response import ClientResponse
from keepwarm.client.ws_connect import make_websocket
from keepwarm.client.ws_context import WSContext
from keepwarm.client.ws_options import WSOptions, check_options, new_handshake
from keepwarm.client.ws_reconnect import reconnecting
from keepwarm.pool.auth import BasicAuth
from keepwarm.ws.deflate import DeflateOffer
from keepwarm.ws.protocol import MAX_FRAGMENTS, MAX_MSG_SIZE
from keepwarm.ws.websocket import ClientWebSocketResponse


class WebSocketCalls:
    """What a session does for WebSockets. It asks the session for one thing: `_upgrade`."""

    _ws_response_class: type[ClientWebSocketResponse] = ClientWebSocketResponse

    def ws_connect(
        self,
        url: Any,
        *,
        protocols: Iterable[str] = (),
        timeout: float | None = 10.0,
        receive_timeout: float | None = None,
        auth: BasicAuth | tuple[str, str] | None = None,
        autoclose: bool = True,
        autoping: bool = True,
        heartbeat: float | None = None,
        origin: str | None = None,
        headers: Any = None,
        params: Any = None,
        cookies: Any = None,
        compress: "bool | int | DeflateOffer" = False,
        max_msg_size: int | None = MAX_MSG_SIZE,
        max_fragments: int | None = MAX_FRAGMENTS,
        allow_redirects: bool = False,
        max_redirects: int | None = 10,
        handshake_timeout: Any = ...,
        **unknown: Never,
    ) -> WSContext:
        """Open a WebSocket: await it, or use ``async with``. `url` is ws, wss, http or https.

        - `protocols`: subprotocols to offer, the favourite first. `origin`: the Origin header. `headers`, `params`,
          `cookies`, `auth`: as for a request.
        - `timeout`: seconds that `close` waits for the peer. `receive_timeout`: seconds that `receive` waits.
          0 and None are no limit. `handshake_timeout`: a ClientTimeout or seconds for the opening handshake; the
          session's `timeout` by default.
        - `autoclose`: answer the peer's close frame; off, `close` does. `autoping`: answer pings, and keep pings and
          pongs from `receive`.
        - `heartbeat`: ping after so many seconds of silence; half as long again without a byte, and the connection is
          given up. None, the default, never pings.
        - `compress`: offer permessage-deflate (RFC 7692): True, the bits of the window (9 to 15), or a DeflateOffer.
        - `max_msg_size` (4 MiB) and `max_fragments` (1,024) bound a message; 0 and None do not.
        - `allow_redirects`: follow redirects, without credentials once the origin changes; off by default, so that a
          redirect is a WSServerHandshakeError.

        The connection is leased from the pool like any other, and holds its slot until it is lost. Raises InvalidInput
        or TypeError before any I/O, WSServerHandshakeError if the server does not agree, and what a request raises.
        Cancelling it closes the connection.
        """
        if unknown:
            text = (
                f"ws_connect has no argument '{next(iter(unknown))}': help(ClientSession.ws_connect) lists those it has"
            )
            raise unknown_argument("ws_connect", unknown) or TypeError(text)
        options = {
            "protocols": protocols,
            "timeout": timeout,
            "receive_timeout": receive_timeout,
            "autoclose": autoclose,
            "autoping": autoping,
            "heartbeat": heartbeat,
            "origin": origin,
            "compress": compress,
            "max_msg_size": max_msg_size,
            "max_fragments": max_fragments,
        }
        request = {"auth": auth, "params": params, "cookies": cookies}
        most = max_redirects if allow_redirects else 0
        return WSContext(self._ws_connect(url, options, headers, handshake_timeout, most, request))

    def ws_reconnect(
        self, url: Any, *, backoff: Backoff | None = None, **arguments: Any
    ) -> AsyncGenerator[ClientWebSocketResponse, None]:
        """Open a WebSocket again and again: ``async for ws in session.ws_reconnect(url): ...``.

        Each turn of the loop gets a new one, and the one before is closed first. A connection that cannot be had is
        tried again after a pause that grows, with jitter, as `backoff` says; what will stay the same (a wrong URL, 401,
        404, a certificate that is not trusted, ...) is raised. `arguments` are those of `ws_connect`. Leaving the loop
        closes the last WebSocket, soon afterwards; ``contextlib.aclosing`` waits for that, also when the loop is left
        by an exception.
        """
        if not isinstance(backoff, Backoff | None):
            raise TypeError(f"backoff must be a Backoff or None, got {backoff!r}")
        return reconnecting(lambda: self.ws_connect(url, **arguments), backoff or Backoff())

    async def _ws_connect(
        self,
        url: Any,
        given: dict[str, Any],
        headers: Any,
        handshake_timeout: Any,
        max_redirects: int | None,
        request: dict[str, Any],
    ) -> ClientWebSocketResponse:
        options: WSOptions = check_options(**given)
        most = check_redirects(max_redirects)
        key, fields = new_handshake(headers, options)
        response = await self._upgrade(url, fields, handshake_timeout, most, request)
        return await make_websocket(response, options, key, self._ws_response_class)

    async def _upgrade(
        self, url: Any, headers: list[tuple[str, str]], timeout: Any, most: int, request: dict[str, Any]
    ) -> ClientResponse:
        """Send a request that asks for another protocol; up to `most` redirects are followed."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to send a request: override _upgrade")
