"""ProxyConnector: connections through an HTTP proxy."""

import asyncio
import ssl
from typing import Any

from keepwarm.pool.auth import BasicAuth
from keepwarm.pool.channel import Channel
from keepwarm.pool.clock import Clock
from keepwarm.pool.dial import DialRequest
from keepwarm.pool.dial_errors import beginning
from keepwarm.pool.dialer import Dialer
from keepwarm.pool.endpoint import Endpoint, TunnelEndpoint
from keepwarm.pool.errors import ConnectError, ConnectTimeoutError, ProxyConnectionError, ResumptionError, TLSError
from keepwarm.pool.fork import never_collect
from keepwarm.pool.opening import Opening
from keepwarm.pool.proxy import ForwardProxy, parse_proxy
from keepwarm.pool.securing import hand_over
from keepwarm.pool.tcp_connector import TCPConnector
from keepwarm.pool.tls import TLSOptions
from keepwarm.pool.tunnelling import open_tunnel


class ProxyConnector(TCPConnector):
    """Connects through an HTTP proxy.

    - `proxy`: the proxy's URL, ``http://`` or ``https://``, with host, port (80 or 443 by default) and, if need be, a
      user name and password, percent-encoded.
    - `proxy_auth` (None): a BasicAuth for the proxy. It goes before a user name in the URL.
    - `force_close` (True): close each connection when it is released. False keeps them: tunnels serve the
      ``(host, port, is_ssl)`` that they were made for and no other.

    All other parameters are keyword-only and those of TCPConnector. `limit` counts for each target, not for
    the proxy. `conn_timeout` covers the way to the proxy, CONNECT and TLS together. The options of DNS
    and `local_addr` are for the way to the proxy: names of targets are never looked up here, and
    the proxy's name is not followed (`follow` of DNSOptions). The options of TLS are for the target, `pins` and
    `fingerprint` too, which are checked inside the tunnel before a byte of the request is sent. `fast_tls` has
    no effect inside tunnels.

    Extensions:

    - `proxy_verify_ssl` (True), `proxy_ssl_context` (None): the same as `verify_ssl` and `ssl_context`, for the TLS
      with an ``https://`` proxy. They exclude each other, and a context with an ``http://`` proxy is a ValueError.
      `tls_resumption` and `handshake_timeout` are for either TLS.
    - `share_forward` (False): all plain HTTP targets share the connections to the proxy. They count, and are limited,
      under the proxy's endpoint then.

    Requests to ``http://`` go to the proxy with an absolute URL and, on each of them, the credentials. A refusal of
    such a request is an answer like any other, with status 407 perhaps. For ``https://``, and for WebSockets of either
    kind, the proxy is asked for a tunnel (CONNECT); a refusal raises HttpProxyError. A header Proxy-Authorization of
    the caller's own goes to the proxy with a plain request, in place of `proxy_auth`, and is left out inside a tunnel.

    A dial raises besides: ProxyConnectionError when the proxy cannot be reached; TLSError with the proxy's endpoint
    when its certificate is refused. Raises TypeError or ValueError that names the argument.
    """

    def __init__(
        self,
        proxy: str,
        *,
        proxy_auth: BasicAuth | None = None,
        conn_timeout: float | None = None,
        keepalive_timeout: float | None = 30,
        limit: int | None = None,
        share_cookies: bool = False,
        force_close: bool = True,
        loop: asyncio.AbstractEventLoop | None = None,
        share_forward: bool = False,
        proxy_verify_ssl: bool = True,
        proxy_ssl_context: ssl.SSLContext | None = None,
        **options: Any,
    ) -> None:
        self._closed = True  # BaseConnector.__del__ has nothing to warn about until all is checked
        self._proxy = parse_proxy(proxy, proxy_auth)
        if not isinstance(share_forward, bool):
            raise TypeError(f"share_forward must be True or False, got {share_forward!r}")
        endpoint = self._proxy.endpoint
        # Never the key of a tunnel: those are for TLS.
        shared = Endpoint(endpoint.host, endpoint.port, False) if share_forward else None
        self._forward = ForwardProxy(self._proxy.credentials, shared)
        if not isinstance(proxy_verify_ssl, bool):
            raise TypeError(f"proxy_verify_ssl must be True or False, got {proxy_verify_ssl!r}")
        _check_context(proxy_ssl_context, proxy_verify_ssl, endpoint.is_ssl)
        timeout = options.get("handshake_timeout")
        self._proxy_tls = TLSOptions(proxy_verify_ssl, proxy_ssl_context, handshake_timeout=timeout)
        self._proxy_dialer: Dialer | None = None
        self._clock: Clock | None = None
        super().__init__(
            conn_timeout=conn_timeout,
            keepalive_timeout=keepalive_timeout,
            limit=limit,
            share_cookies=share_cookies,
            force_close=force_close,
            loop=loop,
            **options,
        )

    @property
    def proxy(self) -> str:
        """The proxy's URL, without user name and password."""
        return self._proxy.url

    @property
    def proxy_auth(self) -> BasicAuth | None:
        """The credentials for the proxy, given or from its URL, or None."""
        return self._proxy.auth

    @property
    def share_forward(self) -> bool:
        """Whether plain HTTP targets share the connections to the proxy."""
        return self._forward.shared is not None

    @property
    def forward_proxy(self) -> ForwardProxy:
        """What requests to plain HTTP targets need."""
        return self._forward

    def _bound(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        super()._bound(loop, clock)
        self._clock = clock
        if self._dns is None:
            raise RuntimeError("a TCPConnector has a DNS cache once it is bound to a loop")
        self._proxy_dialer = Dialer(
            self._dns,
            self._proxy_tls,
            family=self._family,
            local_addr=self._local_addr,
            tcp_keepalive=self._tcp_keepalive,
            health=self._health,
            # Of its own: a session of the proxy is none of an origin's (T10).
            sessions=self._new_sessions(clock) if self._proxy.endpoint.is_ssl else None,
        )

    async def reload_tls(
        self, ssl_context: ssl.SSLContext | None = None, *, proxy_ssl_context: ssl.SSLContext | None = None
    ) -> None:
        """See TCPConnector. The authorities for an ``https://`` proxy are read again too, or `proxy_ssl_context` takes
        their place, and then all connections through it are closed in the same way: either both contexts are renewed
        or none.
        """
        self._tls.check_context(ssl_context)
        _check_context(proxy_ssl_context, self._proxy_tls.verify_ssl, self._proxy.endpoint.is_ssl)
        if self._proxy.endpoint.is_ssl:
            await self._reload((self._tls, ssl_context), (self._proxy_tls, proxy_ssl_context))
        else:
            await self._reload((self._tls, ssl_context))

    def _uses_tls(self, channel: Channel) -> bool:
        return self._proxy.endpoint.is_ssl or super()._uses_tls(channel)

    async def _create_connection(self, req: DialRequest) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        req.via = f"the proxy {self._proxy.url}"
        if req.ssl:
            # Before anything is connected: what the proxy or the target does meanwhile would be noticed too late.
            await self.dialer.prepare(req)
        contexts = self._proxy_tls.contexts
        generation = contexts.generation
        opening = await self._full_or_resumed(req)
        if generation != contexts.generation:
            opening.retiring = "cert_reload"
        return hand_over(req, opening)

    async def _full_or_resumed(self, req: DialRequest) -> Opening:
        """As Dialer.open: what fails over a session gets a full handshake at the next try. Either TLS may do so."""
        for _ in range(2):
            try:
                return await self._through(req)
            except ResumptionError:
                continue
        return await self._through(req)

    async def _reach_proxy(self, req: DialRequest) -> Opening:
        """A connection to the proxy, inside TLS if that is how it is spoken to."""
        dialer, proxy = self._proxy_dialer, self._proxy
        if dialer is None:
            raise RuntimeError("a connection was asked for before the connector was bound to a loop")
        hop = DialRequest(proxy.endpoint, req.channel_factory)
        hop.attempts = req.attempts
        req.phase = "proxy"
        try:
            if hop.ssl:
                await dialer.prepare(hop)
            opening = await dialer.open_tcp(hop, hop.host, hop.port)
            return await dialer.secure(hop, opening) if hop.ssl else opening
        except ResumptionError:
            raise
        except TLSError as exc:
            text = f"{beginning(req, f'TLS with the proxy {proxy.url} failed')} {exc}"
            error = TLSError(exc.errno, text, endpoint=proxy.endpoint, phase="tls", reused=False)
            error.attempts = exc.attempts
            raise error from exc
        except ConnectTimeoutError as exc:
            text = f"{beginning(req, f'the proxy {proxy.url} is slow')} {exc}"
            late = ConnectTimeoutError(text, endpoint=proxy.endpoint, phase=exc.phase, reused=False)
            raise late from exc
        except ConnectError as exc:
            text = f"{beginning(req, f'the proxy {proxy.url} cannot be reached')} {exc}"
            lost = ProxyConnectionError(text, endpoint=req.endpoint, phase=exc.phase, reused=False)
            lost.proxy = proxy.endpoint
            lost.attempts = exc.attempts
            raise lost from exc

    async def _tunnel(self, req: DialRequest, opening: Opening) -> Opening:
        clock = self._clock
        if clock is None:
            raise RuntimeError("a tunnel was asked for before the connector was bound to a loop")
        return await open_tunnel(req, opening, self._proxy, clock)

    async def _through(self, req: DialRequest) -> Opening:
        """The proxy, for a plain request; or a tunnel, with TLS inside if that is how the target is spoken to.

        Raises ResumptionError for either TLS.
        """
        opening = await self._reach_proxy(req)
        if not req.ssl and not isinstance(req.endpoint, TunnelEndpoint):
            return opening
        tunnel = await self._tunnel(req, opening)
        if not req.ssl:
            return tunnel
        outer, count_below = tunnel.transport, tunnel.count_unsent
        secure = await self.dialer.secure(req, tunnel)
        if outer is not None and count_below is not None:
            # TLS inside TLS: what is not sent yet may lie in either.
            secure.count_unsent = lambda: outer.get_write_buffer_size() + count_below()
        return secure

    def abandon_after_fork(self) -> None:
        """See BaseConnector."""
        never_collect(self._proxy_dialer, self._clock)
        self._proxy_dialer = self._clock = None
        super().abandon_after_fork()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'closed' if self.closed else 'open'} proxy={self.proxy} limit={self.limit}>"


def _check_context(context: object, verify: bool, is_used: bool) -> None:
    if context is None:
        return
    if not isinstance(context, ssl.SSLContext):
        raise TypeError(f"proxy_ssl_context must be an ssl.SSLContext, got {type(context).__name__}")
    if not verify:
        raise ValueError(
            "proxy_verify_ssl=False and proxy_ssl_context exclude each other: set verify_mode on the context"
        )
    if not is_used:
        raise ValueError("proxy_ssl_context is for an https:// proxy: to an http:// one all goes in clear text")
