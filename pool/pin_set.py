"""PinSet: which pins hold for which host."""

from collections.abc import Iterable, Mapping

from keepwarm.pool.host_patterns import HostPatterns
from keepwarm.pool.pins import Pin, make_pins


class PinSet:
    """Pins by host pattern: ``PinSet({"api.example.com": [digest], "*.example.com": [digest, PublicKeyPin(...)]})``.

    A pattern is a host, or ``*.`` and a domain, which stands for every name below that domain, however deep, and not
    for the domain itself. The most specific pattern wins, alone: the host itself, else the longest domain. A host that
    no pattern fits is not pinned. As everywhere, one pin that fits is enough.

    Raises ValueError for a pattern that is no host, is given twice, or has no pins, and TypeError or ValueError for
    pins that are none.
    """

    __slots__ = ("_pins",)

    def __init__(self, pins: Mapping[str, Iterable[Pin | bytes]]) -> None:
        self._pins = HostPatterns("pins", pins, _pins_of)

    def for_host(self, host: str) -> tuple[Pin, ...]:
        """The pins of a normalised host; none if no pattern fits."""
        return self._pins.for_host(host, ())

    @property
    def patterns(self) -> dict[str, tuple[Pin, ...]]:
        """All of them, normalised."""
        return self._pins.patterns

    def __eq__(self, other: object) -> bool:
        return self.patterns == other.patterns if isinstance(other, PinSet) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._pins)

    def __repr__(self) -> str:
        return f"PinSet({self.patterns!r})"


def _pins_of(pattern: str, several: Iterable[Pin | bytes]) -> tuple[Pin, ...]:
    pins = make_pins(None, several)
    if not pins:
        raise ValueError(f"pins: the pattern {pattern!r} has no pins; leave it out, or give some")
    return pins
