"""Follower: names that have open connections are kept up to date, and connections to addresses that left are retired.

A warm connection asks for no name, so nobody would ever hear that its address is gone. While a name has connections
it is looked up again whenever its answer ends, by the pool's clock: one lookup a name, however many connections.

When is an address gone? One answer that lacks it is not enough: many servers hand out a part of their addresses, a
different one each time, and a failed half of a lookup looks like a family without addresses. So an address is gone
when it is missing from two answers in a row, which

- are really two: an answer that came out of a cache on the way a second time is none;
- belong together: each shares at least half of its addresses with the one before. Where they are dealt out at random
  this seldom holds; after a move to new addresses it holds from the second answer on;
- speak of its family: have addresses of it, and not so many that the list was cut.

The second answer is asked for after half of the time that the first one holds.

Two answers become four, eight and so on up to 32 for an address that was gone and came back, until ten minutes have
passed, and for a name whose answers have little in common again and again, until 32 in a row agree. Failures and stale
answers retire nothing, nor does the news that the name does not exist: what serves goes on serving.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final

from keepwarm.pool import states
from keepwarm.pool.address import MAX_PER_FAMILY, Address, Answer, literal_answer
from keepwarm.pool.channel import Channel
from keepwarm.pool.clock import NEVER, Clock
from keepwarm.pool.dns_cache import DNSCache
from keepwarm.pool.dns_flight import Key
from keepwarm.pool.dns_options import UNKNOWN_TTL

REASON: Final = "dns_gone"
# Seconds between two lookups of a name: at least, and at most while they fail.
LEAST_PAUSE: Final = 0.5
MOST_PAUSE: Final = 30.0
# Lookups of followed names at a time. The others wait for a moment.
MOST_AT_ONCE: Final = 16
MOMENT: Final = 0.05

ENOUGH: Final = 2
MOST_MISSED: Final = 32
REMEMBERED_FOR: Final = 600.0


class _Name:
    """One name with connections, watched by the clock."""

    __slots__ = (
        "_due",
        "absent",
        "channels",
        "deadline",
        "in_doubt",
        "key",
        "last",
        "pause",
        "steady",
        "strikes",
        "sweep_at",
        "until",
        "upsets",
    )

    def __init__(self, key: Key, due: "Callable[[_Name, float], None]") -> None:
        self.key = key
        self._due = due
        # The channels to the name, each with the address it is connected to.
        self.channels: dict[Channel, Address] = {}
        self.last: frozenset[Address] | None = None
        self.until = 0.0
        # Address -> how many answers in a row have lacked it.
        self.absent: Counter[Address] = Counter()
        # How often an answer had little in common with the one before; how many had much since then.
        self.upsets = 0
        self.steady = 0
        # Address -> how often it was gone, and until when that counts.
        self.strikes: dict[Address, tuple[int, float]] = {}
        # Whether the next answer is wanted soon.
        self.in_doubt = False
        self.pause = LEAST_PAUSE
        self.deadline = NEVER
        self.sweep_at = NEVER

    def on_deadline(self, now: float) -> None:
        self._due(self, now)

    @property
    def live(self) -> list[Channel]:
        """The channels that may still be retired for their address. A detached one is its holder's."""
        return [c for c in self.channels if c.retiring is None and c.state in (states.IDLE, states.LEASED)]

    def judge(self, answer: Answer, now: float) -> list[Channel]:
        """The channels whose address is gone, now that this answer is known too."""
        addresses = frozenset(map(_comparable, answer.addresses))
        self.in_doubt = False
        if self._is_the_same_again(addresses, answer, now):
            return []
        self._compare(addresses)
        families = Counter(address.family for address in addresses)
        channels = {channel: self.channels[channel] for channel in self.live}
        used = set(channels.values())
        for address in used - addresses:
            if 0 < families[address.family] < MAX_PER_FAMILY:
                self.absent[address] += 1
        self.absent = Counter({address: n for address, n in self.absent.items() if address in used - addresses})
        self.strikes = {address: strike for address, strike in self.strikes.items() if strike[1] > now}
        gone = {address for address, missed in self.absent.items() if missed >= self._needed(address)}
        for address in gone:
            del self.absent[address]
            self.strikes[address] = (self.strikes.get(address, (0, 0.0))[0] + 1, now + REMEMBERED_FOR)
        self.in_doubt = bool(self.absent)
        return [channel for channel, address in channels.items() if address in gone]

    def _compare(self, addresses: frozenset[Address]) -> None:
        """Does this answer belong to the one before?"""
        before, self.last = self.last, addresses
        if before is not None and 2 * len(before & addresses) < len(before | addresses):
            self.absent.clear()
            self.upsets += 1
            self.steady = 0
        else:
            self.steady += 1
            if self.steady >= MOST_MISSED:
                self.upsets = 0

    def _is_the_same_again(self, addresses: frozenset[Address], answer: Answer, now: float) -> bool:
        """Whether a cache on the way gave the answer from before, which ends when it would have ended."""
        ttl = UNKNOWN_TTL if answer.ttl is None else answer.ttl
        before, self.until = self.until, now + ttl
        # Caches round to whole seconds.
        return addresses == self.last and self.until <= before + min(1.0, ttl / 4)

    def _needed(self, address: Address) -> int:
        doubts = self.strikes.get(address, (0, 0.0))[0] + max(0, self.upsets - 1)  # anybody may move once
        return min(ENOUGH << min(doubts, MOST_MISSED), MOST_MISSED)


