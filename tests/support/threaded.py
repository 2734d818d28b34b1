"""ThreadedServer: a server in threads, for tests whose subject is the event loop itself."""

import socket
import ssl
import threading
from types import TracebackType
from typing import Self

from tests.support.certificates import server_context
from tests.support.http1 import ok, response

# Nothing here waits that long unless the test fails.
PATIENCE = 5.0
SWALLOWED = 65536


class ThreadedServer:
    """Answers each request on loopback with `ok()`; a request for /half gets half of its body, one for /mute nothing.

    `accepted` counts connections; `requests` has the heads in the order of their arrival.
    """

    def __init__(self, *, tls: bool = False) -> None:
        self._context = server_context() if tls else None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._accepting = threading.Thread(target=self._accept)
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self.requests: list[bytes] = []

    def url(self, path: str = "/") -> str:
        return f"{'http' if self._context is None else 'https'}://127.0.0.1:{self.port}{path}"

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until the clients have closed every connection."""
        self._closing = True
        with socket.create_connection(("127.0.0.1", self.port)):
            self._accepting.join()
        for thread in self._threads:
            thread.join(PATIENCE)
        self._listener.close()
        if error is None and any(thread.is_alive() for thread in self._threads):
            raise AssertionError("a connection was never closed")

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            if self._closing:
                sock.close()
                return
            self.accepted += 1
            sock.settimeout(PATIENCE)
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            with sock if self._context is None else self._context.wrap_socket(sock, server_side=True) as stream:
                while request := _read_head(stream):
                    self.requests.append(request)
                    stream.sendall(_answer(request))
        except (OSError, ssl.SSLError):
            sock.close()


def _read_head(stream: socket.socket) -> bytes:
    """One request without a body; b"" at the end of the connection."""
    found = b""
    while not found.endswith(b"\r\n\r\n"):
        piece = stream.recv(SWALLOWED)
        if not piece:
            return b""
        found += piece
    return found


def _answer(request: bytes) -> bytes:
    path = request.split(b" ", 2)[1]
    if path == b"/mute":
        return b""
    if path == b"/half":
        return response(body=b"half", length=8)
    return ok()
