"""A small HTTP proxy, for the demo only. Run ``python -m examples.demo.proxy``.

It listens on a free port of 127.0.0.1, prints it as a JSON list, and ends when its standard input does. Requests with
an absolute URL go on to their server over a connection that is kept, ``CONNECT`` opens a tunnel; both want LOGIN and
PASSWORD. Bodies must have a Content-Length. It speaks to 127.0.0.1 and to nobody else.
"""

import asyncio
import base64
import contextlib
import json
import os
import sys
from urllib.parse import urlsplit

import uvloop

HOST = "127.0.0.1"
LOGIN, PASSWORD = "demo", "warm"
CREDENTIALS = b"Basic " + base64.b64encode(f"{LOGIN}:{PASSWORD}".encode())
PIECE = 65536
NO_BODY = b"Content-Length: 0\r\n\r\n"

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


async def carry(reader: Reader, writer: Writer) -> None:
    """Pass everything on, and then the end."""
    try:
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


class Client:
    """One connection from a client, and the one to the server that it talks to."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer
        self._port: int | None = None
        self._server: Writer | None = None
        self._answers: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        try:
            while await self._one_request():
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            self._writer.close()
            if self._server is not None:
                self._server.close()

    async def _one_request(self) -> bool:
        """Take one request and pass it on. False when there can be no further one."""
        line, *fields = (await self._reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[:-2]
        method, target, _ = line.split(b" ")
        known = {name.lower(): value.strip() for name, _, value in (field.partition(b":") for field in fields)}
        if known.get(b"proxy-authorization") != CREDENTIALS:
            return self._refuse(b'407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="demo"')
        url = urlsplit(f"//{target.decode()}" if method == b"CONNECT" else target.decode())
        if url.hostname != HOST or url.port is None:
            return self._refuse(b"403 Forbidden")
        server = await self._reach(url.port)
        if method == b"CONNECT":
            self._writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await carry(self._reader, server)
            return False
        kept = [field for field in fields if not field.lower().startswith(b"proxy-")]
        server.write(b"\r\n".join([b"%b %b HTTP/1.1" % (method, url.path.encode()), *kept, b"", b""]))
        if length := int(known.get(b"content-length", b"0")):
            server.write(await self._reader.readexactly(length))
        return True

    async def _reach(self, port: int) -> Writer:
        """The connection to the server, whose answers go to the client as they come."""
        if self._server is None or self._port != port:
            if self._server is not None:
                raise ConnectionError("a client that changes its server needs another connection")
            reader, self._server = await asyncio.open_connection(HOST, port)
            self._port = port
            self._answers = asyncio.create_task(carry(reader, self._writer))
        return self._server

    def _refuse(self, status: bytes) -> bool:
        self._writer.write(b"HTTP/1.1 %b\r\n%b" % (status, NO_BODY))
        return False


async def main() -> None:
    async def on_client(reader: Reader, writer: Writer) -> None:
        await Client(reader, writer).serve()

    server = await asyncio.start_server(on_client, HOST, 0, backlog=256)
    print(json.dumps([server.sockets[0].getsockname()[1]]), flush=True)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_stdin() -> None:
        if not os.read(sys.stdin.fileno(), 1):
            loop.remove_reader(sys.stdin.fileno())
            ended.set()

    loop.add_reader(sys.stdin.fileno(), on_stdin)
    await ended.wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(main())
