"""What the programs share: loops by name, a session that trusts the test's authority, output."""

import asyncio
import json
import ssl
import sys
from collections.abc import Callable
from typing import Any

import uvloop

from keepwarm.client.session import ClientSession
from keepwarm.pool.proxy_connector import ProxyConnector
from keepwarm.pool.tcp_connector import TCPConnector
from keepwarm.pool.unix_connector import UnixConnector

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.SelectorEventLoop,
}


def make_session(authority: str = "", *, way: str = "", fast: bool = False, limit: int | None = None) -> ClientSession:
    """A session; `authority` is the path of the certificate to trust, "" for none. `way` is the URL of a proxy, or the
    path of a unix socket, that all calls go through; "" for neither."""
    context = ssl.create_default_context(cafile=authority) if authority else None
    if way.startswith("/"):
        return ClientSession(connector=UnixConnector(way, ssl_context=context, limit=limit))
    if way:
        outer = context if way.startswith("https") else None
        proxy = ProxyConnector(way, force_close=False, ssl_context=context, proxy_ssl_context=outer, limit=limit)
        return ClientSession(connector=proxy)
    return ClientSession(connector=TCPConnector(ssl_context=context, fast_tls=fast, limit=limit))


async def fetch(calls: ClientSession, url: str) -> str:
    """GET the url; the nonce of the answer."""
    async with calls.get(url) as response:
        await response.read()
        return response.headers["X-Nonce"]


async def close(calls: ClientSession) -> None:
    await calls.close()


def say(what: Any) -> None:
    """Tell the test."""
    sys.stdout.write(json.dumps(what))
    sys.stdout.flush()
