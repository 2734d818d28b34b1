"""Pool: who gets which connection. The law is in ARCHITECTURE.md; the numbers below refer to it.

Every decision here is synchronous. A channel changes its state first and its new holder is told afterwards, through a
future that wakes a turn later; a holder that is gone by then gives the channel back (law 1, 5). A slot is taken when
a dial starts (see `dials`) and comes back with the end of the dial or in `channel_lost`, nowhere else (law 4).
"""

import asyncio
from collections.abc import Callable

from keepwarm.pool import states, wait_errors
from keepwarm.pool.callers import Callers
from keepwarm.pool.channel import UNREAD, Channel
from keepwarm.pool.clock import NEVER, Clock
from keepwarm.pool.dial import Connect
from keepwarm.pool.dials import Dials
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.endpoint_pool import EndpointPool
from keepwarm.pool.endpoints import Endpoints
from keepwarm.pool.keepalive import Keepalive
from keepwarm.pool.limits import Limits
from keepwarm.pool.stats import PoolStats
from keepwarm.pool.total_limit import TotalLimit
from keepwarm.pool.waiters import Waiter

# How long a polite goodbye may take: what is written still goes out and TLS sends its close_notify. A peer that does
# not answer costs this long at most (the loop's own limit for TLS is 30 s).
LINGER = 0.25
# What a peer can do to a new connection before it was asked anything. Dialling again would end the same way.
PEER_FAULTS = ("peer_fin", "stray_bytes", "error")

ChannelFactory = Callable[[Endpoint, asyncio.AbstractEventLoop], Channel]


