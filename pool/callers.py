"""Callers: those who wait for a connection, from their arrival to the end of their wait."""

import asyncio
from collections.abc import Iterable
from itertools import count
from typing import Protocol

from keepwarm.pool import wait_errors
from keepwarm.pool.channel import Channel
from keepwarm.pool.clock import NEVER, Clock
from keepwarm.pool.dials import Dials
from keepwarm.pool.endpoint_pool import EndpointPool
from keepwarm.pool.holders import Holders
from keepwarm.pool.leak_finder import LeakFinder
from keepwarm.pool.limits import Limits
from keepwarm.pool.pace import Pace
from keepwarm.pool.shortage import Shortage
from keepwarm.pool.total_limit import TotalLimit
from keepwarm.pool.waiters import Waiter

# A caller who insists on a new connection has had one that died: its place is this far before those of other callers.
AHEAD = 1 << 62

# How late, in seconds, a caller may hear that its time is over, if it had a dial then and has none now.
LOOK_AGAIN = 0.25


class CallersOwner(Protocol):
    """What the pool does for its callers."""

    @property
    def channels(self) -> Iterable[Channel]: ...

    @property
    def limits(self) -> Limits: ...

    @property
    def leaks(self) -> LeakFinder | None: ...

    def drop_if_empty(self, home: EndpointPool) -> None: ...


