"""Refill: idle connections, kept ready in the background.

The pool's clock looks at each endpoint once in `PACE` seconds and begins the dials that are missing, at most
`MOST_AT_ONCE` at a time over all endpoints. There is no task, and nothing that a call could pay for. A connection that
is about to reach its idle time or its age counts as gone a moment earlier, so that its replacement is there first,
where the limits leave room for both.

While dials to an endpoint fail the pauses grow, up to a minute. The first that succeeds ends that, whoever wanted it;
if its peer hangs up before it is of any use, the pauses go on growing.
An endpoint that no call has used for `REMEMBERED` seconds is dialled no more, until it is used again: names and ports
come and go, and a server that nobody needs is not to be kept busy for ever. It is forgotten with its last connection,
for a call that finds one does not say so.
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
# A dial that takes longer waits for its peer, and does not count among those: a machine that does not answer must not
# hold up the refill of the others.
SLOW: Final = 5.0
# Seconds without a dial after a failure: at first, and at most.
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
REMEMBERED: Final = 300.0
# This many seconds before its end a connection counts as gone, but never for more than a quarter of its time.
LEAD: Final = 2.0


class _Kept:
    """One endpoint that is looked after, watched by the clock."""

    __slots__ = (
        "_look",
        "deadline",
        "dialling",
        "endpoint",
        "last_pause",
        "leases",
        "least",
        "pause",
        "sweep_at",
        "used_at",
    )

    def __init__(self, endpoint: Endpoint, least: int, now: float, look: "Callable[[_Kept, float], None]") -> None:
        self.endpoint = endpoint
        self.least = least
        self._look = look
        self.leases = 0
        self.used_at = now
        self.dialling = 0
        self.pause = 0.0
        # What the pause was before the last dial that succeeded; 0 again once there is nothing to dial for.
        self.last_pause = 0.0
        self.deadline = NEVER
        self.sweep_at = NEVER

    def on_deadline(self, now: float) -> None:
        self._look(self, now)

    def is_in_use(self, home: EndpointPool | None, now: float) -> bool:
        """Whether calls still go there."""
        leases = 0 if home is None else home.leases
        # Books that were opened anew begin at 0, which is no use.
        if leases not in (0, self.leases) or (home is not None and home.leased):
            self.used_at = now
        self.leases = leases
        return now - self.used_at < REMEMBERED


class _Begun:
    """A dial for nobody, and since when."""

    __slots__ = ("kept", "since")

    def __init__(self, kept: _Kept, since: float) -> None:
        self.kept = kept
        self.since = since


class Refill:
    """Keeps `min_idle` connections ready at every endpoint that is in use."""

    __slots__ = ("_begun", "_clock", "_dials", "_endpoints", "_kept", "_least")

    def __init__(self, clock: Clock, dials: Dials, endpoints: Endpoints, least: MinIdle) -> None:
        self._clock = clock
        self._dials = dials
        self._endpoints = endpoints
        self._least = least
        self._kept: dict[Endpoint, _Kept] = {}
        self._begun: set[_Begun] = set()

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
            kept.last_pause, kept.pause = kept.pause, 0.0
            self._clock.watch(kept, self._clock.now() + MOMENT)

    def hung_up(self, endpoint: Endpoint) -> None:
        """The peer has ended a connection that nobody has used yet. What comes at one time counts once."""
        kept = self._kept.get(endpoint)
        if kept is not None and not kept.pause:
            self._pause(kept, kept.last_pause)

    def stop(self) -> None:
        """Keep nothing any more."""
        kept, self._kept = self._kept, {}
        for one in kept.values():
            self._clock.forget(one)

    def _look(self, kept: _Kept, now: float) -> None:
        home = self._endpoints.in_use.get(kept.endpoint)
        if not kept.is_in_use(home, now):
            if home is None:
                del self._kept[kept.endpoint]
            else:
                self._clock.watch(kept, now + PACE)
            return
        lacking = kept.least - kept.dialling - (0 if home is None else sum(_lasts(c, now) for c in home.idle))
        if lacking > 0:
            self._dial(kept, lacking, now)
        elif not kept.dialling:
            kept.last_pause = 0.0
        is_held_up = lacking > 0 and self._room(now) <= 0
        self._clock.watch(kept, now + (MOMENT if is_held_up else max(PACE, kept.pause)))

    def _room(self, now: float) -> int:
        """How many more dials may begin."""
        return MOST_AT_ONCE - sum(now - begun.since < SLOW for begun in self._begun)

    def _dial(self, kept: _Kept, lacking: int, now: float) -> None:
        home = self._endpoints.books_of(kept.endpoint)
        # After a failure one dial is enough to see whether it was the last.
        for _ in range(min(1 if kept.pause else lacking, self._room(now))):
            # Before the dial begins, and back if it does not.
            begun = _Begun(kept, now)
            self._count(begun)
            if not self._dials.start_spare(home, partial(self._ended, begun)):
                self._uncount(begun)
                break
        self._endpoints.drop_if_empty(home)

    def _count(self, begun: _Begun) -> None:
        begun.kept.dialling += 1
        self._begun.add(begun)

    def _uncount(self, begun: _Begun) -> None:
        begun.kept.dialling -= 1
        self._begun.discard(begun)

    def _ended(self, begun: _Begun, arrived: bool, error: BaseException | None) -> None:
        kept = begun.kept
        self._uncount(begun)
        if error is not None and self._kept.get(kept.endpoint) is kept:
            self._pause(kept, kept.pause)

    def _pause(self, kept: _Kept, before: float) -> None:
        kept.pause = min(max(2 * before, FIRST_PAUSE), LONGEST_PAUSE)
        # Later than the entry that the clock has; it finds out when that comes up.
        self._clock.watch(kept, self._clock.now() + kept.pause)


def _lasts(channel: Channel, now: float) -> bool:
    """Whether the idle channel will be there for a while."""
    return channel.deadline - now > min(LEAD, (channel.deadline - channel.idle_since) / 4)
