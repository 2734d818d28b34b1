"""What the pools counted by themselves while the calls ran."""

from collections.abc import Mapping, Sequence

import keepwarm


def pool_numbers(connectors: Sequence[keepwarm.BaseConnector]) -> list[str]:
    """Lines for people, over all pools; nothing of what did not happen."""
    total = keepwarm.EndpointStats.sum(connector.stats().total for connector in connectors)
    lines = [
        _times("waited", total.wait, "caller"),
        _times("dialled", total.dial, "connection"),
        _times("TLS", total.tls, "handshake"),
        _counts("failed", total.failures),
        _counts("retired", total.retired),
    ]
    return [line for line in lines if line]


def _times(name: str, times: keepwarm.Histogram, of: str) -> str:
    half, most = times.percentile(50), times.percentile(99)
    if half is None or most is None:
        return ""
    many = f"{times.count:,} {of}{'' if times.count == 1 else 's'}"
    return f"{name:<9} {many}; p50 {half * 1e3:.1f} ms, p99 {most * 1e3:.1f} ms"


def _counts(name: str, counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return f"{name:<9} " + ", ".join(f"{what} {number:,}" for what, number in ordered) if ordered else ""
