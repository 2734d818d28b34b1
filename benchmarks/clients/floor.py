"""The floor: the least that a Python client on uvloop can do and still parse the answer.

A fixed pool of bare protocol objects. A call is one write of bytes prepared beforehand and one future. The answer goes
through httptools; the headers are kept as a list of pairs, the body as a list of pieces that are joined once. There are
no time limits, no look at the headers, no check of a connection before it is used: no real client may be so careless.
"""

import asyncio
import ssl
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

from httptools import HttpResponseParser

from benchmarks.job import BODY, Client, Job, unexpected
from benchmarks.optional import optional_import

aiofastnet: Any = optional_import("aiofastnet")


class FloorConnection(asyncio.Protocol):
    __slots__ = ("_body", "_headers", "_loop", "_parser", "_transport", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._waiter: asyncio.Future[bytes] | None = None

    def exchange(self, request: bytes) -> asyncio.Future[bytes]:
        """Send the request; the future is the body."""
        self._waiter = waiter = self._loop.create_future()
        self._transport.write(request)
        return waiter

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
        self._idle: list[FloorConnection] = []
        self._request = encode(job, parts.netloc, parts.path)
        loop = asyncio.get_running_loop()
        create = partial(aiofastnet.create_connection, loop) if job.fast_tls else loop.create_connection
        options: dict[str, ssl.SSLContext | None] = {"ssl": job.tls_context()}
        self._create = partial(create, lambda: FloorConnection(loop), parts.hostname, parts.port, **options)

    async def call(self) -> bytes:
        idle = self._idle
        if idle:
            connection = idle.pop()
        else:
            _, connection = await self._create()
        body = await connection.exchange(self._request)
        if self._keepalive:
            idle.append(connection)
        else:
            connection.close()
        return body

    async def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


def encode(job: Job, netloc: str, path: str) -> bytes:
    """The request that a session with its usual default headers would send."""
    method, extra, body = ("POST", b"Content-Type: application/json\r\n", BODY) if job.post else ("GET", b"", b"")
    head = f"{method} {path} HTTP/1.1\r\nHost: {netloc}\r\nAccept: */*\r\nUser-Agent: floor\r\n".encode()
    length = f"Content-Length: {len(body)}\r\n".encode() if job.post else b""
    closing = b"" if job.keepalive else b"Connection: close\r\n"
    return head + extra + length + closing + b"\r\n" + body


async def open_client(job: Job) -> Client:
    return Floor(job)
