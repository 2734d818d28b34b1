"""The figures of a run: one list of rounds for each client and each quantity."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.measure import Spread, ratio
from benchmarks.promises import Promise


@dataclass(slots=True)
class ScenarioResult:
    """`figures[client]`: what is compared, one value a round, in `unit`; `extras[client][name]`: shown beside it."""

    name: str
    title: str
    unit: str
    figures: dict[str, list[float]] = field(default_factory=dict)
    extras: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, client: str, figure: float | None, extras: Mapping[str, float]) -> None:
        """One round. `figure` is None where only the extras can be had."""
        if figure is not None:
            self.figures.setdefault(client, []).append(figure)
        lists = self.extras.setdefault(client, {})
        for name, value in extras.items():
            lists.setdefault(name, []).append(value)

    def fail(self, client: str, why: str) -> None:
        """A client that failed in any round shows no figures at all."""
        self.failed[client] = why
        self.figures.pop(client, None)
        self.extras.pop(client, None)

    def spread(self, client: str) -> Spread:
        return Spread.of(self.figures[client])

    def ratio(self, client: str, base: str) -> Spread | None:
        """Round by round; None when one of the two was not measured."""
        if client not in self.figures or base not in self.figures:
            return None
        return ratio(self.figures[client], self.figures[base])


def judge(promise: Promise, result: ScenarioResult | None) -> tuple[str, str]:
    """("met", "missed" or "not measured", the figure as text)."""
    if result is None or promise.client not in result.figures:
        return "not measured", ""
    measured = result.ratio(promise.client, promise.against) if promise.against else result.spread(promise.client)
    if measured is None:
        return "not measured", f"no figures of {promise.against}"
    verdict = "met" if measured.median <= promise.limit else "missed"
    return verdict, f"{measured.median:.2f} ({measured.low:.2f}-{measured.high:.2f})"
