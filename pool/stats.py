"""Stats: what a pool holds and has done, as plain numbers. Made when somebody asks; nothing is counted for it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Self

from keepwarm.pool.dns_stats import DNSStats
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.endpoint_pool import EndpointPool


@dataclass(frozen=True, slots=True)
class EndpointStats:
    """Numbers of one endpoint, or of all together.

    Gauges: `open` = `idle` + `leased` + `dialling` + `detached` + `closing` (dials that were given up included), and
    `waiting` callers. Counters since the endpoint came into use: `dials` begun, `dial_failures`, `leases`, `reused`
    (leases of a connection that had served before), `waits` (callers who were queued), `retired` by reason.
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

    @classmethod
    def of(cls, home: EndpointPool) -> Self:
        """The numbers of one endpoint at this moment."""
        return cls(
            open=home.open,
            idle=len(home.idle),
            leased=home.leased,
            dialling=len(home.dials),
            detached=home.detached,
            closing=home.closing,
            waiting=len(home.queue),
            dials=home.dials_started,
            dial_failures=home.dial_failures,
            leases=home.leases,
            reused=home.leases - home.handed_new,
            waits=home.waits,
            retired=dict(home.retired),
        )

    @classmethod
    def sum(cls, many: "Iterable[EndpointStats]") -> Self:
        """The numbers of several endpoints, added up."""
        numbers: Counter[str] = Counter()
        retired: Counter[str] = Counter()
        for one in many:
            for name in _NUMBERS:
                numbers[name] += getattr(one, name)
            retired.update(one.retired)
        return cls(retired=dict(retired), **numbers)


_NUMBERS = tuple(f.name for f in fields(EndpointStats) if f.name != "retired")


@dataclass(frozen=True, slots=True)
class PoolStats:
    """`total` over everything since the pool was made; `endpoints` for each endpoint that is in use now.

    `dns` are the numbers of a TCPConnector's lookups; zero for others.
    """

    total: EndpointStats = EndpointStats()
    endpoints: Mapping[Endpoint, EndpointStats] = field(default_factory=dict)
    dns: DNSStats = field(default_factory=DNSStats)
