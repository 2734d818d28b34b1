"""The clock: one timer, deadlines that move, stalls, and what is forgotten."""

import pytest

from keepwarm.pool.clock import FEW, NEVER, RESOLUTION, STALL, Clock
from tests.support.fakes import FakeClock


class Item:
    """Something with a deadline; it notes when the deadline passed."""

    def __init__(self, clock: Clock, again: float | None = None) -> None:
        self.clock = clock
        self.again = again
        self.deadline = NEVER
        self.sweep_at = NEVER
        self.seen: list[float] = []

    def on_deadline(self, now: float) -> None:
        assert self.deadline == NEVER
        self.seen.append(now)
        if self.again is not None:
            self.clock.watch(self, now + self.again)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(0.0)


def watched(clock: FakeClock, *whens: float) -> list[Item]:
    items = [Item(clock) for _ in whens]
    for item, when in zip(items, whens, strict=True):
        clock.watch(item, when)
    return items


def test_a_deadline_passes_once(clock: FakeClock) -> None:
    """Not before its time, at its time, and not again."""
    (item,) = watched(clock, 10.0)
    clock.advance(9.999)
    assert item.seen == []
    clock.advance(0.001)
    assert item.seen == [10.0]
    clock.advance(100)
    assert item.seen == [10.0]
    assert (clock.timers, clock.entries) == (0, 0)


def test_moving_later_leaves_the_heap_alone(clock: FakeClock) -> None:
    """The warm path: a thousand later deadlines are one entry and one timer, and only the last one counts."""
    (item,) = watched(clock, 10.0)
    for step in range(1000):
        clock.watch(item, 10.0 + step)
    assert (clock.entries, clock.timers) == (1, 1)
    clock.advance(1008.9)
    assert item.seen == []
    clock.advance(0.1)
    assert item.seen == [1009.0]


def test_moving_earlier_counts(clock: FakeClock) -> None:
    """An earlier deadline is entered anew; the old entry is dead."""
    (item,) = watched(clock, 100.0)
    clock.watch(item, 1.0)
    assert (clock.entries, clock.timers) == (2, 1)
    clock.advance(1.0)
    assert item.seen == [1.0]
    clock.advance(200)
    assert item.seen == [1.0]
    assert clock.entries == 0


def test_later_and_then_earlier_again(clock: FakeClock) -> None:
    """Between the entry and the deadline there may be any number of moves."""
    (item,) = watched(clock, 5.0)
    clock.watch(item, 50.0)
    clock.watch(item, 20.0)
    clock.advance(19.0)
    assert item.seen == []
    clock.advance(1.0)
    assert item.seen == [20.0]


def test_never_takes_it_off(clock: FakeClock) -> None:
    """NEVER is a deadline that does not pass."""
    (item,) = watched(clock, 5.0)
    clock.watch(item, NEVER)
    clock.advance(100)
    assert item.seen == []
    assert clock.timers == 0


@pytest.mark.fault("R15")
def test_ten_thousand_items_share_one_timer(clock: FakeClock) -> None:
    """One timer in all, whatever the number of idle connections, and each is told at its own time."""
    items = watched(clock, *(30.0 + n / 1000 for n in range(10_000)))
    assert clock.timers == 1
    clock.advance(35.0)
    told = [item for item in items if item.seen]
    assert told == items[: len(told)]
    assert 4990 <= len(told) <= 5001
    assert all(0 <= item.seen[0] - (30.0 + n / 1000) <= RESOLUTION + 1e-9 for n, item in enumerate(told))
    assert clock.timers == 1
    clock.advance(35.0)
    assert all(len(item.seen) == 1 for item in items)
    assert clock.timers == 0


def test_an_item_may_watch_itself_again(clock: FakeClock) -> None:
    """From inside on_deadline: a heartbeat."""
    item = Item(clock, again=10.0)
    clock.watch(item, 10.0)
    clock.advance(35.0)
    assert item.seen == [10.0, 20.0, 30.0]
    assert clock.timers == 1


def test_an_earlier_item_moves_the_timer(clock: FakeClock) -> None:
    """The timer stands at the earliest deadline; a later one does not touch it."""
    late, early = watched(clock, 10.0, 2.0)
    assert clock.timers == 1
    clock.advance(2.0)
    assert (early.seen, late.seen) == ([2.0], [])
    clock.advance(8.0)
    assert late.seen == [10.0]


