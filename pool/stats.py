"""Stats: what a pool holds and has done, as plain numbers. Made when somebody asks."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from keepwarm.pool.dns_stats import DNSStats
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.endpoint_pool import EndpointPool
from keepwarm.pool.histogram import NOTHING, NUMBERS, SECONDS, Histogram

_NONE: Final[Mapping[str, int]] = MappingProxyType({})


class EndpointStats(NamedTuple):
    """Numbers of one endpoint, or of all together.

    Gauges: `open` = `idle` + `leased` + `dialling` + `detached` + `closing` (dials that were given up included), and
    `waiting` callers. Counters since the endpoint came into use: `dials` begun, `dial_failures`, and the same as
    `failures` by phase ("resolve", "connect", "proxy", "tls"); `leases`, `reused` (leases of a connection that had
    served before), `waits` (callers who were queued), `retired` connections by reason.

    Histograms, in seconds: `wait` of callers who were queued and got a connection, `dial` of dials that connected,
    `tls` of their handshakes, `age` of connections when they were let go of; and `uses`, how often those were leased.

    Read it by name. It is a tuple because a thousand of them are to be made in a few milliseconds.
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
    retired: Mapping[str, int] = _NONE
    failures: Mapping[str, int] = _NONE
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
    def of(cls, home: EndpointPool) -> "EndpointStats":
        """The numbers of one endpoint at this moment."""
        idle, dialling = len(home.idle), len(home.dials)
        leased, detached, closing, leases = home.leased, home.detached, home.closing, home.leases
        history = home.history
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
    def sum(cls, many: "Iterable[EndpointStats]") -> "EndpointStats":
        """The numbers of several endpoints, added up."""
        columns: dict[str, Any] = dict(zip(cls._fields, zip(*many), strict=True))
        for name, column in columns.items():
            if name in ("retired", "failures"):
                columns[name] = _added(column)
            elif name in ("wait", "dial", "tls", "age", "uses"):
                columns[name] = Histogram.total(column, column[0].bounds)
            else:
                columns[name] = sum(column)
        return cls(**columns)


def _added(many: Iterable[Mapping[str, int]]) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for one in many:
        for name, number in one.items():
            sums[name] += number
    return dict(sums)


_NOTHING: Final = EndpointStats()


@dataclass(frozen=True, slots=True)
class PoolStats:
    """`total` over everything since the pool was made; `endpoints` for each endpoint that is in use now.

    `dns` are the numbers of a TCPConnector's lookups; zero for others.
    """

    total: EndpointStats = _NOTHING
    endpoints: Mapping[Endpoint, EndpointStats] = field(default_factory=dict)
    dns: DNSStats = field(default_factory=DNSStats)
