"""The benchmark of the pool: what it calls met and missed, and that each of its cases runs."""

import pytest

from benchmarks import pool_bench
from benchmarks.measure import Spread
from benchmarks.pool_bench import LIMITS, Growth, Limit


def figures(**medians: float) -> dict[str, Spread]:
    return {name: Spread(median, 0.0, 100.0) for name, median in medians.items()}


def test_a_limit_is_judged_by_the_median() -> None:
    """Met at the limit, missed above it; the line says both numbers."""
    assert Limit("a", 2.0).verdict(figures(a=2.0)) == (True, "a: 2.00 µs, limit 2 µs")
    assert Limit("a", 2.0).verdict(figures(a=2.01)) == (False, "a: 2.01 µs, limit 2 µs")


def test_growth() -> None:
    """From the small case to the big one."""
    growth = Growth("small", "big")
    assert growth.verdict(figures(small=1.0, big=1.2)) == (True, "big: x 1.20 of small, limit x 1.2")
    assert growth.verdict(figures(small=1.0, big=1.3))[0] is False


def test_growth_beside_a_bare_dict() -> None:
    """The promise is judged as it stands, whatever memory alone does; that is told beside it."""
    growth = Growth("small", "big", bare=("one", "many"))
    met, line = growth.verdict(figures(small=1.0, big=1.3, one=0.1, many=0.3))
    assert (met, line) == (False, "big: x 1.30 of small, limit x 1.2; many is x 3.00 of one")
    met, line = growth.verdict(figures(small=1.0, big=1.2, one=0.1, many=0.1))
    assert (met, line) == (True, "big: x 1.20 of small, limit x 1.2; many is x 1.00 of one")


def test_every_case_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each once, with few waiters; and each limit is about cases that there are."""
    names = {name for limit in LIMITS for name in names_of(limit)}
    monkeypatch.setattr(pool_bench, "STEPS", 64)
    monkeypatch.setattr(pool_bench, "WAITERS", (10, 1000))
    monkeypatch.setattr(pool_bench, "LIMITS", (Limit("same-1", 1e9), Limit("stale", -1.0)))
    assert pool_bench.main(["--rounds", "1"]) == 0
    assert pool_bench.main(["--rounds", "1", "--strict"]) == 1
    printed = capsys.readouterr().out
    for name in names:
        assert f"\n{name.replace('100000', '1000')} " in printed
    assert "\nmet     same-1: " in printed
    assert "\nMISSED  stale: " in printed


def names_of(limit: Limit | Growth) -> list[str]:
    if isinstance(limit, Limit):
        return [limit.case]
    return [limit.small, limit.big, *(limit.bare or ())]
