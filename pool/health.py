"""AddressHealth: which of an endpoint's addresses a new connection tries first.

An endpoint with several addresses is to be loaded evenly, and the one that is dead is to be left alone. So the books
here know, for each address, how many connections are open or being made, and how many tries failed in a row.

The first choice is the less loaded of two addresses drawn at random: nearly as even as the least loaded of all, and
clients that start together do not all meet at the same one. The others follow as they came, for the race to go on
with. Families keep their places (RFC 8305): the choice is made within each family.

An address that failed `failures` times in a row is set aside: it comes behind all others, so it is tried only where
they fail too. When its time is over, one dial tries it first; that dial gets it back, or sets it aside for twice as
long. Never more than a part of the addresses is set aside, for when most of them fail it is not they that are at fault.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from keepwarm.pool.address import Address
from keepwarm.pool.limits import check_seconds

# Addresses whose failures are remembered; the one that failed longest ago makes room.
MOST_KEPT: Final = 1024


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """When an address of a host is left alone, and for how long. All addresses are tried where no other is left.

    - `failures` (3, at least 1): connects in a row that failed, or that another address overtook by 250 ms.
    - `first` (1.0, seconds, above 0): how long the address is set aside then. Each failure after that doubles it.
    - `longest` (60.0, seconds, at least `first`): the most that it grows to.
    - `jitter` (0.2, from 0 to 0.99): the part by which each of these times is longer or shorter at random.
    - `most_aside` (0.5, from 0 to 1): the part of a host's addresses that may be set aside at a time, rounded down; 0
      sets none aside.

    Raises TypeError or ValueError that names the option.
    """

    failures: int = 3
    first: float = 1.0
    longest: float = 60.0
    jitter: float = 0.2
    most_aside: float = 0.5

    def __post_init__(self) -> None:
        if isinstance(self.failures, bool) or not isinstance(self.failures, int) or self.failures < 1:
            raise ValueError(f"AddressPolicy: failures must be a whole number from 1 up, got {self.failures!r}")
        for name in ("first", "longest"):
            if not check_seconds(name, getattr(self, name)):
                raise ValueError(f"AddressPolicy: {name} must be more than 0 seconds, got {getattr(self, name)!r}")
        if self.longest < self.first:
            raise ValueError(f"AddressPolicy: longest must not be less than first={self.first:g}, got {self.longest:g}")
        for name, most in (("jitter", 0.99), ("most_aside", 1.0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
                raise ValueError(f"AddressPolicy: {name} must be a number from 0 to {most:g}, got {value!r}")

    def pause(self, failed: int, chance: float) -> float:
        """Seconds to leave an address alone that failed so many times in a row; `chance` is from 0 to 1."""
        doublings = min(failed - self.failures, 64)
        seconds: float = min(self.first * 2.0**doublings, self.longest)
        return seconds * (1 + self.jitter * (2 * chance - 1))


class _Trouble:
    """An address that failed `count` times in a row, until when it is set aside for that, and whether a dial tries it
    meanwhile."""

    __slots__ = ("count", "on_trial", "until")

    def __init__(self) -> None:
        self.count = 0
        self.until = 0.0
        self.on_trial = False


class AddressHealth:
    """The books of one connector. `now` is its clock; `random` decides what is left to chance."""

    __slots__ = ("_load", "_now", "_policy", "_random", "_troubles")

    def __init__(
        self, now: Callable[[], float], policy: AddressPolicy | None = None, random: Random | None = None
    ) -> None:
        self._now = now
        self._policy = policy or AddressPolicy()
        self._random = random or Random()
        self._load: Counter[Address] = Counter()
        self._troubles: OrderedDict[Address, _Trouble] = OrderedDict()

    def choose(self, addresses: Sequence[Address]) -> "Choice":
        """The order in which to try them, for one dial, which counts as load of the first."""
        return Choice(self, self._order(addresses))

    def failed(self, address: Address) -> None:
        """It could not be connected to, or not in time, or hung up before it was of any use."""
        troubles = self._troubles
        trouble = troubles.setdefault(address, _Trouble())
        troubles.move_to_end(address)
        now = self._now()
        if trouble.until > now and not trouble.on_trial:
            return  # dials that were under way when it was set aside: they tell of the same failure
        trouble.count += 1
        trouble.on_trial = False
        if trouble.count >= self._policy.failures:
            trouble.until = now + self._pause(trouble)
        if len(troubles) > MOST_KEPT:
            troubles.popitem(last=False)

    def works(self, address: Address) -> None:
        """A connection was made to it."""
        self._troubles.pop(address, None)

    def loaded(self, address: Address, by: int) -> None:
        """So many connections more, open or under way."""
        load = self._load
        load[address] += by
        if load[address] <= 0:
            del load[address]

    def load(self, address: Address) -> int:
        """Connections to the address, open or under way."""
        return self._load[address]

    def set_aside(self, addresses: Sequence[Address]) -> list[Address]:
        """Those that are set aside now, the one whose time ends first in front; as many as may be.

        A family of which every address fails is cut off as a whole, if another is not: that is no matter of machines.
        """
        if not self._troubles:
            return []
        now = self._now()
        ends = {a: t.until for a in addresses if (t := self._troubles.get(a)) is not None and t.until > now}
        reached = {address.family for address in addresses if address not in ends}
        cut_off = [address for address in ends if address.family not in reached] if reached else []
        most = int(len(addresses) * self._policy.most_aside)
        if len(ends) > most:
            others = sorted((a for a in ends if a not in cut_off), key=ends.__getitem__)
            room = max(0, most - len(cut_off))
            ends = {a: ends[a] for a in (*cut_off, *others[len(others) - room :])} if most else {}
        return sorted(ends, key=ends.__getitem__)

    def _order(self, addresses: Sequence[Address]) -> tuple[Address, ...]:
        if len(addresses) < 2:
            return tuple(addresses)
        aside = self.set_aside(addresses)
        members: dict[int, list[Address]] = {}
        for address in addresses:
            if address not in aside:
                members.setdefault(address.family, []).append(address)
        turns = {family: iter(self._best_first(same)) for family, same in members.items()}
        order = [next(turns[address.family]) for address in addresses if address not in aside]
        probed = self._probe(order)
        if probed is not None:
            order.remove(probed)
            order.insert(0, probed)
        return (*order, *aside)

    def _best_first(self, addresses: list[Address]) -> list[Address]:
        """The less loaded of two that are drawn, then the others. Addresses with equal loads keep their order."""
        if len(addresses) < 2:
            return addresses
        one, other = sorted(self._random.sample(range(len(addresses)), 2))
        load = self._load
        best = addresses[other] if load[addresses[other]] < load[addresses[one]] else addresses[one]
        return [best, *(address for address in addresses if address != best)]

    def _probe(self, addresses: list[Address]) -> Address | None:
        """An address whose time aside is over: this dial is the one that tries it, the next ones do not."""
        if not self._troubles:
            return None
        now = self._now()
        for address in addresses:
            trouble = self._troubles.get(address)
            if trouble is not None and trouble.count >= self._policy.failures and trouble.until <= now:
                trouble.until = now + self._pause(trouble)
                trouble.on_trial = True
                return address
        return None

    def _pause(self, trouble: _Trouble) -> float:
        return self._policy.pause(trouble.count, self._random.random())


class Choice:
    """The addresses for one dial in the order to try them, and what the dial tells of them."""

    __slots__ = ("_health", "_holds", "order")

    def __init__(self, health: AddressHealth, order: tuple[Address, ...]) -> None:
        self.order = order
        self._health = health
        self._holds: Address | None = order[0]
        health.loaded(order[0], 1)

    def won(self, address: Address, tried: Iterable[Address] = ()) -> None:
        """Connected to `address`, before which the others were tried in vain: the connection is its load from now on,
        until `over`."""
        for other in tried:
            self._health.failed(other)
        self._hold(address)

    def lost(self, tried: Iterable[Address]) -> None:
        """None of these could be connected to."""
        for address in tried:
            self._health.failed(address)
        self._hold(None)

    def served(self) -> None:
        """The connection is fit for use: whatever its address did before is forgiven."""
        if self._holds is not None:
            self._health.works(self._holds)

    def over(self, *, hung_up: bool = False) -> None:
        """The connection, or the attempt to make one, is gone; `hung_up`: because the peer took it and ended it at
        once. Idempotent."""
        if hung_up and self._holds is not None:
            self._health.failed(self._holds)
        self._hold(None)

    def _hold(self, address: Address | None) -> None:
        held, self._holds = self._holds, address
        if held is not None:
            self._health.loaded(held, -1)
        if address is not None:
            self._health.loaded(address, 1)
