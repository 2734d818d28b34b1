"""The bundled server: answers from memory, for machines without nginx, for holding idle connections open and for
WebSockets.

Run ``python -m benchmarks.server DIRECTORY``: it takes server.pem from the directory, listens on two free ports of
127.0.0.1 (plain and TLS) and on a unix socket in the directory, prints all three as one JSON line and ends when its
standard input does.
"""

import asyncio
import json
import resource
import ssl
import sys
from pathlib import Path
from typing import cast

import uvloop
from httptools import HttpParserUpgrade, HttpRequestParser

from benchmarks.ws_server import WebSocketProtocol, agreement

JSON_SIZE = 150
JSON_BODY = b'{"id":12345,"name":"warm","tags":["a","b"],"pad":"'.ljust(JSON_SIZE - 2, b"x") + b'"}'
MIB = 1024 * 1024
HOST = "127.0.0.1"


def answer(body: bytes, content_type: str) -> bytes:
    head = (
        f"HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: keep-alive\r\n\r\n"
    )
    return head.encode() + body


ANSWERS = {
    b"/json": answer(JSON_BODY, "application/json"),
    b"/post": answer(JSON_BODY, "application/json"),
    b"/upload": answer(JSON_BODY, "application/json"),
    b"/mib": answer(b"\0" * MIB, "application/octet-stream"),
}
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class Hall:
    """Keeps callers of /hold/N waiting until N of them are there, so that N connections are open at once."""

    def __init__(self) -> None:
        self._held: list[asyncio.Transport] = []

    def enter(self, transport: asyncio.Transport, wanted: int) -> None:
        self._held.append(transport)
        if len(self._held) >= wanted:
            held, self._held = self._held, []
            for transport in held:
                transport.write(ANSWERS[b"/json"])


class ServerProtocol(asyncio.Protocol):
    """Answers a request when all of it was read. Bodies are thrown away as they come."""

    def __init__(self, hall: Hall) -> None:
        self._hall = hall
        self._parser = HttpRequestParser(self)
        self._path = b""
        self._key = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not subclasses

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._transport.set_protocol(WebSocketProtocol(self._transport))
            self._transport.write(agreement(self._key))

    def on_message_begin(self) -> None:
        self._path = b""

    def on_url(self, part: bytes) -> None:
        self._path += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"sec-websocket-key":
            self._key = value

    def on_message_complete(self) -> None:
        if self._parser.should_upgrade():
            return
        if self._path.startswith(b"/hold/"):
            self._hall.enter(self._transport, int(self._path[6:]))
            return
        if self._path.startswith(b"http://"):  # through a proxy
            self._path = self._path[self._path.index(b"/", len(b"http://")) :]
        self._transport.write(ANSWERS.get(self._path, NOT_FOUND))
        if not self._parser.should_keep_alive():
            self._transport.close()


def allow_descriptors() -> None:
    """Raise the soft limit of open files to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def serve(directory: Path) -> None:
    allow_descriptors()
    loop = asyncio.get_running_loop()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(directory / "server.pem")
    hall = Hall()
    plain = await loop.create_server(lambda: ServerProtocol(hall), HOST, 0, backlog=4096)
    secure = await loop.create_server(lambda: ServerProtocol(hall), HOST, 0, backlog=4096, ssl=tls)
    path = str(directory / "bench.sock")
    await loop.create_unix_server(lambda: ServerProtocol(hall), path, backlog=4096)
    ports = [server.sockets[0].getsockname()[1] for server in (plain, secure)]
    print(json.dumps({"tcp": ports[0], "tls": ports[1], "unix": path}), flush=True)
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    await stdin.read()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1])))
