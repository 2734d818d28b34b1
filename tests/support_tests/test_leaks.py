"""The leak helpers see what they are for, and nothing else."""

import asyncio
import gc
import os
import weakref

import pytest

from tests.support.leaks import Baseline, TimerWatch, no_cycles, open_fds, open_tasks

pytestmark = pytest.mark.asyncio


class Knot:
    """An object that refers to itself."""

    def __init__(self) -> None:
        self.me = self


def test_a_descriptor_is_seen_while_it_is_open() -> None:
    before = open_fds()
    read, write = os.pipe()
    assert open_fds().keys() - before.keys() == {read, write}
    os.close(read)
    os.close(write)
    assert open_fds() == before


async def test_tasks_do_not_count_the_one_that_asks(loop: asyncio.AbstractEventLoop) -> None:
    assert open_tasks(loop) == set()
    task = loop.create_task(asyncio.sleep(0))
    assert open_tasks(loop) == {task}
    await task
    assert open_tasks(loop) == set()


async def test_a_timer_counts_until_it_fires_or_is_cancelled(
    loop: asyncio.AbstractEventLoop, baseline: Baseline
) -> None:
    fired = asyncio.Event()
    loop.call_later(0, fired.set)
    loop.call_at(loop.time() + 50, print).cancel()
    late = loop.call_later(50, print)
    assert sorted(baseline.timers.live()) == ["Event.set", "print"]
    await fired.wait()
    assert baseline.timers.live() == ["print"]
    late.cancel()
    assert baseline.timers.live() == []


def test_the_watch_gives_the_loop_its_methods_back() -> None:
    loop = asyncio.new_event_loop()
    own = loop.call_later
    watch = TimerWatch(loop)
    assert loop.call_later != own
    watch.close()
    assert loop.call_later == own
    loop.close()


async def test_a_cancelled_timer_does_not_keep_its_owner(loop: asyncio.AbstractEventLoop, baseline: Baseline) -> None:
    owner = Knot()
    loop.call_later(50, owner.__init__).cancel()  # type: ignore[misc]
    reference = weakref.ref(owner)
    del owner
    gc.collect()
    assert reference() is None


async def test_a_snapshot_names_what_is_new(loop: asyncio.AbstractEventLoop, baseline: Baseline) -> None:
    timer = loop.call_later(50, print)
    snapshot = baseline.snapshot()
    assert await snapshot.settled() == []
    task = loop.create_task(asyncio.Event().wait())
    other = loop.call_later(50, print)
    copy = os.dup(1)
    leaks = await snapshot.settled()
    assert [leak.split()[0] for leak in leaks] == ["descriptor", "task", "timer"]
    os.close(copy)
    task.cancel()
    other.cancel()
    assert await snapshot.settled() == []
    timer.cancel()


def test_a_cycle_is_found_by_the_module_of_its_class() -> None:
    with pytest.raises(AssertionError, match="Knot"), no_cycles():
        Knot()
    with pytest.raises(AssertionError, match="Knot"), no_cycles(__name__):
        Knot()
    with no_cycles("keepwarm"):
        Knot()
    with no_cycles():
        kept = Knot()
    assert kept.me is kept
    assert gc.isenabled()
    assert gc.garbage == []
