"""A proxy that only passes bytes on, so that a client's own work through one can be measured.

Run ``python -m benchmarks.proxy PORT PORT``: it listens on free ports of 127.0.0.1, prints them as one JSON line and
ends when its standard input does. The first is the proxy's. CONNECT is answered; any other request is passed on as it
is to the host in its URL, and so is everything that comes after it on that connection: one connection is for one host.
Each of the others leads straight to one of the given ports, so that those who use no proxy have as long a way.
"""

import asyncio
import json
import re
import sys
from functools import partial
from typing import cast

import uvloop

from benchmarks.server import HOST, allow_descriptors

FIRST_LINE = re.compile(rb"(CONNECT |[A-Z]+ http://)([0-9.]+):([0-9]+)[ /]")
OPENED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class End(asyncio.Protocol):
    """One end of a relayed connection; what it gets goes to `other`."""

    def __init__(self, other: "End | None" = None) -> None:
        self.other = other
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are not subclasses

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.transport = None
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class ClientEnd(End):
    """Connects to `port`, or else reads the first head, and connects to where it leads."""

    def __init__(self, port: int | None = None) -> None:
        super().__init__()
        self._port = port
        self._head = b""
        self._task: asyncio.Task[None] | None = None

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            super().data_received(data)
            return
        self._head += data
        if self._task is None and (self._port is not None or b"\r\n\r\n" in self._head):
            self._task = asyncio.get_running_loop().create_task(self._lead())

    async def _lead(self) -> None:
        if self._port is not None:
            await self._connect(HOST, self._port)
        elif found := FIRST_LINE.match(self._head):
            await self._connect(found[2].decode(), int(found[3]))
            if found[1] == b"CONNECT ":
                self._head = self._head[self._head.index(b"\r\n\r\n") + 4 :]
                if self.transport is not None:
                    self.transport.write(OPENED)
        elif self.transport is not None:
            self.transport.close()
        super().data_received(self._head)

    async def _connect(self, host: str, port: int) -> None:
        end = End(self)
        await asyncio.get_running_loop().create_connection(lambda: end, host, port)
        self.other = end


async def serve(ports: list[int]) -> None:
    allow_descriptors()
    loop = asyncio.get_running_loop()
    makers = [ClientEnd, *(partial(ClientEnd, port) for port in ports)]
    servers = [await loop.create_server(make, HOST, 0, backlog=4096) for make in makers]
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    await stdin.read()


if __name__ == "__main__":
    uvloop.run(serve([int(port) for port in sys.argv[1:]]))
