"""LeakFinder: who has held a connection for too long, and where it was taken."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keepwarm.pool.clock import NEVER, Clock
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.observer import Observer
from keepwarm.pool.stack import Stack

if TYPE_CHECKING:
    from keepwarm.pool.channel import Channel


@dataclass(frozen=True, slots=True)
class Leak:
    """A connection to `endpoint`, number `connection` of its connector, that has been held for `seconds`. `stack` is
    where it was taken."""

    endpoint: Endpoint
    connection: int
    seconds: float
    stack: Stack

    def __str__(self) -> str:
        return (
            f"connection {self.connection} to {self.endpoint} has been held for {self.seconds:.3g} s: read the "
            f"response, release it or use async with. It was taken at\n{self.stack}"
        )


OnLeak = Callable[[Leak], object]


def check_on_leak(on_leak: OnLeak | None, leak_after: float | None) -> OnLeak | None:
    """`on_leak` as it is. Raises TypeError or ValueError unless it is None, or callable and of use."""
    if on_leak is None:
        return None
    if not callable(on_leak):
        raise TypeError(f"on_leak must be callable with a Leak, or None, got {on_leak!r}")
    if leak_after is None:
        raise ValueError("on_leak is never called without leak_after: give the seconds after which a lease is a leak")
    return on_leak


class LeakFinder(Observer):
    """Reports each lease once that lasts longer than `leak_after` seconds: to `on_leak`, or as a ResourceWarning.

    A stack is taken with each lease, which costs some microseconds. The clock looks at the oldest lease that was not
    reported; how many there are makes no difference.
    """

    __slots__ = ("_clock", "_fresh", "_leak_after", "_on_leak", "_stacks", "deadline", "sweep_at")

    def __init__(self, clock: Clock, leak_after: float, on_leak: OnLeak | None = None) -> None:
        self._clock = clock
        self._leak_after = leak_after
        self._on_leak = on_leak
        self._stacks: dict[Channel, Stack] = {}
        # The leases that were not reported, the oldest first.
        self._fresh: dict[Channel, None] = {}
        self.deadline = NEVER
        self.sweep_at = NEVER

    def stack_of(self, channel: "Channel") -> Stack | None:
        """Where the lease was taken; None if nobody holds it."""
        return self._stacks.get(channel)

    # As an Observer

    def leased(self, channel: "Channel", now: float) -> None:
        self._forget(channel)
        self._stacks[channel] = Stack.here()
        self._fresh[channel] = None
        if self.deadline == NEVER:
            self._clock.watch(self, now + self._leak_after)

    def taken(self, channel: "Channel", now: float) -> None:
        # Until now it was the stack of whoever gave it away.
        if channel in self._stacks:
            self._stacks[channel] = Stack.here()

    def released(self, channel: "Channel", now: float) -> None:
        self._forget(channel)

    def detached(self, channel: "Channel", now: float) -> None:
        self._forget(channel)

    def retired(self, channel: "Channel", reason: str, now: float) -> None:
        self._forget(channel)

    def lost(self, channel: "Channel", reason: str, now: float) -> None:
        self._forget(channel)

    def _forget(self, channel: "Channel") -> None:
        self._stacks.pop(channel, None)
        self._fresh.pop(channel, None)

    # Time

    def on_deadline(self, now: float) -> None:
        late = []
        for channel in self._fresh:
            due = channel.leased_since + self._leak_after
            if due > now:
                self._clock.watch(self, due)
                break
            late.append(channel)
        for channel in late:
            del self._fresh[channel]
        # All of them before the first is told: whoever hears of one may end the others.
        leaks = [Leak(c.endpoint, c.number, now - c.leased_since, self._stacks[c]) for c in late]
        failure = None
        for leak in leaks:
            try:
                self._report(leak)
            except Exception as exc:  # the warning may be an error
                failure = failure or exc
        if failure is not None:
            raise failure  # the loop's exception handler gets it

    def _report(self, leak: Leak) -> None:
        if self._on_leak is not None:
            self._on_leak(leak)
        else:
            warnings.warn(str(leak), ResourceWarning, stacklevel=1)
