"""The floor of WebSockets: the least that a Python client on uvloop can do.

A bare protocol that counts bytes until all that must come are there, and frames that were masked beforehand. It reads
no frame, makes no message and checks nothing: no real client may be so careless.
"""

import asyncio
import struct
from functools import partial
from typing import Any, Final, cast
from urllib.parse import urlsplit

from benchmarks.job import Client, Job
from benchmarks.ws_calls import BINARY, SIZES, TEXT, Socket, converse, request_of
from benchmarks.ws_server import frame

KEY: Final = b"\0\0\0\0"  # masks nothing, so a payload goes as it is
HANDSHAKE: Final = (
    "GET {path} HTTP/1.1\r\nHost: {netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def masked(opcode: int, payload: bytes) -> bytes:
    """A message as a client sends it."""
    whole = frame(opcode, payload)
    start = len(whole) - len(payload)
    return whole[:1] + struct.pack("B", whole[1] | 0x80) + whole[2:start] + KEY + payload


class FloorSocket(asyncio.Protocol):
    """One connection. What is written and what must come is told by whoever opened it."""

    __slots__ = ("_drained", "_got", "_loop", "_transport", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._got = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not subclasses

    def data_received(self, data: bytes) -> None:
        self._got += len(data)
        if self._waiter is not None:
            self._waiter.set_result(None)
            self._waiter = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiter is not None:
            self._waiter.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def pause_writing(self) -> None:
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    def forget(self) -> None:
        """What came so far does not count."""
        self._got = 0

    async def write(self, data: bytes, _message: object = None) -> None:
        self._transport.write(data)
        if self._drained is not None:
            await self._drained

    async def read(self, size: int, message: bytes) -> bytes:
        """Wait until `size` more bytes are there, which are `message`."""
        while self._got < size:
            self._waiter = self._loop.create_future()
            await self._waiter
        self._got -= size
        return message

    async def close(self) -> None:
        self._transport.close()


async def open_client(job: Job) -> Client:
    loop = asyncio.get_running_loop()
    parts = urlsplit(job.url)
    handshake = HANDSHAKE.format(path=parts.path, netloc=parts.netloc).encode()
    text = TEXT.encode() if job.kind == "ws-echo" else request_of(job).encode()
    incoming = b"m" * SIZES.get(job.kind, 0)
    reply = b"done" if job.kind == "ws-send" else text
    said, sent = masked(1, text), masked(2, BINARY)
    answer, message = frame(1, reply), frame(2, incoming)

    async def open_socket() -> Socket:
        made: Any = await loop.create_connection(lambda: FloorSocket(loop), parts.hostname, parts.port)
        floor: FloorSocket = made[1]
        await floor.write(handshake)
        await floor.read(1, b"")
        floor.forget()
        return Socket(
            partial(floor.write, said),
            partial(floor.write, sent),
            partial(floor.read, len(answer), reply),
            partial(floor.read, len(message), incoming),
            floor.close,
        )

    return converse(open_socket, job)
