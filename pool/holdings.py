"""Holdings: the channels of a pool, and how each of them leaves it. The law is in ARCHITECTURE.md.

Whoever is to be told why connections go has few places to look at: `retire` says that one will, `close_channel` lets
go of it, and `channel_lost` is the one place where an open socket's slot comes back (law 4).
"""

import asyncio

from keepwarm.pool import states
from keepwarm.pool.channel import Channel
from keepwarm.pool.clock import NEVER, Clock
from keepwarm.pool.endpoint_pool import EndpointPool
from keepwarm.pool.endpoints import Endpoints
from keepwarm.pool.events import Events
from keepwarm.pool.leak_finder import LeakFinder
from keepwarm.pool.limits import Limits
from keepwarm.pool.observer import Observer, joined
from keepwarm.pool.stack import Stack
from keepwarm.pool.stats import PoolStats
from keepwarm.pool.total_limit import TotalLimit

# How long a polite goodbye may take: what is written still goes out and TLS sends its close_notify. A peer that does
# not answer costs this long at most (the loop's own limit for TLS is 30 s).
LINGER = 0.25


class Holdings:
    """The books of all endpoints, and every channel until its transport is lost. The base of `Pool`, which says who
    gets which."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, limits: Limits) -> None:
        self.loop = loop
        self.clock = clock
        self.closed = False
        self.channels: set[Channel] = set()
        self._now = clock.now
        self._endpoints = Endpoints(limits)
        self._total = None if limits.total is None else TotalLimit(limits.total)
        self._emptied: asyncio.Future[None] | None = None
        self.observer: Observer | None = None
        self.events: Events | None = None
        self.leaks: LeakFinder | None = None

    def hear(self, events: Events | None) -> None:
        """Who is told of every change from now on; None while nobody wants to be."""
        self.events = events
        self.observer = joined(events, self.leaks)

    def find_leaks(self, leaks: LeakFinder) -> None:
        """Watch how long connections are held."""
        self.leaks = leaks
        self.observer = joined(self.events, leaks)

    @property
    def limits(self) -> Limits:
        """The limits of the pool."""
        return self._endpoints.limits

    def trace(self) -> Stack | None:
        """Where the caller is, for a message to whoever forgets what it gets; None unless leaks are looked for, or the
        loop is in debug mode."""
        return Stack.here() if self.leaks is not None or self.loop.get_debug() else None

    # Leaving

    def detach(self, channel: Channel) -> None:
        """The holder keeps the transport for good (an upgrade). The slot stays taken until the transport is lost."""
        home = channel.home
        channel.state = states.step(channel.state, states.DETACH)
        channel.deadline = NEVER
        if home is not None:
            home.leased -= 1
            home.detached += 1
        if self.observer is not None:
            self.observer.detached(channel, self._now())

    def retire(self, channel: Channel, reason: str) -> None:
        """No new leases: an idle channel is closed now, a leased one when it comes back."""
        if channel.state == states.IDLE:
            self.close_channel(channel, reason)
        elif channel.retiring is None:
            channel.retiring = reason

    def retire_older(self, channel: Channel) -> None:
        """`channel` turned out dead on reuse: what has lain idle for longer than it had is dead too, most likely."""
        home = channel.home
        if home is not None:
            self._found_dead(home, channel)
            for other in [c for c in home.idle if c.idle_since <= channel.idle_since]:
                self.close_channel(other, "peer_fin", politely=False)

    def close_channel(self, channel: Channel, reason: str, *, politely: bool = True) -> None:
        """Let go of an idle, leased or detached channel. Its slot is free once its transport is lost."""
        home = channel.home
        if home is None or channel.state >= states.CLOSING:
            return
        if politely and channel.state == states.IDLE:
            reason = self._left_shelf(home, channel, channel.retiring or reason)
        self._take_off(home, channel)
        channel.state = states.step(channel.state, states.CLOSE)
        channel.retiring = channel.retiring or reason
        home.closing += 1
        if self._total is not None:
            self._total.closing += 1
        now = self._now()
        home.count_end(channel, channel.retiring, now)
        if self.observer is not None:
            self.observer.retired(channel, channel.retiring, now)
        if politely:
            self.clock.watch(channel, now + LINGER)
            channel.close_transport()
        else:
            channel.deadline = NEVER
            channel.abort_transport()

    def channel_lost(self, channel: Channel, reason: str) -> None:
        """The transport is gone: the one place where an open socket's slot comes back."""
        home = channel.home
        if home is None or channel.state == states.CLOSED:
            return
        if channel.state == states.CLOSING:
            home.closing -= 1
            if self._total is not None:
                self._total.closing -= 1
        else:
            if channel.state == states.IDLE:
                self._left_shelf(home, channel, channel.retiring or reason)
            self._take_off(home, channel)
            home.count_end(channel, channel.retiring or reason, self._now())
        home.check()
        channel.state = states.step(channel.state, states.LOST)
        channel.retiring = channel.retiring or reason
        self.clock.forget(channel)
        self.channels.discard(channel)
        if self.observer is not None:
            self.observer.lost(channel, channel.retiring, self._now())
        self.slot_freed(home)

    def _take_off(self, home: EndpointPool, channel: Channel) -> None:
        if self._total is not None and channel.state == states.IDLE:
            self._total.unshelved(channel)
        if home.pace is not None and channel.state != states.IDLE and home.uncovered > 0:
            now = self._now()
            home.pace.advance(now, now - channel.leased_since)  # the slot goes to the next in line
        home.take_off(channel)

    def slot_freed(self, home: EndpointPool) -> None:
        """An open socket less."""
        if self._total is not None:
            self._total.freed()
        self._use_room(home)
        self.drop_if_empty(home)

    def _left_shelf(self, home: EndpointPool, channel: Channel, reason: str) -> str:
        """For Pool: an idle channel goes. The reason to write down."""
        return reason

    def _found_dead(self, home: EndpointPool, channel: Channel) -> None:
        """For Pool: a channel turned out dead on reuse."""

    def _use_room(self, home: EndpointPool) -> None:
        """For Pool: there may be room for a dial now."""

    def drop_if_empty(self, home: EndpointPool) -> None:
        """Forget an endpoint of which nothing is left."""
        if self._endpoints.drop_if_empty(home) and self.closed:
            self._end_if_empty()

    # The numbers, and the end

    @property
    def open(self) -> int:
        """Open sockets, dials included."""
        return self._endpoints.open

    def stats(self) -> PoolStats:
        """The numbers of this moment."""
        return self._endpoints.stats()

    def abandon(self) -> list[asyncio.Transport]:
        """Close without touching the loop or a socket: the loop was closed first, or all belongs to the parent of this
        forked process. The transports, for the caller to keep or to drop."""
        self.closed = True
        channels, self.channels = self.channels, set()
        self._endpoints.abandon()
        self.clock.abandon()
        return [transport for channel in channels if (transport := channel.abandon()) is not None]

    def _end_if_empty(self) -> None:
        if not self._endpoints.in_use:
            self.clock.close()
            if self._emptied is not None and not self._emptied.done():
                self._emptied.set_result(None)

    async def wait_closed(self) -> None:
        """Wait until every socket is gone. Cancelling it changes nothing."""
        while self._endpoints.in_use and not self.loop.is_closed():
            if self._emptied is None or self._emptied.done():
                self._emptied = self.loop.create_future()
            await asyncio.shield(self._emptied)
