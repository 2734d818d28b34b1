"""Channel: one physical connection, an asyncio.Protocol over one transport.

A channel knows its state (see `states`) and how to write, to stop, and to answer the pool's two questions: may you be
leased (`stale`), may you be kept (`is_reusable`). What the bytes mean is a subclass's business. Bytes that arrive
while nobody holds the channel belong to no request: they poison it (law 6).
"""

import asyncio
import os
import select
import socket
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from keepwarm.pool import states
from keepwarm.pool.clock import NEVER, Clock
from keepwarm.pool.dial_times import DialTimes
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.endpoint_pool import EndpointPool
from keepwarm.pool.errors import ClientOSError
from keepwarm.pool.tcp_rest import tcp_rest
from keepwarm.pool.tls_rest import tls_rest
from keepwarm.pool.upgraded import Upgraded

# The answer of `stale` for a TLS channel whose socket has unread bytes. They may be a session ticket, which is no
# reason to drop it, or an alert, which is: one turn of the loop tells.
UNREAD = "unread"


class ChannelOwner(Protocol):
    """What a channel tells the pool, and the pool's clock."""

    clock: Clock

    def release(self, channel: "Channel") -> None: ...

    def close_channel(self, channel: "Channel", reason: str, *, politely: bool = True) -> None: ...

    def retire(self, channel: "Channel", reason: str) -> None: ...

    def channel_lost(self, channel: "Channel", reason: str) -> None: ...

    def detach(self, channel: "Channel") -> None: ...


