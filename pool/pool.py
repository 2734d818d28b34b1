"""Pool: who gets which connection. The law is in ARCHITECTURE.md; the numbers below refer to it.

Every decision here is synchronous. A channel changes its state first and its new holder is told afterwards, through a
future that wakes a turn later; a holder that is gone by then gives the channel back (law 1, 5). A slot is taken when
a dial starts (see `dials`) and comes back with the end of the dial or in `channel_lost`, nowhere else (law 4). How a
channel leaves the pool stands in `holdings`.
"""

import asyncio
from collections.abc import Callable

from keepwarm.pool import states, wait_errors
from keepwarm.pool.callers import Callers
from keepwarm.pool.channel import UNREAD, Channel
from keepwarm.pool.clock import NEVER, Clock
from keepwarm.pool.control import EXPIRED, SHRUNK, Control
from keepwarm.pool.dial import Connect
from keepwarm.pool.dials import Dials
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.endpoint_pool import EndpointPool
from keepwarm.pool.idle_ages import IdleAges
from keepwarm.pool.keepalive import Keepalive
from keepwarm.pool.lifetime import Lifetime
from keepwarm.pool.limits import Limits
from keepwarm.pool.min_idle import MinIdle
from keepwarm.pool.refill import Refill
from keepwarm.pool.waiters import Waiter

# What a peer can do to a new connection before it was asked anything. Dialling again would end the same way.
PEER_FAULTS = ("peer_fin", "stray_bytes", "error")

ChannelFactory = Callable[[Endpoint, asyncio.AbstractEventLoop], Channel]


