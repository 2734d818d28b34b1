"""HostPatterns: which of several values holds for which host."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from keepwarm.pool.endpoint import normalise_host

T = TypeVar("T")
D = TypeVar("D")

_WILDCARD = "*."


class HostPatterns(Generic[T]):
    """Values by host pattern. `option` is the name of what was given, for the errors.

    A pattern is a host, or ``*.`` and a domain, which stands for every name below that domain, however deep, and not
    for the domain itself. The most specific pattern wins, alone: the host itself, else the longest domain.

    `check` makes the value of a pattern from what was given for it. Raises TypeError for a pattern that is no text,
    ValueError for one that is no host or is given twice, and what `check` raises.
    """

    __slots__ = ("_below", "_hosts", "_option")

    def __init__(self, option: str, given: Mapping[str, Any], check: Callable[[str, Any], T]) -> None:
        self._option = option
        self._hosts: dict[str, T] = {}
        self._below: dict[str, T] = {}
        for pattern, value in given.items():
            if not isinstance(pattern, str):
                raise TypeError(f"{option}: a host pattern must be a str, got {type(pattern).__name__}")
            self._add(pattern, check(pattern, value))

    def _add(self, pattern: str, value: T) -> None:
        group = self._below if pattern.startswith(_WILDCARD) else self._hosts
        try:
            host = normalise_host(pattern.removeprefix(_WILDCARD))
        except ValueError as exc:
            raise ValueError(
                f"{self._option}: {pattern!r} is no host pattern: give a host, or '*.' and a domain ({exc})"
            ) from None
        if host in group:
            raise ValueError(f"{self._option}: the pattern {pattern!r} is given twice")
        group[host] = value

    def for_host(self, host: str, default: D) -> T | D:
        """The value for a normalised host; `default` if no pattern fits. The zone of an IPv6 address (``%eth0``) says
        by what way it is reached, not who it is: a pattern without one is for all of them."""
        if host in self._hosts:
            return self._hosts[host]
        domain = host.partition("%")[0]
        if domain in self._hosts:
            return self._hosts[domain]
        while "." in domain:
            domain = domain.partition(".")[2]
            if domain in self._below:
                return self._below[domain]
        return default

    @property
    def patterns(self) -> dict[str, T]:
        """All of them, normalised."""
        return self._hosts | {f"{_WILDCARD}{domain}": value for domain, value in self._below.items()}

    def __eq__(self, other: object) -> bool:
        return self.patterns == other.patterns if isinstance(other, HostPatterns) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self.patterns.items()))

    def __repr__(self) -> str:
        return repr(self.patterns)
