"""ClientSession: requests over a connector, with defaults of their own."""

import asyncio
from collections.abc import Callable, Iterable
from json import dumps
from typing import Any, Final, Never

from multidict import CIMultiDictProxy

from keepwarm.client.connector_holder import ConnectorHolder, check_connector
from keepwarm.client.context import RequestContext
from keepwarm.client.cookie_view import CookieView
from keepwarm.client.cookies import CookieJar
from keepwarm.client.decoding import accept_encoding
from keepwarm.client.errors import TooManyRedirects
from keepwarm.client.foreign import unknown_argument
from keepwarm.client.head_limits import DEFAULT_LIMITS, HeadLimits
from keepwarm.client.headers import DefaultHeaders, check_skip
from keepwarm.client.memo import Memo
from keepwarm.client.options import RequestOptions
from keepwarm.client.patterns import Patterns, pattern_key
from keepwarm.client.payload import make_payload
from keepwarm.client.redirects import REDIRECTS, check_redirects, follow
from keepwarm.client.request import ClientRequest, check_auth
from keepwarm.client.request_info import describe
from keepwarm.client.response import ClientResponse
from keepwarm.client.retry import RetryPolicy, check_retry
from keepwarm.client.retrying import send_retrying
from keepwarm.client.sending import send
from keepwarm.client.session_parts import check_class, check_jar, cookies_at_hand
from keepwarm.client.strictness import Strictness, check_strictness, judge
from keepwarm.client.timeout import DEFAULT_TIMEOUT, ClientTimeout, coerce_timeout
from keepwarm.client.url import CACHED_URL_LIMIT, BaseUrl, TargetCache
from keepwarm.client.version import HttpVersion, HttpVersion11, check_version
from keepwarm.client.ws_calls import WebSocketCalls
from keepwarm.client.ws_connect import UpgradeRequest
from keepwarm.pool.auth import BasicAuth
from keepwarm.pool.clock import NEVER
from keepwarm.pool.connector import BaseConnector
from keepwarm.pool.limits import check_count, check_flag
from keepwarm.pool.origin import creation_point
from keepwarm.ws.websocket import ClientWebSocketResponse

_UNSET: Any = object()
MOST_REDIRECTS: Final = 10


