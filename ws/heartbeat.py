"""Heartbeat: whether a peer that says nothing is still there. Pure: times in, a verdict out."""

from typing import Final

from keepwarm.pool.clock import NEVER

# What is to be done now.
NOTHING: Final = 0
PING: Final = 1
DEAD: Final = 2


class Heartbeat:
    """Pings after `interval` seconds of silence; the peer is dead when half as long again brings nothing at all.

    Any byte is a sign of life, so a large message that takes long to arrive never looks like death (FAULTS W26), and a
    dead peer is found within one and a half intervals. `round_trip` is what the last answered ping took, in seconds;
    None before the first.
    """

    __slots__ = ("_payload", "_pinged_at", "_serial", "heard_at", "interval", "round_trip")

    def __init__(self, interval: float, now: float) -> None:
        self.interval = interval
        self.heard_at = now
        self.round_trip: float | None = None
        self._serial = 0
        self._payload = b""
        self._pinged_at = NEVER

    @property
    def is_waiting(self) -> bool:
        """Whether a ping has not been answered yet."""
        return self._pinged_at < NEVER

    def next_look(self) -> float:
        """When `look` may have something to say."""
        if self.is_waiting and self.heard_at <= self._pinged_at:
            return self._pinged_at + self.interval / 2
        return self.heard_at + self.interval

    def look(self, now: float) -> int:
        """What is to be done at `now`: NOTHING, PING or DEAD."""
        if now < self.next_look():
            return NOTHING
        return DEAD if self.is_waiting and self.heard_at <= self._pinged_at else PING

    def ping(self, now: float) -> bytes:
        """A ping is sent at `now`: its payload."""
        self._serial += 1
        self._payload = b"keepwarm %d" % self._serial
        self._pinged_at = now
        return self._payload

    def pong(self, payload: bytes, now: float) -> None:
        """A pong came. One that answers an older ping, or none (RFC 6455 5.5.3), is only a sign of life."""
        if self.is_waiting and payload == self._payload:
            self.round_trip = now - self._pinged_at
            self._pinged_at = NEVER