class Follower:
    """Follows the names of one connector's direct connections, through its DNS cache, by the clock of its pool."""

    __slots__ = ("_cache", "_clock", "_closed", "_names")

    def __init__(self, cache: DNSCache, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock
        self._names: dict[Key, _Name] = {}
        self._closed = False
        cache.on_answer = self._answered

    def follow(self, channel: Channel, family: int) -> None:
        """A new connection, to the host and port of its endpoint, whose name was looked up for `family`."""
        host, port, _ = channel.endpoint
        address = _peer(channel)
        if self._closed or address is None or literal_answer(host, port) is not None:
            return
        key = (host, port, family)
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = _Name(key, self._due)
            self._clock.watch(name, max(self._cache.expires_at(key), self._clock.now() + LEAST_PAUSE))
        name.channels[channel] = address
        channel.on_lost = partial(self._lost, name, channel, channel.on_lost)

    def close(self) -> None:
        """Follow nothing any more."""
        self._closed = True
        self._cache.on_answer = None
        names, self._names = self._names, {}
        for name in names.values():
            self._clock.forget(name)

    def _lost(
        self,
        name: _Name,
        channel: Channel,
        also: Callable[[BaseException | None], None] | None,
        error: BaseException | None,
    ) -> None:
        channel.on_lost = None  # it holds the channel
        del name.channels[channel]
        if not name.channels and self._names.get(name.key) is name:
            del self._names[name.key]
            self._clock.forget(name)
        if also is not None:
            also(error)

    def _due(self, name: _Name, now: float) -> None:
        """The answer has ended. A new one sets the next time; until there is one the pauses grow."""
        if self._cache.refreshing >= MOST_AT_ONCE:
            self._clock.watch(name, now + MOMENT)
            return
        self._clock.watch(name, now + name.pause)
        name.pause = min(2 * name.pause, MOST_PAUSE)
        if name.live:
            self._cache.refresh(name.key)

    def _answered(self, key: Key, answer: Answer) -> None:
        name = self._names.get(key)
        if name is None:
            return
        now = self._clock.now()
        for channel in name.judge(answer, now):
            if channel.owner is not None:
                channel.owner.retire(channel, REASON)
        pause = self._cache.expires_at(key) - now
        if name.in_doubt:
            pause /= 2
        name.pause = LEAST_PAUSE
        self._clock.watch(name, now + max(pause, LEAST_PAUSE))


def _peer(channel: Channel) -> Address | None:
    """The address that the channel is connected to."""
    peer = channel.transport_info("peername")
    if not isinstance(peer, tuple) or len(peer) < 2:
        return None
    literal = literal_answer(peer[0], peer[1])
    return None if literal is None else _comparable(literal.addresses[0])


def _comparable(address: Address) -> Address:
    """Without the zone of a link-local address, which has several spellings."""
    return Address(address.host.partition("%")[0], address.port, address.family) if "%" in address.host else address
