"""What a test leaves behind: descriptors, threads, tasks, timers, unhandled errors, reference cycles."""

import asyncio
import gc
import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

# libuv opens these when it first needs them, and keeps them for the life of the loop: an io_uring for files, and a
# descriptor to give up when accept() finds no free one.
_KEPT_BY_THE_LOOP = ("anon_inode:[io_uring]", "/dev/null")

# The thread in which pycares destroys channels is started with the first of them and stays.
_KEPT_BY_PYCARES = "_run_safe_shutdown_loop"

SETTLE_TURNS = 30
# Only a test that is about to fail pays these: threads and subprocesses need real time to let go.
LATE_TRIES = 10
LATE_PAUSE = 0.01


def open_fds() -> dict[int, str]:
    """Descriptor number -> what it is. The kernel's inode in the text tells a reused number apart."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the descriptor of this very listing
        if target not in _KEPT_BY_THE_LOOP:
            found[int(name)] = target
    return found


def open_tasks(loop: asyncio.AbstractEventLoop) -> set["asyncio.Task[Any]"]:
    """The loop's unfinished tasks, without the one that asks."""
    tasks = asyncio.all_tasks(loop)
    if loop.is_running():
        tasks.discard(asyncio.current_task(loop))
    return tasks


class Cancellable(Protocol):
    def cancelled(self) -> bool: ...


class TimerWatch:
    """Counts the timers that Python code has set on a loop and that have neither fired nor been cancelled.

    uvloop shows nobody its timers, so this stands in for `call_later` and `call_at` on the one loop object.
    """

    __slots__ = ("_live", "_loop", "_nested", "_prune_at", "_serial")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # The name only, never the callback: a cancelled timer must not keep its owner alive.
        self._live: dict[int, tuple[Cancellable, str]] = {}
        self._serial = itertools.count()
        self._nested = False
        self._prune_at = 64
        for name in ("call_later", "call_at"):
            setattr(loop, name, self._watched(getattr(loop, name)))

    def live(self) -> list[str]:
        """The callbacks of all timers that are still to fire."""
        self._live = {key: entry for key, entry in self._live.items() if not entry[0].cancelled()}
        return [name for _, name in self._live.values()]

    def close(self) -> None:
        """Give the loop its own methods back."""
        for name in ("call_later", "call_at"):
            delattr(self._loop, name)

    def _watched(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(when: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
            if self._nested:  # one of the two is built on the other
                return real(when, callback, *args, context=context)
            key = next(self._serial)

            def fire() -> None:
                self._live.pop(key, None)
                callback(*args)

            self._nested = True
            try:
                handle = real(when, fire, context=context)
            finally:
                self._nested = False
            self._live[key] = (handle, getattr(callback, "__qualname__", type(callback).__name__))
            if len(self._live) > self._prune_at:
                self._prune_at = 64 + 2 * len(self.live())
            return handle

        return call


class Snapshot:
    """What is open at one moment; `leaks()` says what has been added since.

    Take and compare it either both times inside a running loop, in one run, or both times outside: uvloop opens two
    sockets for each run.
    """

    __slots__ = ("_fds", "_loop", "_tasks", "_timers", "_watch")

    def __init__(self, loop: asyncio.AbstractEventLoop, watch: TimerWatch) -> None:
        self._loop = loop
        self._watch = watch
        self._fds = set(open_fds().items())
        self._tasks = open_tasks(loop)
        self._timers = Counter(watch.live())

    def leaks(self) -> list[str]:
        """One line for each thing that was not there before. Empty is good."""
        found = [f"descriptor {fd} -> {target}" for fd, target in open_fds().items() if (fd, target) not in self._fds]
        found += [f"task {task!r}" for task in open_tasks(self._loop) - self._tasks]
        found += [f"timer {name}" for name in (Counter(self._watch.live()) - self._timers).elements()]
        return found

    async def settled(self) -> list[str]:
        """`leaks()` after what is closing has had a few turns of the loop."""
        for _ in range(SETTLE_TURNS):
            await asyncio.sleep(0)
            if not self.leaks():
                break
        return self.leaks()


class Baseline:
    """The state of loop and process around one test. Made and settled while the loop does not run.

    `errors` holds what reached the loop's exception handler: a callback that raised, a task whose exception nobody
    read. A test that provokes one on purpose clears the list.
    """

    __slots__ = ("_before", "_loop", "errors", "timers")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.timers = TimerWatch(loop)
        self.errors: list[str] = []
        self._before = Snapshot(loop, self.timers)
        loop.set_exception_handler(self._on_error)

    def snapshot(self) -> Snapshot:
        """What is open now, for a comparison inside the test."""
        return Snapshot(self._loop, self.timers)

    def settle(self) -> list[str]:
        """Give what is closing a few turns of the loop; then what is left of the test, one line each."""
        run = self._loop.run_until_complete
        run(turns(3))
        gc.collect()
        if self._before.leaks():
            run(turns(SETTLE_TURNS))
        for _ in range(LATE_TRIES):
            if not self._before.leaks():
                break
            gc.collect()
            run(asyncio.sleep(LATE_PAUSE))
        return self._before.leaks() + [f"unhandled: {error}" for error in self.errors]

    def close(self) -> None:
        """Take the handler and the timer watch off the loop."""
        self.timers.close()
        self._loop.set_exception_handler(None)

    def _on_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.errors.append(f"{context.get('message')}: {error!r}" if error else str(context.get("message")))
        loop.default_exception_handler(context)
        if error is not None and not isinstance(error, Exception):
            # A test that ran out of time: uvloop catches what the signal handler raises, and would wait on for ever.
            loop.stop()


class ModuleBaseline:
    """Descriptors and threads of the process before a module of tests; loops and their tasks end with each test."""

    __slots__ = ("_fds", "_threads")

    def __init__(self) -> None:
        self._fds = set(open_fds().items())
        self._threads = set(threading.enumerate())

    def leaks(self) -> list[str]:
        """One line for each thing that was not there before. Empty is good."""
        found = [f"descriptor {fd} -> {target}" for fd, target in open_fds().items() if (fd, target) not in self._fds]
        new = [thread for thread in threading.enumerate() if thread not in self._threads]
        return found + [f"thread {thread.name!r}" for thread in new if _KEPT_BY_PYCARES not in thread.name]

    def settled(self) -> list[str]:
        """`leaks()` after what is ending has had a moment."""
        for _ in range(LATE_TRIES):
            if not self.leaks():
                break
            gc.collect()
            time.sleep(LATE_PAUSE)
        return self.leaks()


async def turns(count: int) -> None:
    """Let the loop turn `count` times."""
    for _ in range(count):
        await asyncio.sleep(0)


@contextmanager
def no_cycles(module: str = "") -> Iterator[None]:
    """Fail if the body leaves garbage that only the cycle collector can free.

    With `module`, only objects whose class is defined in that module or below it count. The standard library makes
    cycles of its own when an exception is raised through it.
    """
    gc.collect()
    enabled, flags = gc.isenabled(), gc.get_debug()
    gc.disable()
    gc.garbage.clear()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
        gc.collect()
        found = [
            repr(item) for item in gc.garbage if not module or f"{type(item).__module__}.".startswith(f"{module}.")
        ]
    finally:
        gc.set_debug(flags)
        gc.garbage.clear()
        if enabled:
            gc.enable()
    if found:
        raise AssertionError(f"{len(found)} objects in reference cycles: " + "; ".join(found[:20]))
