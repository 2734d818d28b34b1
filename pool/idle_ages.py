"""IdleAges: what an endpoint has taught about how long it keeps idle connections.

Few servers say when they close an idle connection; all of them show it. A FIN that reaches an idle connection tells
after how many seconds the peer, or something on the way, has had enough, and so does a connection that lay idle and
turned out dead when it was used. Once that has happened at much the same age ENOUGH times, connections to the
endpoint are retired a margin earlier, and no request meets the FIN any more.

A restart must teach nothing: it ends every connection at one moment, whatever their ages. So

- what happens within MOMENT seconds is one observation, and none if the ages in it differ;
- observations count when they agree (within a tenth of the age), and only if they are more than half of those that
  are remembered;
- an age below LEAST teaches nothing: no server keeps connections for less, but under load most are that young.

What was learned is forgotten slowly, for the server may be set up anew: one observation each FORGET_AFTER seconds.
With too few left the connections lie for longer again, and one more FIN at the old age is enough to know it again.
"""

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from keepwarm.pool.clock import NEVER
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.endpoint_pool import EndpointPool
from keepwarm.pool.keepalive import Keepalive, shortened

if TYPE_CHECKING:
    from keepwarm.pool.channel import Channel

# The reason for retiring a connection that could have lain idle for longer, had its endpoint not taught otherwise.
REASON: Final = "learned"
# What a peer does to a connection that it has had for long enough.
ENDS: Final = ("peer_fin", "error")

ENOUGH: Final = 3
# The most that is remembered of one endpoint: so much has to be forgotten before the window opens again.
MOST: Final = 5
MOMENT: Final = 1.0
LEAST: Final = 1.0
FORGET_AFTER: Final = 600.0
# Endpoints that are remembered; the one that was heard of longest ago makes room.
MOST_ENDPOINTS: Final = 1024
# Ages that agree: the largest is no more than this part, or this many seconds, above the smallest.
PART: Final = 0.1
SECONDS: Final = 0.5


class _Moment:
    """The ends that were seen at about one time: when the first was, the youngest and the oldest connection."""

    __slots__ = ("newest", "oldest", "since")

    def __init__(self, age: float, now: float) -> None:
        self.since = now
        self.newest = self.oldest = age

    @property
    def is_telling(self) -> bool:
        return self.newest >= LEAST and _agree(self.newest, self.oldest)


class _Lessons:
    """The observations of one endpoint, the oldest first, and when the last one was made or one was forgotten."""

    __slots__ = ("moments", "since")

    def __init__(self) -> None:
        self.moments: list[_Moment] = []
        self.since = 0.0

    def add(self, age: float, now: float) -> None:
        self.forget(now)
        self.since = now
        last = self.moments[-1] if self.moments else None
        if last is not None and now - last.since <= MOMENT:
            last.newest, last.oldest = min(last.newest, age), max(last.oldest, age)
            return
        if last is not None and not last.is_telling:
            self.moments.pop()
        self.moments.append(_Moment(age, now))
        del self.moments[:-MOST]

    def forget(self, now: float) -> None:
        while self.moments and now - self.since >= FORGET_AFTER:
            del self.moments[0]
            self.since += FORGET_AFTER

    def age(self) -> float:
        """The smallest age of those that agree; NEVER while there are too few."""
        ages = sorted(moment.newest for moment in self.moments if moment.is_telling)
        needed = max(ENOUGH, len(ages) // 2 + 1)
        for first, last in zip(ages, ages[needed - 1 :], strict=False):
            if _agree(first, last):
                return first
        return NEVER


class IdleAges:
    """The lessons of all endpoints of one pool, and how long connections may lie idle: `keepalive` says that, where no
    endpoint has taught anything less. Times are of the pool's clock, ages in seconds."""

    __slots__ = ("_keepalive", "_lessons")

    def __init__(self, keepalive: Keepalive | None = None) -> None:
        self._keepalive = keepalive or Keepalive(None)
        self._lessons: OrderedDict[Endpoint, _Lessons] = OrderedDict()

    def left_shelf(self, home: EndpointPool, channel: "Channel", reason: str, now: float) -> str:
        """An idle connection goes, for this reason. The reason to write down, which says if it was learned."""
        since = channel.idle_since
        if reason in ENDS:
            if channel.uses:  # else it was never asked anything, for which servers have another patience
                self.ended(home.endpoint, now - since, now)
                home.idle_window = self.window(home.endpoint, now)
        elif reason == "idle" and now < since + self._keepalive.window(channel.idle_hint):
            home.idle_window = self.window(home.endpoint, now)  # it may be forgotten by now
            return REASON
        return reason

    def found_dead(self, home: EndpointPool, channel: "Channel", now: float) -> None:
        """A connection from the shelf could not be used any more, as its holder found out."""
        if now - channel.leased_since <= MOMENT:
            self.ended(home.endpoint, channel.leased_since - channel.idle_since, now)
            home.idle_window = self.window(home.endpoint, now)

    def ended(self, endpoint: Endpoint, age: float, now: float) -> None:
        """The peer ended a connection that had lain idle for so long."""
        if not self._keepalive.learn:
            return
        if age < LEAST and endpoint not in self._lessons:
            return  # most ends are of this kind, and a moment that is none yet need not be remembered
        lessons = self._lessons.get(endpoint)
        if lessons is None:
            lessons = self._lessons[endpoint] = _Lessons()
            if len(self._lessons) > MOST_ENDPOINTS:
                self._lessons.popitem(last=False)
        else:
            self._lessons.move_to_end(endpoint)
        lessons.add(age, now)

    def window(self, endpoint: Endpoint, now: float) -> float:
        """Seconds that a connection may lie idle, what the peer says of itself aside; NEVER: for ever."""
        own = self._keepalive.window(None)
        lessons = self._lessons.get(endpoint)
        if lessons is None:
            return own
        lessons.forget(now)
        if not lessons.moments:
            del self._lessons[endpoint]
            return own
        return min(own, shortened(lessons.age()))

    def __len__(self) -> int:
        return len(self._lessons)


def _agree(least: float, most: float) -> bool:
    return most - least <= max(SECONDS, PART * least)
