"""Stats: what a pool holds and has done, as plain numbers. Made when somebody asks."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final, Self

from keepwarm.pool.dns_stats import DNSStats
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.endpoint_pool import EndpointPool
from keepwarm.pool.histogram import NOTHING, NUMBERS, SECONDS, Histogram


@dataclass(frozen=True, slots=True)
class EndpointStats:
    """Numbers of one endpoint, or of all together.

    Gauges: `open` = `idle` + `leased` + `dialling` + `detached` + `closing` (dials that were given up included), and
    `waiting` callers. Counters since the endpoint came into use: `dials` begun, `dial_failures`, and the same as
    `failures` by phase ("resolve", "connect", "proxy", "tls"); `leases`, `reused` (leases of a connection that had
    served before), `waits` (callers who were queued), `retired` connections by reason.

    Histograms, in seconds: `wait` of callers who were queued and got a connection, `dial` of dials that connected,
    `tls` of their handshakes, `age` of connections when they were let go of; and `uses`, how often those were leased.
    """

    open: int = 0
    idle: int = 0
    leased: int = 0
    dialling: int = 0
    detached: int = 0
    closing: int = 0
    waiting: int = 0
    dials: int = 0
    dial_failures: int = 0
    leases: int = 0
    reused: int = 0
    waits: int = 0
    retired: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    wait: Histogram = NOTHING[SECONDS]
    dial: Histogram = NOTHING[SECONDS]
    tls: Histogram = NOTHING[SECONDS]
    age: Histogram = NOTHING[SECONDS]
    uses: Histogram = NOTHING[NUMBERS]

    @property
    def reuse_ratio(self) -> float | None:
        """The share of leases that went to a connection that had served before, 0 to 1; None before the first lease."""
        return self.reused / self.leases if self.leases else None

    @classmethod
    def of(cls, home: EndpointPool) -> Self:
        """The numbers of one endpoint at this moment."""
        idle, dialling = len(home.idle), len(home.dials)
        leased, detached, closing, leases = home.leased, home.detached, home.closing, home.leases
        history = home.history
        # By position: this is done for each of a thousand endpoints.
        return cls(
            idle + dialling + leased + detached + closing,
            idle,
            leased,
            dialling,
            detached,
            closing,
            len(home.queue),
            home.dials_started,
            sum(history.failures.values()) if history.failures else 0,
            leases,
            leases - home.handed_new,
            home.waits,
            dict(history.retired) if history.retired else {},
            dict(history.failures) if history.failures else {},
            history.wait.taken(),
            history.dial.taken(),
            history.tls.taken(),
            history.age.taken(),
            history.uses.taken(),
        )

    @classmethod
    def sum(cls, many: "Iterable[EndpointStats]") -> Self:
        """The numbers of several endpoints, added up."""
        each = list(many)
        added: dict[str, Any] = dict(zip(_NUMBERS, map(sum, zip(*map(_numbers, each)))))
        for name in ("retired", "failures"):
            added[name] = _added(map(attrgetter(name), each))
        for name in ("wait", "dial", "tls", "age"):
            added[name] = Histogram.total(map(attrgetter(name), each))
        return cls(uses=Histogram.total(map(attrgetter("uses"), each), NUMBERS), **added)


_NUMBERS: Final = (
    "open",
    "idle",
    "leased",
    "dialling",
    "detached",
    "closing",
    "waiting",
    "dials",
    "dial_failures",
    "leases",
    "reused",
    "waits",
)
_numbers: Final = attrgetter(*_NUMBERS)


def _added(many: Iterable[Mapping[str, int]]) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for one in many:
        for name, number in one.items():
            sums[name] += number
    return dict(sums)


@dataclass(frozen=True, slots=True)
class PoolStats:
    """`total` over everything since the pool was made; `endpoints` for each endpoint that is in use now.

    `dns` are the numbers of a TCPConnector's lookups; zero for others.
    """

    total: EndpointStats = EndpointStats()
    endpoints: Mapping[Endpoint, EndpointStats] = field(default_factory=dict)
    dns: DNSStats = field(default_factory=DNSStats)
