"""What tests of unix sockets need: a short path, a socket of another kind, a server whose queue is full."""

import contextlib
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keepwarm.client.session import ClientSession
from keepwarm.pool.tls import TLSOptions
from keepwarm.pool.unix_connector import UnixConnector
from keepwarm.pool.unix_dialer import UnixDialer
from tests.support.certificates import client_context, server_context
from tests.support.server import Script, ScriptedServer


@contextlib.contextmanager
def socket_path(name: str = "s") -> Iterator[str]:
    """A path in a directory of its own. The directories of pytest are too deep: a path may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="kw-") as directory:
        yield str(Path(directory) / name)


@contextlib.contextmanager
def bound(path: str, kind: int = socket.SOCK_STREAM, *, backlog: int | None = None) -> Iterator[socket.socket]:
    """A socket at `path` that accepts nothing by itself; one that does not even listen without a `backlog`."""
    with socket.socket(socket.AF_UNIX, kind) as sock:
        sock.bind(path)
        if backlog is not None:
            sock.listen(backlog)
        yield sock


@contextlib.contextmanager
def crowded(path: str) -> Iterator[socket.socket]:
    """A listener that accepts nobody, and whose queue is full. Accept one, and there is room for another."""
    with bound(path, backlog=0) as listener, socket.socket(socket.AF_UNIX) as first:
        first.setblocking(False)
        first.connect(path)
        with socket.socket(socket.AF_UNIX) as second:
            second.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                second.connect(path)
                raise AssertionError("the queue has room for more")
        yield listener


class Pauses:
    """Stands in for asyncio.sleep: notes how long each pause would be, and runs what is due in it."""

    def __init__(self) -> None:
        self.taken: list[float] = []
        self.after: dict[int, Any] = {}

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        due = self.after.get(len(self.taken))
        if due is not None:
            due()


def unix_dialer(path: str, **options: Any) -> UnixDialer:
    """A dialer that trusts the tests' authority."""
    fast_tls = options.pop("fast_tls", False)
    return UnixDialer(path, TLSOptions(ssl_context=client_context(), fast_tls=fast_tls), **options)


def unix_session(path: str, **options: Any) -> ClientSession:
    """A session over a connector that trusts the tests' authority."""
    options = {"tls_resumption": True} | options
    return ClientSession(connector=UnixConnector(path, ssl_context=client_context(), **options))


def serve_at(path: str, *scripts: Script, tls: bool = False, **options: Any) -> ScriptedServer:
    """A scripted server at `path`, with TLS if `tls`."""
    return ScriptedServer(*scripts, path=path, ssl=server_context() if tls else None, **options)
