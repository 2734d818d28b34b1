"""Pool: who gets which connection. The law is in ARCHITECTURE.md; the numbers below refer to it.

Every decision here is synchronous. A channel changes its state first and its new holder is told afterwards, through a
future that wakes a turn later; a holder that is gone by then gives the channel back (law 1, 5). A slot is taken when
a dial starts and comes back in `channel_lost` or with the end of the dial, nowhere else (law 4).
"""

import asyncio
from collections.abc import Callable

from keepwarm.pool import states
from keepwarm.pool.channel import UNREAD, Channel
from keepwarm.pool.clock import NEVER, Clock
from keepwarm.pool.dial import Connect, Dial, DialRequest
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.endpoint_pool import EndpointPool
from keepwarm.pool.errors import (
    ClientConnectionError,
    ClientTimeoutError,
    PoolClosedError,
    PoolFullError,
    PoolTimeoutError,
)
from keepwarm.pool.keepalive import Keepalive
from keepwarm.pool.limits import Limits
from keepwarm.pool.stats import EndpointStats, PoolStats
from keepwarm.pool.total_limit import TotalLimit
from keepwarm.pool.waiters import Waiter

# How long a polite goodbye may take: what is written still goes out and TLS sends its close_notify. A peer that does
# not answer costs this long at most (the loop's own limit for TLS is 30 s).
LINGER = 0.25
# A caller whose wait is over, but for whom a dial is under way, is looked at again this often: the time limit of a
# dial is conn_timeout.
COVERED_RECHECK = 0.05

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
        self._connect = connect
        self._limits = limits or Limits()
        self._keepalive = keepalive or Keepalive()
        self._idle_window = self._keepalive.window(None)
        self._conn_timeout = conn_timeout
        self._now = clock.now
        self._endpoints: dict[Endpoint, EndpointPool] = {}
        self._channels: set[Channel] = set()
        self._total = None if self._limits.total is None else TotalLimit(self._limits.total)
        self._gone = EndpointStats()
        self._emptied: asyncio.Future[None] | None = None

    # Leasing

    def try_lease(self, endpoint: Endpoint) -> Channel | None:
        """The newest idle channel, leased; None where only `acquire` can help. Never overtakes a waiter."""
        home = self._endpoints.get(endpoint)
        if home is None or home.waiters:
            return None
        idle = home.idle
        unread: list[Channel] = []
        leased = None
        while idle:
            channel = idle.popitem()[0]
            reason = channel.stale(self._now())
            if reason is None:
                channel.state = states.LEASE_FROM[channel.state]
                channel.deadline = NEVER
                channel.uses += 1
                home.leased += 1
                home.leases += 1
                if self._total is not None:
                    self._total.unshelved(channel)
                leased = channel
                break
            if reason == UNREAD:
                unread.append(channel)
            else:
                idle[channel] = None
                self.retire(channel, reason)
        for channel in reversed(unread):
            idle[channel] = None
        return leased

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
        clock) the whole wait. `fresh` insists on a new connection. Raises PoolTimeoutError, ClientTimeoutError,
        PoolFullError, PoolClosedError, or what the dial raised. A caller that is cancelled keeps nothing: a channel
        that was given to it already goes to the next in line.
        """
        self._check_open(endpoint)
        if not fresh:
            channel = self.try_lease(endpoint) or await self._lease_after_reading(endpoint)
            if channel is not None:
                return channel
        waiter = self._enqueue(endpoint, pool_timeout, deadline, fresh)
        while True:
            try:
                await waiter.future
            except BaseException:
                self._abandon(waiter)
                raise
            channel = waiter.channel
            if channel is None:
                raise RuntimeError("a waiter was woken without a channel; this is a fault of keepwarm")
            reason = channel.stale(self._now())
            if reason is None or reason == UNREAD:
                return channel
            # The peer spoke or hung up between the decision and this turn.
            waiter = self._wait_again(waiter, channel, reason)

    async def _lease_after_reading(self, endpoint: Endpoint) -> Channel | None:
        """Idle TLS channels with unread bytes: give the loop one turn to read them, then decide."""
        home = self._endpoints.get(endpoint)
        if home is None or home.waiters or not home.idle:
            return None
        # On asyncio what is ready now runs before what the next poll finds, so it takes two.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        channel = self.try_lease(endpoint)
        if channel is None and home is self._endpoints.get(endpoint) and not home.waiters:
            for unread in list(home.idle):
                self.retire(unread, "stray_bytes")
        return channel

    def _enqueue(self, endpoint: Endpoint, pool_timeout: float | None, deadline: float, fresh: bool) -> Waiter:
        self._check_open(endpoint)
        home = self._endpoints.get(endpoint)
        if home is None:
            home = self._endpoints[endpoint] = EndpointPool(endpoint)
        self._check_waiting(home)
        now = self._now()
        seconds = self._limits.pool_timeout if pool_timeout is None else pool_timeout
        pool_deadline = NEVER if seconds is None else now + seconds
        waiter = Waiter(
            self,
            home,
            self.loop.create_future(),
            since=now,
            pool_deadline=pool_deadline,
            call_deadline=deadline,
            fresh=fresh,
        )
        home.waiters[waiter] = None
        home.waits += 1
        first = min(pool_deadline, deadline)
        if first < NEVER:
            self.clock.watch(waiter, first)
        self._start_dials(home)
        return waiter

    def _wait_again(self, waiter: Waiter, channel: Channel, reason: str) -> Waiter:
        """The channel died on its way to this waiter: drop it, and wait again at the front of the queue."""
        home, fresh = waiter.home, channel.uses == 1
        self.close_channel(channel, reason)
        if fresh:
            raise ClientConnectionError(
                f"{channel.endpoint} {'closed the connection' if reason == 'peer_fin' else 'sent bytes'} before it was "
                "asked anything; check that the port speaks HTTP",
                endpoint=channel.endpoint,
                phase="connect",
                reused=False,
            )
        again = Waiter(
            self,
            home,
            self.loop.create_future(),
            since=waiter.since,
            pool_deadline=waiter.pool_deadline,
            call_deadline=waiter.call_deadline,
            fresh=waiter.fresh,
        )
        self._check_open(home.endpoint)
        self._endpoints[home.endpoint] = home
        home.waiters[again] = None
        home.waiters.move_to_end(again, last=False)
        first = min(again.pool_deadline, again.call_deadline)
        if first < NEVER:
            self.clock.watch(again, first)
        self._start_dials(home)
        return again

    def _check_open(self, endpoint: Endpoint) -> None:
        if self.closed:
            raise PoolClosedError(
                f"cannot get a connection to {endpoint}: the connector is closed; make a new one",
                endpoint=endpoint,
                phase="wait",
            )

    def _check_waiting(self, home: EndpointPool) -> None:
        most = self._limits.max_waiting
        if most is not None and home.uncovered >= most and not self._could_dial(home):
            raise PoolFullError(
                f"cannot queue for {home.endpoint}: {len(home.waiters)} callers wait already and max_waiting is "
                f"{most} ({self._numbers(home)}); raise limit or max_waiting, or send less",
                endpoint=home.endpoint,
            )

    # Leaving the queue

    def _abandon(self, waiter: Waiter) -> None:
        """The caller was cancelled, or is about to raise what it was told."""
        channel, home = waiter.channel, waiter.home
        if channel is not None:
            waiter.channel = None
            if channel.state == states.LEASED:
                self.release(channel)
            return
        if waiter.future.done() and not waiter.future.cancelled():
            waiter.future.exception()  # told an error in the turn of the cancellation: it counts as retrieved
        if waiter in home.waiters:
            del home.waiters[waiter]
            self._drop_surplus_dial(home, "abandoned")
            self._drop_if_empty(home)

    def _drop_surplus_dial(self, home: EndpointPool, why: str) -> None:
        # The youngest is the one least far along.
        if home.uncovered < 0:
            for dial in reversed(home.dials):
                if dial.cut_off is None:
                    dial.cancel(why)
                    return

    def expire_waiter(self, waiter: Waiter, now: float) -> None:
        """A waiter's deadline has passed (called by the clock)."""
        home = waiter.home
        if not waiter.is_live:
            return
        if waiter.call_deadline > now and home.has_dial_for(waiter):
            self.clock.watch(waiter, min(waiter.call_deadline, now + COVERED_RECHECK))
            return
        waiter.fail(self._wait_error(waiter, now))
        del home.waiters[waiter]
        if self._conn_timeout is None:
            self._drop_surplus_dial(home, "abandoned")
        self._drop_if_empty(home)

    def _wait_error(self, waiter: Waiter, now: float) -> ClientTimeoutError:
        home = waiter.home
        waited = now - waiter.since
        if waiter.call_deadline > now or not home.has_dial_for(waiter):
            return PoolTimeoutError(
                f"no connection to {home.endpoint} came free within {waited:.3g} s ({self._numbers(home)}); raise "
                "limit or pool_timeout, or look for responses that are not released",
                endpoint=home.endpoint,
            )
        request = next(iter(home.dials)).request
        return ClientTimeoutError(
            f"Connection timeout to host {home.endpoint.host}:{home.endpoint.port} ssl:{home.endpoint.is_ssl} [the "
            f"time limit of the call passed after {waited:.3g} s in the phase {request.phase!r}]",
            endpoint=home.endpoint,
            phase=request.phase,
            reused=False,
        )

    def _numbers(self, home: EndpointPool) -> str:
        limits = self._limits
        return (
            f"limit {limits.per_endpoint}, limit_total {limits.total}, leased {home.leased}, idle {len(home.idle)}, "
            f"dialling {len(home.dials)}, closing {home.closing}, waiting {len(home.waiters)}"
        )

    # Dialling

    def _could_dial(self, home: EndpointPool) -> bool:
        limit = self._limits.per_endpoint
        return (limit is None or home.open < limit) and (self._total is None or self._total.has_room)

    def _start_dials(self, home: EndpointPool) -> None:
        """Dial for those who wait without a dial, as far as the limits go."""
        limit = self._limits.per_endpoint
        if self._total is None:
            while home.uncovered > 0 and (limit is None or home.open < limit):
                self._start_dial(home)
        else:
            if home.uncovered > 0 and (limit is None or home.open < limit):
                self._total.join(home)
            self._serve_hungry(self._total)
        if limit is not None and home.idle and home.uncovered > 0 and home.open >= limit and not home.closing:
            # Only callers who insist on a new connection can wait beside idle ones: one idle makes room.
            oldest = home.oldest_idle()
            if oldest is not None:
                self.close_channel(oldest, "room", politely=False)

    def _serve_hungry(self, total: TotalLimit) -> None:
        """Slots of the total go to the longest waiting endpoint that may dial."""
        limit = self._limits.per_endpoint
        while total.has_room and (home := total.next_hungry(limit)) is not None:
            self._start_dial(home)
            if home.uncovered > 0 and (limit is None or home.open < limit):
                total.join(home)
        for channel in total.make_room(limit):
            self.close_channel(channel, "room", politely=False)

    def _start_dial(self, home: EndpointPool) -> None:
        endpoint = home.endpoint
        dial = Dial(home, DialRequest(endpoint, lambda: self.channel_factory(endpoint, self.loop)), self._now())
        home.dials[dial] = None
        home.dials_started += 1
        if self._total is not None:
            self._total.opened()
        dial.task = self.loop.create_task(self._dial(dial), name=f"keepwarm dial {endpoint}")
        # A task that is cancelled before its first step never runs a line of its own.
        dial.task.add_done_callback(lambda task: self._dial_task_done(dial, task))
        if self._conn_timeout is not None:
            self.clock.watch(dial, dial.started + self._conn_timeout)

    async def _dial(self, dial: Dial) -> None:
        home = dial.home
        if home.uncovered < 0:
            # Decided again just before dialling (law 3): whoever wanted this has been served meanwhile.
            self._dial_over(dial)
            return
        try:
            _, channel = await self._connect(dial.request)
        except Exception as exc:
            if dial in home.dials:
                home.dial_failures += 1
                self._dial_over(dial, exc)
            return
        self._adopt(dial, channel)

    def _dial_task_done(self, dial: Dial, task: "asyncio.Task[None]") -> None:
        dial.deadline = NEVER
        error = None if task.cancelled() else task.exception()
        if dial not in dial.home.dials:
            return
        if dial.cut_off == "timeout" and self._conn_timeout is not None:
            dial.home.dial_failures += 1
            self._dial_over(dial, dial.timeout_error(self._conn_timeout))
        elif dial.cut_off is not None:
            self._dial_over(dial)
        else:
            endpoint = dial.home.endpoint
            text = f"the dial to {endpoint} was cancelled from outside"
            self._dial_over(dial, error or ClientConnectionError(text, endpoint=endpoint, phase="connect"))

    def _dial_over(self, dial: Dial, error: BaseException | None = None) -> None:
        """A dial ended without a channel: its slot is free, and the oldest waiter hears why (others dial on)."""
        home = dial.home
        del home.dials[dial]
        dial.deadline = NEVER
        if error is not None:
            waiter = home.next_waiter(for_used=False)
            if waiter is not None:
                waiter.fail(error)
        self._slot_freed(home)

    def _adopt(self, dial: Dial, protocol: asyncio.BaseProtocol) -> None:
        """A dial's channel joins the pool: the oldest waiter gets it, whoever started the dial (law 3)."""
        if not isinstance(protocol, Channel):
            raise TypeError(f"_create_connection must return (transport, req.channel_factory()), got {protocol!r}")
        channel, home = protocol, dial.home
        if channel.state == states.CLOSED or dial not in home.dials:
            channel.abort_transport()
            if dial in home.dials:
                home.dial_failures += 1
                self._dial_over(dial, self._stillborn(home.endpoint, channel))
            return
        channel.owner = self
        channel.home = home
        self._channels.add(channel)
        del home.dials[dial]
        dial.deadline = NEVER
        waiter = None if self.closed else home.next_waiter(for_used=False)
        if waiter is None:
            channel.state = states.step(channel.state, states.CONNECTED_IDLE)
            self._shelve(home, channel)
            if self.closed or channel.retiring is not None:
                self.close_channel(channel, channel.retiring or "drain")
            return
        channel.state = states.step(channel.state, states.CONNECTED)
        home.leased += 1
        home.handed_new += 1
        home.leases += 1
        channel.uses = 1
        waiter.settle(channel)

    def _stillborn(self, endpoint: Endpoint, channel: Channel) -> ClientConnectionError:
        return ClientConnectionError(
            f"{endpoint} closed the connection as soon as it was made ({channel.retiring}); check that the port speaks "
            f"{'HTTPS' if endpoint.is_ssl else 'HTTP'}",
            endpoint=endpoint,
            phase="connect",
            reused=False,
        )

    # Giving back

    def release(self, channel: Channel) -> None:
        """The lease ends. Only with the framing proved and both directions done; else use `close_channel`."""
        home = channel.home
        if home is None or channel.state != states.LEASED:
            raise states.IllegalTransition(f"{channel!r} is not leased")
        if self.closed or self._keepalive.force_close or not channel.is_reusable():
            self.close_channel(channel, channel.retiring or ("force_close" if channel.is_reusable() else "uses"))
            return
        if home.waiters and self._hand_over(home, channel):
            return
        channel.state = states.RELEASE_FROM[channel.state]
        home.leased -= 1
        self._shelve(home, channel)
        if home.waiters:
            self._start_dials(home)

    def _shelve(self, home: EndpointPool, channel: Channel) -> None:
        home.idle[channel] = None
        now = self._now()
        channel.idle_since = now
        hint = channel.idle_hint
        channel.deadline = deadline = now + (self._idle_window if hint is None else self._keepalive.window(hint))
        if deadline < channel.sweep_at:
            self.clock.enter(channel, deadline)
        if self._total is not None:
            self._total.shelved(channel)
            self._serve_hungry(self._total)

    def _hand_over(self, home: EndpointPool, channel: Channel) -> bool:
        """Give the channel to the oldest waiter (law 1, 2). False if nobody can take it."""
        if self._total is not None and self._total.is_starving_before(home):
            self.close_channel(channel, "room", politely=False)
            return True
        waiter = home.next_waiter(for_used=True)
        if waiter is None:
            return False
        channel.state = states.step(channel.state, states.HAND_OVER)
        channel.deadline = NEVER
        channel.uses += 1
        home.leases += 1
        waiter.settle(channel)
        return True

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
        self._leave_books(home, channel)
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
            self._leave_books(home, channel)
            home.retired[reason] += 1
        home.check()
        channel.state = states.step(channel.state, states.LOST)
        channel.retiring = channel.retiring or reason
        channel.deadline = NEVER
        self._channels.discard(channel)
        self._slot_freed(home)

    def _leave_books(self, home: EndpointPool, channel: Channel) -> None:
        if channel.state == states.IDLE:
            del home.idle[channel]
            if self._total is not None:
                self._total.unshelved(channel)
        elif channel.state == states.LEASED:
            home.leased -= 1
        else:
            home.detached -= 1

    def _slot_freed(self, home: EndpointPool) -> None:
        if self._total is not None:
            self._total.freed()
        if not self.closed:
            if home.waiters or self._total is not None:
                self._start_dials(home)
        elif self._emptied is not None and not self._emptied.done() and self.open == 0:
            self._emptied.set_result(None)
        self._drop_if_empty(home)

    def _drop_if_empty(self, home: EndpointPool) -> None:
        if home.is_empty and self._endpoints.get(home.endpoint) is home:
            del self._endpoints[home.endpoint]
            self._gone = EndpointStats.sum((self._gone, EndpointStats.of(home)))
        if self.closed and not self._endpoints:
            self.clock.close()

    # The end, and the numbers

    @property
    def open(self) -> int:
        """Open sockets, dials included."""
        return sum(home.open for home in self._endpoints.values())

    def close(self) -> None:
        """Close everything now: idle channels politely, leased ones at once; callers who wait get PoolClosedError."""
        if self.closed:
            return
        self.closed = True
        for home in list(self._endpoints.values()):
            error_text = f"the connector was closed while this call waited for a connection to {home.endpoint}"
            while (waiter := home.next_waiter(for_used=False)) is not None:
                waiter.fail(PoolClosedError(error_text, endpoint=home.endpoint, phase="wait"))
            for dial in list(home.dials):
                dial.cancel("closed")
        for channel in list(self._channels):
            if channel.state == states.IDLE:
                self.close_channel(channel, "drain")
            elif channel.state < states.CLOSING:
                channel.pool_closed()
                self.close_channel(channel, "drain", politely=False)
        for home in list(self._endpoints.values()):
            self._drop_if_empty(home)
        if not self._endpoints:
            self.clock.close()

    async def wait_closed(self) -> None:
        """Wait until every socket is gone. Cancelling it changes nothing."""
        while self.open and not self.loop.is_closed():
            if self._emptied is None or self._emptied.done():
                self._emptied = self.loop.create_future()
            await asyncio.shield(self._emptied)

    def stats(self) -> PoolStats:
        """The numbers of this moment."""
        endpoints = {endpoint: EndpointStats.of(home) for endpoint, home in self._endpoints.items()}
        return PoolStats(EndpointStats.sum((self._gone, *endpoints.values())), endpoints)