@pytest.mark.fault("R16")
def test_after_a_stall_the_loop_reads_first(clock: FakeClock) -> None:
    """A loop that was blocked for 30 s gets a chance to read before anything is declared overdue."""
    answered, silent = watched(clock, 10.0, 10.0)
    clock.scheduler.time = 40.0  # the loop was blocked; its timers and sockets are both ready now
    clock.scheduler.run_until(40.0)
    assert (answered.seen, silent.seen) == ([], [])
    clock.watch(answered, 70.0)  # the bytes that were waiting in the kernel move its deadline
    clock.advance(RESOLUTION)
    assert (answered.seen, silent.seen) == ([], [40.0 + RESOLUTION])
    clock.advance(30.0)
    assert answered.seen == [70.0]


@pytest.mark.fault("R16")
def test_a_little_late_is_not_a_stall(clock: FakeClock) -> None:
    """Up to half a second late the sweep is done at once."""
    (item,) = watched(clock, 10.0)
    clock.scheduler.time = 10.0 + STALL
    clock.scheduler.run_until(10.0 + STALL)
    assert item.seen == [10.0 + STALL]


def test_a_fault_of_one_item_leaves_the_others_watched(clock: FakeClock) -> None:
    """An exception out of on_deadline reaches the loop, and the timer is set for the rest."""

    class Broken(Item):
        def on_deadline(self, now: float) -> None:
            raise RuntimeError("broken")

    clock.watch(Broken(clock), 1.0)
    (item,) = watched(clock, 1.0)
    with pytest.raises(RuntimeError, match="broken"):
        clock.advance(1.0)
    clock.advance(RESOLUTION)
    assert len(item.seen) == 1


def test_close_cancels_the_timer(clock: FakeClock) -> None:
    """After close no timer is left and nothing is told."""
    items = watched(clock, 1.0, 2.0)
    clock.close()
    assert (clock.timers, clock.entries) == (0, 0)
    clock.advance(10.0)
    assert [item.seen for item in items] == [[], []]


def test_close_inside_a_sweep(clock: FakeClock) -> None:
    """A pool may end while the clock tells it of a deadline."""

    class Last(Item):
        def on_deadline(self, now: float) -> None:
            self.clock.close()

    clock.watch(Last(clock), 1.0)
    (other,) = watched(clock, 1.0)
    clock.advance(5.0)
    assert (clock.timers, other.seen) == (0, [])


def test_what_is_forgotten_goes(clock: FakeClock) -> None:
    """A deadline that is far away does not keep what is over: at most half of the heap is dead, and few more."""
    stays, *goes = watched(clock, *([300.0] * 10_001))
    for item in goes:
        clock.forget(item)
        assert clock.entries <= 10_001
    assert clock.entries <= 2 + FEW
    assert clock.timers == 1
    clock.advance(300.0)
    assert stays.seen == [300.0]
    assert not any(item.seen for item in goes)


def test_forgetting_costs_no_more_the_more_there_are(clock: FakeClock) -> None:
    """The heap is cleaned once in a while, not each time: the entries looked at stay in proportion."""
    looked_at = 0

    class Counted(Item):
        @property
        def sweep_at(self) -> float:
            nonlocal looked_at
            looked_at += 1
            return self.entry

        @sweep_at.setter
        def sweep_at(self, when: float) -> None:
            self.entry = when

    items = [Counted(clock) for _ in range(5000)]
    for item in items:
        clock.watch(item, 300.0)
    looked_at = 0
    for item in items:
        clock.forget(item)
    assert looked_at < 10 * len(items)


def test_with_the_last_item_the_timer_goes(clock: FakeClock) -> None:
    """Nothing to watch, no timer; and the clock is as good as new."""
    first, second = watched(clock, 5.0, 6.0)
    clock.forget(first)
    clock.forget(second)
    assert (clock.timers, clock.entries) == (0, 0)
    (third,) = watched(clock, 7.0)
    clock.advance(7.0)
    assert third.seen == [7.0]
    clock.forget(third)
    assert clock.timers == 0
