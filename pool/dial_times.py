"""DialTimes: how long each phase of a dial took."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class DialTimes:
    """Seconds of one dial: `dns` lookup, `connect` (TCP or unix socket), `proxy` (reaching it and the tunnel), `tls`,
    and `total`. None is what did not take place. `ended` is when it was connected, as a time of the pool's clock.

    A connector of your own that does not say its phases has a `total` only.
    """

    dns: float | None
    connect: float | None
    proxy: float | None
    tls: float | None
    total: float
    ended: float

    @classmethod
    def of(cls, started: float, marks: Sequence[tuple[str, float]], ended: float) -> Self:
        """From when each phase began. A phase that was entered twice took the sum."""
        spent: dict[str, float] = {}
        ends = [when for _, when in marks[1:]] + [ended]
        for (phase, began), end in zip(marks, ends):
            spent[phase] = spent.get(phase, 0.0) + end - began
        return cls(
            spent.get("resolve"),
            spent.get("connect"),
            spent.get("proxy"),
            spent.get("tls"),
            ended - started,
            ended,
        )
