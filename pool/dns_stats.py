"""DNSStats: what a connector's lookups came to, as plain numbers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DNSStats:
    """Numbers of the lookups of one connector. IP addresses need none and are not counted.

    Gauges: `entries` that are kept, `refreshing` lookups under way for which nobody has to wait. Counters: callers
    who were answered from what is kept (`hits`), who had to wait for a lookup (`misses`), who got an address past its
    time because it could not be renewed (`stale`), who got a remembered failure (`negative_hits`); `lookups` put to
    the resolver; those among them that no caller asked for (`refreshes`); those that failed (`failures`).
    """

    entries: int = 0
    refreshing: int = 0
    hits: int = 0
    misses: int = 0
    stale: int = 0
    negative_hits: int = 0
    lookups: int = 0
    refreshes: int = 0
    failures: int = 0
