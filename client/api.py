"""request, get, ...: calls without a session. All of them are deprecated: use ClientSession.

Each call makes a connector that keeps no connection, unless it is given one, and a session around it. When the answer
is there the session lets go of the connector. One that the call made closes with the answer's last byte; one that was
given stays as it is.
"""

import asyncio
import warnings
from collections.abc import Iterable
from typing import Any

from keepwarm.client.context import RequestContext
from keepwarm.client.request import ClientRequest
from keepwarm.client.response import ClientResponse
from keepwarm.client.session import ClientSession
from keepwarm.client.version import HttpVersion, HttpVersion11
from keepwarm.client.ws_context import WSContext
from keepwarm.pool.auth import BasicAuth
from keepwarm.pool.connector import BaseConnector
from keepwarm.pool.tcp_connector import TCPConnector
from keepwarm.ws.websocket import ClientWebSocketResponse


def request(
    method: str,
    url: Any,
    *,
    params: Any = None,
    data: Any = None,
    headers: Any = None,
    skip_auto_headers: Iterable[str] | None = None,
    cookies: Any = None,
    auth: BasicAuth | None = None,
    allow_redirects: bool = True,
    max_redirects: int = 10,
    encoding: str = "utf-8",
    version: HttpVersion | str = HttpVersion11,
    compress: bool | str | None = None,
    chunked: int | bool | None = None,
    expect100: bool = False,
    connector: BaseConnector | None = None,
    loop: asyncio.AbstractEventLoop | None = None,
    read_until_eof: bool = True,
    request_class: type[ClientRequest] | None = None,
    response_class: type[ClientResponse] | None = None,
    **extensions: Any,
) -> RequestContext:
    """Make one request: await it, or use ``async with``. Deprecated: use `ClientSession.request`.

    `cookies`: sent with this request and its redirects. `connector`: where the connection comes from; it stays
    open. `loop`: must be the connector's, if both are given. `request_class`, `response_class`: as for
    ClientSession, None for its defaults. The others are those of `ClientSession.request`; so are the
    `extensions`, such as `json` and `timeout`.

    Gives a DeprecationWarning at once. Raises when it is awaited, and is cancelled, as `ClientSession.request`.
    """
    _warn("request")
    return RequestContext(
        _request(
            method,
            url,
            params=params,
            data=data,
            headers=headers,
            skip_auto_headers=skip_auto_headers,
            cookies=cookies,
            auth=auth,
            allow_redirects=allow_redirects,
            max_redirects=max_redirects,
            encoding=encoding,
            version=version,
            compress=compress,
            chunked=chunked,
            expect100=expect100,
            connector=connector,
            loop=loop,
            read_until_eof=read_until_eof,
            request_class=request_class,
            response_class=response_class,
            **extensions,
        )
    )


def get(url: Any, **kwargs: Any) -> RequestContext:
    """GET; takes what `request` takes. Deprecated: use `ClientSession.get`."""
    _warn("get")
    return RequestContext(_request("GET", url, **kwargs))


def options(url: Any, **kwargs: Any) -> RequestContext:
    """OPTIONS; takes what `request` takes. Deprecated: use `ClientSession.options`."""
    _warn("options")
    return RequestContext(_request("OPTIONS", url, **kwargs))


def head(url: Any, **kwargs: Any) -> RequestContext:
    """HEAD; takes what `request` takes. Deprecated: use `ClientSession.head`.

    It follows redirects unless told not to, as `request` does; `ClientSession.head` does not unless told to.
    """
    _warn("head")
    return RequestContext(_request("HEAD", url, **kwargs))


def delete(url: Any, **kwargs: Any) -> RequestContext:
    """DELETE; takes what `request` takes. Deprecated: use `ClientSession.delete`."""
    _warn("delete")
    return RequestContext(_request("DELETE", url, **kwargs))


def post(url: Any, *, data: Any = None, **kwargs: Any) -> RequestContext:
    """POST; takes what `request` takes. Deprecated: use `ClientSession.post`."""
    _warn("post")
    return RequestContext(_request("POST", url, data=data, **kwargs))


def put(url: Any, *, data: Any = None, **kwargs: Any) -> RequestContext:
    """PUT; takes what `request` takes. Deprecated: use `ClientSession.put`."""
    _warn("put")
    return RequestContext(_request("PUT", url, data=data, **kwargs))


def patch(url: Any, *, data: Any = None, **kwargs: Any) -> RequestContext:
    """PATCH; takes what `request` takes. Deprecated: use `ClientSession.patch`."""
    _warn("patch")
    return RequestContext(_request("PATCH", url, data=data, **kwargs))


def ws_connect(
    url: Any,
    *,
    protocols: Iterable[str] = (),
    timeout: float | None = 10.0,
    connector: BaseConnector | None = None,
    auth: BasicAuth | None = None,
    ws_response_class: type[ClientWebSocketResponse] = ClientWebSocketResponse,
    autoclose: bool = True,
    autoping: bool = True,
    loop: asyncio.AbstractEventLoop | None = None,
    origin: str | None = None,
    headers: Any = None,
    **extensions: Any,
) -> WSContext:
    """Open a WebSocket: await it, or use ``async with``. Deprecated: use `ClientSession.ws_connect`.

    `connector`: where the connection comes from; it stays open. The others, and the `extensions`, are those of
    `ClientSession.ws_connect`. Gives a DeprecationWarning at once. Raises when it is awaited, and is cancelled, as
    `ClientSession.ws_connect`.
    """
    _warn("ws_connect")
    arguments = {
        "protocols": protocols,
        "timeout": timeout,
        "auth": auth,
        "autoclose": autoclose,
        "autoping": autoping,
        "origin": origin,
        "headers": headers,
        **extensions,
    }
    return WSContext(_ws_connect(url, connector, loop, ws_response_class, arguments))


def _warn(name: str) -> None:
    # Above this function: the deprecated one, then its caller.
    warnings.warn(f"keepwarm.{name}() is deprecated: use ClientSession().{name}()", DeprecationWarning, stacklevel=3)


async def _request(
    method: str,
    url: Any,
    *,
    cookies: Any = None,
    connector: BaseConnector | None = None,
    loop: asyncio.AbstractEventLoop | None = None,
    request_class: type[ClientRequest] | None = None,
    response_class: type[ClientResponse] | None = None,
    **arguments: Any,
) -> ClientResponse:
    own = TCPConnector(force_close=True, loop=loop) if connector is None else None
    session = ClientSession(
        connector=connector or own,
        loop=loop,
        cookies=cookies,
        request_class=request_class or ClientRequest,
        response_class=response_class or ClientResponse,
    )
    try:
        return await session.request(method, url, **arguments)
    finally:
        session.detach()
        if own is not None:
            own.wind_down()


async def _ws_connect(
    url: Any,
    connector: BaseConnector | None,
    loop: asyncio.AbstractEventLoop | None,
    ws_response_class: type[ClientWebSocketResponse],
    arguments: dict[str, Any],
) -> ClientWebSocketResponse:
    own = TCPConnector(force_close=True, loop=loop) if connector is None else None
    session = ClientSession(connector=connector or own, loop=loop, ws_response_class=ws_response_class)
    try:
        return await session.ws_connect(url, **arguments)
    finally:
        session.detach()
        if own is not None:
            own.wind_down()
