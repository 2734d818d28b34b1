"""Entry: what the DNS cache knows of one name, port and family."""

from keepwarm.pool.address import Address
from keepwarm.pool.errors import ClientError

# In the last tenth of its time an answer that is used much is renewed.
HOT_PART = 0.1


class Entry:
    """An answer or a failure, and until when it counts. `expires`, `stale_until` and `retry_at` are times of the clock.

    From `expires` to `stale_until` the addresses may be lent to callers whom the resolver cannot serve in time.
    `failing` says that the last lookup failed, `retry_at` when the next may be tried.
    """

    __slots__ = ("addresses", "error", "expires", "failing", "hot_at", "retry_at", "stale_until", "uses")

    def __init__(self) -> None:
        self.addresses: tuple[Address, ...] = ()
        self.error: ClientError | None = None
        self.expires = 0.0
        self.hot_at = 0.0
        self.stale_until = 0.0
        self.failing = False
        self.retry_at = 0.0
        self.uses = 0

    def renew(self, addresses: tuple[Address, ...], now: float, hold: float, stale_for: float) -> None:
        """A new answer that holds for `hold` seconds."""
        self.addresses = addresses
        self.error = None
        self.expires = now + hold
        self.hot_at = self.expires - HOT_PART * hold
        self.stale_until = self.expires + stale_for
        self.failing = False
        self.retry_at = 0.0
        self.uses = 0

    def refuse(self, error: ClientError, until: float) -> None:
        """There is no answer, and no old one either."""
        self.addresses = ()
        self.error = error
        self.expires = self.stale_until = until
        self.failing = False

    def put_off(self, until: float) -> None:
        """The answer could not be renewed, but what there is will do for a while."""
        self.failing = True
        self.retry_at = until

    def can_lend(self, now: float) -> bool:
        """Whether the addresses, fresh or not, are better than none."""
        return bool(self.addresses) and now < self.stale_until

    def is_hot(self, now: float, least_uses: int) -> bool:
        """Whether the answer is worth renewing before it ends. `least_uses` of 0: never."""
        return now >= self.hot_at and self.uses >= least_uses > 0 and now >= self.retry_at

    def take(self) -> tuple[Address, ...]:
        """The addresses in the order to try, and the next one in front for the next caller."""
        order = self.addresses
        self.addresses = rotated(order)
        return order


def rotated(addresses: tuple[Address, ...]) -> tuple[Address, ...]:
    """Each family moved on by one within the places that it holds: (6a, 4a, 6b, 4b) -> (6b, 4b, 6a, 4a)."""
    if len(addresses) < 2:
        return addresses
    members: dict[int, list[Address]] = {}
    for address in addresses:
        members.setdefault(address.family, []).append(address)
    turns = {family: iter([*same[1:], same[0]]) for family, same in members.items()}
    return tuple(next(turns[address.family]) for address in addresses)
