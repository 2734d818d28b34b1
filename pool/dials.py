"""Dials: when a pool dials, and what becomes of each dial.

A dial belongs to the pool, not to the caller for whom it was started: what it brings goes to the oldest waiter (law 3).
It takes its slot when it starts and keeps it until its task has ended, however it ends (law 4).
"""

import asyncio
from collections.abc import Iterable
from itertools import count
from typing import Protocol

from keepwarm.pool import states
from keepwarm.pool.channel import Channel
from keepwarm.pool.clock import Clock
from keepwarm.pool.dial import ABANDONED, CLOSED, TIMEOUT, Connect, Dial, DialRequest
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.endpoint_pool import EndpointPool, Spare
from keepwarm.pool.errors import ClientConnectionError
from keepwarm.pool.observer import Observer
from keepwarm.pool.total_limit import TotalLimit


class DialOwner(Protocol):
    """What the pool does with the outcome, and who else is told of it."""

    @property
    def observer(self) -> Observer | None: ...

    def make_channel(self, endpoint: Endpoint) -> Channel: ...

    def adopt(self, home: EndpointPool, channel: Channel) -> None: ...

    def slot_freed(self, home: EndpointPool) -> None: ...

    def close_channel(self, channel: Channel, reason: str, *, politely: bool = True) -> None: ...