class ClientSession(WebSocketCalls, ConnectorHolder):
    """Makes requests. All parameters are keyword-only.

    - `connector`: where connections come from; a TCPConnector of its own by default. The session closes it, unless it
      was given one with ``connector_owner=False``. `loop`: as for the connector; both given must agree.
    - `cookies`: a mapping or pairs, sent to the origin of the first request. `cookie_jar`: the CookieJar to use, which
      several sessions may share; `cookies` takes one as well.
    - `headers`: sent with each request. `skip_auto_headers`: names of generated headers to leave out.
    - `auth`: BasicAuth for each request. `version`: HTTP version, 1.1 by default.
    - `request_class`, `response_class`, `ws_response_class`: replacements, subclasses of ClientRequest, ClientResponse
      and ClientWebSocketResponse.
    - `timeout`: a ClientTimeout, a number of seconds for `total`, or None for no limit; 300 s in total by default.
    - `base_url`: what a URL that is not absolute is relative to. A user name in it is for its origin only.
    - `json_serialize`: makes the text of ``json=``. `raise_for_status`: raise for every status of 400 and
      above; or a coroutine function that is called with each response, and may raise.
    - `auto_decompress`: decode gzip, deflate and what else is installed; on by default. `max_body_size`: the most
      bytes that a decoded body may have; None, the default, is no limit.
    - `retry_stale` (True): send a request once more when a reused connection turns out dead and it can do no harm.
    - `limits`: a HeadLimits, how large the head of an answer may be.
    - `retry`: a RetryPolicy; None, the default, tries once. Each hop of a chain of redirects is tried by it anew.
    - `timings`: time each phase of a request, for `resp.timings`; off by default, as it costs some microseconds.

    Constructing one needs no running loop. Raises ValueError or TypeError for an option that cannot be used.
    """

    def __init__(
        self,
        *,
        connector: BaseConnector | None = None,
        connector_owner: bool = True,
        loop: asyncio.AbstractEventLoop | None = None,
        cookies: Any = None,
        cookie_jar: CookieJar | None = None,
        headers: Any = None,
        skip_auto_headers: Iterable[str] | None = None,
        auth: BasicAuth | tuple[str, str] | None = None,
        request_class: type[ClientRequest] = ClientRequest,
        response_class: type[ClientResponse] = ClientResponse,
        ws_response_class: type[ClientWebSocketResponse] = ClientWebSocketResponse,
        version: Any = HttpVersion11,
        timeout: "ClientTimeout | float | None" = DEFAULT_TIMEOUT,
        base_url: Any = None,
        json_serialize: Callable[[Any], str | bytes] = dumps,
        raise_for_status: Strictness = False,
        auto_decompress: bool = True,
        max_body_size: int | None = None,
        retry_stale: bool = True,
        limits: HeadLimits = DEFAULT_LIMITS,
        timings: bool = False,
        retry: RetryPolicy | None = None,
        **unknown: Never,
    ) -> None:
        if unknown:
            name = next(iter(unknown))
            text = f"ClientSession has no argument '{name}': help(ClientSession) lists those it has"
            raise unknown_argument("ClientSession", unknown) or TypeError(text)
        if not isinstance(limits, HeadLimits):
            raise TypeError(f"limits must be a HeadLimits, got {limits!r}")
        skip = check_skip(skip_auto_headers)
        accepted = accept_encoding() if auto_decompress else None
        defaults = DefaultHeaders(headers, skip=skip, accept_encoding=accepted)
        self._timeout = coerce_timeout(timeout)
        self._retry_stale = check_flag("retry_stale", retry_stale)
        self._raise_for_status = check_strictness(raise_for_status)
        self._base_url = None if base_url is None else BaseUrl(base_url)
        self._request_class = check_class("request_class", request_class, ClientRequest)
        self._response_class = check_class("response_class", response_class, ClientResponse)
        self._ws_response_class = check_class("ws_response_class", ws_response_class, ClientWebSocketResponse)
        self._jar = check_jar(cookie_jar, cookies)
        self._at_hand = cookies_at_hand(self._jar)
        self._cookies = CookieView(self._jar)
        self._owns_connector = connector is None or bool(connector_owner)
        connector = check_connector(connector, loop)
        self._options = RequestOptions(
            defaults=defaults,
            skip=skip,
            auth=check_auth(auth),
            version=check_version(version),
            limits=limits,
            force_close=connector.force_close,
            json_serialize=json_serialize,
            resolve=TargetCache().resolve,
            auto_decompress=bool(auto_decompress),
            max_body_size=check_count("max_body_size", max_body_size),
            forward_proxy=connector.forward_proxy,
            timings=check_flag("timings", timings),
            retry=check_retry(retry),
        )
        # Requests without anything of their own, by URL: checked, encoded, ready to be written again.
        self._plain_gets: Memo[str, ClientRequest] = Memo()
        # Requests whose like differ in the body alone.
        self._patterns = Patterns()
        self._source = creation_point(loop)
        self._connector = connector
        # Asked once: a property would cost each call more than the look at the connector's pool.
        self._shares_cookies = connector.share_cookies

    @property
    def cookies(self) -> CookieView:
        """The session's cookies as a SimpleCookie, to be edited in place."""
        return self._cookies

    @property
    def cookie_jar(self) -> CookieJar:
        """The cookies with their scopes: domain, path, secure, expiry (RFC 6265); `save` and `load` keep them."""
        return self._jar

    @property
    def version(self) -> HttpVersion:
        """The HTTP version of requests that name none."""
        return self._options.version

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """What the session was given to send with each request, read-only."""
        return self._options.defaults.given()

    @property
    def skip_auto_headers(self) -> frozenset[str]:
        """The generated headers to leave out, in lower case."""
        return self._options.skip

    @property
    def auth(self) -> BasicAuth | None:
        """The login of requests that have none of their own."""
        return self._options.auth

    @property
    def timeout(self) -> ClientTimeout:
        """The time limits of each request that has none of its own."""
        return self._timeout

    # Requests

    def request(self, method: str, url: Any, **kwargs: Any) -> RequestContext:
        """Make a request: await it, or use ``async with``.

        - `params`: mapping, pairs (a list of values repeats the name) or str (encoded already) for the query.
        - `data`: the body: mapping or pairs (a form), bytes, str, file, FormData, iterable of bytes. `json`: the body
          as JSON. `encoding`: for a str body.
        - `headers`: added to the session's, replacing those of the same name; `skip_auto_headers`: names of generated
          headers to leave out; `cookies`: for this request, a str being the text of the header; `auth`, `timeout`,
          `version`: as for the session.
        - `allow_redirects`: follow up to `max_redirects` (10) redirects; 0 and None follow none.
        - `compress`: True (deflate) or a coding: compress the body; False: it is compressed already. `chunked`: send
          it in chunks (of that size). `expect100`: wait for the peer's word before the body.
        - `read_until_eof`: whether an answer with neither length nor chunks has a body, which the end of the
          connection ends; False takes it to have none.
        - `raise_for_status`: raise for a status of 400 and above, or a coroutine function, as for the session; the
          session's setting by default. `retry`: as for the session; None tries once.

        Raises InvalidInput or TypeError, before any I/O, for an argument that cannot be used; ClientConnectionError
        and its kinds when there is no connection; ClientResponseError and its kinds when there is no usable answer;
        ClientTimeoutError when a limit passes. Cancelling it closes the connection that it used, if any.
        """
        return RequestContext(self._request(method, url, **kwargs))

    def get(self, url: Any, *, allow_redirects: bool = True, **kwargs: Any) -> RequestContext:
        """GET; takes what `request` takes, raises what it raises."""
        request = self._plain_gets.get(url) if type(url) is str and allow_redirects and not kwargs else None
        if request is None:
            return RequestContext(self._request("GET", url, allow_redirects=allow_redirects, **kwargs))
        return RequestContext(self._perform(request, self._timeout, MOST_REDIRECTS, self._raise_for_status))

    def post(self, url: Any, *, data: Any = None, headers: Any = None, **kwargs: Any) -> RequestContext:
        """POST; takes what `request` takes, raises what it raises."""
        if type(data) is bytes and type(url) is str and not kwargs:
            request = self._patterns.post(url, data, headers)
            if request is not None:
                return RequestContext(self._perform(request, self._timeout, MOST_REDIRECTS, self._raise_for_status))
        return RequestContext(self._request("POST", url, data=data, headers=headers, **kwargs))

    def put(self, url: Any, *, data: Any = None, **kwargs: Any) -> RequestContext:
        """PUT; takes what `request` takes, raises what it raises."""
        return RequestContext(self._request("PUT", url, data=data, **kwargs))

    def delete(self, url: Any, **kwargs: Any) -> RequestContext:
        """DELETE; takes what `request` takes, raises what it raises."""
        return RequestContext(self._request("DELETE", url, **kwargs))

    def head(self, url: Any, *, allow_redirects: bool = False, **kwargs: Any) -> RequestContext:
        """HEAD; takes what `request` takes. Redirects are not followed unless asked for."""
        return RequestContext(self._request("HEAD", url, allow_redirects=allow_redirects, **kwargs))

    def options(self, url: Any, *, allow_redirects: bool = True, **kwargs: Any) -> RequestContext:
        """OPTIONS; takes what `request` takes, raises what it raises."""
        return RequestContext(self._request("OPTIONS", url, allow_redirects=allow_redirects, **kwargs))

    def patch(self, url: Any, *, data: Any = None, **kwargs: Any) -> RequestContext:
        """PATCH; takes what `request` takes, raises what it raises."""
        return RequestContext(self._request("PATCH", url, data=data, **kwargs))

    async def _request(
        self,
        method: str,
        url: Any,
        *,
        data: Any = None,
        json: Any = None,
        headers: Any = None,
        allow_redirects: bool = True,
        max_redirects: int | None = MOST_REDIRECTS,
        encoding: str = "utf-8",
        raise_for_status: Strictness | None = None,
        timeout: Any = _UNSET,
        read_until_eof: bool = True,
        **rare: Any,
    ) -> ClientResponse:
        # What few calls give is not named here, for each name costs every call its share: see `_make_request`.
        self._usable_connector()
        limit = self._timeout if timeout is _UNSET else coerce_timeout(timeout)
        most = check_redirects(max_redirects) if allow_redirects else 0
        strict = self._raise_for_status if raise_for_status is None else check_strictness(raise_for_status)
        is_plain = read_until_eof and type(url) is str and not rare
        key = None
        if is_plain and (data is not None or json is not None):
            data = make_payload(data, json, encoding=encoding, json_serialize=self._options.json_serialize)
            json = None
            key = pattern_key(method, url, headers, data) if data is not None else None
            if key is not None and (pattern := self._patterns.get(key)) is not None:
                return await self._perform(pattern.with_body(data), limit, most, strict)
        body = {"data": data, "json": json, "encoding": encoding}
        request = self._make_request(method, url, headers=headers, read_until_eof=read_until_eof, **body, **rare)
        if is_plain and self._request_class is ClientRequest and len(url) <= CACHED_URL_LIMIT:
            if key is not None:
                self._patterns.put(key, request)
            elif request.payload is None and not headers and request.method == "GET":
                self._plain_gets.put(url, request)
        return await self._perform(request, limit, most, strict)

    def _make_request(
        self,
        method: str,
        url: Any,
        *,
        params: Any = None,
        skip_auto_headers: Iterable[str] | None = None,
        cookies: Any = None,
        auth: BasicAuth | tuple[str, str] | None = None,
        version: Any = None,
        compress: Any = None,
        chunked: Any = None,
        expect100: bool = False,
        retry: Any = _UNSET,
        **common: Any,
    ) -> ClientRequest:
        """From the arguments of a call, which a class of the caller's own gets one and all (B-10)."""
        options = self._options if retry is _UNSET else self._options.retrying(check_retry(retry))
        try:
            return self._request_class(
                method,
                url if self._base_url is None else self._base_url.join(url),
                params=params,
                skip_auto_headers=skip_auto_headers,
                cookies=cookies,
                auth=auth,
                version=version,
                compress=compress,
                chunked=chunked,
                expect100=expect100,
                loop=self.loop,
                response_class=self._response_class,
                options=options,
                **common,
            )
        except TypeError as error:
            foreign = unknown_argument("a request", common)
            if foreign is None:
                raise
            raise foreign from error

    async def _upgrade(
        self, url: Any, headers: list[tuple[str, str]], timeout: Any, most: int, request: dict[str, Any]
    ) -> ClientResponse:
        limit = self._timeout if timeout is ... else coerce_timeout(timeout, "handshake_timeout")
        url = url if self._base_url is None else self._base_url.join(url)
        upgrade = UpgradeRequest("GET", url, headers=headers, version=HttpVersion11, options=self._options, **request)
        return await self._perform(upgrade, limit, most, False)

    async def _perform(
        self, request: ClientRequest, timeout: ClientTimeout, most: int, strict: Strictness
    ) -> ClientResponse:
        """Send, keep the cookies, follow redirects."""
        connector = self._connector
        if connector is None:
            connector = self._usable_connector()  # which says why there is none
        pool = connector.pool()
        deadline = NEVER if timeout.total is None else pool.clock.now() + timeout.total
        jar = self._jar
        history: list[ClientResponse] | None = None
        while True:
            if self._at_hand and jar:
                # Where a redirect leads is the peer's choice, so it is not the first origin of a cookie (K2).
                path = request.target.request_target.decode("ascii")
                header = jar.header_for(request.target.endpoint, path, binds=not history)
                if header is not None:
                    request = request.with_cookies(header)
            sent = send if request.options.retry is None else send_retrying
            exchange = await sent(pool, request, timeout, deadline, may_replay=self._retry_stale)
            try:
                response = self._response_class(request, exchange, pool)
                if response.head.sets_cookies:
                    target = request.target
                    values = response.headers.getall("Set-Cookie")
                    jar.update_from_response(values, target.endpoint, target.request_target.decode("ascii"))
                if self._shares_cookies:
                    connector.update_cookies(response.cookies)
            except BaseException:
                # A class or a jar of the caller's own: without a response nobody else would let go.
                exchange.abort()
                raise
            if not most or response.status not in REDIRECTS:
                break
            if history is None:
                history = []
            request = await self._next_request(request, response, history, most)
        if history:
            response.history = tuple(history)
        if strict:
            if strict is True:
                response.raise_for_status()
            else:
                await judge(strict, response)
        return response

    async def _next_request(
        self, request: ClientRequest, response: ClientResponse, history: list[ClientResponse], most: int
    ) -> ClientRequest:
        """Where a redirect leads. The answer that redirects is released, in any case."""
        try:
            redirect = follow(request.method, request.target, response.head)
            if redirect is None:
                raise RuntimeError("a redirect leads nowhere; this is a fault of keepwarm")
            response.history = tuple(history)
            history.append(response)
            if len(history) > most:
                raise TooManyRedirects(
                    f"{request.method} {history[0].url} was redirected more than max_redirects={most} times, last to "
                    f"{redirect.target.url}",
                    history=tuple(history),
                    urls=[str(hop.url) for hop in history],
                    endpoint=request.endpoint,
                )
            following = request.redirected(redirect)
        except BaseException as error:
            describe(error, request, response.head, history)
            response.close()
            raise
        await response.release()
        return following
