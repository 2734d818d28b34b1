"""``python -m benchmarks.pool_bench [--rounds N] [--strict]``: the pool alone, without sockets, loop turns or HTTP.

A channel has a transport that does nothing; callers who wait are coroutines that are stepped by hand. So a figure is
the pool's own work. The cases take turns, and the medians of the rounds are printed; collection of garbage is off.

The cost of a step must not grow with what is in the pool. But memory that was not touched for a while is slow,
whatever is done with it: a step that meets another endpoint, or another caller, each time finds it outside the
processor's caches. Therefore there are two patterns. *same* comes back to the same endpoint while the others only
exist, *leave* lets callers go in the order in which they came. *next* goes on to another endpoint each time, and
*cancel* takes callers from anywhere in the queue. The promise is the same for all: the cost grows by a fifth at most.
Where memory alone makes it grow further the promise is missed, and the line says so; beside it stands how far the
cost of *bare* grows, which does the same with a dict and nothing else.
"""

import argparse
import asyncio
import contextlib
import gc
import random
import select
import socket
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Self

from benchmarks.arena import turns
from benchmarks.measure import Spread
from benchmarks.pool_numbers import Counted
from keepwarm.pool.channel import Channel
from keepwarm.pool.clock import NEVER, Clock
from keepwarm.pool.dial import DialRequest
from keepwarm.pool.endpoint import Endpoint, make_endpoint
from keepwarm.pool.limits import Limits
from keepwarm.pool.pool import Pool

ROUNDS = 21
STEPS = 8192  # in a round; every endpoint has had its turn by then
ENDPOINTS = (1, 64, 4096)
WAITERS = (10, 100_000)
ALIKE = 1.2


class Silent(asyncio.Transport):
    """A transport that does nothing."""

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


async def connect(request: DialRequest, /) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
    transport, channel = Silent(), request.channel_factory()
    channel.connection_made(transport)
    return transport, channel


@dataclass(frozen=True, slots=True)
class Case:
    """`run` takes STEPS steps of the kind and returns the CPU seconds that they took."""

    name: str
    title: str
    run: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Limit:
    """`case` takes at most `most` microseconds."""

    case: str
    most: float

    def verdict(self, figures: dict[str, Spread]) -> tuple[bool, str]:
        """Whether it is kept, and a line that says so."""
        value = figures[self.case].median
        return value <= self.most, f"{self.case}: {value:.2f} µs, limit {self.most:g} µs"


@dataclass(frozen=True, slots=True)
class Growth:
    """From the case `small` to the case `big` the cost grows at most `most` times. `bare` are two cases to tell beside
    it, what memory alone does; the verdict does not depend on them."""

    small: str
    big: str
    most: float = ALIKE
    bare: tuple[str, str] | None = None

    def verdict(self, figures: dict[str, Spread]) -> tuple[bool, str]:
        """Whether it is kept, and a line that says so."""
        value = figures[self.big].median / figures[self.small].median
        text = f"{self.big}: x {value:.2f} of {self.small}, limit x {self.most:g}"
        if self.bare is not None:
            small, big = self.bare
            text += f"; {big} is x {figures[big].median / figures[small].median:.2f} of {small}"
        return value <= self.most, text


LIMITS = (
    Limit("same-1", 2.0),
    Growth("same-1", "same-64"),
    Growth("same-1", "same-4096"),
    Growth("next-1", "next-4096", bare=("bare-1", "bare-4096")),
    Growth("wait-10", "wait-100000"),
    Growth("leave-10", "leave-100000"),
    Growth("cancel-10", "cancel-100000", bare=("bare-cancel-10", "bare-cancel-100000")),
    Limit("stale", 2.0),
    Limit("stats-1000", 5000.0),
)


