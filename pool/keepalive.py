"""Keepalive: how long a connection may lie idle."""

from dataclasses import dataclass

from keepwarm.pool.clock import NEVER
from keepwarm.pool.limits import check_flag, check_seconds

# A server that says "timeout=5" closes five seconds after *it* saw the connection go idle, and its FIN needs time to
# reach us: stop using the connection earlier. Half the hint is kept when the hint is shorter than two margins.
HINT_MARGIN = 1.0
# A server may promise a day. Middleboxes forget sooner, so a hint never lengthens what we do by ourselves, and one
# beyond this is taken as if it had not been given.
HINT_CAP = 600.0


@dataclass(frozen=True, slots=True)
class Keepalive:
    """`idle_timeout` in seconds (0 or None: for ever); `force_close`: never reuse (reference: BaseConnector).

    `learn`: retire idle connections earlier where an endpoint has shown that it keeps them for less (see `idle_ages`).
    """

    idle_timeout: float | None = 30.0
    force_close: bool = False
    learn: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "idle_timeout", check_seconds("keepalive_timeout", self.idle_timeout))
        check_flag("learn_idle", self.learn)

    def window(self, hint: float | None) -> float:
        """Seconds that a connection may lie idle, given what the server said ("Keep-Alive: timeout=", seconds)."""
        own = NEVER if self.idle_timeout is None else self.idle_timeout
        if hint is None or hint > HINT_CAP:
            return own
        return min(own, shortened(hint))


def shortened(seconds: float) -> float:
    """For how long to use a connection that the peer keeps for `seconds`."""
    return max(seconds - HINT_MARGIN, seconds / 2)
