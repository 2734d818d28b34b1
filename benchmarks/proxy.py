"""A proxy that only passes bytes on, so that a client's own work through one can be measured.

Run ``python -m benchmarks.proxy``: it listens on a free port of 127.0.0.1, prints the port and ends when its standard
input does. CONNECT is answered; any other request is passed on as it is to the host in its URL, and so is everything
that comes after it on that connection: one connection is for one host.
"""

import asyncio
import re
import sys
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
    """Reads the first head, and connects to where it leads."""

    def __init__(self) -> None:
        super().__init__()
        self._head = b""
        self._task: asyncio.Task[None] | None = None

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            super().data_received(data)
            return
        self._head += data
        if b"\r\n\r\n" in self._head and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        found = FIRST_LINE.match(self._head)
        if found is not None:
            end = End(self)
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: end, found[2].decode(), int(found[3]))
            self.other = end
            if found[1] == b"CONNECT ":
                end_of_head = self._head.index(b"\r\n\r\n") + 4
                self._head = self._head[end_of_head:]
                super().data_received(self._head)
                if self.transport is not None:
                    self.transport.write(OPENED)
            else:
                super().data_received(self._head)
        elif self.transport is not None:
            self.transport.close()


async def serve() -> None:
    allow_descriptors()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(ClientEnd, HOST, 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    await stdin.read()


if __name__ == "__main__":
    uvloop.run(serve())
