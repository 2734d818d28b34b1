"""prometheus_text: the numbers of connectors in the text format that Prometheus scrapes."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, Protocol

from keepwarm.pool.histogram import Histogram
from keepwarm.pool.stats import EndpointStats, PoolStats

#: The media type to serve the text of `prometheus_text` as.
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_STATES: Final = ("idle", "leased", "dialling", "detached", "closing")
# The labels that samples have of themselves.
_LABELS: Final = frozenset({"connector", "endpoint", "le", "phase", "reason", "state"})
_Labels = tuple[tuple[str, str], ...]


class HasStats(Protocol):
    def stats(self) -> PoolStats: ...


@dataclass(frozen=True, slots=True)
class _Family:
    """One metric: its name, its type, what it says, and its samples for one endpoint."""

    name: str
    kind: str
    text: str
    samples: "Callable[[EndpointStats], Iterable[tuple[_Labels, float | Histogram]]]"


def _plain(name: str) -> "Callable[[EndpointStats], Iterable[tuple[_Labels, float | Histogram]]]":
    value = attrgetter(name)
    return lambda stats: [((), value(stats))]


def _by(label: str, name: str) -> "Callable[[EndpointStats], Iterable[tuple[_Labels, float | Histogram]]]":
    mapping: Callable[[EndpointStats], Mapping[str, int]] = attrgetter(name)
    return lambda stats: [(((label, key),), number) for key, number in sorted(mapping(stats).items())]


def _connections(stats: EndpointStats) -> "Iterable[tuple[_Labels, float | Histogram]]":
    return [((("state", state),), getattr(stats, state)) for state in _STATES]


_FAMILIES: Final = (
    _Family("connections", "gauge", "Sockets by state; their sum is what the limit bounds.", _connections),
    _Family("waiting", "gauge", "Callers who wait for a connection.", _plain("waiting")),
    _Family("dials_total", "counter", "Connections begun.", _plain("dials")),
    _Family("dial_failures_total", "counter", "Dials that failed, by phase.", _by("phase", "failures")),
    _Family("leases_total", "counter", "Connections given to a request.", _plain("leases")),
    _Family("reused_total", "counter", "Leases of a connection that had served before.", _plain("reused")),
    _Family("waits_total", "counter", "Callers who had to wait.", _plain("waits")),
    _Family("retired_total", "counter", "Connections let go of, by reason.", _by("reason", "retired")),
    _Family("wait_seconds", "histogram", "How long those waited who got a connection.", _plain("wait")),
    _Family("dial_seconds", "histogram", "How long dials took that connected.", _plain("dial")),
    _Family("tls_seconds", "histogram", "How long TLS handshakes took.", _plain("tls")),
    _Family("connection_age_seconds", "histogram", "How old connections were at their end.", _plain("age")),
    _Family("connection_uses", "histogram", "How often connections were leased until their end.", _plain("uses")),
)

_DNS: Final = (
    ("dns_entries", "gauge", "Answers that are kept.", "entries"),
    ("dns_hits_total", "counter", "Callers answered from what is kept.", "hits"),
    ("dns_misses_total", "counter", "Callers who waited for a lookup.", "misses"),
    ("dns_stale_total", "counter", "Callers who got an address past its time.", "stale"),
    ("dns_negative_hits_total", "counter", "Callers who got a remembered failure.", "negative_hits"),
    ("dns_lookups_total", "counter", "Lookups put to the resolver.", "lookups"),
    ("dns_failures_total", "counter", "Lookups that failed.", "failures"),
)


def prometheus_text(
    *connectors: HasStats, prefix: str = "keepwarm", labels: Mapping[str, str] | None = None, endpoints: bool = True
) -> str:
    """The numbers of one or more connectors, in the Prometheus text format 0.0.4 (`CONTENT_TYPE`).

    Several connectors are told apart by a label ``connector``, which counts from 0. With `endpoints` (the default)
    there is one time series for each endpoint that is in use, with a label ``endpoint``; a series ends when the
    endpoint is forgotten, and begins again at zero. Without, there is the total alone, which never goes back: choose
    that where the hosts are many and change. `labels` are put on every sample; `prefix` begins every name.

    Raises ValueError for a `prefix` or a label that Prometheus does not take, TypeError for a label that is no text.
    """
    _check_name("prefix", prefix, extra=":")
    own = _own_labels(labels)
    many = [(own, connector.stats()) for connector in connectors]
    if len(many) > 1:
        many = [((*own, ("connector", str(number))), stats) for number, (_, stats) in enumerate(many)]
    lines: list[str] = []
    for family in _FAMILIES:
        name = f"{prefix}_{family.name}"
        lines += _heading(name, family.kind, family.text)
        for base, stats in many:
            for more, numbers in _parts(stats, endpoints):
                for extra, value in family.samples(numbers):
                    lines += _sample(name, base + more + extra, value)
    for dns_name, kind, text, field in _DNS:
        name = f"{prefix}_{dns_name}"
        lines += _heading(name, kind, text)
        for base, stats in many:
            lines += _sample(name, base, getattr(stats.dns, field))
    return "\n".join(lines) + "\n"


def _own_labels(labels: Mapping[str, str] | None) -> _Labels:
    if labels is not None and not isinstance(labels, Mapping):
        raise TypeError(f"labels must be a mapping from names to text, got {labels!r}")
    own = tuple((labels or {}).items())
    for name, value in own:
        _check_name("label", name)
        if not isinstance(value, str):
            raise TypeError(f"labels[{name!r}] must be a str, got {value!r}")
    return own


def _parts(stats: PoolStats, endpoints: bool) -> Iterator[tuple[_Labels, EndpointStats]]:
    if not endpoints:
        yield (), stats.total
        return
    for endpoint, numbers in stats.endpoints.items():
        yield (("endpoint", str(endpoint)),), numbers


def _heading(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP {name} {_escaped(text)}", f"# TYPE {name} {kind}"]


def _sample(name: str, labels: _Labels, value: float | Histogram) -> Iterator[str]:
    if not isinstance(value, Histogram):
        yield f"{name}{_braces(labels)} {_number(value)}"
        return
    for bound, number in value.cumulative():
        yield f"{name}_bucket{_braces((*labels, ('le', _number(bound))))} {number}"
    yield f"{name}_sum{_braces(labels)} {_number(value.sum)}"
    yield f"{name}_count{_braces(labels)} {value.count}"


def _braces(labels: _Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_quoted(value)}"' for name, value in labels) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')


def _number(value: float) -> str:
    if value == math.inf:
        return "+Inf"
    return str(int(value)) if value == int(value) else repr(float(value))


def _check_name(what: str, name: str, extra: str = "") -> None:
    plain = name if isinstance(name, str) else ""
    for allowed in f"_{extra}":
        plain = plain.replace(allowed, "a")
    if not plain.isascii() or not plain.isalnum() or name[0].isdigit():
        raise ValueError(f"{what} must be letters, digits and underscores, and not begin with a digit, got {name!r}")
    if name in _LABELS or name.startswith("__"):
        raise ValueError(f"{what} {name!r} means something else already: choose another")
