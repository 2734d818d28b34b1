"""The queue against a model: with limits by host pattern, time limits, max_waiting, shedding and resizing, whoever is
served is served in order of arrival, and whoever is not is told at once or at its deadline, with numbers that are true.

The real pool runs on a real loop that is turned by hand, with fake channels, dials that end on command and a clock that
stands still between the steps.
"""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from keepwarm.pool import states
from keepwarm.pool.channel import Channel
from keepwarm.pool.clock import NEVER
from keepwarm.pool.endpoint import Endpoint, make_endpoint
from keepwarm.pool.errors import ClientTimeoutError, PoolFullError, PoolShedError, PoolTimeoutError
from keepwarm.pool.holdings import LINGER
from keepwarm.pool.limits import Limits, make_host_limits
from keepwarm.pool.pool import Pool
from keepwarm.pool.shedding import Shedding
from keepwarm.pool.shortage import Shortage
from tests.support.fake_channels import FakeChannel, FakeDials
from tests.support.fakes import FakeClock

STEPS = 50
EXAMPLES = 120
# The clock looks at deadlines this late at most.
RESOLUTION = 0.006

ENDPOINTS = [make_endpoint(host) for host in ("x.one.example", "y.one.example", "two.example")]
PATTERNS: list[dict[str, int | None] | None] = [
    None,
    {"*.one.example": 1},
    {"*.one.example": 2, "y.one.example": None, "two.example": 1},
    {"x.one.example": 3, "*.example": 1},
]

endpoints = st.sampled_from([ENDPOINTS[0], *ENDPOINTS])
turns = st.sampled_from([0, 1, 1, 2, 4])
which = st.integers(min_value=0, max_value=7)
seconds = st.sampled_from([None, None, 0.05, 0.3, 1.0])


class Caller:
    """One who asked: when, for how long at most, and what came of it."""

    def __init__(self, machine: "QueueMachine", endpoint: Endpoint, wait: float, answer: float) -> None:
        self.endpoint = endpoint
        self.number = len(machine.callers)
        self.arrived = machine.clock.now()
        self.wait = wait
        self.answer = answer
        self.is_served = False
        self.task = machine.loop.create_task(self._run(machine))

    @property
    def is_waiting(self) -> bool:
        return not (self.is_served or self.task.done() or self.task.cancelling())

    async def _run(self, machine: "QueueMachine") -> Channel:
        now = self.arrived
        channel = await machine.pool.acquire(self.endpoint, deadline=now + self.wait, answer_by=now + self.answer)
        older = [other for other in machine.callers[: self.number] if other.endpoint == self.endpoint]
        assert not any(other.is_waiting for other in older), "a newcomer overtook a waiter"
        self.is_served = True
        return channel


