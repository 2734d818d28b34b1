"""TotalLimit: one bound over all endpoints, and who is next when a slot of it comes free."""

import heapq
from collections import OrderedDict
from typing import TYPE_CHECKING

from keepwarm.pool.endpoint_pool import EndpointPool

if TYPE_CHECKING:
    from keepwarm.pool.channel import Channel


class TotalLimit:
    """Counts the open sockets of a pool, orders its idle channels by age, and its endpoints by their oldest waiter.

    An endpoint that could dial if the total had room is *hungry*. A freed slot goes to the hungry endpoint whose
    oldest caller has waited longest; the heap holds an endpoint at most once, with the age it had when it joined, and
    is put right when an entry comes up. All of it exists only in a pool with `limit_total`.
    """

    __slots__ = ("_heap", "_idle", "_serial", "closing", "most", "open")

    def __init__(self, most: int) -> None:
        self.most = most
        self.open = 0
        self.closing = 0
        self._idle: OrderedDict[Channel, None] = OrderedDict()
        self._heap: list[tuple[float, int, EndpointPool]] = []
        self._serial = 0

    @property
    def has_room(self) -> bool:
        return self.open < self.most

    def opened(self) -> None:
        self.open += 1

    def freed(self) -> None:
        self.open -= 1
        if self.open < 0:
            raise AssertionError("more slots of limit_total came back than were taken; this is a fault of keepwarm")

    def shelved(self, channel: "Channel") -> None:
        self._idle[channel] = None

    def unshelved(self, channel: "Channel") -> None:
        del self._idle[channel]

    def join(self, home: EndpointPool) -> None:
        """The endpoint has callers without a dial and would be allowed to dial."""
        waiter = home.oldest_waiter()
        if waiter is not None and not home.is_hungry:
            home.is_hungry = True
            self._serial += 1
            heapq.heappush(self._heap, (waiter.since, self._serial, home))

    def next_hungry(self, limit: int | None) -> EndpointPool | None:
        """Take the endpoint that a free slot is due to off the list."""
        home = self._peek(limit)
        if home is not None:
            heapq.heappop(self._heap)
            home.is_hungry = False
        return home

    def is_starving_before(self, home: EndpointPool) -> bool:
        """Whether another endpoint has no connection at all and a caller who came before `home`'s oldest.

        An endpoint with a connection of its own is served by it in turn; moving slots back and forth between two busy
        endpoints would cost a dial for each call.
        """
        hungry = self._peek(None)
        if hungry is None or hungry is home or hungry.open:
            return False
        theirs, ours = hungry.oldest_waiter(), home.oldest_waiter()
        return theirs is not None and (ours is None or theirs.since < ours.since)

    def make_room(self, limit: int | None) -> "list[Channel]":
        """The idle channels, least recently used first, that have to go so that the hungry ones can dial."""
        hungry = self._peek(limit)
        if hungry is None or not self._idle:
            return []
        wanted = len(self._heap) - self.closing
        chosen: list[Channel] = []
        for channel in self._idle:
            if len(chosen) >= wanted:
                break
            if channel.home is not hungry:
                chosen.append(channel)
        return chosen

    def _peek(self, limit: int | None) -> EndpointPool | None:
        heap = self._heap
        while heap:
            since, _, home = heap[0]
            waiter = home.oldest_waiter()
            if waiter is None or home.uncovered <= 0 or (limit is not None and home.open >= limit):
                heapq.heappop(heap)
                home.is_hungry = False
            elif waiter.since != since:
                heapq.heappop(heap)
                home.is_hungry = False
                self.join(home)
            else:
                return home
        return None
