"""EndpointPool: the books of one endpoint. Pure and synchronous; it knows no event loop."""

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

from keepwarm.pool import states
from keepwarm.pool.clock import NEVER
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.history import History
from keepwarm.pool.holders import Holders
from keepwarm.pool.pace import Pace
from keepwarm.pool.waiters import WaitQueue

# Told how a dial that was begun for no caller ended: whether its connection is idle now, and what the dial raised.
Spare = Callable[[bool, BaseException | None], None]

if TYPE_CHECKING:
    from keepwarm.pool.channel import Channel
    from keepwarm.pool.dial import Dial
    from keepwarm.pool.waiters import Waiter


class EndpointPool:
    """Who holds what at one endpoint.

    `idle` is a dict used as a stack: the newest is leased first (law 2), and one that dies in the middle leaves in
    O(1). `leased`, `detached` and `closing` are counts: nobody ever has to look for those channels. `dials` are
    those that are meant to succeed; one that was given up counts as closing until its task has ended.

    `idle_window` is how many seconds a connection may lie idle here, what the peer says of itself aside.
    `limit` bounds `open` (None: nothing does). `pace` is kept where callers may be refused for want of time.
    """

    __slots__ = (
        "closing",
        "detached",
        "dials",
        "dials_started",
        "endpoint",
        "handed_new",
        "history",
        "holders",
        "hunger",
        "idle",
        "idle_window",
        "leased",
        "leases",
        "limit",
        "pace",
        "queue",
        "spares",
        "waits",
    )

    def __init__(self, endpoint: Endpoint, limit: int | None = None, pace: Pace | None = None) -> None:
        self.endpoint = endpoint
        self.limit = limit
        self.pace = pace
        # Who has had a connection for longest; looked for when somebody is turned away.
        self.holders: Holders | None = None
        self.idle: dict[Channel, None] = {}
        self.idle_window = NEVER
        self.queue = WaitQueue()
        self.dials: dict[Dial, None] = {}
        # Those who want a connection to be idle: for each a dial is under way. Callers may be faster and take it.
        self.spares: list[Spare] = []
        self.leased = 0
        self.detached = 0
        self.closing = 0
        # What has happened so far; read by stats() only.
        self.leases = 0
        self.handed_new = 0
        self.waits = 0
        self.dials_started = 0
        self.history = History()
        # The number of its entry in the list of endpoints that wait for a slot of the total; 0: it has none.
        self.hunger = 0

    @property
    def open(self) -> int:
        """The open sockets (law 4): dials count from their first moment, goodbyes to their last."""
        return len(self.dials) + len(self.idle) + self.leased + self.detached + self.closing

    @property
    def has_room(self) -> bool:
        """Whether the endpoint's own limit allows one socket more."""
        return self.limit is None or self.open < self.limit

    @property
    def is_empty(self) -> bool:
        return not (self.open or self.queue or self.spares)

    @property
    def uncovered(self) -> int:
        """How many callers wait without a dial under way for them; below zero there are more dials than callers."""
        return len(self.queue) - len(self.dials)

    @property
    def is_overdialled(self) -> bool:
        """Whether a dial is under way that nobody wants any more."""
        return len(self.dials) > len(self.queue) + len(self.spares)

    def first_uncovered(self) -> "Waiter | None":
        """The oldest caller for whom no dial is under way. Linear in the dials."""
        return self.queue.after(len(self.dials))

    def oldest_idle(self, most: int) -> "list[Channel]":
        """The idle channels that were used least recently, at most `most` of them."""
        return list(islice(self.idle, max(0, most)))

    def count_lease(self, channel: "Channel", now: float) -> None:
        """A holder gets the channel, which `leased` counts by now."""
        channel.deadline = NEVER
        channel.leased_since = now
        self.leases += 1
        if not channel.uses:
            self.handed_new += 1
        channel.uses += 1
        if channel.uses_left is not None:
            # Until the peer says otherwise, this use is one of those that it has granted.
            channel.uses_left -= 1

    def uncount_lease(self, channel: "Channel") -> None:
        """The holder was gone before it could use the channel: one that is new stays new."""
        self.leases -= 1
        channel.uses -= 1
        if not channel.uses:
            self.handed_new -= 1
        if channel.uses_left is not None:
            channel.uses_left += 1

    def count_end(self, channel: "Channel", reason: str, now: float) -> None:
        """The channel is let go of, for that reason."""
        self.history.ended(reason, channel.age(now), channel.uses)

    def take_off(self, channel: "Channel") -> None:
        """The channel leaves the count of its state."""
        if channel.state == states.IDLE:
            del self.idle[channel]
        elif channel.state == states.LEASED:
            self.leased -= 1
        else:
            self.detached -= 1

    def add_history(self, other: "EndpointPool") -> None:
        """Add what has happened at another endpoint to what has happened here."""
        self.leases += other.leases
        self.handed_new += other.handed_new
        self.waits += other.waits
        self.dials_started += other.dials_started
        self.history.add(other.history)

    def check(self) -> None:
        """Raise if a count fell below zero (law 9)."""
        if self.leased < 0 or self.detached < 0 or self.closing < 0:
            raise AssertionError(
                f"the books of {self.endpoint} are wrong: leased {self.leased}, detached {self.detached}, "
                f"closing {self.closing}; this is a fault of keepwarm"
            )
