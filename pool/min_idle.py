"""MinIdle: how many idle connections are to be ready, by host."""

from collections.abc import Mapping

from keepwarm.pool.host_patterns import HostPatterns


class MinIdle:
    """`least`: a number for every endpoint, or numbers by host pattern: ``{"api.example.com": 4, "*.example.com": 1}``.
    0 is none. Raises TypeError or ValueError, naming `min_idle`, for what is no number of at least 0, or above `limit`.
    """

    __slots__ = ("_by_host", "_everywhere", "least")

    def __init__(self, least: int | Mapping[str, int] = 0, limit: int | None = None) -> None:
        self.least = least
        self._everywhere = 0
        self._by_host: HostPatterns[int] | None = None
        if isinstance(least, Mapping):
            self._by_host = HostPatterns("min_idle", least, lambda _, number: _check(number, limit))
        else:
            self._everywhere = _check(least, limit)

    def __bool__(self) -> bool:
        return bool(self.least)

    def of(self, host: str) -> int:
        """The number for a normalised host."""
        return self._everywhere if self._by_host is None else self._by_host.for_host(host, 0)


def _check(number: object, limit: int | None) -> int:
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"min_idle must be a whole number, or a mapping from host patterns to such, got {number!r}")
    if number < 0:
        raise ValueError(f"min_idle must be at least 0, got {number!r}")
    if limit is not None and number > limit:
        raise ValueError(f"min_idle is {number} and limit is {limit}: there can never be as many; raise limit")
    return number
