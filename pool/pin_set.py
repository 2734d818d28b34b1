"""PinSet: which pins hold for which host."""

from collections.abc import Iterable, Mapping

from keepwarm.pool.endpoint import normalise_host
from keepwarm.pool.pins import Pin, make_pins

_WILDCARD = "*."


class PinSet:
    """Pins by host pattern: ``PinSet({"api.example.com": [digest], "*.example.com": [digest, PublicKeyPin(...)]})``.

    A pattern is a host, or ``*.`` and a domain, which stands for every name below that domain, however deep, and not
    for the domain itself. The most specific pattern wins, alone: the host itself, else the longest domain. A host that
    no pattern fits is not pinned. As everywhere, one pin that fits is enough.

    Raises ValueError for a pattern that is no host, is given twice, or has no pins, and TypeError or ValueError for
    pins that are none.
    """

    __slots__ = ("_below", "_hosts")

    def __init__(self, pins: Mapping[str, Iterable[Pin | bytes]]) -> None:
        self._hosts: dict[str, tuple[Pin, ...]] = {}
        self._below: dict[str, tuple[Pin, ...]] = {}
        for pattern, several in pins.items():
            if not isinstance(pattern, str):
                raise TypeError(f"pins: a host pattern must be a str, got {type(pattern).__name__}")
            self._add(pattern, make_pins(None, several))

    def _add(self, pattern: str, pins: tuple[Pin, ...]) -> None:
        group = self._below if pattern.startswith(_WILDCARD) else self._hosts
        try:
            host = normalise_host(pattern.removeprefix(_WILDCARD))
        except ValueError as exc:
            raise ValueError(
                f"pins: {pattern!r} is no host pattern: give a host, or '*.' and a domain ({exc})"
            ) from None
        if not pins:
            raise ValueError(f"pins: the pattern {pattern!r} has no pins; leave it out, or give some")
        if host in group:
            raise ValueError(f"pins: the pattern {pattern!r} is given twice")
        group[host] = pins

    def for_host(self, host: str) -> tuple[Pin, ...]:
        """The pins of a normalised host; none if no pattern fits."""
        found = self._hosts.get(host)
        domain = host
        while found is None and "." in domain:
            domain = domain.partition(".")[2]
            found = self._below.get(domain)
        return found or ()

    @property
    def patterns(self) -> dict[str, tuple[Pin, ...]]:
        """All of them, normalised."""
        return self._hosts | {f"{_WILDCARD}{domain}": pins for domain, pins in self._below.items()}

    def __eq__(self, other: object) -> bool:
        return self.patterns == other.patterns if isinstance(other, PinSet) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self.patterns.items()))

    def __repr__(self) -> str:
        return f"PinSet({self.patterns!r})"
