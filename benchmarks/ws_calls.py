"""What the WebSocket scenarios do, for every client alike: with the functions that it has for it."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from benchmarks.job import Client, Job, Kind
from benchmarks.server import MIB

TEXT: Final = "x" * 256
BINARY: Final = b"z" * 65536
SIZES: Final[dict[Kind, int]] = {"ws-stream": 256, "ws-mib": MIB}
HEARTBEAT: Final = 600.0  # long enough for no ping to fall into a measurement


class Socket(NamedTuple):
    """An open WebSocket by its bound methods, so that nothing of ours stands between a call and the client."""

    send_str: Callable[[str], Awaitable[Any]]
    send_bytes: Callable[[bytes], Awaitable[Any]]
    receive_str: Callable[[], Awaitable[Any]]
    receive_bytes: Callable[[], Awaitable[Any]]
    close: Callable[[], Awaitable[Any]]


OpenSocket = Callable[[], Awaitable[Socket]]


class Conversation:
    """Calls over WebSockets that stay open, one for each caller at a time."""

    def __init__(self, open_socket: OpenSocket, close_all: Callable[[], Awaitable[Any]] | None, job: Job) -> None:
        self._open = open_socket
        self._close_all = close_all
        self._idle: list[Socket] = []
        self._messages = job.messages
        self._request = request_of(job)

    async def call(self) -> bytes | str:
        socket = self._idle.pop() if self._idle else await self._open()
        answer = await self._talk(socket)
        self._idle.append(socket)
        return answer

    async def _talk(self, socket: Socket) -> bytes | str:
        raise NotImplementedError

    async def close(self) -> None:
        for socket in self._idle:
            await socket.close()
        if self._close_all is not None:
            await self._close_all()


class Echo(Conversation):
    async def _talk(self, socket: Socket) -> bytes | str:
        await socket.send_str(TEXT)
        answer: str = await socket.receive_str()
        return answer


class Stream(Conversation):
    """Ask for many messages; the last one is the answer."""

    async def _talk(self, socket: Socket) -> bytes | str:
        await socket.send_str(self._request)
        receive = socket.receive_bytes
        for _ in range(self._messages - 1):
            await receive()
        last: bytes = await receive()
        return last


class Send(Conversation):
    """Send many messages; that all came is the answer."""

    async def _talk(self, socket: Socket) -> bytes | str:
        await socket.send_str(self._request)
        send = socket.send_bytes
        for _ in range(self._messages):
            await send(BINARY)
        answer: str = await socket.receive_str()
        return answer


class Hold(Conversation):
    """Each call opens a WebSocket and leaves it open."""

    async def call(self) -> bytes | str:
        self._idle.append(await self._open())
        return b""


def request_of(job: Job) -> str:
    """The text message that begins a call."""
    if job.kind == "ws-send":
        return f"sink {job.messages}"
    return f"stream {job.messages} {SIZES.get(job.kind, 0)}"


KINDS: Final[dict[Kind, type[Conversation]]] = {
    "ws-echo": Echo,
    "ws-stream": Stream,
    "ws-mib": Stream,
    "ws-send": Send,
    "ws-idle": Hold,
}


def converse(open_socket: OpenSocket, job: Job, close_all: Callable[[], Awaitable[Any]] | None = None) -> Client:
    """The client of a WebSocket job. `close_all` ends what all its sockets have in common."""
    return KINDS[job.kind](open_socket, close_all, job)


def heartbeat_of(job: Job) -> float | None:
    return HEARTBEAT if job.kind == "ws-idle" else None
