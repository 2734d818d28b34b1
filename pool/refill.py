"""Refill: idle connections, kept ready in the background.

The pool's clock looks at each endpoint once in `PACE` seconds and begins the dials that are missing, at most
`MOST_AT_ONCE` at a time over all endpoints. There is no task, and nothing that a call could pay for. A connection that
is about to reach its idle time or its age counts as gone a moment earlier, so that its replacement is there first,
where the limits leave room for both.

While dials to an endpoint fail the pauses grow, up to a minute. The first that succeeds ends that, whoever wanted it.
An endpoint that no call has used for `REMEMBERED` seconds is forgotten, until it is used again: names and ports come
and go, and a server that nobody needs is not to be kept busy for ever.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from keepwarm.pool.channel import Channel
from keepwarm.pool.clock import NEVER, Clock
from keepwarm.pool.dials import Dials
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.endpoint_pool import EndpointPool
from keepwarm.pool.endpoints import Endpoints
from keepwarm.pool.min_idle import MinIdle

PACE: Final = 1.0
MOST_AT_ONCE: Final = 4
# Seconds to the next look where MOST_AT_ONCE dials were under way.
MOMENT: Final = 0.1
# Seconds without a dial after a failure: at first, and at most.
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
REMEMBERED: Final = 300.0
# This many seconds before its end a connection counts as gone, but never for more than a quarter of its time.
LEAD: Final = 2.0


class _Kept:
    """One endpoint that is looked after, watched by the clock."""

    __slots__ = ("_look", "deadline", "dialling", "endpoint", "leases", "least", "pause", "sweep_at", "used_at")

    def __init__(self, endpoint: Endpoint, least: int, now: float, look: "Callable[[_Kept, float], None]") -> None:
        self.endpoint = endpoint
        self.least = least
        self._look = look
        self.leases = 0
        self.used_at = now
        self.dialling = 0
        self.pause = 0.0
        self.deadline = NEVER
        self.sweep_at = NEVER

    def on_deadline(self, now: float) -> None:
        self._look(self, now)

    def is_in_use(self, home: EndpointPool | None, now: float) -> bool:
        """Whether calls still go there."""
        leases = 0 if home is None else home.leases
        if leases != self.leases or (home is not None and home.leased):
            self.leases, self.used_at = leases, now
        return now - self.used_at < REMEMBERED


class Refill:
    """Keeps `min_idle` connections ready at every endpoint that is in use."""

    __slots__ = ("_clock", "_dialling", "_dials", "_endpoints", "_kept", "_least")

    def __init__(self, clock: Clock, dials: Dials, endpoints: Endpoints, least: MinIdle) -> None:
        self._clock = clock
        self._dials = dials
        self._endpoints = endpoints
        self._least = least
        self._kept: dict[Endpoint, _Kept] = {}
        self._dialling = 0

    def notice(self, endpoint: Endpoint) -> None:
        """Somebody wants a connection there."""
        if endpoint not in self._kept and (least := self._least.of(endpoint.host)):
            now = self._clock.now()
            kept = self._kept[endpoint] = _Kept(endpoint, least, now, self._look)
            self._clock.watch(kept, now + PACE)

    def succeeded(self, endpoint: Endpoint) -> None:
        """A dial has brought a connection."""
        kept = self._kept.get(endpoint)
        if kept is not None and kept.pause:
            kept.pause = 0.0
            self._clock.watch(kept, self._clock.now() + MOMENT)

    def stop(self) -> None:
        """Keep nothing any more."""
        kept, self._kept = self._kept, {}
        for one in kept.values():
            self._clock.forget(one)

    def _look(self, kept: _Kept, now: float) -> None:
        home = self._endpoints.in_use.get(kept.endpoint)
        if not kept.is_in_use(home, now):
            del self._kept[kept.endpoint]
            return
        lacking = kept.least - kept.dialling - (0 if home is None else sum(_lasts(c, now) for c in home.idle))
        if lacking > 0:
            self._dial(kept, lacking)
        is_held_up = self._dialling >= MOST_AT_ONCE and lacking > 0
        self._clock.watch(kept, now + (MOMENT if is_held_up else max(PACE, kept.pause)))

    def _dial(self, kept: _Kept, lacking: int) -> None:
        home = self._endpoints.books_of(kept.endpoint)
        # After a failure one dial is enough to see whether it was the last.
        most = min(1 if kept.pause else lacking, MOST_AT_ONCE - self._dialling)
        for _ in range(most):
            # Before the dial begins, and back if it does not.
            kept.dialling += 1
            self._dialling += 1
            if not self._dials.start_spare(home, partial(self._ended, kept)):
                kept.dialling -= 1
                self._dialling -= 1
                break
        self._endpoints.drop_if_empty(home)

    def _ended(self, kept: _Kept, arrived: bool, error: BaseException | None) -> None:
        kept.dialling -= 1
        self._dialling -= 1
        if error is not None and self._kept.get(kept.endpoint) is kept:
            kept.pause = min(max(2 * kept.pause, FIRST_PAUSE), LONGEST_PAUSE)
            # Later than the entry that the clock has; it finds out when that comes up.
            self._clock.watch(kept, self._clock.now() + kept.pause)


def _lasts(channel: Channel, now: float) -> bool:
    """Whether the idle channel will be there for a while."""
    return channel.deadline - now > min(LEAD, (channel.deadline - channel.idle_since) / 4)
