"""The pool against a model: whatever happens in whatever order, the books balance and nobody is passed over.

The real pool runs on a real loop that is turned by hand, with fake channels, dials that end on command and a clock
that stands still. The model is what anybody can see from outside: who asked, who holds what, which transports are
open. Every rule may stop between any two turns of the loop, so that the next one falls into the middle of a hand-over.
"""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
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
from keepwarm.pool.callers import LOOK_AGAIN
from keepwarm.pool.channel import Channel
from keepwarm.pool.clock import NEVER
from keepwarm.pool.endpoint_pool import EndpointPool
from keepwarm.pool.errors import ClientError
from keepwarm.pool.holdings import LINGER
from keepwarm.pool.keepalive import Keepalive
from keepwarm.pool.limits import Limits
from keepwarm.pool.pool import Pool
from keepwarm.pool.waiters import Waiter
from tests.support.fake_channels import A, B, C, FakeChannel, FakeDial, FakeDials
from tests.support.fakes import FakeClock

STEPS = 100
EXAMPLES = 280
IDLE_TIMEOUT = 30.0

endpoints = st.sampled_from([A, A, B, C])
turns = st.sampled_from([0, 0, 1, 1, 2, 3, 6])
which = st.integers(min_value=0, max_value=7)


class AuditedPool(Pool):
    """A pool that is asked after each step whether its books are right, and at each hand-over who comes first."""

    is_adopting = False
    # How many sockets there were at the last look: after a limit has shrunk there may be too many, but never more.
    seen: dict[Any, int] = {}  # noqa: RUF012, replaced for each pool
    seen_total = 0

    def adopt(self, home: EndpointPool, channel: Channel) -> None:
        self.is_adopting = True
        super().adopt(home, channel)
        self.is_adopting = False

    def _give(self, home: EndpointPool, channel: Channel, waiter: Waiter) -> None:
        older = [other for other in waiting(home) if other.place < waiter.place]
        insisting = [other for other in older if other.fresh]
        assert len(older) == len(insisting), "somebody who came first was passed over"
        if self.is_adopting:
            assert not insisting, "a new connection passed by who insists on one"
        else:
            assert len(insisting) <= len(home.dials) + home.closing, "nothing made room for who insists on a new one"
        assert waiter.is_live, "settled twice"
        super()._give(home, channel, waiter)

    def try_lease(self, endpoint: Any) -> Channel | None:
        home = self._endpoints.in_use.get(endpoint)
        before = [] if home is None else [waiter for waiter in waiting(home) if not waiter.fresh]
        channel = super().try_lease(endpoint)
        assert channel is None or not before, "a newcomer overtook a waiter"
        return channel

    def audit(self) -> None:
        homes = list(self._endpoints.in_use.values())
        by_state: dict[tuple[EndpointPool, int], int] = {}
        for channel in self.channels:
            assert channel.home is not None
            by_state[channel.home, channel.state] = by_state.get((channel.home, channel.state), 0) + 1
        for home in homes:
            counts = [by_state.pop((home, state), 0) for state in (states.IDLE, states.LEASED, states.DETACHED)]
            assert counts == [len(home.idle), home.leased, home.detached]
            assert by_state.pop((home, states.CLOSING), 0) <= home.closing  # the rest are dials that were given up
            assert home.open == len(home.dials) + sum(counts) + home.closing
            self._audit_waiting(home)
        assert not by_state, "a channel without an endpoint, or in a state that it cannot have in the pool"
        total = self._total
        if total is not None:
            assert total.open == sum(home.open for home in homes) <= max(total.most, self.seen_total)
            assert total.closing == sum(home.closing for home in homes)
            assert total.hungry == sum(home.hunger > 0 for home in homes)
        else:
            assert not any(home.hunger for home in homes)
        self.seen = {home.endpoint: home.open for home in homes}
        self.seen_total = sum(self.seen.values())

    def has_empty_books(self) -> bool:
        return any(home.is_empty for home in self._endpoints.in_use.values())

    @property
    def homes(self) -> list[EndpointPool]:
        return list(self._endpoints.in_use.values())

    def in_line(self, home: EndpointPool) -> list[Waiter]:
        """Those who wait for any connection, in their order."""
        return [waiter for waiter in home.queue.ordinary if waiter.is_live]

    def _audit_waiting(self, home: EndpointPool) -> None:
        limit, total = home.limit, self._total
        assert limit is None or home.open <= max(limit, self.seen.get(home.endpoint, 0))
        assert len(home.spares) <= len(home.dials), "a wish without a dial"
        live = sorted(waiting(home), key=lambda waiter: waiter.place)
        for waiter in live[0 if self.suspended else len(home.dials) :]:
            limit_of_time = max(min(waiter.pool_deadline, waiter.call_deadline), waiter.since)
            assert waiter.deadline <= max(limit_of_time, self.clock.now() + LOOK_AGAIN), (
                "no dial for it, and no end of its wait"
            )
        if self.suspended:
            return
        assert not (home.idle and any(not waiter.fresh for waiter in live)), "somebody waits beside an idle channel"
        if len(live) > len(home.dials) and not self.closed:
            has_room = limit is None or home.open < limit
            assert not (has_room and (total is None or total.has_room)), "somebody waits and nobody dials"
            if total is not None and has_room and not total.closing:
                assert not any(other.idle for other in self._endpoints.in_use.values()), "an idle channel is in the way"
            if not has_room and not home.closing:
                assert not home.idle, "one idle channel should make room for who insists on a new one"


