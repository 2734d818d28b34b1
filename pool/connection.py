"""Connection: the lease that a caller of ``connector.connect()`` holds."""

import asyncio
import sys
import traceback
import warnings
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from keepwarm.pool import states
from keepwarm.pool.channel import Channel
from keepwarm.pool.errors import ClientConnectionError
from keepwarm.pool.loop_thread import call_in_loop

if TYPE_CHECKING:
    from keepwarm.pool.endpoint import Endpoint
    from keepwarm.pool.pool import Pool


class Connection:
    """One lease of one connection. Never built by users.

    Ends with `release`, `close` or `detach`, whichever comes first; the other calls do nothing from then on. Dropping
    it without one of them closes the socket and gives a ResourceWarning.
    """

    __slots__ = ("_channel", "_ended", "_endpoint", "_is_view", "_pool", "_source", "_use")

    def __init__(self, pool: "Pool", channel: Channel, *, is_view: bool = False) -> None:
        self._pool = pool
        # A view on a lease that somebody else holds (a response's): dropping it ends nothing.
        self._is_view = is_view
        self._channel = channel
        self._endpoint = channel.endpoint
        self._use = channel.uses
        self._ended: str | None = None
        self._source = traceback.extract_stack(sys._getframe(1)) if pool.loop.get_debug() else None

    @property
    def endpoint(self) -> "Endpoint":
        """Where the connection leads to: host, port, and whether TLS is spoken; after the lease, too."""
        return self._endpoint

    @property
    def closed(self) -> bool:
        """True once the connection was closed, released or detached, by whomever."""
        return self._ended is not None or not self._is_ours()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that the connection belongs to."""
        return self._pool.loop

    @property
    def channel(self) -> Channel:
        """The physical connection. Raises ClientConnectionError after the lease ended."""
        if self.closed and self._ended != "detached":
            how = self._ended or "lost"
            raise ClientConnectionError(
                f"this connection to {self._endpoint} was {how}: the lease is over, take a new one with connect()",
                endpoint=self._endpoint,
            )
        return self._channel

    @property
    def transport(self) -> asyncio.Transport:
        """The asyncio transport. Raises ClientConnectionError after the lease ended."""
        transport = self.channel.transport
        if transport is None:
            raise ClientConnectionError(
                f"this connection to {self._endpoint} has no transport", endpoint=self._endpoint
            )
        return transport

    @property
    def reader(self) -> asyncio.StreamReader:
        """The bytes of the peer, as a stream. From the first read of this attribute on, the stream has them."""
        channel = self.channel
        if channel.reader is None:
            channel.reader = asyncio.StreamReader(loop=self.loop)
            channel.reader.set_transport(self.transport)
            # Raw bytes have no framing that could prove the connection clean: it is never pooled again.
            channel.retiring = channel.retiring or "protocol"
        return channel.reader

    @property
    def writer(self) -> Channel:
        """Where to write: `write(data)`, and `await drain()`."""
        return self.channel

    def close(self) -> None:
        """Close the socket now. Idempotent."""
        if self._end("closed"):
            self._pool.close_channel(self._channel, "error", politely=False)

    def release(self) -> None:
        """Give the connection back to the pool, to be reused within the keepalive window. Idempotent."""
        if self._end("released"):
            self._pool.release(self._channel)

    def detach(self) -> None:
        """Keep the socket: no later `close` or `release` touches it, the pool never gets it back.

        It still counts against the limits until its transport is lost.
        """
        if self._end("detached"):
            self._pool.detach(self._channel)

    def _is_ours(self) -> bool:
        return _is_lease(self._channel, self._use)

    def _end(self, how: str) -> bool:
        if self._ended is not None:
            return False
        ours = self._is_ours()
        self._ended = how
        return ours

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if exc_type is None:
            self.release()
        else:
            self.close()

    def __del__(self) -> None:
        if getattr(self, "_ended", "unmade") is not None or self._is_view or not self._is_ours():
            return
        loop = self._pool.loop
        text = f"Unclosed connection {self!r}"
        self._ended = "closed"
        call_in_loop(loop, _close_lease, self._pool, self._channel, self._use)
        warnings.warn(text, ResourceWarning, source=self, stacklevel=1)
        context: dict[str, Any] = {"client_connection": self, "message": "Unclosed connection"}
        if self._source is not None:
            context["source_traceback"] = self._source
        if not loop.is_closed():
            loop.call_exception_handler(context)

    def __repr__(self) -> str:
        return f"<Connection {self._endpoint} {self._ended or 'open'}>"


def _is_lease(channel: Channel, use: int) -> bool:
    """Whether the channel is leased for the time that had this number."""
    return channel.uses == use and channel.state == states.LEASED


def _close_lease(pool: "Pool", channel: Channel, use: int) -> None:
    if _is_lease(channel, use):
        pool.close_channel(channel, "error", politely=False)
