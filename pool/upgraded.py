"""Upgraded: a connection that speaks another protocol from now on, and whoever takes it over.

Its channel is detached: the pool counts the socket until it is lost and drives it no more. What arrives between the
upgrade and the moment when somebody takes over is kept, bytes that were glued to the answer first.
"""

from typing import TYPE_CHECKING, Protocol

from keepwarm.pool import states
from keepwarm.pool.face import Filling, Passing, Reader, set_face

if TYPE_CHECKING:
    import asyncio

    from keepwarm.pool.channel import Channel
    from keepwarm.pool.clock import Clock

# Until somebody takes over, which is a matter of one turn of the loop, no more than this is read.
HELD_BYTES = 65536


class Heir(Reader, Protocol):
    """What takes a connection over. The calls are those of asyncio.Protocol, made synchronously."""

    def eof_received(self) -> None: ...

    def connection_lost(self, exc: BaseException | None) -> None: ...

    def writing_resumed(self) -> None:
        """The transport takes more again."""

    def on_deadline(self, now: float) -> None:
        """The time that was set with `Upgraded.watch` has come."""

    def pool_closed(self) -> None:
        """The connector is being closed; the connection is aborted next."""

    def abandoned(self) -> None:
        """The connection belongs to the parent of this forked process, or its loop is closed: touch neither."""


class Upgraded:
    """One connection after its upgrade. Made by the channel that was upgraded.

    `take_over` says who hears from it; until then everything is held. The slot comes back when the transport is lost,
    so whoever takes over must end it: `close`.
    """

    __slots__ = ("_error", "_heir", "_held", "_is_eof", "_is_filling", "_size", "channel", "is_lost")

    def __init__(self, channel: "Channel", glued: bytes = b"") -> None:
        self.channel = channel
        self.is_lost = False
        self._held = [glued] if glued else []
        self._size = len(glued)
        self._is_eof = False
        self._is_filling = False
        self._error: BaseException | None = None
        self._heir: Heir | None = None

    @property
    def loop(self) -> "asyncio.AbstractEventLoop":
        """The event loop that the connection belongs to."""
        return self.channel.loop

    @property
    def clock(self) -> "Clock | None":
        """The clock of the connection's pool; None once the connection has been abandoned."""
        owner = self.channel.owner
        return None if owner is None else owner.clock

    def take_over(self, heir: Heir) -> None:
        """From now on `heir` hears what happens; what was held is told before this returns."""
        self._heir = heir
        if self._size > HELD_BYTES:
            self.resume_reading()  # first, for the heir may well pause it
        for data in self._held:
            heir.data_received(data)
        self._held.clear()
        if not self._is_filling:
            self._show(Passing(self.channel, heir))
        if self._is_eof:
            heir.eof_received()
        if self.is_lost:
            heir.connection_lost(self._error)

    # What the channel passes on

    def data_received(self, data: bytes) -> None:
        if self._heir is not None:
            self._heir.data_received(data)
            self._look_for_room(self._heir)
            return
        self._held.append(data)
        self._size += len(data)
        if self._size > HELD_BYTES:
            self.pause_reading()

    def eof_received(self) -> None:
        self._is_eof = True
        if self._heir is not None:
            self._heir.eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.is_lost = True
        self._error = exc
        if self._heir is not None:
            self._heir.connection_lost(exc)

    def writing_resumed(self) -> None:
        if self._heir is not None:
            self._heir.writing_resumed()

    def on_deadline(self, now: float) -> None:
        if self._heir is not None:
            self._heir.on_deadline(now)

    def pool_closed(self) -> None:
        if self._heir is not None:
            self._heir.pool_closed()

    def abandoned(self) -> None:
        if self._heir is not None:
            self._heir.abandoned()

    # What the heir does with it

    def fill(self) -> None:
        """The heir has room now: what arrives goes there as long as it has. Idempotent."""
        heir = self._heir
        if heir is not None and not self._is_filling:
            self._is_filling = True
            self._show(Filling(self.channel, self))

    def _show(self, face: Passing | Filling) -> None:
        if not self.is_lost:
            set_face(self.channel, face)

    def room(self) -> memoryview | None:
        return None if self._heir is None else self._heir.room()

    def filled(self, size: int) -> None:
        heir = self._heir
        if heir is not None:
            heir.filled(size)
            self._look_for_room(heir)

    def _look_for_room(self, heir: Heir) -> None:
        if self._is_filling and heir.room() is None:
            self._is_filling = False
            self._show(Passing(self.channel, heir))

    def watch(self, when: float) -> None:
        """Call the heir's `on_deadline` at `when`, a time of the clock; NEVER takes it off. One time at once. Once the
        connection is being closed the time for that counts, and nothing else."""
        clock = self.clock
        if clock is not None and self.channel.state == states.DETACHED:
            clock.watch(self.channel, when)

    def pause_reading(self) -> None:
        transport = self.channel.transport
        if transport is not None and not transport.is_closing():
            transport.pause_reading()

    def resume_reading(self) -> None:
        transport = self.channel.transport
        if transport is not None and not transport.is_closing():
            transport.resume_reading()

    def close(self, reason: str = "drain", *, politely: bool = False) -> None:
        """End the connection; idempotent. Politely: what is written still goes out, within the pool's time for it."""
        owner = self.channel.owner
        if owner is not None:
            owner.close_channel(self.channel, reason, politely=politely)
