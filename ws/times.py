"""Times: until when a WebSocket waits for its end, for a message, and for a sign of life."""

from keepwarm.pool.clock import NEVER
from keepwarm.pool.upgraded import Upgraded
from keepwarm.ws.protocol import WSProtocol
from keepwarm.ws.pulse import Pulse


class Times:
    """All the times of one WebSocket are one deadline of the pool's clock: there is no timer for each.

    Whoever owns it asks what is due when the clock calls, and calls `rearm` afterwards. Once the pool closes the
    connection, or has let go of it, nothing is due any more.
    """

    __slots__ = ("_end_at", "_protocol", "_upgraded", "patience", "pulse", "receive_at")

    def __init__(self, upgraded: Upgraded, protocol: WSProtocol, heartbeat: float | None) -> None:
        clock = upgraded.clock
        self._upgraded = upgraded
        self._protocol = protocol
        self._end_at = NEVER
        #: The heartbeat; None without one.
        self.pulse = Pulse(upgraded, protocol, clock, heartbeat) if heartbeat and clock is not None else None
        #: Seconds that the receiver waits, and until when: NEVER once nobody waits, though the clock may call in vain.
        self.patience = 0.0
        self.receive_at = NEVER

    @property
    def _beating(self) -> Pulse | None:
        """The heartbeat as long as it may beat: no ping follows a close frame."""
        return None if self._protocol.close_sent else self.pulse

    def rearm(self) -> None:
        """Tell the clock when to call next."""
        when = min(self._end_at, self.receive_at)
        pulse = self._beating
        if pulse is not None:
            when = min(when, pulse.next_look())
        self._upgraded.watch(when)

    def limit_end(self, seconds: float) -> None:
        """The end is due in so many seconds."""
        clock = self._upgraded.clock
        if clock is not None:
            self._end_at = clock.now() + seconds
            self.rearm()

    def limit_receiving(self, seconds: float) -> None:
        """A message is due in so many seconds."""
        clock = self._upgraded.clock
        if clock is not None:
            self.patience = seconds
            self.receive_at = clock.now() + seconds
            self.rearm()

    def is_end_due(self, now: float) -> bool:
        """Whether the connection should have ended; said once."""
        if now < self._end_at:
            return False
        self._end_at = NEVER
        return True

    def is_message_due(self, now: float) -> bool:
        """Whether a message should have come; said once."""
        if now < self.receive_at:
            return False
        self.receive_at = NEVER
        return True

    def dead_for(self, now: float, *, is_paused: bool) -> float | None:
        """The interval of the heartbeat that the peer did not survive; None while it lives. A ping is sent if one is
        due. `is_paused`: reading is, by ourselves."""
        pulse = self._beating
        return pulse.interval if pulse is not None and pulse.has_died(now, is_paused) else None
