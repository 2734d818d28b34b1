"""Observer: what a pool tells of its connections, while somebody wants to know."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keepwarm.pool.channel import Channel
    from keepwarm.pool.dial import Dial


class Observer:
    """Told of each change when it is made; `now` is a time of the pool's clock. It must not raise, nor call back.

    Every dial that starts ends: with a channel, with an error, or given up, which its `cut_off` tells. A channel that
    is leased is released, detached, retired or lost; one that is connected is lost in the end, and retired before if
    it was us who let go of it.
    """

    __slots__ = ()

    def dial_started(self, dial: "Dial", now: float) -> None:
        """A slot was taken for it."""

    def dial_ended(
        self, dial: "Dial", now: float, *, channel: "Channel | None" = None, error: BaseException | None = None
    ) -> None:
        """Its slot is the channel's now, or free."""

    def leased(self, channel: "Channel", now: float) -> None:
        """It has a holder, who may not know it yet."""

    def taken(self, channel: "Channel", now: float) -> None:
        """The holder had to wait for it, and runs now: who that is can be seen on the stack."""

    def released(self, channel: "Channel", now: float) -> None:
        """The lease is over, and the connection is good."""

    def detached(self, channel: "Channel", now: float) -> None:
        """The holder keeps the connection for good, for another protocol."""

    def retired(self, channel: "Channel", reason: str, now: float) -> None:
        """We let go of it; the socket is still open."""

    def lost(self, channel: "Channel", reason: str, now: float) -> None:
        """The transport is gone. `reason` is why, if nobody let go of it before."""


class Observers(Observer):
    """Several as one."""

    __slots__ = ("_each",)

    def __init__(self, each: Sequence[Observer]) -> None:
        self._each = tuple(each)

    def dial_started(self, dial: "Dial", now: float) -> None:
        for one in self._each:
            one.dial_started(dial, now)

    def dial_ended(
        self, dial: "Dial", now: float, *, channel: "Channel | None" = None, error: BaseException | None = None
    ) -> None:
        for one in self._each:
            one.dial_ended(dial, now, channel=channel, error=error)

    def leased(self, channel: "Channel", now: float) -> None:
        for one in self._each:
            one.leased(channel, now)

    def taken(self, channel: "Channel", now: float) -> None:
        for one in self._each:
            one.taken(channel, now)

    def released(self, channel: "Channel", now: float) -> None:
        for one in self._each:
            one.released(channel, now)

    def detached(self, channel: "Channel", now: float) -> None:
        for one in self._each:
            one.detached(channel, now)

    def retired(self, channel: "Channel", reason: str, now: float) -> None:
        for one in self._each:
            one.retired(channel, reason, now)

    def lost(self, channel: "Channel", reason: str, now: float) -> None:
        for one in self._each:
            one.lost(channel, reason, now)


def joined(*observers: Observer | None) -> Observer | None:
    """Those that there are, as one; None if there is none, so that asking is one comparison."""
    each = [observer for observer in observers if observer is not None]
    return (each[0] if len(each) == 1 else Observers(each)) if each else None