class Channel(asyncio.Protocol):
    """One connection. Made by the dialler; leased, kept and closed by its pool alone.

    `uses` counts leases. `idle_hint` is how many seconds the peer said it keeps the connection idle, `uses_left` how
    many more requests it said it serves. `retiring` is the reason why the channel will not be kept, once there is
    one. `count_unsent` tells how many bytes that were written have not reached the kernel. `takes_parts`
    says that the transport is better given several pieces than their copy in one.
    """

    __slots__ = (
        "__weakref__",
        "count_unsent",
        "deadline",
        "dial_times",
        "endpoint",
        "expires",
        "has_unread",
        "home",
        "idle_hint",
        "idle_since",
        "is_tls",
        "is_write_paused",
        "leased_since",
        "loop",
        "number",
        "on_lost",
        "owner",
        "reader",
        "retiring",
        "state",
        "sweep_at",
        "takes_parts",
        "transport",
        "upgraded",
        "uses",
        "uses_left",
        "write_waiters",
    )

    def __init__(self, endpoint: Endpoint, loop: asyncio.AbstractEventLoop) -> None:
        self.endpoint = endpoint
        self.loop = loop
        self.state = states.CONNECTING
        self.transport: asyncio.Transport | None = None
        self.owner: ChannelOwner | None = None
        self.home: EndpointPool | None = None
        self.deadline = NEVER
        self.sweep_at = NEVER
        # Until when it may be leased at all; `deadline` says until when for now.
        self.expires = NEVER
        # Which connection of its pool this is, and how it was made; the pool says so when it adopts it.
        self.number = 0
        self.dial_times: DialTimes | None = None
        self.uses = 0
        self.uses_left: int | None = None
        self.idle_hint: float | None = None
        self.idle_since = 0.0
        self.leased_since = 0.0
        self.retiring: str | None = None
        self.is_tls = False
        self.takes_parts = False
        self.is_write_paused = False
        self.write_waiters: list[asyncio.Future[None]] = []
        self.reader: asyncio.StreamReader | None = None
        self.has_unread: Callable[[int], object] | None = None
        self.count_unsent: Callable[[], int] | None = None
        self.on_lost: Callable[[BaseException | None], None] | None = None
        self.upgraded: Upgraded | None = None

    # What the pool asks

    def stale(self, now: float) -> str | None:
        """Why this idle channel must not be leased, or None. Costs one poll(2): bytes or a FIN that the loop has not
        read yet lie in the kernel only."""
        if now >= self.deadline:
            return "idle" if now < self.expires else "age"
        if self.retiring is not None:
            return self.retiring
        has_unread = self.has_unread
        if has_unread is not None and has_unread(0):
            return UNREAD if self.is_tls else self._what_is_unread()
        return None

    def _what_is_unread(self) -> str:
        """A FIN or bytes? Both end the channel; the books tell them apart."""
        if self.transport is None:
            return "error"
        try:
            with socket.socket(fileno=os.dup(self.transport.get_extra_info("socket").fileno())) as copy:
                return "stray_bytes" if copy.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) else "peer_fin"
        except OSError:
            return "error"

    def age(self, now: float) -> float:
        """Seconds since it was connected."""
        return 0.0 if self.dial_times is None else now - self.dial_times.ended

    def is_reusable(self) -> bool:
        """Whether the channel may go back to the idle ones, now that its lease ends."""
        return self.retiring is None and (self.uses_left is None or self.uses_left > 0)

    @property
    def purpose(self) -> str | None:
        """What its holder does with it, in a few words; None if the channel does not know."""
        return None

    # What the pool commands

    def close_transport(self) -> None:
        """Close politely: what is written still goes out, TLS says goodbye. The clock bounds how long that may take."""
        self._end(politely=True)

    def abort_transport(self) -> None:
        """Close now."""
        self._end(politely=False)

    def _end(self, *, politely: bool) -> None:
        transport = self.transport
        if transport is None:
            return
        if self.loop.is_closed():
            self.abandon()
        elif politely:
            transport.close()
        else:
            transport.abort()

    def abandon(self) -> asyncio.Transport | None:
        """Let go of the transport without a word to it, and give it to the caller: where it belongs to the parent of
        this forked process, or to a loop that is closed, nothing that it could do would be right."""
        transport, self.transport = self.transport, None
        if self.state != states.CLOSED:
            self.state = states.step(self.state, states.LOST)
        self.owner = self.home = self.has_unread = self.count_unsent = None
        self.deadline = NEVER
        if self.upgraded is not None:
            self.upgraded.abandoned()
        return transport

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.count_unsent = transport.get_write_buffer_size  # type: ignore[attr-defined]
        self.is_tls = transport.get_extra_info("ssl_object") is not None
        # TLS makes a record of each part. asyncio's own transports join them, and from Python 3.12.0 to 3.12.8 and in
        # 3.13.0 and 3.13.1 they forget to say stop (CVE-2024-12254). Other loops' are no subclasses.
        self.takes_parts = not self.is_tls and not isinstance(transport, asyncio.Transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            poll = select.poll()
            poll.register(sock.fileno(), select.POLLIN)
            self.has_unread = poll.poll

    def data_received(self, data: bytes) -> None:
        if self.upgraded is not None:
            self.upgraded.data_received(data)
        elif self.reader is not None:
            self.reader.feed_data(data)
        else:
            self.stray_bytes()

    def upgrade(self, glued: bytes) -> Upgraded:
        """The peer speaks another protocol from here on: the channel leaves its pool's hands (law 4) and passes on
        what it hears. `glued` is what came behind the answer that said so."""
        if self.owner is not None:
            self.owner.detach(self)
        self.upgraded = Upgraded(self, glued)
        return self.upgraded

    def stray_bytes(self) -> None:
        """The peer spoke out of turn."""
        if self.state == states.IDLE and self.owner is not None:
            self.owner.retire(self, "stray_bytes")
        elif self.retiring is None:
            self.retiring = "stray_bytes"

    def eof_received(self) -> bool | None:
        if self.reader is not None:
            self.reader.feed_eof()
        if self.retiring is None:
            self.retiring = "peer_fin"
        if self.upgraded is not None:
            self.upgraded.eof_received()
        if self.state == states.IDLE and self.owner is not None:
            self.owner.retire(self, "peer_fin")
        return None

    def connection_lost(self, exc: BaseException | None) -> None:
        try:
            if self.state in (states.LEASED, states.DETACHED) and self.transport is not None:
                self._receive_rest(self.transport, exc)
        finally:
            self._lost(exc)

    def _receive_rest(self, transport: asyncio.Transport, exc: BaseException | None) -> None:
        """What the peer said before the end, where the transport keeps it to itself."""
        if exc is not None and not self.is_tls:
            # A write met a connection that the peer had ended, maybe with an answer before (FAULTS P44).
            self.retiring = self.retiring or "error"
            for data in tcp_rest(transport):
                self.data_received(data)
        elif exc is None and self.is_tls:
            # The peer ended the connection while reading was paused.
            self.retiring = self.retiring or "peer_fin"
            for data in tls_rest(transport):
                if data:
                    self.data_received(data)
                else:
                    self.eof_received()

    def _lost(self, exc: BaseException | None) -> None:
        self.has_unread = self.count_unsent = None
        if self.on_lost is not None:
            self.on_lost(exc)
        if self.reader is not None and not self.reader.at_eof():
            if exc is None:
                self.reader.feed_eof()
            elif isinstance(exc, Exception):
                self.reader.set_exception(exc)
        self.is_write_paused = False
        self._wake_writers(exc or ConnectionResetError("the connection is closed"))
        reason = self.retiring or ("peer_fin" if exc is None else "error")
        if self.owner is not None:
            self.owner.channel_lost(self, reason)
        elif self.state != states.CLOSED:
            self.state = states.step(self.state, states.LOST)
            self.retiring = reason
        if self.upgraded is not None:
            self.upgraded.connection_lost(exc)

    def transport_info(self, name: str) -> Any:
        """What the transport tells of itself, such as ``"peername"``; None if it cannot any more."""
        transport = self.transport
        try:
            return None if transport is None else transport.get_extra_info(name)
        except (OSError, AttributeError):
            # A transport that is closed: some ask the socket, and asyncio's TLS has let go of what it would ask.
            return None

    # Writing

    def pause_writing(self) -> None:
        self.is_write_paused = True
        if self.state == states.IDLE and self.retiring is None:
            # Nothing of ours is under way: the transport answers what the peer sends inside TLS, and the peer does not
            # read the answers. They would pile up without end (T18). The abort waits for the next turn, for the
            # transport is in the middle of reading.
            self.retiring = "stray_bytes"
            self.loop.call_soon(self._drop_unanswerable)

    def _drop_unanswerable(self) -> None:
        if self.state == states.IDLE and self.owner is not None:
            self.owner.close_channel(self, "stray_bytes", politely=False)

    def resume_writing(self) -> None:
        self.is_write_paused = False
        self._wake_writers(None)
        if self.upgraded is not None:
            self.upgraded.writing_resumed()

    def _wake_writers(self, error: BaseException | None) -> None:
        waiters, self.write_waiters = self.write_waiters, []
        for waiter in waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)

    def write(self, data: bytes | memoryview) -> None:
        """Write without waiting. Raises ClientOSError when the connection is closed."""
        self._open_transport().write(data)

    def writelines(self, parts: Iterable[bytes | memoryview]) -> None:
        """The same for several parts, which are not copied together where that costs more than it saves."""
        transport = self._open_transport()
        if self.takes_parts:
            transport.writelines(parts)
        else:
            transport.write(b"".join(parts))

    def _open_transport(self) -> asyncio.Transport:
        transport = self.transport
        if transport is None or transport.is_closing():
            raise ClientOSError(
                f"cannot write to {self.endpoint}: the connection is closed",
                endpoint=self.endpoint,
                phase="send",
                reused=self.uses > 1,
            )
        return transport

    async def drain(self) -> None:
        """Wait until the transport takes more. Raises what ended the connection; cancelling leaves no trace."""
        if not self.is_write_paused:
            return
        waiter = self.loop.create_future()
        self.write_waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self.write_waiters:
                self.write_waiters.remove(waiter)

    # Time

    def on_deadline(self, now: float) -> None:
        if self.state == states.IDLE and self.owner is not None:
            self.owner.retire(self, "idle" if now < self.expires else "age")
        elif self.state == states.CLOSING:
            self.abort_transport()
        elif self.state == states.LEASED:
            self.lease_deadline(now)
        elif self.upgraded is not None:
            self.upgraded.on_deadline(now)

    def lease_deadline(self, now: float) -> None:
        """The deadline that the holder set has passed."""

    def pool_closed(self) -> None:
        """The pool is closing while somebody holds this channel; the transport is aborted next."""
        if self.upgraded is not None:
            self.upgraded.pool_closed()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.endpoint} {states.STATE_NAMES[self.state]} uses={self.uses}>"
