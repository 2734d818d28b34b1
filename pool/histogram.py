"""Histogram: how long, or how often, as counts in fixed buckets. Recorder: where they are counted."""

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from operator import add
from typing import Final

# Steps of 1, 2 and 5: 0.1 ms to 100,000 s (28 hours) for times, 1 to 1,000,000 for numbers. A value counts in the first
# bucket whose bound it does not pass; above the last bound there is one bucket more.
SECONDS: Final = (*(float(f"{digit}e{power}") for power in range(-4, 5) for digit in (1, 2, 5)), 1e5)
NUMBERS: Final = (*(float(f"{digit}e{power}") for power in range(6) for digit in (1, 2, 5)), 1e6)


@dataclass(frozen=True, slots=True)
class Histogram:
    """`count` values whose `sum` is known, by size: `buckets` has a number for each of `bounds`, and one for what is
    above them all. A value equal to a bound belongs below it. Empty `buckets` are all zero.

    Seconds where times are counted, else plain numbers. All three grow only, so two of them can be subtracted.
    """

    bounds: tuple[float, ...] = SECONDS
    count: int = 0
    sum: float = 0.0
    buckets: tuple[int, ...] = ()

    @property
    def mean(self) -> float | None:
        """The average; None while nothing was counted."""
        return self.sum / self.count if self.count else None

    def percentile(self, p: float) -> float | None:
        """The value below which `p` percent of the values lie (0 to 100); None while nothing was counted.

        Right to within its bucket, whose bounds are at most a factor of 2.5 apart: inside it the values are taken to
        lie evenly. Above the last bound it is that bound. Raises ValueError for a `p` out of range.
        """
        if not 0 <= p <= 100:
            raise ValueError(f"p must be a percentage from 0 to 100, got {p!r}")
        if not self.count:
            return None
        rank = self.count * p / 100
        below = 0
        for index, number in enumerate(self.buckets):
            if number and below + number >= rank:
                if index == len(self.bounds):
                    break
                low = self.bounds[index - 1] if index else 0.0
                return low + (self.bounds[index] - low) * (rank - below) / number
            below += number
        return self.bounds[-1]

    def cumulative(self) -> list[tuple[float, int]]:
        """(bound, how many values do not pass it) for each bound, and at last (inf, all)."""
        sums = accumulate(self.buckets or (0,) * (len(self.bounds) + 1))
        return list(zip((*self.bounds, math.inf), sums, strict=True))

    @classmethod
    def total(cls, many: "Iterable[Histogram]", bounds: tuple[float, ...] = SECONDS) -> "Histogram":
        """Several with the same `bounds`, added up."""
        full = [one for one in many if one.count]
        if not full:
            return NOTHING[bounds]
        return cls(
            bounds,
            sum(one.count for one in full),
            math.fsum(one.sum for one in full),
            tuple(map(sum, zip(*[one.buckets for one in full], strict=True))),
        )


NOTHING: Final = {bounds: Histogram(bounds) for bounds in (SECONDS, NUMBERS)}


class Recorder:
    """Counts values. `taken` makes a Histogram of them, which is kept until the next value comes."""

    __slots__ = ("_bounds", "_buckets", "_count", "_sum", "_taken")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self._bounds = bounds
        self._buckets: list[int] | None = None
        self._count = 0
        self._sum = 0.0
        self._taken: Histogram | None = NOTHING[bounds]

    def record(self, value: float) -> None:
        """One value more."""
        if self._buckets is None:
            self._buckets = [0] * (len(self._bounds) + 1)
        self._buckets[bisect_left(self._bounds, value)] += 1
        self._count += 1
        self._sum += value
        self._taken = None

    def add(self, other: Histogram) -> None:
        """What was counted elsewhere, by the same bounds."""
        if other.count:
            mine = self._buckets
            self._buckets = list(other.buckets) if mine is None else list(map(add, mine, other.buckets))
            self._count += other.count
            self._sum += other.sum
            self._taken = None

    def taken(self) -> Histogram:
        """The values so far."""
        taken = self._taken
        if taken is None:
            taken = self._taken = Histogram(self._bounds, self._count, self._sum, tuple(self._buckets or ()))
        return taken
