"""Pace: how fast an endpoint has been serving those who wait for it."""

from math import exp

from keepwarm.pool.shedding import Shedding


class Pace:
    """Leases that ended while somebody waited, each of which served the next in line, over the time that somebody
    waited; the newer ones weigh more. Every operation is O(1).

    `resume` is called when somebody begins to wait for the limit where nobody did, `advance` when a lease ends. Time
    in which nobody waits says nothing about what the endpoint can do, and is not counted.
    """

    __slots__ = ("_count", "_held", "_last", "_options", "_span")

    def __init__(self, options: Shedding) -> None:
        self._options = options
        self._count = 0.0
        self._span = 0.0
        self._held = 0.0
        self._last = 0.0

    def resume(self, now: float) -> None:
        """Time counts from here."""
        self._last = now

    def advance(self, now: float, held: float) -> None:
        """The next in line is served, because a lease of `held` seconds is over."""
        passed = now - self._last
        kept = exp(-passed / self._options.window)
        self._count = self._count * kept + 1
        self._span = self._span * kept + passed
        self._held = self._held * kept + held
        self._last = now

    def per_second(self, now: float) -> float | None:
        """Callers served in a second, up to `now`; None while there is too little to go by."""
        passed = now - self._last
        kept = exp(-passed / self._options.window)
        count, span = self._count * kept, self._span * kept + passed
        # What is rounded off must not make the evidence fall short.
        if count < self._options.evidence - 1e-6 or span <= 0:
            return None
        return count / span

    @property
    def usable(self) -> float:
        """The share of a caller's time that may go by in the queue."""
        return 1 - self._options.headroom

    @property
    def hold(self) -> float:
        """Seconds that a caller keeps a connection, on average; 0 before the first."""
        return self._held / self._count if self._count else 0.0
