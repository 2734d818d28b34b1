"""Pulse: the heartbeat of one connection: its pings go out, and what comes in is noted."""

from keepwarm.pool.clock import Clock
from keepwarm.pool.upgraded import Upgraded
from keepwarm.ws.heartbeat import DEAD, PING, Heartbeat
from keepwarm.ws.protocol import WSProtocol


class Pulse:
    """Whoever owns it asks `has_died` at `next_look`, a time of the clock, and tells it when something was `heard`."""

    __slots__ = ("_clock", "_heartbeat", "_protocol", "_sees_writes", "_unsent", "_upgraded", "written")

    def __init__(self, upgraded: Upgraded, protocol: WSProtocol, clock: Clock, interval: float) -> None:
        self._upgraded = upgraded
        self._protocol = protocol
        self._clock = clock
        self._heartbeat = Heartbeat(interval, clock.now())
        self._unsent = 0  # bytes that the transport still had at the last look
        self._sees_writes = False  # whether each byte written from then on is one more that is unsent
        #: Bytes given to the transport since then.
        self.written = 0

    @property
    def interval(self) -> float:
        """Seconds of silence after which a ping goes out."""
        return self._heartbeat.interval

    @property
    def round_trip(self) -> float | None:
        """Seconds that the last answered ping took; None before the first."""
        return self._heartbeat.round_trip

    def next_look(self) -> float:
        """When `has_died` is to be asked."""
        return self._heartbeat.next_look()

    def heard(self) -> None:
        """Bytes came."""
        heartbeat, pong = self._heartbeat, self._protocol.last_pong
        now = heartbeat.heard_at = self._clock.now()
        if heartbeat.is_waiting and pong is not None:
            heartbeat.pong(pong, now)

    def has_died(self, now: float, is_paused: bool) -> bool:
        """Whether the peer is to be given up; a ping is sent if one is due. `is_paused`: reading is, by ourselves."""
        heartbeat = self._heartbeat
        # While reading is paused the silence is ours. A peer that takes what was written is alive, too: the ping is
        # behind it.
        if self._peer_takes() or is_paused:
            heartbeat.heard_at = now
            return False
        verdict, channel = heartbeat.look(now), self._upgraded.channel
        transport = channel.transport
        if verdict == PING and transport is not None and not transport.is_closing():
            payload = heartbeat.ping(now)
            if not channel.is_write_paused:
                transport.write(self._protocol.ping_frame(payload))
            # Else what was sent before has not been read: that counts as a ping without an answer.
        return verdict == DEAD

    def _peer_takes(self) -> bool:
        """Whether the peer has taken something since the last look. Only if something was left over then: else it may
        be no more than the kernel that has taken it."""
        count, transport = self._upgraded.channel.count_unsent, self._upgraded.channel.transport
        before, self._unsent = self._unsent, 0 if count is None else count()
        written, self.written = self.written if self._sees_writes else 0, 0
        # Under TLS part of it may be out of the transport's own sight, or all that has been written since out of ours.
        self._sees_writes = transport is not None and self._unsent == transport.get_write_buffer_size()
        return bool(before) and self._unsent < before + written
