"""Control: what the owner of a pool does to it as a whole: expire, warm, suspend, resize, close.

The base of `Pool`, which says who gets which connection.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from keepwarm.pool import states, wait_errors
from keepwarm.pool.callers import Callers
from keepwarm.pool.clock import NEVER, Clock
from keepwarm.pool.dials import Dials
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.endpoint_pool import EndpointPool
from keepwarm.pool.holdings import Holdings
from keepwarm.pool.limits import Limits
from keepwarm.pool.refill import Refill
from keepwarm.pool.total_limit import TotalLimit
from keepwarm.pool.warming import Warming

# Two of the reasons of law 8: the owner wants other connections; the limits are smaller than they were.
EXPIRED: Final = "expire"
SHRUNK: Final = "resize"


class _DrainEnd:
    """When those who still hold a connection of a closed pool are cut off; watched by the clock."""

    __slots__ = ("_pool", "deadline", "sweep_at")

    def __init__(self, pool: "Control") -> None:
        self._pool = pool
        self.deadline = NEVER
        self.sweep_at = NEVER

    def on_deadline(self, now: float) -> None:
        self._pool.cut_off()


def _find_nothing(endpoint: Endpoint) -> None:
    """What `try_lease` finds in a pool that is suspended: a call on the warm path pays nothing for asking."""


class Control(Holdings):
    """A pool as its owner sees it."""

    _dials: Dials
    _callers: Callers
    _refill: Refill | None
    _is_choosy: bool

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, limits: Limits) -> None:
        super().__init__(loop, clock, limits)
        self._find: Callable[[Endpoint], EndpointPool | None] = self._endpoints.in_use.get
        # Whether the limits have shrunk and there are still more connections than they allow.
        self._is_shrinking = False
        self._drain_end: _DrainEnd | None = None

    def expire(self, host: str | None, port: int | None) -> int:
        """Retire what leads to `host` (normalised; None: everything) and `port` (None: all of them): idle channels now,
        leased ones when they come back. Dials under way serve nobody. Returns how many channels it concerns."""

        def concerns(endpoint: Endpoint) -> bool:
            return host in (None, endpoint.host) and port in (None, endpoint.port)

        count = 0
        for channel in [c for c in self.channels if concerns(c.endpoint) and c.retiring is None]:
            # A detached one is its holder's.
            if channel.state in (states.IDLE, states.LEASED):
                self.retire(channel, EXPIRED)
                count += 1
        for home in self._endpoints.in_use.values():
            if concerns(home.endpoint):
                for dial in home.dials:
                    dial.retiring = EXPIRED
        return count

    async def warm(self, endpoint: Endpoint, wanted: int) -> int:
        """Dial until `wanted` channels are idle, within the limits; how many of them there are.

        Raises what the first dial raised when there is none, and PoolClosedError. Cancelled, it gives up its dials.
        """
        if self.closed:
            raise wait_errors.closed_already(endpoint)
        home = self._endpoints.books_of(endpoint)
        if self._refill is not None:
            self._refill.notice(endpoint)
        warming = Warming(self.loop, self._dials, home, wanted)
        try:
            await warming.wait()
        finally:
            self.drop_if_empty(home)
        if self.closed:
            raise wait_errors.closed_meanwhile(endpoint)
        if not warming.there and warming.error is not None:
            raise warming.error
        return warming.there

    # Suspending

    @property
    def suspended(self) -> bool:
        """Whether callers are kept waiting."""
        return self._dials.is_paused

    def suspend(self) -> None:
        """No leases and no dials from now on. Callers wait, within their time limits; what is leased goes on."""
        if not (self.closed or self.suspended):
            self._dials.is_paused = True
            self._find = _find_nothing
            for home in self._endpoints.in_use.values():
                self._callers.judge_all(home)

    def resume(self) -> None:
        """Serve those who wait, in their order."""
        if self.suspended:
            self._dials.is_paused = False
            self._find = self._endpoints.in_use.get
            self._serve_all()

    def _serve_all(self) -> None:
        homes = list(self._endpoints.in_use.values())
        for home in homes:
            self._serve_idle(home)
        self._dials.start_all(homes)

    def _serve_idle(self, home: EndpointPool) -> None:
        """For Pool: give idle channels to those who wait beside them."""

    # Resizing

    def resize(self, limits: Limits) -> None:
        """Other limits from now on. Where they have grown, waiters are dialled for at once; where they have shrunk,
        idle channels go now, least recently used first, and leased ones when they come back."""
        self._endpoints.limits = limits
        total = self._total = self._total_for(limits.total)
        self._dials.bound_by(total)
        self._callers.bound_by(total)
        for home in list(self._endpoints.in_use.values()):
            limit = home.limit = limits.of(home.endpoint)
            if total is not None and not home.has_room:
                total.leave(home)  # it could dial under the old limit
            if limit is not None:
                for channel in home.oldest_idle(home.open - home.closing - limit):
                    self.close_channel(channel, SHRUNK)
        if total is not None:
            for channel in total.oldest_idle(total.open - total.closing - total.most):
                self.close_channel(channel, SHRUNK)
        if self._is_anything_too_large():
            self._is_shrinking = self._is_choosy = True
        if not self.closed:
            self._dials.start_all(list(self._endpoints.in_use.values()))

    def _total_for(self, most: int | None) -> TotalLimit | None:
        """The order over all endpoints; made, changed or dropped."""
        homes = self._endpoints.in_use.values()
        if most is None:
            for home in homes:
                home.hunger = 0
            return None
        if self._total is not None:
            self._total.most = most
            return self._total
        total = TotalLimit(most)
        total.open = self.open
        total.closing = sum(home.closing for home in homes)
        for channel in sorted((c for home in homes for c in home.idle), key=lambda c: c.idle_since):
            total.shelved(channel)
        return total

    def _is_too_large(self, home: EndpointPool) -> bool:
        """Whether the endpoint, or all together, has more than the limits allow, goodbyes not counted."""
        limit, total = home.limit, self._total
        return (limit is not None and home.open - home.closing > limit) or (
            total is not None and total.open - total.closing > total.most
        )

    def _is_anything_too_large(self) -> bool:
        return any(map(self._is_too_large, self._endpoints.in_use.values()))

    # Closing

    def close(self, *, spare_leased: bool = False, drain: float | None = None) -> None:
        """Close everything now: idle channels politely, leased ones at once; callers who wait get PoolClosedError.

        Leased ones that are to be spared are closed when they come back; with `drain` after so many seconds at the
        latest. Closing again while it drains makes an end now, or after the new time if that is earlier.
        """
        if self.closed:
            self._hasten(drain)
            return
        self.closed = True
        if self.loop.is_closed():
            self.abandon()
            return
        self._dials.is_paused = False
        if self._refill is not None:
            self._refill.stop()
        if drain is not None:
            spare_leased = True
            self._drain_end = _DrainEnd(self)
            self.clock.watch(self._drain_end, self._now() + drain)
        for home in list(self._endpoints.in_use.values()):
            self._callers.fail_all(home)
            self._dials.stop(home)
        for channel in list(self.channels):
            if spare_leased or channel.state == states.IDLE:
                self.retire(channel, "drain")
        if not spare_leased:
            self.cut_off()
        for home in list(self._endpoints.in_use.values()):
            self.drop_if_empty(home)
        self._end_if_empty()

    def cut_off(self) -> None:
        """Close what is still held in a closed pool."""
        for channel in list(self.channels):
            if channel.state < states.CLOSING:
                channel.pool_closed()
                self.close_channel(channel, "drain", politely=False)

    @property
    def is_draining(self) -> bool:
        """Whether the pool is closed but for those who were given time."""
        return self._drain_end is not None and bool(self._endpoints.in_use)

    def _hasten(self, drain: float | None) -> None:
        if self._drain_end is None or not self.is_draining or self.loop.is_closed():
            return
        if drain is None:
            self.cut_off()
        else:
            self.clock.watch(self._drain_end, min(self._drain_end.deadline, self._now() + drain))
