"""UnixDialer: reach a unix socket, check who serves it, TLS, pins; then a channel.

A connect over a unix socket does not wait: the kernel queues it at once, or says no. So there is nothing to race and
no writer to register. `sock_connect` of the loops must not be used: they take "the queue is full" for "under way", and
the descriptor, which polls as writable, for connected.
"""

import asyncio
import socket
import ssl
import struct
import sys
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from keepwarm.pool.channel import Channel
from keepwarm.pool.dial import DialRequest
from keepwarm.pool.errors import ResumptionError
from keepwarm.pool.opening import Opening, open_plain
from keepwarm.pool.race import CONNECTED, NO_ANSWER
from keepwarm.pool.securing import Securing, hand_over
from keepwarm.pool.tls import TLSOptions
from keepwarm.pool.tls_sessions import SessionCache
from keepwarm.pool.unix_errors import QueueFull, WrongPeer, path_text, reason_of, unix_error

# Between two tries while the server's queue is full, in seconds. A server that only had a burst of connections takes
# the next one within milliseconds; 1.3 s in all tell that it is stuck.
PAUSES: Final = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64)
QUEUE_IS_FULL: Final = "the server's queue is full"

# The room for a path in the kernel's struct sockaddr_un. The NUL that ends a path takes one byte of it; an abstract
# name has none at its end.
_ROOM: Final = 108 if sys.platform == "linux" else 104
_CREDENTIALS: Final = struct.Struct("iII")  # pid, uid, gid
_NO_UID: Final = 2**32 - 1


class UnixDialer:
    """Makes connections for one connector, all of them to the socket at `path`; see UnixConnector for the options;
    `sessions` are those that TLS may resume.

    `pause` waits so many seconds; it is for tests.
    """

    __slots__ = ("_path", "_pause", "_peer", "_securing", "_uids")

    def __init__(
        self,
        path: str,
        tls: TLSOptions | None = None,
        *,
        sessions: SessionCache | None = None,
        uids: frozenset[int] | None = None,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._path = path
        self._peer = path_text(path)
        self._securing = Securing(tls or TLSOptions(), sessions)
        self._uids = uids
        self._pause = pause

    async def open(self, req: DialRequest) -> tuple[asyncio.Transport, Channel]:
        """A connection for `req`, ready for its first byte.

        Raises ConnectError, TLSError, ConnectTimeoutError (handshake_timeout) or FingerprintMismatch. On any exception,
        a cancellation included, no socket is left open.
        """
        # Before anything is connected: a socket need not wait while the authorities are loaded.
        context = await self._securing.context(req) if req.ssl else None
        if context is None:
            return hand_over(req, await self._attach(req, await self._reach(req)))
        try:
            opening = await self._open_tls(req, context)
        except ResumptionError:
            # As Dialer.open: it will be a full handshake now.
            opening = await self._open_tls(req, context)
        return hand_over(req, opening)

    async def _open_tls(self, req: DialRequest, context: ssl.SSLContext) -> Opening:
        return await self._securing.secure_socket(req, await self._reach(req), context, self._peer)

    async def _reach(self, req: DialRequest) -> socket.socket:
        """A socket that is connected to a server whom we may talk to."""
        req.phase = "connect"
        req.attempts.append((self._peer, NO_ANSWER))
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.setblocking(False)
                await self._connect(req, sock)
                self._check_peer(sock)
            except BaseException:
                sock.close()
                raise
        except OSError as exc:
            req.attempts[-1] = (self._peer, reason_of(exc))
            raise unix_error(req, self._path, exc) from exc
        req.attempts[-1] = (self._peer, CONNECTED)
        return sock

    async def _connect(self, req: DialRequest, sock: socket.socket) -> None:
        """Connect; while the server's queue is full, try again after growing pauses. Raises OSError."""
        for pause in PAUSES:
            try:
                sock.connect(self._path)
                return
            except BlockingIOError:
                req.attempts[-1] = (self._peer, QUEUE_IS_FULL)
            await self._pause(pause)
        try:
            sock.connect(self._path)
        except BlockingIOError as exc:
            raise QueueFull(len(PAUSES) + 1, sum(PAUSES)) from exc

    def _check_peer(self, sock: socket.socket) -> None:
        if self._uids is None:
            return
        _, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        if uid not in self._uids:
            raise WrongPeer(uid)

    async def _attach(self, req: DialRequest, sock: socket.socket) -> Opening:
        try:
            return await open_plain(sock)
        except OSError as exc:
            raise unix_error(req, self._path, exc) from exc


def check_path(path: object) -> str:
    """`path` as a str, by ``__fspath__`` if it has that. Raises TypeError or ValueError that names it."""
    text = path.__fspath__() if hasattr(path, "__fspath__") else path
    if not isinstance(text, str):
        raise TypeError(f"path must be a str or an os.PathLike of str, got {path!r}; for bytes see os.fsdecode()")
    is_abstract = text.startswith("\0")
    if not text or text == "\0":
        raise ValueError(f"path must not be empty, got {text!r}")
    if is_abstract and sys.platform != "linux":
        raise ValueError(f"path {text!r}: only Linux has abstract names; give the path of a file")
    if not is_abstract and "\0" in text:
        raise ValueError(f"path {text!r} has a NUL inside; only the first character may be one, for an abstract name")
    try:
        size = len(text.encode(sys.getfilesystemencoding(), "surrogateescape"))
    except UnicodeEncodeError as exc:
        raise ValueError(f"path {text!r} cannot be encoded for the file system: {exc.reason}") from exc
    most = _ROOM if is_abstract else _ROOM - 1
    if size > most:
        raise ValueError(
            f"path {text!r} is {size} bytes long; the system takes at most {most}: use a shorter one, a relative one "
            "or a symbolic link"
        )
    return text


def check_uids(peer_uid: object) -> frozenset[int] | None:
    """`peer_uid` as a set, None for None. Raises TypeError or ValueError that names it."""
    if peer_uid is None:
        return None
    if not hasattr(socket, "SO_PEERCRED"):
        raise ValueError("peer_uid needs Linux: this system does not tell who serves a socket (SO_PEERCRED)")
    given = peer_uid if isinstance(peer_uid, Collection) and not isinstance(peer_uid, (str, bytes)) else (peer_uid,)
    for uid in given:
        if isinstance(uid, bool) or not isinstance(uid, int):
            raise TypeError(f"peer_uid must be a user id (a whole number) or a collection of them, got {peer_uid!r}")
        if not 0 <= uid < _NO_UID:
            raise ValueError(f"peer_uid must be from 0 to {_NO_UID - 1}, got {uid!r}")
    if not given:
        raise ValueError("peer_uid is empty, so that no server would do; None accepts any")
    return frozenset(given)
