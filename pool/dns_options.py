"""DNSOptions: how names are looked up, and how long what was found is used."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from keepwarm.pool.cares import check_options

# Seconds that an answer of unknown age holds, such as one of the system's lookup.
UNKNOWN_TTL: Final = 30.0
# A name that comes back, or a name server, must be noticed within this many seconds (D01).
MAX_NEGATIVE_TTL: Final = 1.0
DAY: Final = 86400.0


@dataclass(frozen=True, slots=True)
class DNSOptions:
    """The `dns` of a TCPConnector. All times are in seconds; every default is safe to leave.

    How long answers are used; all of it needs the cache (`use_dns_cache`):

    - `min_ttl` (1), `max_ttl` (60): an answer holds as long as its records say, within these bounds. From 0 to a day.
      Below 1 a busy client asks about every dial.
    - `negative_ttl` (0.5, at most 1; 0: not at all): how long a failure, or a name that does not exist, is remembered.
    - `stale_for` (60; 0: not at all; at most a day): how long after its end an answer may still be used when the
      lookup that is to renew it fails or takes longer than a quarter of a second. A name server that works is always
      waited for, and when it says that the name does not exist the old answer is dropped at once.
    - `prefetch` (4; 0: never): an answer that was used so often is renewed by the next caller in the last tenth of
      its time, and the caller does not wait for it.
    - `follow` (True): a name with open connections is looked up again whenever its answer ends. So a new address is
      known in time, and connections to an address that left the name are retired.
    - `max_entries` (1024, at least 1): how many answers are kept; the one that was used longest ago goes first.

    How names are looked up; for the connector's own resolver only:

    - `nameservers` (None: those of /etc/resolv.conf): IP addresses with an optional port: ``192.0.2.1``,
      ``192.0.2.1:53``, ``[2001:db8::1]:53``.
    - `timeout` (None: as /etc/resolv.conf says, or 2; more than 0, at most 60): for one try of one server.
    - `tries` (None: as /etc/resolv.conf says, or 3; 1 to 10): for each server.

    Whatever these say, and with any `resolver`, a lookup that has not ended after two minutes is given up.

    Raises TypeError or ValueError that names the option.
    """

    min_ttl: float = 1.0
    max_ttl: float = 60.0
    negative_ttl: float = 0.5
    stale_for: float = 60.0
    prefetch: int = 4
    follow: bool = True
    max_entries: int = 1024
    nameservers: Sequence[str] | None = None
    timeout: float | None = None
    tries: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("max_entries", 1), ("prefetch", 0)):
            count = getattr(self, name)
            if isinstance(count, bool) or not isinstance(count, int) or count < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, got {count!r}")
        for name, most in (("min_ttl", DAY), ("max_ttl", DAY), ("negative_ttl", MAX_NEGATIVE_TTL), ("stale_for", DAY)):
            seconds = getattr(self, name)
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= most:
                raise ValueError(f"{name} must be from 0 to {most:g} seconds, got {seconds!r}")
        if self.min_ttl > self.max_ttl:
            raise ValueError(f"min_ttl must not be more than max_ttl, got {self.min_ttl!r} and {self.max_ttl!r}")
        if not isinstance(self.follow, bool):
            raise TypeError(f"follow must be True or False, got {self.follow!r}")
        servers = check_options(self.nameservers, self.timeout, self.tries).nameservers
        object.__setattr__(self, "nameservers", servers)  # a list that the caller goes on to change is no option

    @property
    def has_resolver_options(self) -> bool:
        """Whether something is said about the connector's own resolver."""
        return any(value is not None for value in (self.nameservers, self.timeout, self.tries))

    def hold(self, ttl: float | None) -> float:
        """How many seconds an answer with this TTL (None: not known) is used."""
        known = UNKNOWN_TTL if ttl is None else ttl
        return max(self.min_ttl, min(known, self.max_ttl))
