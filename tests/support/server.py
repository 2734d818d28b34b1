"""ScriptedServer: an HTTP peer that does exactly what a test tells it, at socket level.

    async def cut_short(peer):
        await peer.request()
        peer.send(response(body=b"12345", length=9))
        peer.fin()

    async with ScriptedServer(cut_short, answer_all) as server:
        ... server.url("/x") ...
    assert [peer.closed for peer in server.connections] == ["fin", "fin"]

Script k serves connection k, and the last one serves all that follow. A script is an async function or a list of
steps (tests.support.script). When it returns, the server sends FIN and waits for the client to close. Nothing here
depends on time: every wait is for an event. A script that fails resets its connection, and fails the test.
"""

import asyncio
import os
import socket
import ssl as ssl_module
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

from tests.support.http1 import Request, chunk, chunked, head, ok, parse_fields, response
from tests.support.peer import Changes, Peer, PeerGone
from tests.support.script import (
    Answer,
    Cut,
    Drip,
    Fin,
    Handler,
    Recv,
    RecvRequest,
    Repeat,
    Rst,
    Script,
    Send,
    Stall,
    Step,
    Tell,
    UntilClosed,
    Wait,
    answer_all,
    answering,
    run_script,
)

__all__ = [
    "Answer",
    "Cut",
    "Drip",
    "Fin",
    "Handler",
    "Peer",
    "PeerGone",
    "Recv",
    "RecvRequest",
    "Repeat",
    "Request",
    "Rst",
    "Script",
    "ScriptedServer",
    "Send",
    "Stall",
    "Step",
    "Tell",
    "UntilClosed",
    "Wait",
    "answer_all",
    "answering",
    "chunk",
    "chunked",
    "head",
    "ok",
    "parse_fields",
    "response",
    "unserved_port",
]


class ScriptedServer:
    """Listens on loopback (or on the unix socket `path`), with TLS if `ssl` is given.

    `reading=False` accepts without reading a byte, until the script calls `resume()`; `rcvbuf` bounds what the kernel
    takes meanwhile. `port` is for a server that comes back where another one was.
    """

    def __init__(
        self,
        *scripts: Script,
        ssl: ssl_module.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        path: str | os.PathLike[str] | None = None,
        reading: bool = True,
        rcvbuf: int | None = None,
    ) -> None:
        self._scripts: tuple[Script, ...] = scripts or (answer_all,)
        self._ssl = ssl
        self._reading = reading
        self._rcvbuf = rcvbuf
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None
        self.changes = Changes()
        self.host = host
        self.port = port
        self.path = None if path is None else os.fspath(path)
        self.connections: list[Peer] = []
        self.requests: list[Request] = []
        self.errors: list[Exception] = []

    @property
    def accepted(self) -> int:
        """How many connections have been accepted, TLS handshakes that failed included."""
        return len(self.connections)

    @property
    def open(self) -> int:
        """How many connections the client has not ended."""
        return sum(not peer.closed for peer in self.connections)

    def url(self, path: str = "/") -> str:
        """The URL of `path` on this server."""
        scheme = "http" if self._ssl is None else "https"
        if self.path is not None:
            return f"{scheme}://localhost{path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}{path}"

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until `condition()` holds; it is asked after each event on any connection."""
        await self.changes.until(condition)

    async def until_accepted(self, count: int) -> None:
        """Wait until `count` connections have been accepted."""
        await self.until(lambda: len(self.connections) >= count)

    async def until_requests(self, count: int) -> None:
        """Wait until `count` request heads have arrived."""
        await self.until(lambda: len(self.requests) >= count)

    async def until_idle(self) -> None:
        """Wait until the client has ended every connection."""
        await self.until(lambda: not self.open)

    async def start(self) -> None:
        """Listen. `async with` does it too."""
        loop = asyncio.get_running_loop()
        sock = self._listening_socket()
        try:
            if self.path is None:
                self._server = await loop.create_server(self._make_peer, sock=sock)
                self.port = sock.getsockname()[1]
            else:
                self._server = await loop.create_unix_server(self._make_peer, sock=sock)
        except BaseException:
            sock.close()
            raise

    def stop_listening(self) -> None:
        """Refuse new connections; those that are open go on."""
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        """Stop all scripts, let go of all connections, and wait until they are gone."""
        self.stop_listening()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self.connections:
            if not peer.lost:
                peer.abort()
        await self.until(lambda: all(peer.lost for peer in self.connections))
        if self._server is not None:
            await self._server.wait_closed()
        if self.path is not None:
            with suppress(FileNotFoundError):  # newer Pythons remove it themselves
                os.unlink(self.path)

    async def __aenter__(self) -> "ScriptedServer":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
        if self.errors and error is None:
            raise ExceptionGroup("scripts failed", self.errors)
        if error is not None:
            for failure in self.errors:
                error.add_note(f"a script failed: {failure!r}")

    # A peer calls these.

    def on_accept(self, peer: Peer) -> None:
        peer.index = len(self.connections)
        self.connections.append(peer)
        self._tasks.append(asyncio.get_running_loop().create_task(self._serve(peer)))
        self.changes.notify()

    def on_request(self, request: Request) -> None:
        self.requests.append(request)

    def on_change(self) -> None:
        self.changes.notify()

    async def _serve(self, peer: Peer) -> None:
        try:
            if self._ssl is not None:
                await peer.start_tls(self._ssl)
            await run_script(self._scripts[min(peer.index, len(self._scripts) - 1)], peer)
        except PeerGone:
            pass
        except Exception as exc:
            self.errors.append(exc)
            peer.rst()
        else:
            peer.fin()
            await peer.until_closed()
        if not peer.lost:
            peer.close()

    def _make_peer(self) -> Peer:
        return Peer(self, reading=self._reading)

    def _listening_socket(self) -> socket.socket:
        if self.path is not None:
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(self.path)
        else:
            sock = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self.host, self.port))
        if self._rcvbuf is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._rcvbuf)
        sock.setblocking(False)
        sock.listen(1024)
        return sock


@contextmanager
def unserved_port(host: str = "127.0.0.1") -> Iterator[int]:
    """A port where connecting is refused, held for the time so that nobody else can listen on it."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.bind((host, 0))
        yield sock.getsockname()[1]
