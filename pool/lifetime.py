"""Lifetime: how long a connection may be used, and how often."""

from collections.abc import Callable
from dataclasses import dataclass
from random import random

from keepwarm.pool.clock import NEVER
from keepwarm.pool.limits import check_count, check_seconds


@dataclass(frozen=True, slots=True)
class Lifetime:
    """`max_age`: seconds from the end of the dial; 0 or None: for ever. `max_uses`: calls; None: no bound.

    Connections that were made together are not to end together: each draws its own age between (1 - `jitter`) and 1
    times `max_age`. `jitter` is at least 0 and below 1.
    """

    max_age: float | None = None
    max_uses: int | None = None
    jitter: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_age", check_seconds("max_age", self.max_age))
        check_count("max_uses", self.max_uses)
        if isinstance(self.jitter, bool) or not isinstance(self.jitter, (int, float)):
            raise TypeError(f"max_age_jitter must be a number, got {self.jitter!r}")
        if not 0 <= self.jitter < 1:
            raise ValueError(f"max_age_jitter must be at least 0 and below 1, got {self.jitter!r}")

    @property
    def is_bounded(self) -> bool:
        """Whether connections end by themselves at all."""
        return self.max_age is not None or self.max_uses is not None

    def expiry(self, now: float, draw: Callable[[], float] = random) -> float:
        """Until when a connection that is made now may be leased. `draw` gives numbers from 0 to 1."""
        return NEVER if self.max_age is None else now + self.max_age * (1 - self.jitter * draw())

    def is_used_up(self, uses: int) -> bool:
        """Whether a connection that was leased so often has served its calls."""
        return self.max_uses is not None and uses >= self.max_uses
