"""Limits: how many connections, how many waiting, for how long."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.host_patterns import HostPatterns
from keepwarm.pool.shedding import Shedding


def check_count(name: str, value: int | None) -> int | None:
    """None (no limit) or a whole number of at least 1. Raises TypeError or ValueError that names the option."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number or None, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, or None for no limit, got {value!r}")
    return value


def check_seconds(name: str, value: float | None) -> float | None:
    """None for None and 0, else a positive number of seconds. Raises TypeError or ValueError that names the option."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds or None, got {value!r}")
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be 0 or None, or a positive number of seconds, got {value!r}")
    return float(value) or None


def check_flag(name: str, value: object) -> bool:
    """True or False as they are. Raises TypeError that names the option."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


_NONE: Final = object()

HostLimits = HostPatterns[int | None]


def make_host_limits(given: Mapping[str, int | None] | HostLimits | None) -> HostLimits | None:
    """Limits by host pattern, checked; None without any. Raises TypeError or ValueError that names the option."""
    if given is None or isinstance(given, HostPatterns):
        return given
    if not isinstance(given, Mapping):
        raise TypeError(
            f"limit_per_host must be a mapping from host patterns to limits, got {given!r}; "
            "one number for every host is limit=..."
        )
    return HostPatterns("limit_per_host", given, _host_limit) if given else None


def _host_limit(pattern: str, value: int | None) -> int | None:
    return check_count(f"limit_per_host[{pattern!r}]", value)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a pool may hold. None means no limit; every open socket counts, dials and goodbyes included.

    `per_endpoint` bounds the sockets of one (host, port, is_ssl); `total` bounds their sum. `max_waiting` bounds the
    callers of one endpoint that wait without a dial of their own under way; the next one gets PoolFullError at once,
    but not a request that is sent again because its connection died.
    `pool_timeout` is how many seconds a caller waits for its turn before PoolTimeoutError. `per_host` replaces
    `per_endpoint` for each endpoint whose host fits a pattern. `shed` refuses at once who cannot be served in time.
    """

    per_endpoint: int | None = None
    total: int | None = None
    max_waiting: int | None = None
    pool_timeout: float | None = None
    per_host: HostLimits | None = None
    shed: Shedding | None = None

    def __post_init__(self) -> None:
        check_count("limit", self.per_endpoint)
        check_count("limit_total", self.total)
        check_count("max_waiting", self.max_waiting)
        object.__setattr__(self, "pool_timeout", check_seconds("pool_timeout", self.pool_timeout))

    def of(self, endpoint: Endpoint) -> int | None:
        """The limit of one endpoint: that of the pattern which fits its host best, else `per_endpoint`."""
        if self.per_host is None:
            return self.per_endpoint
        return self.per_host.for_host(endpoint.host, self.per_endpoint)

    def option_for(self, endpoint: Endpoint) -> str:
        """The name of the option that gives an endpoint its limit."""
        fits = self.per_host is not None and self.per_host.for_host(endpoint.host, _NONE) is not _NONE
        return "limit_per_host" if fits else "limit"
