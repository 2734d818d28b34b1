"""Pulse: the heartbeat of one connection: its pings go out, and what comes in is noted."""

from keepwarm.pool.clock import Clock
from keepwarm.pool.upgraded import Upgraded
from keepwarm.ws.heartbeat import DEAD, PING, Heartbeat
from keepwarm.ws.protocol import WSProtocol


class Pulse:
    """Whoever owns it asks `has_died` at `next_look`, a time of the clock, and tells it when something was `heard`."""

    __slots__ = ("_clock", "_heartbeat", "_protocol", "_unsent", "_upgraded")

    def __init__(self, upgraded: Upgraded, protocol: WSProtocol, clock: Clock, interval: float) -> None:
        self._upgraded = upgraded
        self._protocol = protocol
        self._clock = clock
        self._heartbeat = Heartbeat(interval, clock.now())
        self._unsent = 0  # bytes that the transport still had at the last look

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
        """Whether the transport has got rid of something since the last look."""
        count = self._upgraded.channel.count_unsent
        before, self._unsent = self._unsent, 0 if count is None else count()
        return self._unsent < before
