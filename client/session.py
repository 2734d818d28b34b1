"""ClientSession: requests over a connector, with defaults of their own."""

import asyncio
import warnings
from collections.abc import Callable, Iterable
from json import dumps
from types import TracebackType
from typing import Any, Self

from keepwarm.client.auth import BasicAuth
from keepwarm.client.context import RequestContext
from keepwarm.client.errors import InvalidInput, ResponseDisconnected
from keepwarm.client.h1_channel import H1Channel
from keepwarm.client.head_limits import DEFAULT_LIMITS, HeadLimits
from keepwarm.client.headers import DefaultHeaders, check_skip
from keepwarm.client.memo import Memo
from keepwarm.client.payload import make_payload
from keepwarm.client.request import ClientRequest
from keepwarm.client.response import ClientResponse
from keepwarm.client.source import Payload
from keepwarm.client.timeout import DEFAULT_TIMEOUT, ClientTimeout, coerce_timeout
from keepwarm.client.url import TargetCache
from keepwarm.client.version import HttpVersion11, check_version
from keepwarm.pool.clock import NEVER
from keepwarm.pool.connector import BaseConnector, Closing
from keepwarm.pool.origin import creation_point
from keepwarm.pool.pool import Pool
from keepwarm.pool.tcp_connector import TCPConnector

_UNSET: Any = object()

_PatternKey = tuple[str, str, str | None, tuple[tuple[str, str], ...]]


