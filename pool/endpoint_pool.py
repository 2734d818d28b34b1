"""EndpointPool: the books of one endpoint. Pure and synchronous; it knows no event loop."""

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from keepwarm.pool.endpoint import Endpoint

if TYPE_CHECKING:
    from keepwarm.pool.channel import Channel
    from keepwarm.pool.dial import Dial
    from keepwarm.pool.waiters import Waiter


class EndpointPool:
    """Who holds what at one endpoint.

    `idle` is a dict used as a stack: the newest is leased first (law 2), and one that dies in the middle leaves in
    O(1). `waiters` is an OrderedDict used as a queue, because deleting from the front of a plain dict again and again
    makes finding its front linear. `leased`, `detached` and `closing` are counts: nobody ever has to look for those
    channels.
    """

    __slots__ = (
        "closing",
        "detached",
        "dial_failures",
        "dials",
        "dials_started",
        "endpoint",
        "handed_new",
        "idle",
        "is_hungry",
        "leased",
        "leases",
        "retired",
        "waiters",
        "waits",
    )

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.idle: dict[Channel, None] = {}
        self.waiters: OrderedDict[Waiter, None] = OrderedDict()
        self.dials: dict[Dial, None] = {}
        self.leased = 0
        self.detached = 0
        self.closing = 0
        # What has happened so far; read by stats() only.
        self.leases = 0
        self.handed_new = 0
        self.waits = 0
        self.dials_started = 0
        self.dial_failures = 0
        self.retired: Counter[str] = Counter()
        # Whether the pool's list of endpoints that wait for a slot of the total holds this one.
        self.is_hungry = False

    @property
    def open(self) -> int:
        """The open sockets (law 4): dials count from their first moment, goodbyes to their last."""
        return len(self.dials) + len(self.idle) + self.leased + self.detached + self.closing

    @property
    def is_empty(self) -> bool:
        return not (self.waiters or self.dials or self.idle or self.leased or self.detached or self.closing)

    @property
    def uncovered(self) -> int:
        """How many callers wait without a dial under way for them."""
        return len(self.waiters) - len(self.dials)

    def next_waiter(self, *, for_used: bool) -> "Waiter | None":
        """Take the oldest live waiter off the queue; None if there is none.

        With `for_used` those who insist on a new connection are passed over: they keep their places.
        """
        passed: list[Waiter] = []
        found = None
        while self.waiters:
            waiter, _ = self.waiters.popitem(last=False)
            if not waiter.is_live:
                continue
            if for_used and waiter.fresh:
                passed.append(waiter)
                continue
            found = waiter
            break
        for waiter in reversed(passed):
            self.waiters[waiter] = None
            self.waiters.move_to_end(waiter, last=False)
        return found

    def oldest_waiter(self) -> "Waiter | None":
        """The oldest live waiter, left in its place."""
        while self.waiters:
            waiter = next(iter(self.waiters))
            if waiter.is_live:
                return waiter
            del self.waiters[waiter]
        return None

    def has_dial_for(self, waiter: "Waiter") -> bool:
        """Whether one of the dials under way will be this waiter's if all succeed."""
        for place, other in enumerate(self.waiters):
            if place >= len(self.dials):
                return False
            if other is waiter:
                return True
        return False

    def oldest_idle(self) -> "Channel | None":
        return next(iter(self.idle), None)

    def check(self) -> None:
        """Raise if a count fell below zero (law 9)."""
        if self.leased < 0 or self.detached < 0 or self.closing < 0:
            raise AssertionError(
                f"the books of {self.endpoint} are wrong: leased {self.leased}, detached {self.detached}, "
                f"closing {self.closing}; this is a fault of keepwarm"
            )