class Callers:
    """Puts callers into the queues of their endpoints, and takes out those who leave before they are served."""

    __slots__ = (
        "_clock",
        "_covered",
        "_dials",
        "_holders",
        "_keeps_dials",
        "_loop",
        "_owner",
        "_places",
        "_total",
    )

    def __init__(
        self,
        owner: CallersOwner,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        dials: Dials,
        *,
        total: TotalLimit | None,
        keeps_dials: bool,
    ) -> None:
        self._owner = owner
        self._loop = loop
        self._clock = clock
        self._dials = dials
        self._total = total
        # A dial whose caller ran out of time may still serve the next one, if something else bounds it.
        self._keeps_dials = keeps_dials
        self._places = count()
        self._covered: tuple[EndpointPool, float, float] | None = None
        self._holders = Holders()

    def arrive(self, home: EndpointPool, pool_timeout: float | None, deadline: float, fresh: bool) -> Waiter:
        """A caller who could not be served at once. It is in no queue yet."""
        now = self._clock.now()
        seconds = self._owner.limits.pool_timeout if pool_timeout is None else pool_timeout
        return Waiter(
            self,
            home,
            self._loop.create_future(),
            place=next(self._places) - (AHEAD if fresh else 0),
            since=now,
            pool_deadline=NEVER if seconds is None else now + seconds,
            pool_limit="pool_timeout" if pool_timeout is None else "the pool limit of the call's timeout",
            call_deadline=deadline,
            fresh=fresh,
        )

    def enqueue(self, waiter: Waiter, answer_by: float) -> None:
        """At the end of its line; one who insists on a new connection comes before all others.

        Raises PoolFullError or PoolShedError, but not for the latter: they have been served before, so the limit
        bounds them.
        """
        home, pace = waiter.home, waiter.home.pace
        if not waiter.fresh:
            limits = self._owner.limits
            if limits.max_waiting is not None and home.uncovered >= limits.max_waiting:
                raise wait_errors.queue_full(home, limits, self._shortage(home, waiter.since))
            if pace is not None and home.uncovered > 0:
                self._shed(waiter, pace, answer_by)
        home.queue.add(waiter)
        home.waits += 1
        self._wait(waiter, in_front=waiter.fresh)
        if pace is not None and home.uncovered <= 1:
            pace.resume(waiter.since)  # until now nobody waited for the limit

    def enqueue_again(self, waiter: Waiter, home: EndpointPool) -> Waiter:
        """At the place that it had: the channel that it was given died on its way."""
        again = waiter.again(home, self._loop.create_future())
        home.queue.add_back(again)
        self._wait(again, in_front=True)
        return again

    def _shed(self, waiter: Waiter, pace: Pace, answer_by: float) -> None:
        """Raises PoolShedError for one who cannot be served in time."""
        home, now = waiter.home, waiter.since
        per_second = pace.per_second(now)
        if per_second is None:
            return
        wait = (home.uncovered + 1) / per_second
        # Not more than what those who hold one now would need if all of them went on at this pace: a single lease that
        # lasted for an hour says little about the next call.
        hold = min(pace.hold, home.leased / per_second)
        spare = (min(waiter.pool_deadline, waiter.call_deadline, answer_by - hold) - now) * pace.usable
        if wait > spare:
            short = self._shortage(home, now)
            raise wait_errors.shed(home, self._owner.limits, short, pace=per_second, wait=wait, spare=spare)

    def wants_room(self, home: EndpointPool) -> bool:
        """Whether a used connection that came back to `home` is to make room for a dial, here or elsewhere.

        Here, if the oldest caller insists on a new one: it was not dialled for, so there is no room for a dial.
        """
        queue, total = home.queue, self._total
        if queue.fresh and len(queue.fresh) > len(home.dials) + home.closing:
            oldest = queue.oldest()
            if oldest is not None and oldest.fresh:
                return True
        return total is not None and total.hungry > 0 and total.is_owed_elsewhere(home)

    def give_up(self, waiter: Waiter) -> None:
        """The caller was cancelled, or is about to raise what it was told."""
        future = waiter.future
        if future.done() and not future.cancelled():
            future.exception()  # told an error in the turn of the cancellation: it counts as retrieved
            return
        # Whoever looked at the queue in the meantime may have taken the cancelled one off already.
        waiter.home.queue.remove(waiter)
        self._dials.drop_surplus(waiter.home)
        self._left_unserved(waiter)

    def was_taken(self, waiter: Waiter) -> None:
        """The waiter is off its queue."""
        self._clock.forget(waiter)
        home = waiter.home
        if home.hunger and home.uncovered <= 0 and self._total is not None:
            self._total.leave(home)

    def bound_by(self, total: TotalLimit | None) -> None:
        """From now on this is the order over all endpoints."""
        self._total = total

    def judge_all(self, home: EndpointPool) -> None:
        """Nobody is served for now: who waits for a dial has the time limits of the others."""
        for line in (home.queue.ordinary, home.queue.fresh):
            for waiter in line:
                first = min(waiter.pool_deadline, waiter.call_deadline)
                if first < NEVER and waiter.is_live:
                    self._clock.watch(waiter, first)

    def fail_all(self, home: EndpointPool) -> None:
        """The pool is closed."""
        while (waiter := home.queue.take(for_used=False)) is not None:
            self.was_taken(waiter)
            waiter.fail(wait_errors.closed_meanwhile(home.endpoint))

    def expire_waiter(self, waiter: Waiter, now: float) -> None:
        """A waiter's deadline has passed (called by the clock)."""
        if not waiter.is_live:
            return
        home = waiter.home
        if waiter.place >= self._first_uncovered_place(home, now):
            waiter.fail(wait_errors.not_in_time(waiter, now, self._owner.limits, self._shortage(home, now)))
        elif waiter.call_deadline <= now:
            waiter.fail(wait_errors.cut_short(waiter, now))
        else:
            # Its wait for the limit is over: the time limit of the dial is conn_timeout. A dial may be withdrawn, and
            # somebody may come in front: so it is looked at again.
            self._clock.watch(waiter, min(waiter.call_deadline, now + LOOK_AGAIN))
            return
        home.queue.remove(waiter)
        if not self._keeps_dials:
            self._dials.drop_surplus(home)
        self._left_unserved(waiter)

    def _wait(self, waiter: Waiter, *, in_front: bool) -> None:
        home, first = waiter.home, min(waiter.pool_deadline, waiter.call_deadline)
        if first < NEVER:
            self._clock.watch(waiter, first)
        if in_front and self._total is not None:
            self._total.leave(home)  # who is to be dialled for next there is older now
        self._dials.start_for(home)
        if in_front and home.uncovered > 0:
            self._judge_again(home)

    def _judge_again(self, home: EndpointPool) -> None:
        """Somebody came in front: the last one for whom a dial was under way may be without it, and out of time."""
        last, now = home.first_uncovered(), self._clock.now()
        if last is not None and last.pool_deadline <= now:
            self._clock.watch(last, now)

    def _left_unserved(self, waiter: Waiter) -> None:
        self.was_taken(waiter)
        self._owner.drop_if_empty(waiter.home)

    def _first_uncovered_place(self, home: EndpointPool, now: float) -> float:
        """Callers before this place have a dial under way. Looked for once in a sweep: those whose time is over
        together are judged together."""
        if self._dials.is_paused:
            return -NEVER
        found = self._covered
        if found is None or found[0] is not home or found[1] != now:
            first = home.first_uncovered() if home.uncovered > 0 else None
            found = self._covered = (home, now, NEVER if first is None else first.place)
        return found[2]

    def _shortage(self, home: EndpointPool, now: float) -> Shortage:
        """How the endpoint stands, for somebody who gets no connection."""
        leaks, channels = self._owner.leaks, self._owner.channels
        stack_of = None if leaks is None else leaks.stack_of
        if home.leased:
            if home.holders is None:
                home.holders = Holders()
            here = (channel for channel in channels if channel.home is home)
            held = home.holders.oldest(here, home.leased, now, stack_of)
        elif self._total is not None:
            held = self._holders.oldest(channels, None, now, stack_of)
        else:
            held = ()
        return wait_errors.shortage(home, self._owner.limits, now, held)