class Filled:
    """A pool with one idle channel at each of so many endpoints."""

    def __init__(self, loop: asyncio.AbstractEventLoop, endpoints: int) -> None:
        self.pool = Pool(loop, Clock(loop), connect, limits=Limits(per_endpoint=1))
        self.endpoints = [make_endpoint(f"host-{number}.example", 8000 + number % 1000) for number in range(endpoints)]
        loop.run_until_complete(self._fill())
        # Neighbours in time are no neighbours in memory.
        order = list(self.endpoints)
        random.Random(endpoints).shuffle(order)
        self.path = (order * (STEPS // len(order) + 1))[:STEPS]

    async def _fill(self) -> None:
        for endpoint in self.endpoints:
            self.pool.release(await self.pool.acquire(endpoint))

    def walk(self, path: list[Endpoint]) -> float:
        """Lease and release, once for each endpoint of the path."""
        try_lease, release = self.pool.try_lease, self.pool.release
        began = time.process_time()
        for endpoint in path:
            channel = try_lease(endpoint)
            if channel is None:
                raise RuntimeError(f"{endpoint} has no idle channel")
            release(channel)
        return time.process_time() - began

    def same(self) -> float:
        return self.walk(self.endpoints[:1] * STEPS)

    def next(self) -> float:
        return self.walk(self.path)

    def bare(self) -> Callable[[], float]:
        """What any pool has to do: find a thing by its endpoint, and look into it."""
        things = {endpoint: [object()] for endpoint in self.endpoints}

        def run() -> float:
            find, path = things.get, self.path
            began = time.process_time()
            for endpoint in path:
                thing = find(endpoint)
                if thing is None:
                    raise RuntimeError("lost")
                thing.append(thing.pop())
            return time.process_time() - began

        return run


class Queued:
    """A pool of one channel, which is leased, and so many callers who wait for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, waiters: int) -> None:
        self.pool = Pool(loop, Clock(loop), connect, limits=Limits(per_endpoint=1))
        self.endpoint = make_endpoint("host.example")
        self.channel = loop.run_until_complete(self.pool.acquire(self.endpoint))
        self.callers = {number: self.arrive() for number in range(waiters)}
        self.number = waiters
        self.oldest = 0
        self.random = random.Random(waiters)

    def arrive(self) -> Coroutine[Any, Any, Channel]:
        caller = self.pool.acquire(self.endpoint)
        caller.send(None)
        return caller

    def wait(self) -> float:
        """One arrives, and the oldest is served."""
        callers, release, channel = self.callers, self.pool.release, self.channel
        began = time.process_time()
        for _ in range(STEPS):
            callers[self.number] = self.arrive()
            self.number += 1
            release(channel)
            try:
                callers.pop(self.oldest).send(None)
            except StopIteration as served:
                if served.value is not channel:
                    raise RuntimeError("the wrong channel") from None
            self.oldest += 1
        return time.process_time() - began

    def leave(self) -> float:
        """One arrives, and the oldest leaves."""
        numbers = range(self.oldest, self.oldest + STEPS)
        self.oldest += STEPS
        began = time.process_time()
        for number in numbers:
            self.callers[self.number] = self.arrive()
            self.number += 1
            throw(self.callers.pop(number))
        return time.process_time() - began

    def cancel(self) -> float:
        """One arrives, and one somewhere in the queue leaves."""
        callers = self.callers
        leaving = [self.random.randrange(self.number) for _ in range(STEPS)]
        began = time.process_time()
        for number in leaving:
            caller = callers[number]
            callers[number] = self.arrive()  # at the end of the pool's queue, whatever its number here
            throw(caller)
        return time.process_time() - began

    def close(self) -> None:
        for caller in self.callers.values():
            caller.close()


def throw(caller: Coroutine[Any, Any, Any]) -> None:
    """Cancel a caller who waits."""
    try:
        caller.throw(asyncio.CancelledError())
    except asyncio.CancelledError:
        return
    raise RuntimeError("the cancellation was swallowed")


class BareQueue:
    """So many coroutines, each with a future and a place in an ordered dict: what any queue has to touch."""

    def __init__(self, loop: asyncio.AbstractEventLoop, waiters: int) -> None:
        self.loop = loop
        self.queue: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self.callers = [self.arrive() for _ in range(waiters)]
        self.random = random.Random(waiters)

    def arrive(self) -> Coroutine[Any, Any, None]:
        caller = self.wait()
        caller.send(None)
        return caller

    async def wait(self) -> None:
        future = self.loop.create_future()
        self.queue[future] = None
        try:
            await future
        except BaseException:
            del self.queue[future]
            raise

    def cancel(self) -> float:
        callers = self.callers
        leaving = [self.random.randrange(len(callers)) for _ in range(STEPS)]
        began = time.process_time()
        for number in leaving:
            caller = callers[number]
            callers[number] = self.arrive()
            throw(caller)
        return time.process_time() - began

    def close(self) -> None:
        for caller in self.callers:
            caller.close()


class Checked:
    """A channel on a real socket, asked whether it may be leased."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.sockets = socket.socketpair()
        self.channel = Channel(make_endpoint("host.example"), loop)
        self.channel.deadline = NEVER
        poll = select.poll()
        poll.register(self.sockets[0].fileno(), select.POLLIN)
        self.channel.has_unread = poll.poll

    def stale(self) -> float:
        stale, now = self.channel.stale, time.monotonic()
        began = time.process_time()
        for _ in range(STEPS):
            if stale(now) is not None:
                raise RuntimeError("a quiet channel is not stale")
        return time.process_time() - began

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for end in self.sockets:
            end.close()


def endpoint_cases(loop: asyncio.AbstractEventLoop) -> Iterator[Case]:
    for count in ENDPOINTS:
        filled = Filled(loop, count)
        many = f"of {count} endpoints" if count > 1 else "1 endpoint"
        yield Case(f"same-{count}", f"lease and release, the same {many}", filled.same)
        yield Case(f"next-{count}", f"lease and release, the next {many}", filled.next)
        yield Case(f"bare-{count}", f"a dict instead of a pool, the next {many}", filled.bare())


def queue_cases(loop: asyncio.AbstractEventLoop, closing: contextlib.ExitStack) -> Iterator[Case]:
    for depth in WAITERS:
        served, left, cancelled = (Queued(loop, depth) for _ in range(3))
        bare = BareQueue(loop, depth)
        for queue in (served, left, cancelled, bare):
            closing.callback(queue.close)
        yield Case(f"wait-{depth}", f"arrive, hand over, go; {depth} wait", served.wait)
        yield Case(f"leave-{depth}", f"arrive, and the oldest is cancelled; {depth} wait", left.leave)
        yield Case(f"cancel-{depth}", f"arrive, and any other is cancelled; {depth} wait", cancelled.cancel)
        yield Case(f"bare-cancel-{depth}", f"an ordered dict instead of a pool; {depth} wait", bare.cancel)


def measure(rounds: int) -> tuple[dict[str, str], dict[str, Spread]]:
    """Titles, and microseconds for one step, by case."""
    loop = asyncio.new_event_loop()
    with contextlib.ExitStack() as closing:
        closing.callback(loop.close)
        checked = closing.enter_context(Checked(loop))
        counted = Counted(loop, 1000, connect)
        cases = [
            *endpoint_cases(loop),
            *queue_cases(loop, closing),
            Case("stale", "the check of an idle channel, poll(2) included", checked.stale),
            Case("stats-1000", "stats() over 1,000 endpoints", lambda: counted.stats() * STEPS),
        ]
        gc.collect()
        gc.disable()
        closing.callback(gc.enable)
        by_name = {case.name: case for case in cases}
        for case in cases:
            case.run()
        taken: dict[str, list[float]] = {name: [] for name in by_name}
        for name in turns(list(by_name), rounds):
            taken[name].append(by_name[name].run() / STEPS * 1e6)
    return {case.name: case.title for case in cases}, {name: Spread.of(values) for name, values in taken.items()}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pool_bench", description="The pool alone, in µs a step."
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds of each case (default {ROUNDS})")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a limit is missed")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    titles, figures = measure(options.rounds)
    print(f"{'case':<18} {'median':>7} {'low':>7} {'high':>7}   CPU µs for one step")
    for name, spread in figures.items():
        print(f"{name:<18} {spread.median:7.2f} {spread.low:7.2f} {spread.high:7.2f}   {titles[name]}")
    print()
    verdicts = [limit.verdict(figures) for limit in LIMITS]
    for met, line in verdicts:
        print(f"{'met   ' if met else 'MISSED'}  {line}")
    return 1 if options.strict and not all(met for met, _ in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
