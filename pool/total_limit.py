"""TotalLimit: one bound over all endpoints, and who is next when a slot of it comes free."""

import heapq
from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING

from keepwarm.pool.endpoint_pool import EndpointPool

if TYPE_CHECKING:
    from keepwarm.pool.channel import Channel

# An endpoint that has connections is served by them in turn. Its callers may be stuck behind a holder that never
# ends, though: once they are this many seconds older than the others', a slot is moved to it all the same.
PATIENCE = 1.0


class TotalLimit:
    """Counts the open sockets of a pool, orders its idle channels by age, and its endpoints by who waits there.

    An endpoint that could dial if the total had room is *hungry*. A freed slot goes to the hungry endpoint whose
    caller came first, those not counted for whom a dial is under way. The heap holds (place, number, endpoint); an
    entry counts only while the endpoint's `hunger` is its number, and its place is put right when it comes up. All of
    it exists only in a pool with `limit_total`.
    """

    __slots__ = ("_heap", "_idle", "_serial", "closing", "hungry", "most", "open")

    def __init__(self, most: int) -> None:
        self.most = most
        self.open = 0
        self.closing = 0
        self.hungry = 0
        self._idle: OrderedDict[Channel, None] = OrderedDict()
        self._heap: list[tuple[int, int, EndpointPool]] = []
        self._serial = 0

    @property
    def has_room(self) -> bool:
        return self.open < self.most

    @property
    def entries(self) -> int:
        """How many entries the list of the hungry has, dead ones included."""
        return len(self._heap)

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

    def oldest_idle(self, most: int) -> "list[Channel]":
        """The idle channels that were used least recently, at most `most` of them."""
        return list(islice(self._idle, max(0, most)))

    def join(self, home: EndpointPool) -> None:
        """The endpoint has callers without a dial and would be allowed to dial."""
        waiter = None if home.hunger else home.first_uncovered()
        if waiter is not None:
            self._serial += 1
            home.hunger = self._serial
            self.hungry += 1
            heapq.heappush(self._heap, (waiter.place, home.hunger, home))

    def leave(self, home: EndpointPool) -> None:
        """The endpoint has nobody left to dial for, or got its slot."""
        if home.hunger:
            home.hunger = 0
            self.hungry -= 1
            if len(self._heap) > 64 + 2 * self.hungry:
                self._heap[:] = [entry for entry in self._heap if entry[2].hunger == entry[1]]
                heapq.heapify(self._heap)

    def next_hungry(self) -> EndpointPool | None:
        """Take the endpoint that a free slot is due to off the list."""
        home = self._first()
        if home is not None:
            self.leave(home)
        return home

    def is_owed_elsewhere(self, home: EndpointPool) -> bool:
        """Whether a connection that `home` has just got back should make room for another endpoint.

        It should for one that has no connection at all and a caller who came before `home`'s oldest. One with a
        connection of its own is served by it in turn: moving slots back and forth between two busy endpoints would
        cost a dial for each call. See PATIENCE.
        """
        hungry = self._first()
        if hungry is None or hungry is home:
            return False
        theirs, ours = hungry.first_uncovered(), home.queue.oldest()
        if theirs is None or ours is None:
            return False
        return theirs.since < ours.since - PATIENCE or (not hungry.open and theirs.place < ours.place)

    def in_the_way(self) -> "list[Channel]":
        """The idle channels, least recently used first, that have to go so that the hungry ones can dial."""
        if not self._idle or self._first() is None:
            return []
        return self.oldest_idle(self.hungry - self.closing)

    def _first(self) -> EndpointPool | None:
        heap = self._heap
        while heap:
            place, number, home = heap[0]
            if home.hunger != number:
                heapq.heappop(heap)
                continue
            waiter = home.first_uncovered()
            if waiter is None:
                heapq.heappop(heap)
                self.leave(home)
            elif waiter.place != place:
                heapq.heapreplace(heap, (waiter.place, number, home))
            else:
                return home
        return None
