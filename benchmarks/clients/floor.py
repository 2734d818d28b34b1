"""The floor: the least that a Python client on uvloop can do and still parse the answer.

A fixed pool of bare protocol objects. A call is one write of bytes prepared beforehand and one future. The answer goes
through httptools; the headers are kept as a list of pairs, the body as a list of pieces that are joined once. There are
no time limits, no look at the headers, no check of a connection before it is used: no real client may be so careless.

An upload is the same pieces that the others get from a generator, without the generator and without a task: each is
handed to the transport with the frame of its chunk, uncopied, until the transport says stop, and again when it says go.
"""

import asyncio
import ssl
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

from httptools import HttpResponseParser

from benchmarks import ws_floor
from benchmarks.job import BODY, PIECE, PIECES, Client, Job, Kind, unexpected
from benchmarks.optional import optional_import

aiofastnet: Any = optional_import("aiofastnet")

CHUNK = (b"%x\r\n" % len(PIECE), PIECE, b"\r\n")
LAST_CHUNK = b"0\r\n\r\n"


class FloorConnection(asyncio.Protocol):
    __slots__ = ("_body", "_headers", "_is_paused", "_left", "_loop", "_parser", "_transport", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._waiter: asyncio.Future[bytes] | None = None
        self._left = 0
        self._is_paused = False

    def exchange(self, request: bytes) -> asyncio.Future[bytes]:
        """Send the request; the future is the body."""
        self._waiter = waiter = self._loop.create_future()
        self._transport.write(request)
        return waiter

    def upload(self, head: bytes) -> asyncio.Future[bytes]:
        """Send the head and the pieces; the future is the body of the answer."""
        waiter = self.exchange(head)
        self._left = PIECES
        self._send_pieces()
        return waiter

    def _send_pieces(self) -> None:
        transport = self._transport
        while self._left and not self._is_paused:
            self._left -= 1
            transport.writelines(CHUNK)
            if not self._left:
                transport.write(LAST_CHUNK)

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._send_pieces()

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not subclasses

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def on_message_begin(self) -> None:
        self._headers = []
        self._body = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return
        status = self._parser.get_status_code()
        if status == 200:
            body = self._body
            waiter.set_result(body[0] if len(body) == 1 else b"".join(body))
        else:
            waiter.set_exception(unexpected(status, "the server"))


class Floor:
    """At most `at_once` connections, newest first."""

    def __init__(self, job: Job) -> None:
        parts = urlsplit(job.url)
        assert parts.hostname is not None and parts.port is not None
        self._keepalive = job.keepalive
        self._send = FloorConnection.upload if job.kind == "upload" else FloorConnection.exchange
        self._idle: list[FloorConnection] = []
        self._request = encode(job, parts.netloc, parts.path)
        loop = asyncio.get_running_loop()
        if job.unix_path is not None:
            self._create = partial(loop.create_unix_connection, lambda: FloorConnection(loop), job.unix_path)
            return
        create = partial(aiofastnet.create_connection, loop) if job.fast_tls else loop.create_connection
        options: dict[str, ssl.SSLContext | None] = {"ssl": job.tls_context()}
        self._create = partial(create, lambda: FloorConnection(loop), parts.hostname, parts.port, **options)

    async def call(self) -> bytes:
        idle = self._idle
        if idle:
            connection = idle.pop()
        else:
            _, connection = await self._create()
        body = await self._send(connection, self._request)
        if self._keepalive:
            idle.append(connection)
        else:
            connection.close()
        return body

    async def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


FRAMING: dict[Kind, bytes] = {
    "get": b"",
    "post": b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(BODY),
    "upload": b"Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n",
}


def encode(job: Job, netloc: str, path: str) -> bytes:
    """The request that a session with its usual default headers would send; of an upload the head."""
    method = "GET" if job.kind == "get" else "POST"
    head = f"{method} {path} HTTP/1.1\r\nHost: {netloc}\r\nAccept: */*\r\nUser-Agent: floor\r\n".encode()
    closing = b"" if job.keepalive else b"Connection: close\r\n"
    return head + FRAMING[job.kind] + closing + b"\r\n" + (BODY if job.kind == "post" else b"")


async def open_client(job: Job) -> Client:
    if job.is_websocket:
        return await ws_floor.open_client(job)
    return Floor(job)
