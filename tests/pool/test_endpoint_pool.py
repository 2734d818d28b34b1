"""The books of one endpoint and of all, without a loop's help."""

import asyncio
from collections.abc import Iterator

import pytest

from keepwarm.pool import states
from keepwarm.pool.channel import Channel
from keepwarm.pool.clock import NEVER
from keepwarm.pool.dial import Dial, DialRequest
from keepwarm.pool.endpoint import Endpoint, make_endpoint
from keepwarm.pool.endpoint_pool import EndpointPool
from keepwarm.pool.endpoints import Endpoints
from keepwarm.pool.total_limit import PATIENCE, TotalLimit
from keepwarm.pool.waiters import Waiter

A, B, C = (make_endpoint(f"{name}.example") for name in "abc")


class Maker:
    """Channels, dials and waiters that belong to nobody yet."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.places = 0

    def channel(self, home: EndpointPool, state: int = states.IDLE) -> Channel:
        channel = Channel(home.endpoint, self.loop)
        channel.home, channel.state = home, state
        return channel

    def dial(self, home: EndpointPool) -> Dial:
        return Dial(home, DialRequest(home.endpoint, lambda: Channel(home.endpoint, self.loop)), 0.0)

    def wait(self, home: EndpointPool, since: float = 0.0) -> Waiter:
        self.places += 1
        waiter = Waiter(self, home, self.loop.create_future(), place=self.places, since=since)
        home.queue.add(waiter)
        return waiter

    def expire_waiter(self, waiter: Waiter, now: float) -> None:
        raise AssertionError("nothing expires here")


@pytest.fixture
def maker() -> Iterator[Maker]:
    made = Maker()
    yield made
    made.loop.close()


def test_every_socket_is_open(maker: Maker) -> None:
    """Law 4: dialling, idle, leased, detached and closing are all open."""
    home = EndpointPool(A)
    assert (home.open, home.is_empty) == (0, True)
    home.dials[maker.dial(home)] = None
    home.idle[maker.channel(home)] = None
    home.leased, home.detached, home.closing = 3, 4, 5
    assert (home.open, home.is_empty) == (14, False)


@pytest.mark.parametrize("what", ["dials", "idle", "leased", "detached", "closing", "queue"])
def test_any_one_thing_keeps_the_books(maker: Maker, what: str) -> None:
    """An endpoint is forgotten when nothing at all is left."""
    home = EndpointPool(A)
    if what == "dials":
        home.dials[maker.dial(home)] = None
    elif what == "idle":
        home.idle[maker.channel(home)] = None
    elif what == "queue":
        maker.wait(home)
    else:
        setattr(home, what, 1)
    assert not home.is_empty


def test_coverage(maker: Maker) -> None:
    """How many callers there are for whom nobody dials."""
    home = EndpointPool(A)
    for _ in range(3):
        maker.wait(home)
    assert home.uncovered == 3
    for expected in (2, 1, 0, -1):
        home.dials[maker.dial(home)] = None
        assert home.uncovered == expected


def test_oldest_idle(maker: Maker) -> None:
    """Those at the bottom of the stack, never more than are asked for."""
    home = EndpointPool(A)
    channels = [maker.channel(home) for _ in range(3)]
    home.idle.update(dict.fromkeys(channels))
    assert [home.oldest_idle(most) for most in (-1, 0, 1, 2, 9)] == [[], [], channels[:1], channels[:2], channels]


def test_counting_leases(maker: Maker) -> None:
    """A lease that its holder never saw is taken back: a new connection stays new, a granted use is granted again."""
    home = EndpointPool(A)
    channel = maker.channel(home)
    channel.uses_left, channel.deadline = 2, 50.0
    home.count_lease(channel, 7.0)
    assert (channel.uses, channel.uses_left, channel.deadline, channel.leased_since) == (1, 1, NEVER, 7.0)
    assert (home.leases, home.handed_new) == (1, 1)
    home.uncount_lease(channel)
    assert (channel.uses, channel.uses_left, home.leases, home.handed_new) == (0, 2, 0, 0)
    home.count_lease(channel, 8.0)
    home.count_lease(channel, 9.0)
    assert (channel.uses, channel.uses_left, home.leases, home.handed_new) == (2, 0, 2, 1)


@pytest.mark.parametrize("name", ["leased", "detached", "closing"])
def test_below_zero(name: str) -> None:
    """Law 9: counters below zero raise, with the numbers."""
    home = EndpointPool(A)
    home.check()
    setattr(home, name, -1)
    with pytest.raises(AssertionError, match=f"http://a.example:80 are wrong.*{name} -1"):
        home.check()


@pytest.mark.parametrize(("state", "name"), [(states.LEASED, "leased"), (states.DETACHED, "detached")])
def test_taking_off(maker: Maker, state: int, name: str) -> None:
    """A channel leaves the count of its own state."""
    home = EndpointPool(A)
    home.leased = home.detached = 2
    home.take_off(maker.channel(home, state))
    assert (home.leased, home.detached) == ((1, 2) if name == "leased" else (2, 1))


@pytest.mark.fault("P49")
def test_an_endpoint_is_forgotten_but_for_its_counters(maker: Maker) -> None:
    """Nothing left, no key; the sums go on from where they were."""
    endpoints = Endpoints()
    home = endpoints.books_of(A)
    assert endpoints.books_of(A) is home
    home.leased = 1
    assert not endpoints.drop_if_empty(home)
    home.leased, home.leases, home.handed_new, home.waits, home.dials_started = 0, 5, 2, 3, 4
    home.history.failures["tls"] = 1
    home.history.ended("idle", 7.0, 3)
    home.history.ended("idle", 9.0, 4)
    assert endpoints.drop_if_empty(home)
    assert endpoints.in_use == {}
    assert not endpoints.drop_if_empty(home)
    again = endpoints.books_of(A)
    again.leases, again.handed_new = 1, 0
    again.history.ended("idle", 1.0, 1)
    again.history.ended("error", 2.0, 1)
    stats = endpoints.stats()
    total, here = stats.total, stats.endpoints[A]
    assert (here.leases, here.reused, here.retired) == (1, 1, {"idle": 1, "error": 1})
    assert (total.leases, total.reused, total.waits, total.dials, total.dial_failures) == (6, 4, 3, 4, 1)
    assert (total.retired, total.failures) == ({"idle": 3, "error": 1}, {"tls": 1})
    assert (total.age.count, total.age.sum, total.uses.count, total.uses.sum) == (4, 19.0, 4, 9.0)


class TestTotalLimit:
    """Who is next when a slot of the total comes free."""

    def homes(self, *endpoints: Endpoint) -> list[EndpointPool]:
        return [EndpointPool(endpoint) for endpoint in endpoints]

    def test_counts(self) -> None:
        """Room below the limit; more slots back than taken is a fault that raises."""
        total = TotalLimit(2)
        room = []
        for _ in range(3):
            room.append(total.has_room)
            total.opened()
        assert room == [True, True, False]
        total.freed()
        total.freed()
        total.freed()
        with pytest.raises(AssertionError, match="more slots of limit_total"):
            total.freed()

    @pytest.mark.fault("P19")
    def test_the_oldest_caller_is_next(self, maker: Maker) -> None:
        """Whichever endpoint joined first, and however many callers it has."""
        total = TotalLimit(1)
        a, b, c = self.homes(A, B, C)
        maker.wait(c)
        for _ in range(5):
            maker.wait(a)
        maker.wait(b)
        for home in (b, a, c):
            total.join(home)
        assert [total.next_hungry() for _ in range(4)] == [c, a, b, None]
        assert total.hungry == 0

    def test_a_place_that_has_changed_is_put_right(self, maker: Maker) -> None:
        """The oldest caller of an endpoint may go while the endpoint stands in the list."""
        total = TotalLimit(1)
        a, b = self.homes(A, B)
        gone = maker.wait(a)
        maker.wait(b)
        maker.wait(a)
        total.join(a)
        total.join(b)
        gone.future.cancel()
        assert [total.next_hungry(), total.next_hungry()] == [b, a]

    @pytest.mark.fault("P19")
    def test_who_has_a_dial_does_not_count(self, maker: Maker) -> None:
        """A dial is under way for A's oldest caller: its next one came after B's."""
        total = TotalLimit(2)
        a, b = self.homes(A, B)
        maker.wait(a)
        maker.wait(b)
        maker.wait(a)
        a.dials[maker.dial(a)] = None
        total.join(a)
        total.join(b)
        assert [total.next_hungry(), total.next_hungry()] == [b, a]

    def test_leaving(self, maker: Maker) -> None:
        """Nobody left to dial for, or a dial under way for everybody: not hungry."""
        total = TotalLimit(1)
        a, b, c = self.homes(A, B, C)
        for home in (a, b, c):
            maker.wait(home)
            total.join(home)
            total.join(home)
        assert total.hungry == 3
        total.leave(a)
        total.leave(a)
        b.dials[maker.dial(b)] = None
        assert total.next_hungry() is c
        assert total.hungry == 0

    def test_the_list_does_not_grow(self, maker: Maker) -> None:
        """Joining and leaving ten thousand times under an endpoint that stays leaves no heap of dead entries."""
        total = TotalLimit(1)
        stuck, busy = self.homes(A, B)
        maker.wait(stuck)
        total.join(stuck)
        maker.wait(busy)
        for _ in range(10_000):
            total.join(busy)
            total.leave(busy)
        assert total.entries < 200
        assert total.next_hungry() is stuck

    @pytest.mark.fault("P19")
    def test_a_slot_is_owed_to_who_has_none(self, maker: Maker) -> None:
        """An endpoint without any connection comes before younger callers; one with a connection waits for it."""
        total = TotalLimit(1)
        a, b = self.homes(A, B)
        assert not total.is_owed_elsewhere(a)
        maker.wait(b)
        total.join(b)
        assert not total.is_owed_elsewhere(a)  # nobody waits here: the idle channel makes room by itself
        maker.wait(a)
        assert total.is_owed_elsewhere(a)
        assert not total.is_owed_elsewhere(b)
        b.leased = 1
        assert not total.is_owed_elsewhere(a)

    @pytest.mark.fault("P19")
    def test_patience_has_an_end(self, maker: Maker) -> None:
        """Callers stuck behind a holder that never ends get a slot once they are a second older than the others."""
        total = TotalLimit(1)
        a, b = self.homes(A, B)
        b.detached = 1
        maker.wait(b, since=10.0)
        total.join(b)
        younger = maker.wait(a, since=10.0 + PATIENCE)
        assert not total.is_owed_elsewhere(a)
        a.queue.remove(younger)
        maker.wait(a, since=10.1 + PATIENCE)
        assert total.is_owed_elsewhere(a)

    def test_idle_channels_make_room_by_age(self, maker: Maker) -> None:
        """The least recently used first, of any endpoint; one for each hungry endpoint, less those that go already."""
        total = TotalLimit(3)
        a, b, c = self.homes(A, B, C)
        channels = [maker.channel(home) for home in (a, b, a)]
        for channel in channels:
            total.shelved(channel)
        total.unshelved(channels[0])
        total.shelved(channels[0])
        assert total.in_the_way() == []
        maker.wait(c)
        total.join(c)
        assert total.in_the_way() == [channels[1]]
        total.closing = 1
        assert total.in_the_way() == []
        maker.wait(b)
        total.join(b)
        assert total.in_the_way() == [channels[1]]
        total.closing = 0
        assert total.in_the_way() == [channels[1], channels[2]]