class QueueMachine(RuleBasedStateMachine):
    """Callers who come, give up and run out of time; holders who let go; limits that change."""

    @initialize(
        limit=st.sampled_from([None, 1, 1, 2]),
        total=st.sampled_from([None, None, 2, 3]),
        max_waiting=st.sampled_from([None, None, 2]),
        pool_timeout=st.sampled_from([None, 0.5]),
        patterns=st.sampled_from(PATTERNS),
        shed=st.sampled_from([None, Shedding(), Shedding(evidence=1, headroom=0.0), Shedding(5.0, 2, 0.5)]),
    )
    def make(
        self,
        limit: int | None,
        total: int | None,
        max_waiting: int | None,
        pool_timeout: float | None,
        patterns: dict[str, int | None] | None,
        shed: Shedding | None,
    ) -> None:
        self.loop = asyncio.SelectorEventLoop()
        self.problems: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.problems.append(context))
        self.clock = FakeClock()
        self.dials = FakeDials(self.loop)
        self.limits = Limits(limit, total, max_waiting, pool_timeout, make_host_limits(patterns), shed)
        self.pool = Pool(self.loop, self.clock, self.dials, FakeChannel, limits=self.limits)
        self.callers: list[Caller] = []
        self.open: list[Caller] = []
        self.held: list[Channel] = []
        self.was_resized = False

    def turn(self, count: int) -> None:
        for _ in range(count):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()
        for caller in [caller for caller in self.open if caller.task.done()]:
            self.open.remove(caller)
            self.judge(caller)

    def judge(self, caller: Caller) -> None:
        """What became of a caller is one of the things that may, at a time when it may."""
        task, now = caller.task, self.clock.now()
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self.held.append(task.result())
        elif isinstance(error, PoolFullError):
            assert now == caller.arrived, "refused after it was let in"
            self.check_shortage(error.shortage)
            if isinstance(error, PoolShedError):
                self.check_shed(caller, error)
            else:
                assert self.limits.max_waiting is not None
        elif isinstance(error, PoolTimeoutError):
            self.check_shortage(error.shortage)
            limit = min(caller.wait, self.limits.pool_timeout or NEVER)
            assert caller.arrived + limit <= now, "given up before its time"
        elif isinstance(error, ClientTimeoutError):
            assert caller.arrived + caller.wait <= now
        else:
            assert isinstance(error, ConnectionRefusedError), repr(error)

    def check_shed(self, caller: Caller, error: PoolShedError) -> None:
        shed, short = self.limits.shed, error.shortage
        assert shed is not None
        assert short is not None
        assert short.waiting > short.dialling, "refused where nobody waited before"
        first = min(caller.wait, self.limits.pool_timeout or NEVER, caller.answer)
        assert first < NEVER, "refused without a deadline"
        assert error.estimated_wait == pytest.approx((short.waiting - short.dialling + 1) / error.pace)
        # What the answer takes besides is at most what all who hold a connection would need.
        assert error.estimated_wait + short.leased / error.pace >= first * (1 - shed.headroom) - 1e-9

    def check_shortage(self, short: Shortage | None) -> None:
        assert short is not None
        assert min(short.leased, short.idle, short.dialling, short.detached, short.closing) >= 0
        assert len(short.holders) == min(3, short.leased) or (not short.leased and short.limit_total is not None)
        ages = [holder.seconds for holder in short.holders]
        assert ages == sorted(ages, reverse=True)
        assert not ages or ages[-1] >= 0
        assert short.waiting >= 0
        assert (short.oldest_wait is None) == (short.waiting == 0)

    # What happens

    @rule(endpoint=endpoints, wait=seconds, answer=seconds, count=turns)
    def ask(self, endpoint: Endpoint, wait: float | None, answer: float | None, count: int) -> None:
        self.callers.append(Caller(self, endpoint, wait or NEVER, answer or NEVER))
        self.open.append(self.callers[-1])
        self.turn(max(count, 1))  # it has arrived by then

    @rule(endpoint=endpoints, wait=seconds, many=st.integers(min_value=2, max_value=6))
    def ask_often(self, endpoint: Endpoint, wait: float | None, many: int) -> None:
        for _ in range(many):
            self.ask(endpoint, wait, None, 1)

    @rule(times=st.integers(min_value=2, max_value=10), every=st.sampled_from([0.01, 0.1]))
    def serve(self, times: int, every: float) -> None:
        """All goes well for a while: that makes a pace."""
        for _ in range(times):
            for dial in self.dials.pending:
                dial.succeed()
            self.pass_time(every, 3)
            if self.held:
                self.let_go(0, False, 2)

    @precondition(lambda self: self.open)
    @rule(number=which, count=turns)
    def cancel(self, number: int, count: int) -> None:
        self.open[number % len(self.open)].task.cancel()
        self.turn(count)

    @precondition(lambda self: self.held)
    @rule(number=which, closes=st.sampled_from([False, False, False, True]), count=turns)
    def let_go(self, number: int, closes: bool, count: int) -> None:
        channel = self.held.pop(number % len(self.held))
        if channel.state == states.LEASED:
            if closes:
                self.pool.close_channel(channel, "error", politely=False)
            else:
                self.pool.release(channel)
        self.turn(count)

    @precondition(lambda self: self.dials.pending)
    @rule(number=which, fails=st.sampled_from([False, False, False, True]), count=turns)
    def end_dial(self, number: int, fails: bool, count: int) -> None:
        pending = self.dials.pending
        dial = pending[number % len(pending)]
        if fails:
            dial.fail(ConnectionRefusedError("refused"))
        else:
            dial.succeed()
        self.turn(count)

    @rule(passed=st.sampled_from([0.01, 0.1, 0.1, 0.6]), count=turns)
    def pass_time(self, passed: float, count: int) -> None:
        self.turn(3)  # whoever is served by now knows it
        self.clock.advance(passed + RESOLUTION)
        self.turn(max(count, 3))

    @rule(limit=st.sampled_from([None, 1, 3]), patterns=st.sampled_from(PATTERNS), count=turns)
    def resize(self, limit: int | None, patterns: dict[str, int | None] | None, count: int) -> None:
        old = self.limits
        self.limits = Limits(limit, old.total, old.max_waiting, old.pool_timeout, make_host_limits(patterns), old.shed)
        self.was_resized = True
        self.pool.resize(self.limits)
        self.turn(count)

    # What always holds

    @invariant()
    def the_books_are_right(self) -> None:
        if not hasattr(self, "pool"):
            return
        stats = self.pool.stats()
        for endpoint, one in stats.endpoints.items():
            limit = self.limits.of(endpoint)
            assert one.open == one.idle + one.leased + one.dialling + one.detached + one.closing
            assert self.was_resized or limit is None or one.open <= limit, "the limit of the pattern was passed"
            assert not (one.idle and one.waiting), "somebody waits beside an idle connection"
        assert self.limits.total is None or stats.total.open <= self.limits.total
        assert not self.problems

    @invariant()
    def nobody_waits_for_longer_than_it_may(self) -> None:
        if not hasattr(self, "pool"):
            return
        for caller in self.open:
            if caller.is_waiting:
                assert self.clock.now() <= caller.arrived + caller.wait + RESOLUTION

    def teardown(self) -> None:
        if not hasattr(self, "pool"):
            return
        self.serve_everybody()
        self.pool.close()
        self.turn(4)
        self.clock.advance(LINGER + RESOLUTION)
        self.turn(4)
        assert self.pool.stats().endpoints == {}
        assert (self.clock.timers, self.clock.entries) == (0, 0)
        assert asyncio.all_tasks(self.loop) == set()
        assert not self.problems
        self.loop.close()

    def serve_everybody(self) -> None:
        """Holders who let go and dials that succeed bring everybody who waits to an end."""
        for _ in range(3 * len(self.callers) + 9):
            self.turn(4)
            if not self.open:
                break
            while self.held:
                self.let_go(0, False, 0)
            for dial in self.dials.pending:
                dial.succeed()
        self.turn(4)
        assert not self.open, "somebody waits for ever"
        while self.held:
            self.let_go(0, False, 1)


@pytest.mark.fault("P02")
@pytest.mark.fault("P03")
def test_the_queue_in_any_order() -> None:
    """Strict order with everything on, and no wait without an end."""
    run_state_machine_as_test(
        QueueMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
