"""call_in_loop: for finalizers, which run in whichever thread collects the garbage."""

import asyncio
from collections.abc import Callable
from typing import TypeVarTuple

from keepwarm.pool.origin import running_loop

Ts = TypeVarTuple("Ts")


def call_in_loop(loop: asyncio.AbstractEventLoop, callback: Callable[[*Ts], object], *args: *Ts) -> None:
    """Call in the thread of `loop`, which nothing else may touch: now if that is this one or if `loop` does not run,
    else in its next turn."""
    if loop.is_running() and running_loop() is not loop:
        try:
            loop.call_soon_threadsafe(callback, *args)
            return
        except RuntimeError:
            pass  # the loop was closed just now
    callback(*args)
