"""Holders: who has had a connection for longest."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final
from weakref import ref

from keepwarm.pool import states
from keepwarm.pool.clock import NEVER
from keepwarm.pool.shortage import Holder
from keepwarm.pool.stack import Stack

if TYPE_CHECKING:
    from keepwarm.pool.channel import Channel

SHOWN: Final = 3

StackOf = Callable[["Channel"], Stack | None]


class Holders:
    """The leases of some channels, the oldest first, as they were when somebody last looked at all of them.

    Leases that began later are younger than any of these, so those that are still held are the oldest until fewer are
    left than are asked for. A lease costs nothing, and under a storm of refusals the channels are looked at once for
    many leases that end, not for each refusal.
    """

    __slots__ = ("_found", "_looked_at")

    def __init__(self) -> None:
        # References are weak: a connection that is over is not kept alive.
        self._found: deque[tuple[float, ref[Channel]]] = deque()
        self._looked_at = -NEVER

    def oldest(
        self, channels: Iterable["Channel"], leased: int | None, now: float, stack_of: StackOf | None
    ) -> tuple[Holder, ...]:
        """At most three. `channels` are those to look at, of which `leased` have a holder; None: nobody has counted
        them, and those who are asked for at the same time of the clock are told the same."""
        held = self._still_held(SHOWN if leased is None else min(SHOWN, leased))
        if len(held) < SHOWN and (now != self._looked_at if leased is None else len(held) < leased):
            self._looked_at = now
            self._look(channels)
            held = self._still_held(SHOWN)
        return tuple(
            Holder(
                channel.endpoint,
                channel.number,
                now - channel.leased_since,
                channel.purpose,
                None if stack_of is None or (stack := stack_of(channel)) is None else str(stack),
            )
            for channel in held
        )

    def _look(self, channels: Iterable["Channel"]) -> None:
        leased = [channel for channel in channels if channel.state == states.LEASED]
        leased.sort(key=lambda channel: channel.leased_since)
        self._found = deque((channel.leased_since, ref(channel)) for channel in leased)

    def _still_held(self, most: int) -> "list[Channel]":
        """The first of those found that are held by whoever held them then; those before are forgotten."""
        found = self._found
        kept: list[tuple[float, ref[Channel]]] = []
        held: list[Channel] = []
        while found and len(held) < most:
            entry = found.popleft()
            channel = entry[1]()
            if channel is not None and channel.state == states.LEASED and channel.leased_since == entry[0]:
                kept.append(entry)
                held.append(channel)
        found.extendleft(reversed(kept))
        return held
