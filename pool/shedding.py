"""Shedding: when to refuse a caller at once who cannot be served in time."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shedding:
    """A caller who would have to queue is refused at once, with PoolShedError, if it cannot be served before its
    deadline at the endpoint's recent pace. The queue keeps its order; who is in it is never put out of it by this.

    The pace is how many callers a second were served while others waited, newer ones weighing more. A call must get
    its connection within `pool_timeout`, and its answer within its time limit: for that it needs a connection for as
    long as calls had one recently, besides. Nobody is refused who has no deadline, whom nobody waits before, or while
    the pace is not known; nor a request that is sent again because its connection died.

    - `window` (seconds, default 10): what happened that long ago counts 37 % of what happens now. Shorter ones follow a
      changing pace sooner, and know that of a slow endpoint less often. Below 0.1 there is more noise than pace.
    - `evidence` (callers, default 5): the pace is known once that many were served, weighed as above. An endpoint that
      serves fewer than ``evidence / window`` a second never refuses anybody. At least 1.
    - `headroom` (a share from 0 to below 1, default 0.1): the part of a call's time that is not to be spent in the
      queue. The pace is an average: some of those who are let in last will be late, and use up a connection for
      nothing. 0.1 suits answers that take about as long each, 0.3 those that vary much; 0 refuses the fewest.

    Raises TypeError or ValueError that names the option.
    """

    window: float = 10.0
    evidence: int = 5
    headroom: float = 0.1

    def __post_init__(self) -> None:
        for name in ("window", "evidence", "headroom"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} must be a number, got {value!r}")
        if not isinstance(self.evidence, int):
            raise TypeError(f"evidence must be a whole number, got {self.evidence!r}")
        if not 0 < self.window < float("inf"):
            raise ValueError(f"window must be a positive number of seconds, got {self.window!r}")
        if self.evidence < 1:
            raise ValueError(f"evidence must be at least 1, got {self.evidence!r}")
        if not 0 <= self.headroom < 1:
            raise ValueError(f"headroom must be a share from 0 to below 1, got {self.headroom!r}")


def check_shed(shed: object) -> Shedding | None:
    """True is Shedding(), False and None are None. Raises TypeError for what is no such thing."""
    if isinstance(shed, Shedding):
        return shed
    if shed is not None and not isinstance(shed, bool):
        raise TypeError(f"shed must be True, False or a Shedding, got {shed!r}")
    return Shedding() if shed else None
