"""Endpoints: the books of every endpoint that is in use, and the memory of those that are not any more."""

from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.endpoint_pool import EndpointPool
from keepwarm.pool.limits import Limits
from keepwarm.pool.pace import Pace
from keepwarm.pool.stats import EndpointStats, PoolStats


class Endpoints:
    """An endpoint is here while it has a connection, a dial or a caller; then it is forgotten but for its counters.

    `limits` are those of the pool; what they mean for an endpoint is worked out once, when its books are opened.
    """

    __slots__ = ("_gone", "in_use", "limits")

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.in_use: dict[Endpoint, EndpointPool] = {}
        self._gone = EndpointPool(Endpoint("", 0, False))

    @property
    def open(self) -> int:
        """Open sockets, dials included."""
        return sum(home.open for home in self.in_use.values())

    def books_of(self, endpoint: Endpoint) -> EndpointPool:
        """Opened at the first question."""
        home = self.in_use.get(endpoint)
        if home is None:
            limits = self.limits
            pace = None if limits.shed is None else Pace(limits.shed)
            home = self.in_use[endpoint] = EndpointPool(endpoint, limits.of(endpoint), pace)
        return home

    def drop_if_empty(self, home: EndpointPool) -> bool:
        """Forget an endpoint of which nothing is left. True if it was forgotten now."""
        if not home.is_empty or self.in_use.get(home.endpoint) is not home:
            return False
        del self.in_use[home.endpoint]
        self._gone.add_history(home)
        return True

    def abandon(self) -> None:
        """Forget all endpoints with whatever they have; what has happened there stays counted."""
        for home in self.in_use.values():
            self._gone.add_history(home)
        self.in_use.clear()

    def stats(self) -> PoolStats:
        endpoints = {endpoint: EndpointStats.of(home) for endpoint, home in self.in_use.items()}
        return PoolStats(EndpointStats.sum((EndpointStats.of(self._gone), *endpoints.values())), endpoints)
