"""prometheus_text: the exposition format, read back by a small parser of its grammar."""

import re
from typing import Any

import pytest

from keepwarm.metrics import CONTENT_TYPE, prometheus_text
from keepwarm.pool.dns_stats import DNSStats
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.histogram import NUMBERS, Recorder
from keepwarm.pool.stats import EndpointStats, PoolStats

A = Endpoint("a.example", 443, True)
SAMPLE = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)'
)
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')


class Fixed:
    """What `prometheus_text` needs of a connector."""

    def __init__(self, stats: PoolStats) -> None:
        self._stats = stats

    def stats(self) -> PoolStats:
        return self._stats


def busy() -> EndpointStats:
    wait, uses = Recorder(), Recorder(NUMBERS)
    for seconds in (0.0001, 0.3, 4e5):
        wait.record(seconds)
    uses.record(7)
    return EndpointStats(
        open=6, idle=1, leased=2, dialling=3, waiting=4, dials=9, dial_failures=3, leases=20, reused=15,
        retired={"idle": 2, "age": 1}, failures={"tls": 3}, wait=wait.taken(), uses=uses.taken(),
    )  # fmt: skip


def parsed(text: str) -> tuple[dict[tuple[str, frozenset[tuple[str, str]]], float], dict[str, str]]:
    """(samples, types). Every line has to fit the grammar, and every sample to follow the heading of its family."""
    assert text.endswith("\n")
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    types: dict[str, str] = {}
    helped: list[str] = []
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            helped.append(line.split(" ")[2])
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert helped[-1] == name and name not in types
            types[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            family = match[1]
            if types[helped[-1]] == "histogram":
                family = re.sub("_(bucket|sum|count)$", "", family)
            assert family == helped[-1]
            key = match[1], frozenset(LABEL.findall(match[2] or ""))
            assert key not in samples
            samples[key] = float(match[3])
    return samples, types


def test_every_number_is_there() -> None:
    """Gauges, counters and histograms, with the labels of the endpoint."""
    stats = PoolStats(busy(), {A: busy()}, DNSStats(entries=2, hits=5))
    samples, types = parsed(prometheus_text(Fixed(stats)))
    here = ("endpoint", "https://a.example:443")

    def value(name: str, **labels: str) -> float:
        return samples[f"keepwarm_{name}", frozenset({here, *labels.items()})]

    assert [value("connections", state=s) for s in ("idle", "leased", "dialling", "detached", "closing")] == [
        1,
        2,
        3,
        0,
        0,
    ]
    assert (value("waiting"), value("dials_total"), value("leases_total"), value("reused_total")) == (4, 9, 20, 15)
    assert value("retired_total", reason="idle") == 2 and value("dial_failures_total", phase="tls") == 3
    assert value("wait_seconds_count") == 3 and value("wait_seconds_sum") == pytest.approx(400000.3001)
    assert [value("wait_seconds_bucket", le=le) for le in ("0.0001", "0.2", "0.5", "100000", "+Inf")] == [1, 1, 2, 2, 3]
    assert value("connection_uses_bucket", le="5") == 0 and value("connection_uses_bucket", le="10") == 1
    assert samples["keepwarm_dns_hits_total", frozenset()] == 5
    assert types["keepwarm_waiting"] == "gauge" and types["keepwarm_wait_seconds"] == "histogram"
    assert {name.endswith("_total") for name, kind in types.items() if kind == "counter"} == {True}
    assert not any(name.endswith("_total") for name, kind in types.items() if kind != "counter")
    assert CONTENT_TYPE.startswith("text/plain; version=0.0.4")


def test_the_total_alone() -> None:
    """One series each, without an endpoint; several connectors are told apart."""
    stats = PoolStats(busy(), {A: EndpointStats()})
    samples, _ = parsed(prometheus_text(Fixed(stats), endpoints=False, prefix="app:pool"))
    assert samples["app:pool_leases_total", frozenset()] == 20
    samples, _ = parsed(prometheus_text(Fixed(stats), Fixed(PoolStats()), endpoints=False))
    assert [samples["keepwarm_leases_total", frozenset({("connector", n)})] for n in "01"] == [20, 0]


def test_labels_are_escaped() -> None:
    """Backslash, quotation mark and line feed, in values; the rest is as it was."""
    text = prometheus_text(Fixed(PoolStats(busy())), labels={"job": 'a"b\\c\nd ü'}, endpoints=False)
    assert 'keepwarm_waiting{job="a\\"b\\\\c\\nd ü"} 4\n' in text
    parsed(text)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"prefix": ""}, "prefix must be letters"),
        ({"prefix": "9lives"}, "prefix must be letters"),
        ({"prefix": "a-b"}, "prefix must be letters"),
        ({"prefix": 5}, "prefix must be letters"),
        ({"labels": {"a:b": "c"}}, "label must be letters"),
        ({"labels": {"ü": "c"}}, "label must be letters"),
        ({"labels": {"le": "c"}}, "label 'le' means something else already"),
        ({"labels": {"__name__": "c"}}, "label '__name__' means something else"),
    ],
)
def test_names_that_prometheus_does_not_take(options: dict[str, Any], text: str) -> None:
    """Refused, so that no scrape fails over them."""
    with pytest.raises(ValueError, match=text):
        prometheus_text(Fixed(PoolStats()), **options)


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ("zone=b", "labels must be a mapping"),
        ([("zone", "b")], "labels must be a mapping"),
        ({"zone": 7}, r"labels\['zone'\] must be a str"),
        ({"zone": None}, r"labels\['zone'\] must be a str"),
    ],
)
def test_labels_that_are_no_text(labels: Any, text: str) -> None:
    """Refused by name, before anything is written."""
    with pytest.raises(TypeError, match=text):
        prometheus_text(Fixed(PoolStats()), labels=labels)
