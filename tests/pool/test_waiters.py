"""The queue of one endpoint: strict order, two lines, nobody passed over."""

import asyncio
from collections.abc import Iterator

import pytest

from keepwarm.pool.channel import Channel
from keepwarm.pool.clock import NEVER
from keepwarm.pool.endpoint import make_endpoint
from keepwarm.pool.endpoint_pool import EndpointPool
from keepwarm.pool.waiters import Waiter, WaitQueue

ENDPOINT = make_endpoint("a.example")


class Nobody:
    def expire_waiter(self, waiter: Waiter, now: float) -> None:
        self.told = (waiter, now)


@pytest.fixture
def loop_at_rest() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def line(loop_at_rest: asyncio.AbstractEventLoop) -> "Line":
    return Line(loop_at_rest)


class Line:
    """Makes waiters in order of arrival."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.queue = WaitQueue()
        self.home = EndpointPool(ENDPOINT)
        self.count = 0

    def waiter(self, *, fresh: bool = False) -> Waiter:
        self.count += 1
        made = Waiter(Nobody(), self.home, self.loop.create_future(), place=self.count, since=1.0, fresh=fresh)
        self.queue.add(made)
        return made

    def waiters(self, kinds: str) -> list[Waiter]:
        """ "of": an ordinary one, then a fresh one."""
        return [self.waiter(fresh=kind == "f") for kind in kinds]

    def taken(self, *, for_used: bool = False) -> list[Waiter]:
        found = []
        while (waiter := self.queue.take(for_used=for_used)) is not None:
            found.append(waiter)
        return found


@pytest.mark.parametrize("kinds", ["oooo", "ffff", "ofof", "foof", "ooff", "ffoo"])
def test_order_of_arrival(line: Line, kinds: str) -> None:
    """The two lines together are served as if they were one."""
    waiters = line.waiters(kinds)
    assert len(line.queue) == 4
    assert line.taken() == waiters
    assert len(line.queue) == 0


def test_a_used_connection_finds_who_can_take_it(line: Line) -> None:
    """Those who insist on a new one keep their places meanwhile."""
    first, second, third, fourth = line.waiters("fofo")
    assert line.queue.oldest() is first
    assert line.queue.oldest(for_used=True) is second
    assert line.taken(for_used=True) == [second, fourth]
    assert line.taken() == [first, third]


def test_who_has_gone_is_passed_over(line: Line) -> None:
    """A cancelled future is nobody."""
    waiters = line.waiters("ofof")
    waiters[0].future.cancel()
    waiters[1].future.cancel()
    assert not waiters[0].is_live
    assert line.taken() == waiters[2:]


def test_leaving_from_the_middle(line: Line) -> None:
    """remove() says whether there was somebody."""
    waiters = line.waiters("ofof")
    assert waiters[2] in line.queue
    assert line.queue.remove(waiters[2])
    assert not line.queue.remove(waiters[2])
    assert waiters[2] not in line.queue
    assert line.taken() == [waiters[0], waiters[1], waiters[3]]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("kinds", ["ooooo", "fffff", "fofof"])
def test_coming_back(line: Line, order: tuple[int, ...], kinds: str) -> None:
    """Those who were in front already come back to their own places, in whatever order they come."""
    waiters = line.waiters(kinds)
    for _ in range(3):
        line.queue.take(for_used=False)
    again = {place: waiters[place].again(line.home, line.loop.create_future()) for place in order}
    for place in order:
        line.queue.add_back(again[place])
    assert line.taken() == [again[0], again[1], again[2], *waiters[3:]]


@pytest.mark.parametrize("kinds", ["ooooo", "fffff", "fofof", "oofff"])
def test_who_comes_after_so_many(line: Line, kinds: str) -> None:
    """Those who have gone are not counted."""
    waiters = line.waiters(kinds)
    assert [line.queue.after(count) for count in range(6)] == [*waiters, None]
    waiters[1].future.cancel()
    assert [line.queue.after(count) for count in range(5)] == [waiters[0], *waiters[2:], None]


def test_settled_once(line: Line) -> None:
    """A waiter has one end; a second one is a fault that shows."""
    channel = Channel(ENDPOINT, line.loop)
    given, failed = line.waiters("oo")
    given.settle(channel)
    assert given.channel is channel
    with pytest.raises(asyncio.InvalidStateError):
        given.fail(RuntimeError())
    failed.fail(ValueError("why"))
    with pytest.raises(asyncio.InvalidStateError):
        failed.settle(channel)
    assert str(failed.future.exception()) == "why"


def test_the_second_wait_is_the_first_one_continued(line: Line) -> None:
    """Place, time and limits stay; the future is new."""
    waiter = Waiter(
        Nobody(),
        line.home,
        line.loop.create_future(),
        place=7,
        since=3.0,
        pool_deadline=4.0,
        call_deadline=5.0,
        fresh=True,
    )
    again = waiter.again(line.home, line.loop.create_future())
    assert (again.place, again.since, again.pool_deadline, again.call_deadline, again.fresh) == (7, 3.0, 4.0, 5.0, True)
    assert again.future is not waiter.future
    assert (again.deadline, again.sweep_at) == (NEVER, NEVER)


def test_the_clock_speaks_to_the_owner(line: Line) -> None:
    owner = Nobody()
    waiter = Waiter(owner, line.home, line.loop.create_future(), place=1, since=0.0)
    waiter.on_deadline(12.0)
    assert owner.told == (waiter, 12.0)
