"""What a process has used so far, and the arithmetic on rounds."""

import os
import resource
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

PAGE = resource.getpagesize()


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds of all threads of this process (user and system), wall seconds, resident bytes."""

    cpu: float
    system: float
    wall: float
    rss: int

    @classmethod
    def now(cls) -> Self:
        system = resource.getrusage(resource.RUSAGE_SELF).ru_stime
        return cls(time.process_time(), system, time.perf_counter(), resident_bytes())

    def __sub__(self, before: Self) -> Self:
        """What was used since; `rss` is the later reading."""
        return type(self)(self.cpu - before.cpu, self.system - before.system, self.wall - before.wall, self.rss)


def resident_bytes() -> int:
    """Resident memory now. Where there is no /proc, the highest so far."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * PAGE
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if os.uname().sysname == "Darwin" else peak * 1024


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of the ordered values lie (nearest rank)."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Spread(NamedTuple):
    """Median, lowest and highest of the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        return cls(statistics.median(values), min(values), max(values))


def ratio(values: Sequence[float], base: Sequence[float]) -> Spread:
    """The spread of value / base, round by round: both were taken within the same second or two."""
    return Spread.of([value / other for value, other in zip(values, base, strict=True)])