class Pool:
    """Connections to any number of endpoints, bound to one event loop.

    `connect` makes one connection (a connector's ``_create_connection``); `channel_factory` makes the protocol object
    for it. `conn_timeout` bounds one dial in seconds; None does not.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        connect: Connect,
        channel_factory: ChannelFactory = Channel,
        *,
        limits: Limits | None = None,
        keepalive: Keepalive | None = None,
        conn_timeout: float | None = None,
    ) -> None:
        self.loop = loop
        self.clock = clock
        self.closed = False
        self.channel_factory = channel_factory
        self._limits = limits or Limits()
        self._keepalive = keepalive or Keepalive()
        self._idle_window = self._keepalive.window(None)
        self._now = clock.now
        self._endpoints = Endpoints()
        self._find = self._endpoints.in_use.get
        self.channels: set[Channel] = set()
        self._total = None if self._limits.total is None else TotalLimit(self._limits.total)
        self._dials = Dials(
            self, loop, clock, connect, limits=self._limits, total=self._total, conn_timeout=conn_timeout
        )
        self._callers = Callers(
            self, loop, clock, self._dials, limits=self._limits, total=self._total, keeps_dials=conn_timeout is not None
        )
        self._emptied: asyncio.Future[None] | None = None

    # Leasing

    def try_lease(self, endpoint: Endpoint) -> Channel | None:
        """The newest idle channel, leased; None where only `acquire` can help. Never overtakes a waiter."""
        home = self._find(endpoint)
        if home is None or home.queue.ordinary:
            return None
        idle = home.idle
        if not idle:
            return None
        now = self._now()
        channel, _ = idle.popitem()
        if channel.stale(now) is None:
            self._lease(home, channel, now)
            return channel
        idle[channel] = None
        return self._lease_alive(home, now)

    def _lease_alive(self, home: EndpointPool, now: float) -> Channel | None:
        """The newest idle channel that is alive, leased; the dead ones that were looked at are closed."""
        dead: list[tuple[Channel, str]] = []
        found = None
        for channel in reversed(home.idle):
            reason = channel.stale(now)
            if reason is None:
                found = channel
                break
            if reason != UNREAD:
                dead.append((channel, reason))
        if found is not None:
            del home.idle[found]
            self._lease(home, found, now)
        for channel, reason in dead:
            self.retire(channel, reason)
        return found

    async def acquire(
        self,
        endpoint: Endpoint,
        *,
        pool_timeout: float | None = None,
        deadline: float = NEVER,
        fresh: bool = False,
    ) -> Channel:
        """A leased channel: an idle one, one that comes free, or a new one; in strict order of arrival.

        `pool_timeout` (seconds; None: the pool's own) bounds the wait for the limit, `deadline` (a time of the
        clock) the whole wait. `fresh` is for a request whose connection died: only a new one will do, and as it has
        been served before it goes ahead of the others. Raises PoolTimeoutError, ClientTimeoutError, PoolFullError,
        PoolClosedError, or what the dial raised. A cancelled caller's channel goes to the next in line.
        """
        if self.closed:
            raise wait_errors.closed_already(endpoint)
        if not fresh and (channel := self.try_lease(endpoint)) is not None:
            return channel
        waiter = self._arrive(endpoint, pool_timeout, deadline, fresh)
        while True:
            try:
                await waiter.future
                if (channel := waiter.channel) is None:
                    raise RuntimeError("a waiter was woken without a channel; this is a fault of keepwarm")
                # The peer may have spoken or hung up between the decision and this turn.
                reason = channel.stale(self._now())
                if reason == UNREAD:
                    reason = await self._stale_after_reading(channel)
            except BaseException:
                self._give_back(waiter)
                raise
            if reason is None:
                return channel
            waiter = self._wait_again(waiter, channel, reason)

    async def _stale_after_reading(self, channel: Channel) -> str | None:
        """A TLS channel with unread bytes, leased: give the loop a turn to read them, then decide."""
        # On asyncio what is ready now runs before what the next poll finds, so it takes two.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        reason = channel.stale(self._now())
        return "stray_bytes" if reason == UNREAD else reason

    def _lease(self, home: EndpointPool, channel: Channel, now: float) -> None:
        """An idle channel that is off the shelf already has a holder from now on."""
        channel.state = states.LEASE_FROM[channel.state]
        home.leased += 1
        if self._total is not None:
            self._total.unshelved(channel)
        home.count_lease(channel, now)

    # Waiting

    def _arrive(self, endpoint: Endpoint, pool_timeout: float | None, deadline: float, fresh: bool) -> Waiter:
        """A caller who could not be served at once: queued, or settled with a channel that is to be read first."""
        home = self._endpoints.books_of(endpoint)
        waiter = self._callers.arrive(home, pool_timeout, deadline, fresh)
        if home.idle and not fresh and not home.queue.ordinary:
            # What try_lease left is unread. It is this caller's to find out about: whoever comes next stays behind.
            channel = home.idle.popitem()[0]
            self._lease(home, channel, self._now())
            waiter.settle(channel)
        else:
            self._callers.enqueue(waiter)
        return waiter

    def _wait_again(self, waiter: Waiter, channel: Channel, reason: str) -> Waiter:
        """The channel died on its way to this waiter: drop it, and wait again at the same place of the queue."""
        endpoint, is_new = channel.endpoint, channel.uses == 1
        self.close_channel(channel, reason)
        if self.closed:
            raise wait_errors.closed_meanwhile(endpoint)
        if is_new and reason in PEER_FAULTS:
            raise wait_errors.dead_on_arrival(channel, reason)
        # The channel may have been the last thing that kept the endpoint's books.
        return self._callers.enqueue_again(waiter, self._endpoints.books_of(endpoint))

    def _give_back(self, waiter: Waiter) -> None:
        """The caller was cancelled, or is about to raise what it was told."""
        channel, waiter.channel = waiter.channel, None
        if channel is None:
            self._callers.give_up(waiter)
        elif channel.state == states.LEASED:
            waiter.home.uncount_lease(channel)
            self.release(channel)

    # From the dials

    def make_channel(self, endpoint: Endpoint) -> Channel:
        """A new protocol object for a dial."""
        return self.channel_factory(endpoint, self.loop)

    def adopt(self, home: EndpointPool, channel: Channel) -> None:
        """A dial's channel joins the pool: the oldest waiter gets it, whoever started the dial (law 3)."""
        channel.owner = self
        channel.home = home
        self.channels.add(channel)
        waiter = None if self.closed else home.queue.take(for_used=False)
        if waiter is not None:
            channel.state = states.step(channel.state, states.CONNECTED)
            home.leased += 1
            self._give(home, channel, waiter)
            return
        channel.state = states.step(channel.state, states.CONNECTED_IDLE)
        self._shelve(home, channel)
        if self.closed or channel.retiring is not None:
            self.close_channel(channel, channel.retiring or "drain")

    def slot_freed(self, home: EndpointPool) -> None:
        """An open socket less."""
        if self._total is not None:
            self._total.freed()
        if not self.closed and (self._total is not None or home.queue):
            self._dials.start_for(home)
        self.drop_if_empty(home)

    # Giving back

    def release(self, channel: Channel) -> None:
        """The lease ends. Only with the framing proved and both directions done; else use `close_channel`."""
        home = channel.home
        if home is None or channel.state != states.LEASED:
            raise states.IllegalTransition(f"{channel!r} is not leased")
        if self._keepalive.force_close or not channel.is_reusable():
            self.close_channel(channel, channel.retiring or ("force_close" if channel.is_reusable() else "uses"))
            return
        if home.queue.ordinary and self._hand_over(home, channel):
            return
        channel.state = states.RELEASE_FROM[channel.state]
        home.leased -= 1
        self._shelve(home, channel)
        if home.queue.fresh:
            self._dials.start_for(home)

    def _shelve(self, home: EndpointPool, channel: Channel) -> None:
        home.idle[channel] = None
        now = self._now()
        channel.idle_since = now
        hint = channel.idle_hint
        channel.deadline = deadline = now + (self._idle_window if hint is None else self._keepalive.window(hint))
        if deadline < channel.sweep_at:
            self.clock.enter(channel, deadline)
        total = self._total
        if total is not None:
            total.shelved(channel)
            if total.hungry and not self.closed:
                self._dials.serve_hungry(total)

    def _hand_over(self, home: EndpointPool, channel: Channel) -> bool:
        """Give the channel to the oldest waiter (law 1, 2). False if nobody can take it."""
        if self._callers.wants_room(home):
            self.close_channel(channel, "room", politely=False)
            return True
        if (waiter := home.queue.take(for_used=True)) is None:
            return False
        channel.state = states.step(channel.state, states.HAND_OVER)
        self._give(home, channel, waiter)
        return True

    def _give(self, home: EndpointPool, channel: Channel, waiter: Waiter) -> None:
        """The channel is leased; now its holder is told."""
        home.count_lease(channel, self._now())
        self._callers.was_taken(waiter)
        waiter.settle(channel)

    def detach(self, channel: Channel) -> None:
        """The holder keeps the transport for good (an upgrade). The slot stays taken until the transport is lost."""
        home = channel.home
        channel.state = states.step(channel.state, states.DETACH)
        channel.deadline = NEVER
        if home is not None:
            home.leased -= 1
            home.detached += 1

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
            for other in [c for c in home.idle if c.idle_since <= channel.idle_since]:
                self.close_channel(other, "peer_fin", politely=False)

    def close_channel(self, channel: Channel, reason: str, *, politely: bool = True) -> None:
        """Let go of an idle, leased or detached channel. Its slot is free once its transport is lost."""
        home = channel.home
        if home is None or channel.state >= states.CLOSING:
            return
        self._take_off(home, channel)
        channel.state = states.step(channel.state, states.CLOSE)
        channel.retiring = channel.retiring or reason
        home.closing += 1
        if self._total is not None:
            self._total.closing += 1
        home.retired[channel.retiring] += 1
        if politely:
            self.clock.watch(channel, self._now() + LINGER)
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
            self._take_off(home, channel)
            home.retired[channel.retiring or reason] += 1
        home.check()
        channel.state = states.step(channel.state, states.LOST)
        channel.retiring = channel.retiring or reason
        self.clock.forget(channel)
        self.channels.discard(channel)
        self.slot_freed(home)

    def _take_off(self, home: EndpointPool, channel: Channel) -> None:
        if self._total is not None and channel.state == states.IDLE:
            self._total.unshelved(channel)
        home.take_off(channel)

    def drop_if_empty(self, home: EndpointPool) -> None:
        """Forget an endpoint of which nothing is left."""
        if self._endpoints.drop_if_empty(home) and self.closed:
            self._end_if_empty()

    # The end, and the numbers

    @property
    def open(self) -> int:
        """Open sockets, dials included."""
        return self._endpoints.open

    def close(self, *, spare_leased: bool = False) -> None:
        """Close everything now: idle channels politely, leased ones at once or, if they are to be spared, when they
        come back; callers who wait get PoolClosedError."""
        if self.closed:
            return
        self.closed = True
        if self.loop.is_closed():
            self.abandon()
            return
        for home in list(self._endpoints.in_use.values()):
            self._callers.fail_all(home)
            self._dials.stop(home)
        for channel in list(self.channels):
            if spare_leased or channel.state == states.IDLE:
                self.retire(channel, "drain")
            elif channel.state < states.CLOSING:
                channel.pool_closed()
                self.close_channel(channel, "drain", politely=False)
        for home in list(self._endpoints.in_use.values()):
            self.drop_if_empty(home)
        self._end_if_empty()

    def abandon(self) -> list[asyncio.Transport]:
        """Close without touching the loop or a socket: the loop was closed first, or all belongs to the parent of this
        forked process. The transports, for the caller to keep or to drop."""
        self.closed = True
        channels, self.channels = self.channels, set()
        self._endpoints.in_use.clear()
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

    def stats(self) -> PoolStats:
        """The numbers of this moment."""
        return self._endpoints.stats()
