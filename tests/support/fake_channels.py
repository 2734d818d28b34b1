"""A pool without sockets: channels on fake transports, dials that end as a test says, a clock moved by hand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from keepwarm.pool.channel import Channel
from keepwarm.pool.clock import NEVER
from keepwarm.pool.dial import Connect, DialRequest
from keepwarm.pool.endpoint import Endpoint, make_endpoint
from keepwarm.pool.holdings import LINGER
from keepwarm.pool.keepalive import Keepalive
from keepwarm.pool.lifetime import Lifetime
from keepwarm.pool.limits import Limits, make_host_limits
from keepwarm.pool.min_idle import MinIdle
from keepwarm.pool.pool import Pool
from keepwarm.pool.shedding import Shedding
from keepwarm.pool.stats import EndpointStats
from tests.support.fakes import FakeClock, FakeTransport
from tests.support.leaks import turns

A = make_endpoint("a.example")
B = make_endpoint("b.example")
C = make_endpoint("c.example")


class FakeChannel(Channel):
    """A Channel with a FakeTransport. `kernel` is what the loop has not read yet: "", "bytes" or "fin"."""

    def __init__(self, endpoint: Endpoint, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(endpoint, loop)
        self.kernel = ""
        self.was_told = False
        self.lost = asyncio.Event()
        self.wire = FakeTransport(self, call_soon=loop.call_soon)

    def open(self) -> None:
        """Connect the transport."""
        self.wire.connect()
        self.has_unread = lambda _: bool(self.kernel)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self.lost.set()

    def _what_is_unread(self) -> str:
        return {"bytes": "stray_bytes", "fin": "peer_fin"}[self.kernel]

    def pool_closed(self) -> None:
        self.was_told = True


class FakeDial:
    """One call of `connect`, which ends when the test says so."""

    def __init__(self, request: DialRequest, loop: asyncio.AbstractEventLoop) -> None:
        self.request = request
        self.endpoint = request.endpoint
        self.outcome: asyncio.Future[FakeChannel] = loop.create_future()
        self.was_cancelled = False

    @property
    def is_pending(self) -> bool:
        return not self.outcome.done()

    def succeed(self) -> FakeChannel:
        """Connect. The pool hears of it in the next turn of the loop."""
        channel = self.request.channel_factory()
        if not isinstance(channel, FakeChannel):
            raise TypeError(f"the pool under test makes {channel!r}")
        channel.open()
        self.outcome.set_result(channel)
        return channel

    def fail(self, error: Exception) -> None:
        self.outcome.set_exception(error)


class FakeDials:
    """A `connect`. With `at_once` every dial succeeds in its first turn; otherwise each hangs until it is told."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, at_once: bool = False) -> None:
        self._loop = loop
        self.at_once = at_once
        self.made: list[FakeDial] = []
        # What a dial still awaits after it was cancelled, if anything: a slow clean-up.
        self.clean_up: asyncio.Future[None] | None = None

    @property
    def pending(self) -> list[FakeDial]:
        return [dial for dial in self.made if dial.is_pending]

    async def __call__(self, request: DialRequest, /) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        dial = FakeDial(request, self._loop)
        self.made.append(dial)
        if self.at_once:
            dial.succeed()
        try:
            channel = await dial.outcome
        except asyncio.CancelledError:
            dial.was_cancelled = True
            if dial.outcome.done() and not dial.outcome.cancelled() and dial.outcome.exception() is None:
                dial.outcome.result().wire.abort()  # connected in the very turn of the cancellation
            if self.clean_up is not None:
                await self.clean_up
            raise
        return channel.wire, channel


class Rig:
    """A pool, its clock and its dials."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        limit: int | None = None,
        total: int | None = None,
        max_waiting: int | None = None,
        pool_timeout: float | None = None,
        keepalive: Keepalive | None = None,
        lifetime: Lifetime | None = None,
        min_idle: MinIdle | None = None,
        conn_timeout: float | None = None,
        at_once: bool = True,
        connect: Connect | None = None,
        per_host: dict[str, int | None] | None = None,
        shed: Shedding | None = None,
    ) -> None:
        self.loop = loop
        self.clock = FakeClock()
        self.dials = FakeDials(loop, at_once=at_once)
        self.asked: list[asyncio.Task[Channel]] = []
        self.pool = Pool(
            loop,
            self.clock,
            connect or self.dials,
            FakeChannel,
            limits=Limits(limit, total, max_waiting, pool_timeout, make_host_limits(per_host), shed),
            keepalive=keepalive,
            lifetime=lifetime,
            min_idle=min_idle,
            conn_timeout=conn_timeout,
        )

    async def lease(self, endpoint: Endpoint = A, *, fresh: bool = False) -> FakeChannel:
        """A channel, had in the way of a session: at once if one is idle, else by waiting."""
        channel = None if fresh else self.pool.try_lease(endpoint)
        channel = channel or await self.pool.acquire(endpoint, fresh=fresh)
        if not isinstance(channel, FakeChannel):
            raise TypeError(f"the pool under test makes {channel!r}")
        return channel

    async def shelved(self, count: int, endpoint: Endpoint = A) -> list[FakeChannel]:
        """So many idle channels, each idle for a hundredth of a second longer than the next."""
        channels = [await self.lease(endpoint) for _ in range(count)]
        for channel in channels:
            self.pool.release(channel)
            self.clock.advance(0.01)
        return channels

    def ask(
        self,
        endpoint: Endpoint = A,
        *,
        fresh: bool = False,
        pool_timeout: float | None = None,
        deadline: float = NEVER,
        answer_by: float = NEVER,
    ) -> "asyncio.Task[Channel]":
        """A caller in a task of its own. It has not arrived before the loop turns."""
        task = self.loop.create_task(
            self.pool.acquire(endpoint, fresh=fresh, pool_timeout=pool_timeout, deadline=deadline, answer_by=answer_by)
        )
        self.asked.append(task)
        return task

    async def queue(self, count: int, endpoint: Endpoint = A, *, fresh: bool = False) -> "list[asyncio.Task[Channel]]":
        """So many callers, arrived in order."""
        tasks = [self.ask(endpoint, fresh=fresh) for _ in range(count)]
        await turns(2)
        return tasks

    def of(self, endpoint: Endpoint = A) -> EndpointStats:
        """The numbers of one endpoint; zero if the pool knows nothing of it."""
        return self.pool.stats().endpoints.get(endpoint, EndpointStats())

    @property
    def total(self) -> EndpointStats:
        return self.pool.stats().total


@asynccontextmanager
async def rig(**options: object) -> AsyncIterator[Rig]:
    """A Rig whose pool is closed at the end, and has nothing left then: promise G2."""
    made = Rig(asyncio.get_running_loop(), **options)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        made.pool.close()
        await turns(4)
        made.clock.advance(LINGER)
        await turns(2)
        await made.pool.wait_closed()
        await asyncio.gather(*made.asked, return_exceptions=True)
    left = made.total
    assert (left.open, left.waiting) == (0, 0)
    assert made.pool.stats().endpoints == {}
    assert (made.clock.timers, made.clock.entries) == (0, 0)
    assert made.dials.pending == []
