"""Waiter: somebody who wants a connection, told exactly once how it ended. WaitQueue: the callers of one endpoint."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from keepwarm.pool.clock import NEVER

if TYPE_CHECKING:
    from keepwarm.pool.channel import Channel
    from keepwarm.pool.endpoint_pool import EndpointPool


_place = attrgetter("place")


class WaiterOwner(Protocol):
    def expire_waiter(self, waiter: "Waiter", now: float) -> None: ...


class Waiter:
    """One place in one endpoint's queue.

    It is settled once: with a channel that is leased to it already, or with an error. A caller that is cancelled
    leaves a cancelled future behind; such a waiter is passed over. A caller that is cancelled *after* it was settled
    finds the channel here and has to give it back.

    `place` grows with each arrival at the pool, whatever the endpoint, and is the order in which callers are served:
    two may arrive at the same time of the clock. `since` is that time. `pool_limit` is the name of the option that made
    `pool_deadline`. `fresh`: only a new connection will do; such a caller has been served before, and its place is
    before those of all others.
    """

    __slots__ = (
        "call_deadline",
        "channel",
        "deadline",
        "fresh",
        "future",
        "home",
        "owner",
        "place",
        "pool_deadline",
        "pool_limit",
        "since",
        "sweep_at",
    )

    def __init__(
        self,
        owner: WaiterOwner,
        home: "EndpointPool",
        future: "asyncio.Future[None]",
        *,
        place: int,
        since: float,
        pool_deadline: float = NEVER,
        pool_limit: str = "pool_timeout",
        call_deadline: float = NEVER,
        fresh: bool = False,
    ) -> None:
        self.owner = owner
        self.home = home
        self.future = future
        self.place = place
        self.since = since
        self.pool_deadline = pool_deadline
        self.pool_limit = pool_limit
        self.call_deadline = call_deadline
        self.fresh = fresh
        self.channel: Channel | None = None
        self.deadline = NEVER
        self.sweep_at = NEVER

    @property
    def is_live(self) -> bool:
        """Whether somebody still waits here."""
        return not self.future.done()

    def again(self, home: "EndpointPool", future: "asyncio.Future[None]") -> "Waiter":
        """The same place, for a caller whose channel died on its way to it."""
        return Waiter(
            self.owner,
            home,
            future,
            place=self.place,
            since=self.since,
            pool_deadline=self.pool_deadline,
            pool_limit=self.pool_limit,
            call_deadline=self.call_deadline,
            fresh=self.fresh,
        )

    def settle(self, channel: "Channel") -> None:
        """Give the channel, which is leased by now. Only for a live waiter."""
        self.channel = channel
        self.future.set_result(None)

    def fail(self, error: BaseException) -> None:
        """End the wait with an error. Only for a live waiter."""
        self.future.set_exception(error)

    def on_deadline(self, now: float) -> None:
        self.owner.expire_waiter(self, now)


class WaitQueue:
    """Callers in order of arrival; all operations but `add_back` and `after` are O(1).

    Those who insist on a new connection stand in a line of their own, so that a returned channel finds the first who
    can take it without passing anybody over. Both are OrderedDicts, because deleting from the front of a plain dict
    again and again makes finding its front linear.
    """

    __slots__ = ("fresh", "ordinary")

    def __init__(self) -> None:
        self.ordinary: OrderedDict[Waiter, None] = OrderedDict()
        self.fresh: OrderedDict[Waiter, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self.ordinary) + len(self.fresh)

    def __contains__(self, waiter: Waiter) -> bool:
        return waiter in self._line(waiter)

    def add(self, waiter: Waiter) -> None:
        """A new arrival."""
        self._line(waiter)[waiter] = None

    def add_back(self, waiter: Waiter) -> None:
        """One who has been in front already. Linear in those who are before it, who have been in front as well."""
        line = self._line(waiter)
        before: list[Waiter] = []
        while line and next(iter(line)).place < waiter.place:
            before.append(line.popitem(last=False)[0])
        for other in (waiter, *reversed(before)):
            line[other] = None
            line.move_to_end(other, last=False)

    def remove(self, waiter: Waiter) -> bool:
        """Take one out of the middle. False if it is not here."""
        line = self._line(waiter)
        if waiter in line:
            del line[waiter]
            return True
        return False

    def oldest(self, *, for_used: bool = False) -> Waiter | None:
        """The first live one, left in its place; with `for_used` the first who takes a used connection."""
        first = self._front(self.ordinary)
        if for_used or not self.fresh:
            return first
        fresh = self._front(self.fresh)
        if first is None or fresh is None:
            return first or fresh
        return first if first.place < fresh.place else fresh

    def after(self, count: int) -> Waiter | None:
        """The first live one with `count` live ones before it, left in its place. Linear in `count`."""
        if not count:
            return self.oldest()
        everybody: Iterable[Waiter] = self.ordinary
        if self.fresh:
            everybody = merge(self.ordinary, self.fresh, key=_place)
        return next(islice((waiter for waiter in everybody if waiter.is_live), count, None), None)

    def take(self, *, for_used: bool) -> Waiter | None:
        """Take the first live one off the queue."""
        waiter = self.oldest(for_used=for_used)
        if waiter is not None:
            del self._line(waiter)[waiter]
        return waiter

    def _line(self, waiter: Waiter) -> "OrderedDict[Waiter, None]":
        return self.fresh if waiter.fresh else self.ordinary

    @staticmethod
    def _front(line: "OrderedDict[Waiter, None]") -> Waiter | None:
        while line:
            waiter = next(iter(line))
            if waiter.is_live:
                return waiter
            del line[waiter]
        return None
