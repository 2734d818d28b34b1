"""The cancellation driver: one call, cancelled at every turn of the loop that it lives through.

A step is one turn of the loop. A callback that puts itself back with `call_soon` counts them: both loops run a turn's
callbacks in the order of their arrival, and what is put back while they run belongs to the next turn. The counter
arrives right behind the task's first step, so within each turn it runs before the callbacks that the turn's I/O adds,
and before a task that such a callback has woken. Step k therefore falls in the gap between "the answer is there" and
"the caller knows", which is where leases get lost. Step 0 cancels before the call has run at all.

While the counter is armed the loop never sleeps, so the number of turns that the kernel needs to carry a byte is the
only thing that varies from run to run. Over loopback that is one or two. A sweep over all k meets every await of the
call; which k is which await may differ by a turn, so a check must hold for every k.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from tests.support.leaks import turns

SETTLE_TURNS = 10


class _CancelAt:
    """Cancels a task at step `first`, and once more at the step after if `double`."""

    __slots__ = ("_double", "_first", "_loop", "_step", "_task", "delivered")

    def __init__(self, task: "asyncio.Task[Any]", first: int, double: bool) -> None:
        self._loop = task.get_loop()
        self._task = task
        self._first = first
        self._double = double
        self._step = 0
        self.delivered = False
        self.tick()

    def tick(self) -> None:
        if self._task.done():
            return
        if self._step >= self._first:
            self.delivered = self._task.cancel() or self.delivered
        if self._step < self._first + self._double:
            self._step += 1
            self._loop.call_soon(self.tick)


async def cancel_at_every_step(
    make_call: Callable[[], Coroutine[Any, Any, object]],
    *,
    check: Callable[[int], Awaitable[None]],
    double: bool = False,
    settle: Callable[[], Awaitable[object]] | None = None,
    first: int = 0,
    every: int = 1,
    max_steps: int = 5000,
) -> int:
    """Run `make_call()` again and again, cancelled at step `first`, `first + every`, ... until one run gets through.

    After each run, cancelled or not, `settle()` is awaited (default: a few turns of the loop), then `check(k)`.
    With `double` the call is cancelled a second time one step after the first. Returns the step at which the call
    was through before it could be cancelled. Raises AssertionError if a run swallows its cancellation or if
    `max_steps` do not suffice; what a run itself raises comes out with the step noted on it.
    """
    for k in range(first, max_steps, every):
        try:
            cancelled = await _run_once(make_call, k, double)
            await (turns(SETTLE_TURNS) if settle is None else settle())
            await check(k)
        except Exception as exc:
            exc.add_note(f"cancelled at step {k}{' and again at the next' if double else ''}")
            raise
        if not cancelled:
            return k
    raise AssertionError(f"after {max_steps} steps the call still has not ended by itself")


async def _run_once(make_call: Callable[[], Coroutine[Any, Any, object]], k: int, double: bool) -> bool:
    task = asyncio.get_running_loop().create_task(make_call())
    driver = _CancelAt(task, k, double)
    await asyncio.wait([task])
    if task.cancelled():
        if not driver.delivered:
            raise AssertionError("the call says that it was cancelled, but nobody has cancelled it")
        return True
    task.result()
    if driver.delivered:
        raise AssertionError(f"the call swallowed its cancellation and returned {task.result()!r}")
    return False
