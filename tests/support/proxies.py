"""HTTP proxies for tests: scripts that play proxy and origin on one connection, and one that passes bytes on."""

import asyncio
import ssl as ssl_module
from typing import Any

from keepwarm.client.session import ClientSession
from keepwarm.pool.proxy_connector import ProxyConnector
from tests.support.certificates import client_context, server_context
from tests.support.http1 import Request
from tests.support.resolvers import Recording
from tests.support.script import Handler, answering, run_script
from tests.support.server import Peer, Script, ok

# The certificates of the tests are good for these.
PROXY, ORIGIN, OTHER = "proxy.keepwarm.test", "origin.keepwarm.test", "other.keepwarm.test"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def through(
    port: int, *, scheme: str = "http", userinfo: str = "", headers: Any = None, **options: Any
) -> ClientSession:
    """A session through the proxy at `port`, that trusts the tests' authority. Only PROXY's name can be looked up:
    the resolver says "this machine" to everything and notes what it was asked."""
    given = {"ssl_context": client_context(), "resolver": Recording("127.0.0.1"), "force_close": False}
    options = given | {"tls_resumption": True} | options
    if scheme == "https":
        options = {"proxy_ssl_context": client_context()} | options
    connector = ProxyConnector(f"{scheme}://{userinfo}{PROXY}:{port}", **options)
    return ClientSession(connector=connector, headers=headers)


def tunnelling(
    inside: Script | None = None, *, context: ssl_module.SSLContext | None = None, answer: bytes = ESTABLISHED
) -> Handler:
    """A script that takes CONNECT, says `answer`, and is the origin from then on: TLS, and `inside`, by default an
    answer with the nonce for each request."""

    async def handle(peer: Peer) -> None:
        request = await peer.head()
        assert request.method == "CONNECT", request
        peer.send(answer)
        await peer.start_tls(context or server_context())
        await run_script(inside or answering(lambda request: ok(nonce=request.nonce)), peer)

    return handle


class RelayingProxy:
    """An HTTP proxy that opens tunnels to ports of this machine, whatever the host's name, and passes bytes on.

    With `ssl` it is spoken to over TLS. `requests` are the heads that it got, `resumed` says for each of them whether
    its connection took up an earlier TLS session.
    """

    def __init__(self, ssl: ssl_module.SSLContext | None = None) -> None:
        self._ssl = ssl
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests: list[Request] = []
        self.resumed: list[bool] = []
        self.port = 0

    async def __aenter__(self) -> "RelayingProxy":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._ssl)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of ours: the loop would report one of its own that is cancelled.
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            request = Request(await reader.readuntil(b"\r\n\r\n"))
            self.requests.append(request)
            tls = writer.get_extra_info("ssl_object")
            self.resumed.append(tls is not None and tls.session_reused)
            port = int(request.target.rpartition(":")[2])
            origin_reader, origin_writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(origin_writer)
            writer.write(ESTABLISHED)
            await asyncio.gather(_pump(reader, origin_writer), _pump(origin_reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client went away
        finally:
            for each in writers:
                each.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError("one side is done, and so is the other")
