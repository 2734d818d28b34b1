"""More calls than an endpoint can serve, in time that is moved by hand."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from keepwarm.pool.channel import Channel
from keepwarm.pool.errors import PoolFullError
from tests.support.fake_channels import A, Rig
from tests.support.leaks import turns

STEP = 0.001


@dataclass(eq=False)
class Call:
    """One call: when it came, what became of it, and when; times are of the rig's clock."""

    number: int
    arrived: float
    answer_by: float
    task: "asyncio.Task[Channel]"
    service: float
    began: float | None = None
    ended: float | None = None
    error: BaseException | None = None

    @property
    def outcome(self) -> str:
        if self.error is not None:
            return type(self.error).__name__
        if self.ended is None:
            return "open"
        return "answered" if self.ended <= self.answer_by else "late"


@dataclass
class Overload:
    """Calls arrive at `rig`, each with `patience` seconds for everything; each keeps a connection for `service()`
    seconds, or until its time is over: then the connection is closed, as a call does whose answer is outstanding."""

    rig: Rig
    service: Callable[[], float]
    patience: float
    calls: list[Call] = field(default_factory=list)
    served: list[Call] = field(default_factory=list)
    _waiting: list[Call] = field(default_factory=list)
    _in_service: list[Call] = field(default_factory=list)

    def arrive(self) -> None:
        now = self.rig.clock.now()
        answer_by = now + self.patience
        task = self.rig.ask(A, deadline=answer_by, answer_by=answer_by)
        call = Call(len(self.calls), now, answer_by, task, self.service())
        self.calls.append(call)
        self._waiting.append(call)

    async def step(self, arrivals: int) -> None:
        """A thousandth of a second with so many arrivals."""
        self.rig.clock.advance(STEP)
        now = self.rig.clock.now()
        for call in [call for call in self._in_service if self._is_over(call, now)]:
            self._in_service.remove(call)
            call.ended = now
            if now > call.answer_by:
                self.rig.pool.close_channel(call.task.result(), "error", politely=False)
            else:
                self.rig.pool.release(call.task.result())
        for _ in range(arrivals):
            self.arrive()
        await turns(2)
        self._look(now)

    @staticmethod
    def _is_over(call: Call, now: float) -> bool:
        return call.began is not None and (now >= call.began + call.service - STEP / 2 or now > call.answer_by)

    def _look(self, now: float) -> None:
        for call in [call for call in self._waiting if call.task.done()]:
            self._waiting.remove(call)
            call.error = call.task.exception()
            if call.error is None:
                call.began = now
                self.served.append(call)
                self._in_service.append(call)
            else:
                call.ended = now

    async def run(self, seconds: float, per_second: float) -> None:
        """Arrivals at that rate for so long, then none until all calls have ended."""
        due = 0.0
        for _ in range(round(seconds / STEP)):
            due += per_second * STEP
            arrivals, due = int(due + 1e-9), due - int(due + 1e-9)
            await self.step(arrivals)
        while self._waiting or self._in_service:
            await self.step(0)

    @property
    def outcomes(self) -> Counter[str]:
        return Counter(call.outcome for call in self.calls)

    @property
    def refused(self) -> list[Call]:
        return [call for call in self.calls if isinstance(call.error, PoolFullError)]