class Dials:
    """Starts dials for those who wait, as far as the limits go, and gives up those that nobody needs."""

    __slots__ = ("_clock", "_conn_timeout", "_connect", "_loop", "_numbers", "_owner", "_total", "is_paused")

    def __init__(
        self,
        owner: DialOwner,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        connect: Connect,
        *,
        total: TotalLimit | None,
        conn_timeout: float | None,
    ) -> None:
        self._owner = owner
        self._loop = loop
        self._clock = clock
        self._connect = connect
        self._total = total
        self._conn_timeout = conn_timeout
        self._numbers = count(1)
        # While it is, no dial begins and nobody is served.
        self.is_paused = False

    def start_for(self, home: EndpointPool) -> None:
        """Dial for those who wait at `home` without a dial; with a total limit also for those elsewhere."""
        total = self._total
        if self.is_paused:
            return
        if total is not None:
            self._join(total, home)
            self.serve_hungry(total)
        else:
            while home.uncovered > 0 and home.has_room:
                self._start(home)
        if home.idle and not home.has_room:
            # Only callers who insist on a new connection can wait beside idle ones: some of those make room.
            for channel in home.oldest_idle(home.uncovered - home.closing):
                self._owner.close_channel(channel, "room", politely=False)

    def start_all(self, homes: Iterable[EndpointPool]) -> None:
        """Dial for everybody who waits, in their order: there is more room than before."""
        total = self._total
        for home in homes:
            if total is None:
                self.start_for(home)
            else:
                self._join(total, home)
        if total is not None:
            self.serve_hungry(total)

    def start_spare(self, home: EndpointPool, tell: Spare) -> bool:
        """Dial for nobody yet, and tell how it ended; False, with nothing done, where that would take room from those
        who wait or pass a limit."""
        total = self._total
        if self.is_paused or home.uncovered > 0 or not home.has_room:
            return False
        if total is not None and (total.hungry or not total.has_room):
            return False
        home.spares.append(tell)
        self._start(home)
        return True

    def drop_spare(self, home: EndpointPool, tell: Spare) -> None:
        """Whoever wanted this does not any more."""
        if tell in home.spares:
            home.spares.remove(tell)
            self.drop_surplus(home)

    def settle_spares(self, home: EndpointPool) -> None:
        """A dial has ended: those left without one, because a caller was faster, get another if there is room."""
        while home.spares and len(home.dials) - len(home.queue) < len(home.spares):
            tell = home.spares.pop()
            if not self.start_spare(home, tell):
                tell(False, None)

    def bound_by(self, total: TotalLimit | None) -> None:
        """From now on this is the order over all endpoints."""
        self._total = total

    def serve_hungry(self, total: TotalLimit) -> None:
        """Slots of the total go to the longest waiting endpoint that may dial; idle channels make room for it."""
        if self.is_paused:
            return
        while total.has_room and (home := total.next_hungry()) is not None:
            self._start(home)
            self._join(total, home)
        for channel in total.in_the_way():
            self._owner.close_channel(channel, "room", politely=False)

    def drop_surplus(self, home: EndpointPool) -> None:
        """A caller has left: the dial that nobody waits for any more, if there is one, is given up."""
        if home.is_overdialled:
            # The youngest is the one least far along.
            for dial in reversed(home.dials):
                if dial.cut_off is None:
                    self._give_up(dial, ABANDONED)
                    return

    def stop(self, home: EndpointPool) -> None:
        """Give up all dials of an endpoint."""
        spares, home.spares = home.spares, []
        for tell in spares:
            tell(False, None)
        for dial in list(home.dials):
            self._give_up(dial, CLOSED)

    def _join(self, total: TotalLimit, home: EndpointPool) -> None:
        if home.uncovered > 0 and home.has_room:
            total.join(home)

    def _start(self, home: EndpointPool) -> None:
        endpoint, owner = home.endpoint, self._owner
        now = self._clock.now
        request = DialRequest(endpoint, lambda: owner.make_channel(endpoint), now)
        dial = Dial(home, request, now(), next(self._numbers))
        home.dials[dial] = None
        home.dials_started += 1
        if self._total is not None:
            self._total.opened()
        dial.task = self._loop.create_task(self._run(dial), name=f"keepwarm dial {endpoint}")
        # A task that is cancelled before its first step never runs a line of its own.
        dial.task.add_done_callback(lambda task: self._task_done(dial, task))
        if self._conn_timeout is not None:
            self._clock.watch(dial, dial.started + self._conn_timeout)
        if owner.observer is not None:
            owner.observer.dial_started(dial, dial.started)

    async def _run(self, dial: Dial) -> None:
        home = dial.home
        if home.is_overdialled or self.is_paused or self._is_one_too_many(home):
            # Decided again just before dialling (law 3): whoever wanted this has been served meanwhile.
            self._over(dial)
            return
        try:
            transport, protocol = await self._connect(dial.request)
        except Exception as exc:
            self._failed(dial, exc)
            return
        error = _refusal(home.endpoint, transport, protocol)
        if error is not None:
            transport.abort()
            self._failed(dial, error)
        elif isinstance(protocol, Channel):
            protocol.number = dial.number
            protocol.dial_times = times = dial.times(self._clock.now())
            home.history.dialled(times)
            protocol.retiring = protocol.retiring or dial.retiring
            self._end(dial, channel=protocol)
            self._owner.adopt(home, protocol)

    def _is_one_too_many(self, home: EndpointPool) -> bool:
        """Whether a limit has shrunk since the dial took its slot."""
        total = self._total
        return (home.limit is not None and home.open > home.limit) or (total is not None and total.open > total.most)

    def _task_done(self, dial: Dial, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if dial.is_over:
            return
        if dial.cut_off == TIMEOUT and self._conn_timeout is not None:
            self._failed(dial, dial.timeout_error(self._conn_timeout))
        elif dial.cut_off is not None:
            self._over(dial)
        else:
            endpoint = dial.home.endpoint
            text = f"the dial to {endpoint} was cancelled from outside"
            self._failed(dial, error or ClientConnectionError(text, endpoint=endpoint, phase="connect"))

    def _give_up(self, dial: Dial, why: str) -> None:
        """Nobody is to wait for this dial any more. Until its sockets are closed it holds its slot as a goodbye."""
        if dial.cut_off is None:
            home = dial.home
            del home.dials[dial]
            home.closing += 1
            if self._total is not None:
                self._total.closing += 1
            dial.cancel(why)

    def _failed(self, dial: Dial, error: BaseException) -> None:
        """The oldest waiter hears why; the others dial on."""
        home = dial.home
        is_wanted = dial in home.dials
        if is_wanted:
            home.history.failures[getattr(error, "phase", None) or dial.request.phase] += 1
            waiter = home.queue.take(for_used=False)
            if waiter is not None:
                self._clock.forget(waiter)
                waiter.fail(error)
            elif home.spares:
                home.spares.pop(0)(False, error)
        self._over(dial, error if is_wanted else None)

    def _over(self, dial: Dial, error: BaseException | None = None) -> None:
        """A dial ended without a channel: its slot is free."""
        self._end(dial, error=error)
        self._owner.slot_freed(dial.home)

    def _end(self, dial: Dial, *, channel: Channel | None = None, error: BaseException | None = None) -> None:
        home = dial.home
        dial.is_over = True
        self._clock.forget(dial)
        if dial in home.dials:
            del home.dials[dial]
        else:
            home.closing -= 1
            if self._total is not None:
                self._total.closing -= 1
        home.check()
        if self._owner.observer is not None:
            self._owner.observer.dial_ended(dial, self._clock.now(), channel=channel, error=error)


def _refusal(
    endpoint: Endpoint, transport: asyncio.Transport, protocol: asyncio.BaseProtocol
) -> ClientConnectionError | TypeError | None:
    """Why what ``_create_connection`` returned cannot join the pool."""
    if not isinstance(protocol, Channel):
        return TypeError(f"_create_connection must return (transport, req.channel_factory()), got {protocol!r}")
    if protocol.state == states.CLOSED:
        return ClientConnectionError(
            f"{endpoint} closed the connection as soon as it was made ({protocol.retiring}); check that the port "
            f"speaks {'HTTPS' if endpoint.is_ssl else 'HTTP'}",
            endpoint=endpoint,
            phase="connect",
            reused=False,
        )
    if protocol.state != states.CONNECTING or protocol.transport is None or protocol.endpoint != endpoint:
        return TypeError(
            f"_create_connection must return the transport that it has connected to a new req.channel_factory() for "
            f"{endpoint}, got {transport!r} and {protocol!r}"
        )
    return None
