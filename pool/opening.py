"""Opening: a transport on its way to become a channel's.

Until TCP, TLS and the pins are done, a neutral protocol holds the transport. So a channel only ever sees a connection
that is fit for use, and a dial that fails or is cancelled has nothing but a transport to abort. Each function here
either returns an Opening that owns the socket, or raises and leaves no open socket behind:

- uvloop closes the descriptor of a `create_connection` that was cancelled and detaches the socket object; asyncio
  closes the socket object a turn later. Closing the object ourselves fits both: it is a no-op in the one case and makes
  theirs a no-op in the other.
- TLS is started on a transport that we hold (`start_tls`), not inside `create_connection`. So there is one way for a
  new connection and for a proxy's tunnel, and a handshake that is cut off in the turn in which it succeeds is aborted:
  left to themselves, the loops would say goodbye to the peer first and wait for its answer.
- aiofastnet begins its handshake at once and takes the reader off the loop when it fails, so the socket object can
  be closed right away. It does not cancel its timers then, so we do: one of them would keep the transport for as long
  as a handshake may take.
"""

import asyncio
import select
import socket
import ssl
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from keepwarm.pool.tls import TLSOptions, aiofastnet
from keepwarm.pool.tls_in_tls import carrier
from keepwarm.pool.tls_sessions import ContextWithSession

_Heir = TypeVar("_Heir", bound=asyncio.Protocol)

# aiofastnet's buffers for each direction of one connection: four full TLS records. Its default of sixteen would hold
# half a megabyte for every idle connection.
_BIO_SIZE = 4 * (16 * 1024 + 64)


class Opening(asyncio.Protocol):
    """Holds a transport, and what arrives meanwhile, until `hand_over`."""

    __slots__ = ("_early", "count_unsent", "on_lost", "retiring", "route", "transport")

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        # For Channel.count_unsent, where the transport itself does not know: TLS counts what it has not encrypted yet.
        self.count_unsent: Callable[[], int] | None = None
        # To be called once the transport is gone, with what ended it; None if there is nothing to do.
        self.on_lost: Callable[[BaseException | None], None] | None = None
        # By what way the peer is reached, if not directly: for TLS sessions, which are never taken elsewhere.
        self.route: Hashable = None
        # For Channel.retiring: why the connection is out of date before it was used.
        self.retiring: str | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._early.append(data)

    @property
    def has_early_bytes(self) -> bool:
        """Whether the peer spoke before it was asked."""
        return bool(self._early)

    @property
    def is_lost(self) -> bool:
        """Whether the connection went away meanwhile."""
        return self.transport is None or self.transport.is_closing()

    def abort(self) -> None:
        """Close it now; idempotent. Whoever waits for its end is told at once."""
        if self.transport is not None:
            self.transport.abort()
        on_lost, self.on_lost = self.on_lost, None
        if on_lost is not None:
            on_lost(ConnectionAbortedError("the connection was given up before it was used"))

    def tell_also(self, on_lost: Callable[[BaseException | None], object]) -> None:
        """Have `on_lost` called, too, once the connection is gone, with what ended it."""
        first = self.on_lost

        def both(error: BaseException | None) -> None:
            on_lost(error)
            if first is not None:
                first(error)

        self.on_lost = both

    def hand_over(self, heir: _Heir) -> tuple[asyncio.Transport, _Heir]:
        """Make `heir` the transport's protocol, as if it had been so from the start."""
        transport = self.transport
        if transport is None:
            raise RuntimeError("hand_over() before the connection was made")
        transport.set_protocol(heir)
        heir.connection_made(transport)
        for data in self._early:
            heir.data_received(data)
        self._early.clear()
        return transport, heir


async def open_plain(sock: socket.socket) -> Opening:
    """A transport over a connected stream socket, which belongs to it from now on.

    Raises OSError. On any exception, a cancellation included, the socket is closed.
    """
    opening = Opening()
    try:
        # Both loops take a unix socket here too.
        await asyncio.get_running_loop().create_connection(lambda: opening, sock=sock)
        if opening.is_lost:
            raise ConnectionResetError("the peer closed the connection at once")
    except BaseException:
        opening.abort()
        sock.close()
        raise
    return opening


class _FastLoop:
    """The event loop as aiofastnet sees it: it remembers its timers, which an abort leaves running, for
    `cancel_timers`."""

    __slots__ = ("_loop", "_timers")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timers: list[asyncio.TimerHandle] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        timer = self._loop.call_later(delay, callback, *args)
        self._timers.append(timer)
        return timer

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        # aiofastnet reports a FIN in the handshake as a fault of the program, with the bare class as the exception.
        # The dial reports it to its caller.
        if context.get("exception") is not ConnectionResetError:
            self._loop.call_exception_handler(context)

    def cancel_timers(self, _error: BaseException | None = None) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()


def _count_fast(transport: asyncio.Transport, fd: int) -> Callable[[], int]:
    """aiofastnet does not tell what waits in its buffer of encrypted bytes. Something may as long as the kernel takes
    no more: it gives them to the kernel at once."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return lambda: transport.get_write_buffer_size() or not poll.poll(0)


async def open_fast_tls(
    sock: socket.socket, context: ssl.SSLContext, server_hostname: str, options: TLSOptions
) -> Opening:
    """TLS over a connected stream socket with aiofastnet's transport. Otherwise like `open_plain`."""
    opening = Opening()
    loop = _FastLoop(asyncio.get_running_loop())
    try:
        await aiofastnet.create_connection(
            loop,
            lambda: opening,
            sock=sock,
            ssl=context,
            server_hostname=server_hostname,
            ssl_handshake_timeout=options.handshake_limit,
            ssl_shutdown_timeout=options.shutdown_limit,
            ssl_incoming_bio_size=_BIO_SIZE,
            ssl_outgoing_bio_size=_BIO_SIZE,
        )
        if opening.is_lost:
            raise ConnectionResetError("the peer closed the connection after the handshake")
    except BaseException:
        opening.abort()
        sock.close()
        loop.cancel_timers()
        raise
    loop.cancel_timers()
    opening.on_lost = loop.cancel_timers
    if opening.transport is not None:
        opening.count_unsent = _count_fast(opening.transport, sock.fileno())
    return opening


async def start_tls(
    transport: asyncio.Transport,
    context: ssl.SSLContext,
    server_hostname: str,
    options: TLSOptions,
    session: ssl.SSLSession | None = None,
) -> Opening:
    """TLS over an open transport, for instance that of a proxy's tunnel; offers `session` to the server.

    Raises OSError (ssl.SSLError is one) or ValueError. On any exception, a cancellation included, the transport is
    aborted.
    """
    opening = Opening()
    offering: Any = context if session is None else ContextWithSession(context, session)
    try:
        # asyncio gives None when the connection was lost in the turn in which the handshake ended.
        secure: Any = await asyncio.get_running_loop().start_tls(
            carrier(transport),
            opening,
            offering,
            server_hostname=server_hostname,
            ssl_handshake_timeout=options.handshake_limit,
            ssl_shutdown_timeout=options.shutdown_limit,
        )
        opening.transport = secure
        opening.count_unsent = transport.get_write_buffer_size
        if opening.is_lost:
            raise ConnectionResetError("the peer closed the connection after the handshake")
    except BaseException:
        opening.abort()
        transport.abort()
        raise
    return opening
