"""Backoff: how long to wait before the next try."""

from dataclasses import dataclass

from keepwarm.pool.limits import check_count, check_seconds


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next try.

    The first pause is up to `first` seconds (0.5), each further one up to `factor` (2) times as long, to `longest` (60)
    at most. `jitter` (1.0) is the share of the pause that is left to chance, so that many clients of one server that
    restarts do not come back at once; 0 is none. `tries`: failures in a row before the last one is raised; None, the
    default, never gives up. Raises ValueError or TypeError that names the option.
    """

    first: float = 0.5
    factor: float = 2.0
    longest: float = 60.0
    jitter: float = 1.0
    tries: int | None = None

    def __post_init__(self) -> None:
        if not check_seconds("first", self.first) or not check_seconds("longest", self.longest):
            raise ValueError("first and longest must be more than 0 seconds")
        for name in ("factor", "jitter"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} must be a number, got {value!r}")
        if not self.factor >= 1:
            raise ValueError(f"factor must be at least 1, got {self.factor!r}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be from 0 to 1, got {self.jitter!r}")
        check_count("tries", self.tries)

    def is_spent(self, failures: int) -> bool:
        """Whether so many failures in a row are the end."""
        return self.tries is not None and failures >= self.tries

    def pause(self, failures: int, chance: float) -> float:
        """Seconds to wait after so many failures in a row; `chance` is a number from 0 to 1."""
        longest = self.longest
        # Not by a power, which overflows after a night of failures.
        pause = self.first
        for _ in range(failures - 1):
            pause *= self.factor
            if pause >= longest:
                break
        return min(pause, longest) * (1 - self.jitter * chance)
