"""Clock: the only source of time, and one sweep for all deadlines.

Deadlines are numbers that lie on the things they bound: a waiter, a dial, a channel. The clock keeps a heap of
(when, item) with at most one live entry an item, and one timer for the earliest entry. Moving a deadline *later*,
which is what each request does to its channel, touches nothing but the number: when the old entry comes up, the item
is asked again and entered anew. Only a deadline that moves *earlier* than the item's entry is pushed. So the warm
path pays one comparison, and ten thousand idle channels share one timer.

An entry that no longer counts stays in the heap until it comes up, which may be minutes. Whoever is done with an item
says so (`forget`), and when more than half of the heap is dead it is built anew: what is over is not kept alive.
"""

import heapq
import math
import time
from collections.abc import Callable
from typing import Protocol

NEVER = math.inf

# Seconds since 1970, for what peers date by the calendar: cookies. It may jump; deadlines never use it.
wall_time = time.time

# For whoever only measures how long something took, where there is no pool's clock.
monotonic = time.monotonic

# A sweep that runs this late found the loop stalled. The peer's bytes may be waiting in the kernel, so the loop gets
# a chance to read them before anything is declared overdue.
STALL = 0.5
RESOLUTION = 0.005
# A heap with fewer dead entries than this is not worth cleaning.
FEW = 64


class Timed(Protocol):
    """What the clock can watch."""

    deadline: float
    sweep_at: float

    def on_deadline(self, now: float) -> None:
        """Called once `deadline` has passed; it is NEVER by then, so set it again to be watched further."""


class TimerHandle(Protocol):
    def cancel(self) -> None: ...


class Scheduler(Protocol):
    """The two calls that a clock needs of an event loop."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> TimerHandle: ...

    def call_soon(self, callback: Callable[[], None], /) -> object: ...


class Clock:
    """Monotonic seconds in `now()`; `watch()` puts an item under a deadline.

    One clock belongs to one pool.
    """

    __slots__ = ("_dead", "_due", "_heap", "_scheduler", "_serial", "_timer", "now")

    def __init__(self, scheduler: Scheduler, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self._scheduler = scheduler
        self._heap: list[tuple[float, int, Timed]] = []
        self._serial = 0
        self._dead = 0
        self._timer: TimerHandle | None = None
        self._due = NEVER

    def watch(self, item: Timed, when: float) -> None:
        """Set the item's deadline to `when` (a time of this clock; NEVER takes it off)."""
        item.deadline = when
        if when < item.sweep_at:
            self.enter(item, when)

    def enter(self, item: Timed, when: float) -> None:
        """Make sure that the item is looked at by `when`. For callers that have set `deadline` themselves."""
        if item.sweep_at < NEVER:
            self._dead += 1
        item.sweep_at = when
        self._serial += 1
        heapq.heappush(self._heap, (when, self._serial, item))
        if when < self._due:
            self._arm(when)

    def forget(self, item: Timed) -> None:
        """Take the item off for good; it must not be watched again. With the last item the timer goes too."""
        item.deadline = NEVER
        if item.sweep_at < NEVER:
            item.sweep_at = NEVER
            self._dead += 1
            self._tidy()

    def close(self) -> None:
        """Cancel the timer and forget all items."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for _, _, item in self._heap:
            item.sweep_at = NEVER
        self._heap.clear()
        self._dead = 0
        self._due = NEVER

    @property
    def entries(self) -> int:
        """How many entries the heap holds, dead ones included."""
        return len(self._heap)

    def _tidy(self) -> None:
        size, dead = len(self._heap), self._dead
        if dead >= size or (dead > FEW and dead * 2 > size):
            self._bury()

    def _bury(self) -> None:
        self._heap[:] = [entry for entry in self._heap if entry[2].sweep_at == entry[0]]
        heapq.heapify(self._heap)
        self._dead = 0
        if not self._heap and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._due = NEVER

    def abandon(self) -> None:
        """Forget all items without a word to the loop."""
        self._timer = None
        self._heap.clear()
        self._dead = 0
        self._due = NEVER

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = when
        self._timer = self._scheduler.call_later(max(when - self.now(), RESOLUTION), self._tick)

    def _tick(self) -> None:
        self._timer = None
        late = self.now() - self._due
        if late > STALL:
            self._timer = self._scheduler.call_later(RESOLUTION, self._sweep)
        else:
            self._sweep()

    def _sweep(self) -> None:
        self._timer = None
        self._due = -NEVER  # nothing that a callback watches may arm the timer while the sweep runs
        now = self.now()
        heap = self._heap
        try:
            while heap and heap[0][0] <= now:
                when, _, item = heapq.heappop(heap)
                if item.sweep_at != when:
                    self._dead -= 1
                    continue  # forgotten, or a later push took its place
                item.sweep_at = NEVER
                deadline = item.deadline
                if deadline <= now:
                    item.deadline = NEVER
                    item.on_deadline(now)
                elif deadline < NEVER:
                    self.enter(item, deadline)
        finally:
            self._due = NEVER
            self._tidy()  # the live entries may have been the ones that came up
            if heap:
                self._arm(heap[0][0])