def waiting(home: EndpointPool) -> list[Waiter]:
    return [waiter for line in (home.queue.ordinary, home.queue.fresh) for waiter in line if waiter.is_live]


class PoolMachine(RuleBasedStateMachine):
    """Callers, peers and time, in any order; with `controls` also somebody who suspends and resizes."""

    steps = 0
    controls = False

    @initialize(
        limit=st.sampled_from([None, 1, 2, 3]),
        total=st.sampled_from([None, None, 1, 2, 4]),
        max_waiting=st.sampled_from([None, None, 1, 3]),
        pool_timeout=st.sampled_from([None, 1.0]),
        conn_timeout=st.sampled_from([None, 5.0]),
        force_close=st.sampled_from([False, False, False, True]),
    )
    def make(
        self,
        limit: int | None,
        total: int | None,
        max_waiting: int | None,
        pool_timeout: float | None,
        conn_timeout: float | None,
        force_close: bool,
    ) -> None:
        self.loop = asyncio.SelectorEventLoop()
        self.problems: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.problems.append(context))
        self.clock = FakeClock()
        self.dials = FakeDials(self.loop)
        self.limits = Limits(limit, total, max_waiting, pool_timeout)
        self.pool = AuditedPool(
            self.loop,
            self.clock,
            self.dials,
            FakeChannel,
            limits=self.limits,
            keepalive=Keepalive(IDLE_TIMEOUT, force_close),
            conn_timeout=conn_timeout,
        )
        self.waiting: list[asyncio.Task[Channel]] = []
        self.warming: list[asyncio.Task[int]] = []
        self.sockets: dict[Any, int] = {}
        self.held: list[FakeChannel] = []
        self.detached: list[FakeChannel] = []
        self.wires: list[FakeChannel] = []

    # The model

    def turn(self, count: int) -> None:
        """Let the loop turn so often, and see who was served."""
        for _ in range(count):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()
        for warming in [task for task in self.warming if task.done()]:
            self.warming.remove(warming)
            if not warming.cancelled() and warming.exception() is not None:
                assert isinstance(warming.exception(), (ClientError, ConnectionRefusedError)), repr(warming)
        for task in [task for task in self.waiting if task.done()]:
            self.waiting.remove(task)
            if not task.cancelled() and task.exception() is None:
                self.hold(task.result())
            elif not task.cancelled():
                assert isinstance(task.exception(), (ClientError, ConnectionRefusedError)), repr(task.exception())

    def hold(self, channel: Channel) -> None:
        assert isinstance(channel, FakeChannel)
        assert channel not in self.held, "two owners"
        assert channel not in self.detached, "an owner for what was detached"
        self.held.append(channel)

    def pick(self, things: list[Any], number: int) -> Any:
        return things[number % len(things)] if things else None

    def pick_held(self, number: int) -> FakeChannel | None:
        """A channel whose holder may still do something with it."""
        found: FakeChannel | None = self.pick([c for c in self.held if c.state == states.LEASED], number)
        return found

    def pick_open(self, number: int) -> FakeChannel | None:
        found: FakeChannel | None = self.pick([c for c in self.wires if not c.wire.closed], number)
        return found

    # Callers

    @rule(endpoint=endpoints, fresh=st.sampled_from([False, False, False, True]), hurry=st.booleans(), count=turns)
    def ask(self, endpoint: Any, fresh: bool, hurry: bool, count: int) -> None:
        deadline = self.clock.now() + 2 if hurry else NEVER
        self.waiting.append(self.loop.create_task(self.pool.acquire(endpoint, deadline=deadline, fresh=fresh)))
        self.turn(count)

    @rule(endpoint=endpoints)
    def lease_at_once(self, endpoint: Any) -> None:
        channel = self.pool.try_lease(endpoint)
        if channel is not None:
            self.hold(channel)

    @precondition(lambda self: self.waiting)
    @rule(number=which, count=turns)
    def cancel(self, number: int, count: int) -> None:
        self.pick(self.waiting, number).cancel()
        self.turn(count)

    @precondition(lambda self: self.held)
    @rule(number=which, count=turns)
    def release(self, number: int, count: int) -> None:
        channel = self.pick_held(number)
        if channel is not None:
            self.held.remove(channel)
            self.pool.release(channel)
        self.turn(count)

    @precondition(lambda self: self.held and self.waiting)
    @rule(number=which, next_number=which, kernel=st.sampled_from(["", "", "fin"]), count=turns)
    def release_and_cancel(self, number: int, next_number: int, kernel: str, count: int) -> None:
        channel = self.pick_held(number)
        if channel is not None:
            self.held.remove(channel)
            self.pool.release(channel)
            channel.kernel = kernel
        self.pick(self.waiting, next_number).cancel()
        self.turn(count)

    @precondition(lambda self: self.held)
    @rule(number=which, reason=st.sampled_from(["hint", "error"]), hangs=st.booleans(), count=turns)
    def release_unreusable(self, number: int, reason: str, hangs: bool, count: int) -> None:
        channel = self.pick_held(number)
        if channel is not None:
            self.held.remove(channel)
            if hangs:
                channel.wire.blocked = True
                channel.wire.write(b"unread by the peer")
            channel.retiring = reason
            self.pool.release(channel)
        self.turn(count)

    @precondition(lambda self: self.held)
    @rule(number=which, politely=st.booleans(), count=turns)
    def close_channel(self, number: int, politely: bool, count: int) -> None:
        channel = self.pick(self.held, number)
        self.held.remove(channel)
        self.pool.close_channel(channel, "error", politely=politely)
        self.pool.close_channel(channel, "error")
        self.turn(count)

    @precondition(lambda self: self.held)
    @rule(number=which)
    def detach(self, number: int) -> None:
        channel = self.pick_held(number)
        if channel is not None:
            self.held.remove(channel)
            self.detached.append(channel)
            self.pool.detach(channel)

    # Dials

    @precondition(lambda self: self.dials.pending)
    @rule(number=which, count=turns)
    def dial_succeeds(self, number: int, count: int) -> None:
        dial: FakeDial = self.pick(self.dials.pending, number)
        self.wires.append(dial.succeed())
        self.turn(count)

    @precondition(lambda self: self.dials.pending)
    @rule(count=turns)
    def all_dials_succeed(self, count: int) -> None:
        for dial in self.dials.pending:
            self.wires.append(dial.succeed())
        self.turn(count)

    @precondition(lambda self: self.dials.pending)
    @rule(number=which, count=turns)
    def dial_fails(self, number: int, count: int) -> None:
        self.pick(self.dials.pending, number).fail(ConnectionRefusedError(111, "refused"))
        self.turn(count)

    # Peers

    @precondition(lambda self: self.wires)
    @rule(
        number=which, what=st.sampled_from(["fin", "byte", "lost", "unread fin", "unread ticket", "read"]), count=turns
    )
    def peer(self, number: int, what: str, count: int) -> None:
        channel = self.pick_open(number)
        if channel is None:
            return
        if what == "fin":
            channel.wire.feed_eof()
        elif what == "byte":
            channel.wire.feed(b"?")
        elif what == "lost":
            channel.wire.lose(ConnectionResetError(104, "reset"))
        elif what == "unread fin":
            channel.kernel = "fin"
        elif what == "unread ticket":
            channel.is_tls, channel.kernel = True, "bytes"
        else:
            channel.kernel = ""
        self.turn(count)

    # Time and the pool's owner

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 2.5, 6.0, IDLE_TIMEOUT]), stalled=st.booleans(), count=turns)
    def time_passes(self, seconds: float, stalled: bool, count: int) -> None:
        if stalled:
            self.clock.stall(seconds)
        else:
            self.clock.advance(seconds)
        self.turn(count)

    @precondition(lambda self: self.wires)
    @rule(number=which, count=turns)
    def retire(self, number: int, count: int) -> None:
        channel = self.pick_open(number)
        if channel is not None and channel.owner is not None:
            self.pool.retire(channel, "cert_reload")
        self.turn(count)

    @precondition(lambda self: self.held)
    @rule(number=which, count=turns)
    def retire_older(self, number: int, count: int) -> None:
        channel = self.pick_held(number)
        if channel is not None:
            self.pool.retire_older(channel)
        self.turn(count)

    @rule(endpoint=endpoints, everywhere=st.booleans(), count=turns)
    def expire(self, endpoint: Any, everywhere: bool, count: int) -> None:
        self.pool.expire(None if everywhere else endpoint.host, None)
        assert not any(c.state == states.IDLE and (everywhere or c.endpoint == endpoint) for c in self.wires)
        self.turn(count)

    @rule(endpoint=endpoints, wanted=st.integers(min_value=1, max_value=4), count=turns)
    def warm(self, endpoint: Any, wanted: int, count: int) -> None:
        self.warming.append(self.loop.create_task(self.pool.warm(endpoint, wanted)))
        self.turn(count)

    @precondition(lambda self: self.warming)
    @rule(number=which, count=turns)
    def cancel_warm(self, number: int, count: int) -> None:
        self.pick(self.warming, number).cancel()
        self.turn(count)

    @precondition(lambda self: self.controls)
    @rule(count=turns)
    def suspend(self, count: int) -> None:
        self.pool.suspend()
        self.turn(count)

    @precondition(lambda self: self.pool.suspended)
    @rule(count=turns)
    def resume(self, count: int) -> None:
        first = {home: line[0] for home in self.pool.homes if (line := self.pool.in_line(home)) and home.idle}
        self.pool.resume()
        assert not any(waiter in home.queue for home, waiter in first.items() if home.idle), "passed over by resume"
        self.turn(count)

    @precondition(lambda self: self.controls)
    @rule(
        limit=st.sampled_from([None, 1, 2, 3]),
        total=st.sampled_from([None, 1, 2, 4]),
        max_waiting=st.sampled_from([None, 1, 3]),
        count=turns,
    )
    def resize(self, limit: int | None, total: int | None, max_waiting: int | None, count: int) -> None:
        if self.pool.closed:
            return
        self.limits = replace(self.limits, per_endpoint=limit, total=total, max_waiting=max_waiting)
        self.pool.resize(self.limits)
        self.turn(count)

    @rule(
        chance=st.integers(min_value=0, max_value=60),
        spare=st.booleans(),
        drain=st.sampled_from([None, 0.2, 5.0]),
        count=turns,
    )
    def close(self, chance: int, spare: bool, drain: float | None, count: int) -> None:
        if chance == 60:
            self.pool.close(spare_leased=spare, drain=drain)
        self.turn(count)

    @rule()
    def nothing_happens(self) -> None:
        """At rest the pool's numbers are the model's."""
        self.turn(12)
        assert not self.pool.has_empty_books()
        numbers = self.pool.stats().total
        assert numbers.leased == sum(channel.state == states.LEASED for channel in self.held)
        assert numbers.waiting == len(self.waiting)
        assert numbers.dialling == len(self.dials.pending)
        assert numbers.detached == sum(not channel.wire.is_closing() for channel in self.detached)
        assert numbers.idle == sum(channel.state == states.IDLE for channel in self.wires)
        assert numbers.closing == sum(channel.wire.is_closing() and not channel.wire.closed for channel in self.wires)
        assert numbers.open == sum(not channel.wire.closed for channel in self.wires) + numbers.dialling

    # What holds at each moment

    @invariant()
    def the_books_balance(self) -> None:
        type(self).steps += 1
        self.pool.audit()
        assert not self.problems, self.problems
        for stats in self.pool.stats().endpoints.values():
            assert stats.open == stats.dialling + stats.idle + stats.leased + stats.detached + stats.closing

    @invariant()
    def no_more_sockets_than_allowed(self) -> None:
        """Counted from outside, by what the transports say."""
        sockets = [
            channel.endpoint for channel in self.wires if channel.wire.get_protocol() and not channel.wire.closed
        ]
        sockets += [dial.endpoint for dial in self.dials.pending]
        before, self.sockets = self.sockets, {endpoint: sockets.count(endpoint) for endpoint in (A, B, C)}
        if self.limits.total is not None:
            assert len(sockets) <= max(self.limits.total, sum(before.values()))
        if self.limits.per_endpoint is not None:
            for endpoint, number in self.sockets.items():
                assert number <= max(self.limits.per_endpoint, before.get(endpoint, 0))

    def teardown(self) -> None:
        if not hasattr(self, "pool"):
            return
        try:
            self.all_comes_to_an_end()
        finally:
            self.loop.close()

    def all_comes_to_an_end(self) -> None:
        self.slots_are_all_there()
        self.pool.close()
        self.turn(6)
        for channel in self.held + self.detached:  # spared by a close that waits for them
            self.pool.close_channel(channel, "error")
        self.turn(6)
        self.clock.advance(LINGER)
        self.turn(6)
        assert self.pool.open == 0
        assert not self.pool.channels
        assert not self.waiting
        assert not self.warming
        assert self.pool.stats().endpoints == {}
        assert (self.clock.timers, self.clock.entries) == (0, 0)
        assert asyncio.all_tasks(self.loop) == set()
        assert all(channel.wire.closed for channel in self.wires)
        assert not self.problems, self.problems

    def slots_are_all_there(self) -> None:
        """When everybody has let go, the pool serves as many at once as its limits allow: no slot was lost."""
        if self.pool.closed:
            return
        self.pool.resume()
        for task in (*self.waiting, *self.warming):
            task.cancel()
        self.turn(6)
        for dial in self.dials.pending:  # one that has lost its race goes on, for whoever comes next
            dial.fail(ConnectionRefusedError(111, "refused"))
        for channel in self.held + self.detached:
            self.pool.close_channel(channel, "error", politely=False)
        self.clock.advance(IDLE_TIMEOUT + 1)
        self.turn(6)
        self.clock.advance(LINGER)
        self.turn(6)
        assert self.pool.open == 0
        limit = min(self.limits.per_endpoint or 5, self.limits.total or 5)
        self.dials.at_once = True
        if self.limits.max_waiting is None and self.limits.pool_timeout is None:
            self.held.clear()
            self.waiting = [self.loop.create_task(self.pool.acquire(A)) for _ in range(limit)]
            self.turn(6)
            assert len(self.held) == limit