class Pool(Control):
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
        lifetime: Lifetime | None = None,
        min_idle: MinIdle | None = None,
        conn_timeout: float | None = None,
    ) -> None:
        super().__init__(loop, clock, limits or Limits())
        self.channel_factory = channel_factory
        self._keepalive = keepalive or Keepalive()
        self._ages = IdleAges(self._keepalive)
        self._lifetime = lifetime or Lifetime()
        # Whether there may be a reason not to keep a channel that is fit to be kept.
        self._is_choosy = self._is_choosy_by_nature = self._keepalive.force_close or self._lifetime.is_bounded
        self._dials = Dials(self, loop, clock, connect, total=self._total, conn_timeout=conn_timeout)
        self._callers = Callers(self, loop, clock, self._dials, total=self._total, keeps_dials=conn_timeout is not None)
        self._refill = Refill(clock, self._dials, self._endpoints, min_idle) if min_idle else None

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
        answer_by: float = NEVER,
    ) -> Channel:
        """A leased channel: an idle one, one that comes free, or a new one; in strict order of arrival.

        `pool_timeout` (seconds; None: the pool's own) bounds the wait for the limit, `deadline` (a time of the
        clock) the whole wait. `fresh` is for a request whose connection died: only a new one will do, and as it has
        been served before it goes ahead of the others. `answer_by` (a time of the clock) is when the caller must be
        done with the connection; only Shedding looks at it. Raises PoolTimeoutError, ClientTimeoutError, PoolFullError,
        PoolShedError, PoolClosedError, or what the dial raised. A cancelled caller's channel goes to the next in line.
        """
        if self.closed:
            raise wait_errors.closed_already(endpoint)
        if not fresh and (channel := self.try_lease(endpoint)) is not None:
            return channel
        waiter = self._arrive(endpoint, pool_timeout, deadline, fresh, answer_by)
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
                if self.observer is not None:
                    self.observer.taken(channel, self._now())
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
        if self.observer is not None:
            self.observer.leased(channel, now)

    # Waiting

    def _arrive(
        self, endpoint: Endpoint, pool_timeout: float | None, deadline: float, fresh: bool, answer_by: float
    ) -> Waiter:
        """A caller who could not be served at once: queued, or settled with a channel that is to be read first."""
        home = self._endpoints.books_of(endpoint)
        if self._refill is not None:
            self._refill.notice(endpoint)
        waiter = self._callers.arrive(home, pool_timeout, deadline, fresh)
        if home.idle and not fresh and not home.queue.ordinary and not self._dials.is_paused:
            # What try_lease left is unread. It is this caller's to find out about: whoever comes next stays behind.
            waiter.settle(self._lease_unread(home, self._now()))
        else:
            self._callers.enqueue(waiter, answer_by)
        return waiter

    def _lease_unread(self, home: EndpointPool, now: float) -> Channel:
        channel = home.idle.popitem()[0]
        self._lease(home, channel, now)
        return channel

    def _serve_idle(self, home: EndpointPool) -> None:
        queue = home.queue
        while home.idle and queue.oldest(for_used=True) is not None:
            if self._callers.wants_room(home):
                self.close_channel(home.oldest_idle(1)[0], "room", politely=False)
                continue
            now = self._now()
            channel = self._lease_alive(home, now)
            if channel is None:
                if not home.idle:
                    return
                channel = self._lease_unread(home, now)
            waiter = queue.take(for_used=True)
            if waiter is not None:
                home.history.wait.record(now - waiter.since)
                self._callers.was_taken(waiter)
                waiter.settle(channel)

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
        home.idle_window = self._ages.window(home.endpoint, self._now())
        if self._lifetime.max_age is not None:
            channel.expires = self._lifetime.expiry(self._now())
            channel.idle_hint = NEVER  # no window, but not None either: see _shelve
        if self._refill is not None:
            self._refill.succeeded(home.endpoint)
        is_wanted = not (self.closed or self._dials.is_paused or channel.retiring == EXPIRED)
        waiter = home.queue.take(for_used=False) if is_wanted else None
        if waiter is not None:
            channel.state = states.step(channel.state, states.CONNECTED)
            home.leased += 1
            self._give(home, channel, waiter)
        else:
            channel.state = states.step(channel.state, states.CONNECTED_IDLE)
            self._shelve(home, channel)
            self._keep_or_close(home, channel)
        self._dials.settle_spares(home)

    def _keep_or_close(self, home: EndpointPool, channel: Channel) -> None:
        """A new channel that nobody waits for is idle: may it stay?"""
        reason = "drain" if self.closed else SHRUNK if self._is_too_large(home) else channel.retiring
        if reason is None:
            if home.spares:
                home.spares.pop(0)(True, None)
            return
        self.close_channel(channel, reason)
        if home.queue:
            self._dials.start_for(home)

    def _left_shelf(self, home: EndpointPool, channel: Channel, reason: str) -> str:
        if self._refill is not None and not channel.uses and reason in PEER_FAULTS:
            self._refill.hung_up(home.endpoint)
        return self._ages.left_shelf(home, channel, reason, self._now())

    def _found_dead(self, home: EndpointPool, channel: Channel) -> None:
        self._ages.found_dead(home, channel, self._now())

    def _use_room(self, home: EndpointPool) -> None:
        if self.closed:
            return
        if self._is_shrinking and not self._is_anything_too_large():
            self._is_shrinking, self._is_choosy = False, self._is_choosy_by_nature
        if self._total is not None or home.queue:
            self._dials.start_for(home)
        if home.spares:
            self._dials.settle_spares(home)

    # Giving back

    def release(self, channel: Channel) -> None:
        """The lease ends. Only with the framing proved and both directions done; else use `close_channel`."""
        home = channel.home
        if home is None or channel.state != states.LEASED:
            raise states.IllegalTransition(f"{channel!r} is not leased")
        if self._is_choosy or not channel.is_reusable():
            reason = self._why_to_close(home, channel)
            if reason is not None:
                self.close_channel(channel, reason)
                return
        if self.observer is not None:
            self.observer.released(channel, self._now())
        if home.queue.ordinary and self._hand_over(home, channel):
            return
        channel.state = states.RELEASE_FROM[channel.state]
        home.leased -= 1
        self._shelve(home, channel)
        if home.queue.fresh:
            self._dials.start_for(home)

    def _why_to_close(self, home: EndpointPool, channel: Channel) -> str | None:
        """Why a channel whose lease ends is not kept; None if it is."""
        if channel.retiring is not None:
            return channel.retiring
        if not channel.is_reusable() or self._lifetime.is_used_up(channel.uses):
            return "uses"
        if self._keepalive.force_close:
            return "force_close"
        if channel.expires <= self._now():
            return "age"
        return SHRUNK if self._is_too_large(home) else None

    def _shelve(self, home: EndpointPool, channel: Channel) -> None:
        home.idle[channel] = None
        now = self._now()
        channel.idle_since = now
        hint, window = channel.idle_hint, home.idle_window
        channel.deadline = deadline = (
            now + window if hint is None else min(now + window, now + self._keepalive.window(hint), channel.expires)
        )
        if deadline < channel.sweep_at:
            self.clock.enter(channel, deadline)
        total = self._total
        if total is not None:
            total.shelved(channel)
            if total.hungry and not self.closed:
                self._dials.serve_hungry(total)

    def _hand_over(self, home: EndpointPool, channel: Channel) -> bool:
        """Give the channel to the oldest waiter (law 1, 2). False if nobody can take it."""
        if self._dials.is_paused:
            return False
        if self._callers.wants_room(home):
            self.close_channel(channel, "room", politely=False)
            return True
        if (waiter := home.queue.take(for_used=True)) is None:
            return False
        if home.pace is not None:
            now = self._now()
            home.pace.advance(now, now - channel.leased_since)
        channel.state = states.step(channel.state, states.HAND_OVER)
        channel.idle_since = self._now()  # it did not lie idle at all
        self._give(home, channel, waiter)
        return True

    def _give(self, home: EndpointPool, channel: Channel, waiter: Waiter) -> None:
        """The channel is leased; now its holder is told."""
        now = self._now()
        home.count_lease(channel, now)
        home.history.wait.record(now - waiter.since)
        if self.observer is not None:
            self.observer.leased(channel, now)
        self._callers.was_taken(waiter)
        waiter.settle(channel)
