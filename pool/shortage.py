"""Shortage: how an endpoint stood when somebody got no connection. Holder: one of those who had the connections."""

from dataclasses import dataclass

from keepwarm.pool.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class Holder:
    """A connection to `endpoint`, number `connection` of its connector, which somebody has had for `seconds`.

    `purpose` is the method and the path of the request that it serves (without the query, which may hold a secret);
    None if it serves none, or its protocol does not say. `stack` is where it was taken, as text; None unless the
    connector looks for leaks (`leak_after`).
    """

    endpoint: Endpoint
    connection: int
    seconds: float
    purpose: str | None = None
    stack: str | None = None

    def __str__(self) -> str:
        purpose = "" if self.purpose is None else f" ({self.purpose})"
        return f"connection {self.connection} to {self.endpoint} for {self.seconds:.3g} s{purpose}"


@dataclass(frozen=True, slots=True)
class Shortage:
    """The numbers of one endpoint at the moment when a caller was turned away.

    `limit` is the endpoint's own, after `limit_per_host`; `limit_total` that of all together; None is none. Open
    sockets are `leased` + `idle` + `dialling` + `detached` + `closing`, as in EndpointStats. `waiting` callers are
    queued, the oldest for `oldest_wait` seconds (None: nobody is); one whose time is over still counts.
    `holders` are those who have had a connection for longest, three at most, the oldest first: of this endpoint, or of
    any if nobody has one of this endpoint and a total limit is set.
    """

    limit: int | None
    limit_total: int | None
    leased: int
    idle: int
    dialling: int
    detached: int
    closing: int
    waiting: int
    oldest_wait: float | None
    holders: tuple[Holder, ...]

    def __str__(self) -> str:
        oldest = "" if self.oldest_wait is None else f", the oldest for {self.oldest_wait:.3g} s"
        held = f"held longest: {', '.join(map(str, self.holders))}" if self.holders else "nothing is leased"
        return (
            f"limit {self.limit}, limit_total {self.limit_total}, leased {self.leased}, idle {self.idle}, dialling "
            f"{self.dialling}, detached {self.detached}, closing {self.closing}, waiting {self.waiting}{oldest}; {held}"
        )

    @property
    def stack(self) -> str | None:
        """Where the oldest of the holders took its connection, of whom that is known."""
        return next((holder.stack for holder in self.holders if holder.stack is not None), None)