class ControlledMachine(PoolMachine):
    """The same, with somebody who suspends and resizes."""

    controls = True


def run(examples: int, *, derandomize: bool, machine: type[PoolMachine] = PoolMachine) -> int:
    """The machine's steps in so many examples."""
    before = PoolMachine.steps
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=derandomize,
            print_blob=True,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
    return PoolMachine.steps - before


@pytest.mark.fault("P36", "P20")
def test_the_pool_against_its_model() -> None:
    """One owner per connection, and open = idle + leased + dialling + detached + closing at each of 20,000 steps."""
    assert run(EXAMPLES, derandomize=True) >= 20_000


def test_a_dial_that_is_withdrawn_covers_nobody() -> None:
    """A caller whose time for the limit was over, but who had a dial, ends when a shrunk limit takes the dial away."""
    state = ControlledMachine()
    state.make(limit=None, total=None, max_waiting=None, pool_timeout=1.0, conn_timeout=None, force_close=False)
    state.ask(count=0, endpoint=A, fresh=False, hurry=False)
    state.expire(count=0, endpoint=A, everywhere=False)
    state.expire(count=1, endpoint=A, everywhere=False)
    state.ask(count=0, endpoint=B, fresh=False, hurry=False)
    state.time_passes(count=0, seconds=1.0, stalled=False)
    state.resize(count=1, limit=None, max_waiting=None, total=1)
    state.the_books_balance()
    state.teardown()


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.fault("P36", "P20")
@pytest.mark.parametrize("machine", [PoolMachine, ControlledMachine])
def test_the_pool_against_its_model_for_long(machine: type[PoolMachine]) -> None:
    """The same with new random numbers, fifty times as long; also with limits and services that change."""
    assert run(EXAMPLES * 50, derandomize=False, machine=machine) >= 1_000_000
