"""Memo: a bounded cache whose hits write nothing."""

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memo(Generic[K, V]):
    """At most `maxsize` entries; what is used at all stays, what is not used goes.

    A plain LRU moves an entry at each hit, which costs more than the lookup. Here entries live in two dicts. New ones
    go into the young one; when that is full it becomes the old one, and the old one is dropped. A hit in the old dict
    copies the entry to the young one, and a hit in the young dict is one dict lookup.
    """

    __slots__ = ("_half", "_old", "_young")

    def __init__(self, maxsize: int = 1024) -> None:
        if maxsize < 2:
            raise ValueError(f"maxsize must be at least 2, got {maxsize!r}")
        self._half = maxsize // 2
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """The value of this key, if it is known."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Remember the value."""
        if len(self._young) >= self._half and key not in self._young:
            self._old = self._young
            self._young = {}
        self._young[key] = value

    def clear(self) -> None:
        """Forget everything."""
        self._young = {}
        self._old = {}

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())
