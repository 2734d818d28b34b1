"""Connects that are cancelled, thousands of them: is each descriptor closed, once, and nobody else's?"""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from tests.support.dialing import Canaries
from tests.support.leaks import turns

T = TypeVar("T")
AT_ONCE = 20


def cancel_at(step: int, dial: Callable[[], Coroutine[Any, Any, T]]) -> "asyncio.Task[T]":
    """A task that is cancelled `step` turns of the loop from now."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(dial())

    def tick(left: int) -> None:
        if left:
            loop.call_soon(tick, left - 1)
        else:
            task.cancel()

    loop.call_soon(tick, step)
    return task


def _take_number(canaries: Canaries, _: object) -> None:
    canaries.add()


async def cancel_many(dial: Callable[[], Coroutine[Any, Any, Any]], count: int, steps: int) -> tuple[int, list[int]]:
    """Cancel `count` dials, AT_ONCE at a time, each at another step of the first `steps`.

    Returns how many dials came through before they could be cancelled, and the numbers of the descriptors that were
    closed by somebody else than their owner. A canary takes the number of each descriptor as soon as it is free.
    """
    came_through, lost = 0, []
    turn = itertools.cycle(range(steps))
    for _ in range(0, count, AT_ONCE):
        canaries = Canaries()
        tasks = [cancel_at(next(turn), dial) for _ in range(AT_ONCE)]
        for task in tasks:
            task.add_done_callback(partial(_take_number, canaries))
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, tuple):
                came_through += 1
                outcome[0].abort()
            elif not isinstance(outcome, asyncio.CancelledError):
                raise outcome
        await turns(4)
        lost += canaries.release()
    return came_through, lost