class ClientSession:
    """Makes requests (reference: ClientSession). All parameters are keyword-only.

    `connector`: where connections come from; a TCPConnector of its own by default. The session closes it. `loop`: as
    for the connector; both given must agree. `headers`: sent with each request. `skip_auto_headers`: names of
    generated headers to leave out. `auth`: BasicAuth for each request. `timeout`: a ClientTimeout, a number of
    seconds for `total`, or None for no limit; 300 s in total by default. `version`: HTTP version. `json_serialize`:
    makes the text of ``json=``. `retry_stale`: send a request once more, on a new connection, when a reused one turns
    out dead before a byte of the answer, if that can do no harm (K7); on by default. `limits`: a HeadLimits, how large
    the head of an answer may be (K6).

    Constructing one needs no running loop. Raises ValueError or TypeError for an option that cannot be used.
    """

    def __init__(
        self,
        *,
        connector: BaseConnector | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        headers: Any = None,
        skip_auto_headers: Iterable[str] | None = None,
        auth: BasicAuth | None = None,
        timeout: "ClientTimeout | float | None" = DEFAULT_TIMEOUT,
        version: Any = HttpVersion11,
        json_serialize: Callable[[Any], str | bytes] = dumps,
        retry_stale: bool = True,
        limits: HeadLimits = DEFAULT_LIMITS,
    ) -> None:
        self._connector: BaseConnector | None = None
        self._skip = check_skip(skip_auto_headers)
        self._defaults = DefaultHeaders(headers, skip=self._skip)
        self._auth = _check_auth(auth)
        self._timeout = coerce_timeout(timeout)
        self._version = check_version(version)
        self._json_serialize = json_serialize
        self._retry_stale = bool(retry_stale)
        if not isinstance(limits, HeadLimits):
            raise TypeError(f"limits must be a HeadLimits, got {limits!r}")
        self._limits = limits
        if connector is None:
            connector = TCPConnector(loop=loop)
        elif not isinstance(connector, BaseConnector):
            raise TypeError(f"connector must be a BaseConnector, got {connector!r}")
        elif loop is not None and connector.loop is not None and connector.loop is not loop:
            raise ValueError("loop and connector.loop differ: give one of them, or the same loop")
        connector.speak(H1Channel)
        self._targets = TargetCache()
        # Requests without anything of their own, by URL: checked, encoded, ready to be written again.
        self._plain_gets: Memo[str, ClientRequest] = Memo()
        # Requests whose like differ in the body alone.
        self._patterns: Memo[_PatternKey, ClientRequest] = Memo()
        self._source = creation_point(loop)
        self._connector = connector

    @property
    def closed(self) -> bool:
        """True once the session, or its connector, is closed, or after `detach` (B-14)."""
        return self._connector is None or self._connector.closed

    @property
    def connector(self) -> BaseConnector | None:
        """The connector; None after `close` or `detach` (B-15)."""
        return self._connector

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that the session is bound to; None before the first request."""
        return None if self._connector is None else self._connector.loop

    @property
    def timeout(self) -> ClientTimeout:
        """The time limits of each request that has none of its own."""
        return self._timeout

    # Requests

    def request(self, method: str, url: Any, **kwargs: Any) -> RequestContext:
        """Make a request (C-01): await it, or use ``async with``.

        `params`: mapping, pairs or str for the query. `data` or `json`: the body. `headers`: added to the session's,
        replacing those of the same name. `skip_auto_headers`, `auth`, `timeout`, `version`: for this request.
        `encoding`: for a str body. `chunked`: send the body in chunks (of that size). `expect100`: wait for the
        peer's word before the body. `read_until_eof`: whether an answer with neither length nor chunks has a body,
        which the end of the connection ends; False takes it to have none (C-23). `allow_redirects` must be True or
        False.

        Raises InvalidInput or TypeError, before any I/O, for an argument that cannot be used; ClientConnectionError
        and its kinds when there is no connection; ClientResponseError and its kinds when there is no usable answer;
        ClientTimeoutError when a limit passes. Cancelling it closes the connection that it used, if any.
        """
        return RequestContext(self._request(method, url, **kwargs))

    def get(self, url: Any, *, allow_redirects: bool = True, **kwargs: Any) -> RequestContext:
        """GET (C-24)."""
        if kwargs:
            return RequestContext(self._request("GET", url, allow_redirects=allow_redirects, **kwargs))
        return RequestContext(self._get_plain(url))

    def post(self, url: Any, *, data: Any = None, **kwargs: Any) -> RequestContext:
        """POST (C-25)."""
        return RequestContext(self._request("POST", url, data=data, **kwargs))

    def put(self, url: Any, *, data: Any = None, **kwargs: Any) -> RequestContext:
        """PUT (C-26)."""
        return RequestContext(self._request("PUT", url, data=data, **kwargs))

    def delete(self, url: Any, **kwargs: Any) -> RequestContext:
        """DELETE (C-27)."""
        return RequestContext(self._request("DELETE", url, **kwargs))

    def head(self, url: Any, *, allow_redirects: bool = False, **kwargs: Any) -> RequestContext:
        """HEAD; redirects are not followed unless asked for (C-28)."""
        return RequestContext(self._request("HEAD", url, allow_redirects=allow_redirects, **kwargs))

    def options(self, url: Any, *, allow_redirects: bool = True, **kwargs: Any) -> RequestContext:
        """OPTIONS (C-29)."""
        return RequestContext(self._request("OPTIONS", url, allow_redirects=allow_redirects, **kwargs))

    def patch(self, url: Any, *, data: Any = None, **kwargs: Any) -> RequestContext:
        """PATCH (C-30)."""
        return RequestContext(self._request("PATCH", url, data=data, **kwargs))

    async def _get_plain(self, url: Any) -> ClientResponse:
        request = self._plain_gets.get(url) if type(url) is str else None
        if request is None:
            return await self._request("GET", url)
        return await self._send(request, self._timeout)

    async def _request(
        self,
        method: str,
        url: Any,
        *,
        params: Any = None,
        data: Any = None,
        json: Any = None,
        headers: Any = None,
        skip_auto_headers: Iterable[str] | None = None,
        auth: BasicAuth | None = None,
        allow_redirects: bool = True,
        encoding: str = "utf-8",
        version: Any = None,
        chunked: Any = None,
        expect100: bool = False,
        read_until_eof: bool = True,
        timeout: Any = _UNSET,
    ) -> ClientResponse:
        connector = self._usable_connector()
        limit = self._timeout if timeout is _UNSET else coerce_timeout(timeout)
        payload = make_payload(data, json, encoding=encoding, json_serialize=self._json_serialize)
        is_plain = type(url) is str and not (
            params or skip_auto_headers or auth or version or chunked or expect100 or not read_until_eof
        )
        key = _pattern_key(method, url, headers, payload) if is_plain and payload is not None else None
        if key is not None and payload is not None and (pattern := self._patterns.get(key)) is not None:
            return await self._send(pattern.with_body(payload), limit)
        request = ClientRequest(
            method,
            self._targets.resolve(url, params),
            self._defaults,
            headers=headers,
            skip_auto_headers=self._skip | check_skip(skip_auto_headers) if skip_auto_headers else self._skip,
            auth=_check_auth(auth) or self._auth,
            payload=payload,
            chunked=chunked,
            expect100=expect100,
            version=self._version if version is None else check_version(version),
            force_close=connector.force_close,
            limits=self._limits,
            read_until_eof=bool(read_until_eof),
        )
        if key is not None and request.is_pattern:
            self._patterns.put(key, request)
        elif is_plain and payload is None and not headers and request.method == "GET":
            self._plain_gets.put(url, request)
        return await self._send(request, limit)

    async def _send(self, request: ClientRequest, timeout: ClientTimeout) -> ClientResponse:
        """One request, one answer; twice on the wire only by K7."""
        pool = self._usable_connector().pool()
        deadline = NEVER if timeout.total is None else pool.clock.now() + timeout.total
        may_replay = self._retry_stale
        fresh = False
        while True:
            channel = None if fresh else pool.try_lease(request.endpoint)
            if channel is None:
                channel = await self._acquire(pool, request, timeout, deadline, fresh)
            if not isinstance(channel, H1Channel):
                pool.close_channel(channel, "protocol", politely=False)
                raise TypeError(f"the connector made {channel!r}, not the channel that its request asked for")
            exchange = channel.send(request, deadline, timeout.read)
            try:
                await exchange.head_waiter
            except ResponseDisconnected as error:
                exchange.abort()
                if not (may_replay and _harmless(request, error)):
                    raise
                may_replay = False
                fresh = True
                pool.retire_older(channel)
                continue
            except BaseException:
                exchange.abort()
                raise
            head = exchange.head
            if head is None:
                raise RuntimeError("an exchange was woken without a head; this is a fault of keepwarm")
            return ClientResponse(request, exchange, head, pool)

    async def _acquire(
        self, pool: Pool, request: ClientRequest, timeout: ClientTimeout, deadline: float, fresh: bool
    ) -> Any:
        if timeout.connect is not None:
            deadline = min(deadline, pool.clock.now() + timeout.connect)
        return await pool.acquire(request.endpoint, pool_timeout=timeout.pool, deadline=deadline, fresh=fresh)

    def _usable_connector(self) -> BaseConnector:
        connector = self._connector
        if connector is None:
            raise RuntimeError("Session is closed")
        return connector

    # The end

    def close(self) -> Closing:
        """Close the session and its connector (D-11). Idempotent.

        The work is done at call time; awaiting what it returns waits until every socket is gone. Raises RuntimeError,
        with nothing closed, from another loop or thread than the session's.
        """
        connector = self._connector
        if connector is None:
            return Closing()
        closing = connector.close()
        self._connector = None
        return closing

    def detach(self) -> None:
        """Give the connector up without closing it: the session is closed, the connector stays usable (D-12)."""
        self._connector = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        connector = getattr(self, "_connector", None)
        if connector is None or connector.closed:
            return
        loop = connector.loop
        connector.discard()
        self._connector = None
        warnings.warn(f"Unclosed client session {self!r}", ResourceWarning, source=self, stacklevel=1)
        context: dict[str, Any] = {"client_session": self, "message": "Unclosed client session"}
        if self._source is not None:
            context["source_traceback"] = self._source
        if loop is not None and not loop.is_closed():
            loop.call_exception_handler(context)

    def __repr__(self) -> str:
        return f"<ClientSession {'closed' if self.closed else 'open'}>"


def _pattern_key(method: object, url: str, headers: Any, payload: Payload) -> _PatternKey | None:
    """What requests have in common that differ in the body alone; None where that cannot be told at a glance."""
    if type(method) is not str or payload.body is None:
        return None
    if not headers:
        return method, url, payload.content_type, ()
    if type(headers) is not dict or len(headers) > 8:
        return None
    items = tuple(headers.items())
    for name, value in items:
        if type(name) is not str or type(value) is not str:
            return None
    return method, url, payload.content_type, items


def _check_auth(auth: Any) -> BasicAuth | None:
    if auth is not None and not isinstance(auth, BasicAuth):
        raise InvalidInput(f"auth must be a BasicAuth, got {type(auth).__name__}", argument="auth")
    return auth


def _harmless(request: ClientRequest, error: ResponseDisconnected) -> bool:
    """K7: the connection was reused, no response byte arrived, the body can be sent again, and sending twice is
    harmless or did not begin."""
    return bool(
        error.reused
        and not error.response_begun
        and request.can_repeat_body
        and (request.may_replay or error.request_sent is False)
    )
