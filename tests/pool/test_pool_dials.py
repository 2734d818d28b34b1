"""When the pool dials, who gets what a dial brings, and what becomes of a dial that nobody needs."""

import asyncio

import pytest

from keepwarm.pool import states
from keepwarm.pool.dial import DialRequest
from keepwarm.pool.errors import ClientConnectionError, ConnectTimeoutError, DNSError
from tests.support.fake_channels import A, B, FakeChannel, FakeDials, rig
from tests.support.fakes import FakeTransport
from tests.support.leaks import turns

pytestmark = pytest.mark.asyncio

REFUSED = ClientConnectionError("refused")


@pytest.mark.fault("P01")
async def test_the_limit_counts_dials() -> None:
    """N + 5 callers, a slow peer: never more than N sockets, and all are served in the end."""
    async with rig(limit=3, at_once=False) as r:
        tasks = await r.queue(8)
        assert (len(r.dials.made), r.of().dialling, r.of().open, r.of().waiting) == (3, 3, 3, 8)
        for dial in r.dials.pending:
            dial.succeed()
        await turns(2)
        assert (r.of().leased, r.of().open, len(r.dials.made)) == (3, 3, 3)
        for task in tasks:
            await turns(1)
            assert task.done()
            r.pool.release(task.result())
        assert (r.of().open, len(r.dials.made)) == (3, 3)


async def test_without_a_limit_each_caller_has_a_dial() -> None:
    """None is unlimited."""
    async with rig(at_once=False) as r:
        await r.queue(50)
        assert r.of().dialling == 50


@pytest.mark.fault("P39")
async def test_a_limit_of_one_is_serial() -> None:
    """Each caller in turn, on one connection."""
    async with rig(limit=1) as r:
        tasks = await r.queue(5)
        for task in tasks:
            channel = await task
            assert sum(other.done() for other in tasks) == tasks.index(task) + 1
            r.pool.release(channel)
        assert len(r.dials.made) == 1


@pytest.mark.fault("P18")
async def test_refused_with_callers_queued() -> None:
    """The error goes to one caller, the slot is free, and the next caller's dial begins."""
    async with rig(limit=1, at_once=False) as r:
        tasks = await r.queue(3)
        for number in range(2):
            r.dials.pending[0].fail(ClientConnectionError(f"refused {number}"))
            await turns(3)
            assert (r.of().dialling, r.of().open, r.of().waiting) == (1, 1, 2 - number)
        channel = r.dials.pending[0].succeed()
        assert await tasks[2] is channel
        assert [str(task.exception()) for task in tasks[:2]] == ["refused 0", "refused 1"]
        assert (r.total.dials, r.total.dial_failures) == (3, 2)


@pytest.mark.fault("P49")
async def test_nothing_is_left_of_a_dial_that_failed() -> None:
    """No key, no queue, no timer."""
    async with rig(at_once=False, conn_timeout=5, pool_timeout=5) as r:
        (task,) = await r.queue(1)
        r.dials.pending[0].fail(DNSError("no such name"))
        with pytest.raises(DNSError):
            await task
        assert (r.pool.stats().endpoints, r.clock.timers) == ({}, 0)


async def test_a_dial_serves_the_oldest_caller() -> None:
    """Law 3: whoever started it. The second dial is ready first, and the first caller has it."""
    async with rig(at_once=False) as r:
        first, second = await r.queue(2)
        channel = r.dials.made[1].succeed()
        assert await first is channel
        assert not second.done()
        other = r.dials.made[0].succeed()
        assert await second is other


async def test_a_dial_outlives_the_caller_it_was_for() -> None:
    """The first caller leaves: one of two dials is given up, the younger one; the other serves the second caller."""
    async with rig(at_once=False) as r:
        first, second = await r.queue(2)
        first.cancel()
        await turns(2)
        assert [dial.was_cancelled for dial in r.dials.made] == [False, True]
        channel = r.dials.made[0].succeed()
        assert await second is channel


@pytest.mark.fault("P07")
async def test_the_only_caller_leaves() -> None:
    """Nobody wants the dial any more: it is aborted, and its slot is free."""
    async with rig(limit=1, at_once=False) as r:
        (task,) = await r.queue(1)
        task.cancel()
        await turns(3)
        assert (r.dials.made[0].was_cancelled, r.pool.open, r.pool.stats().endpoints) == (True, 0, {})
        assert (r.total.dials, r.total.dial_failures) == (1, 0)


async def test_given_up_before_it_began() -> None:
    """A dial that is cancelled before its task ran makes no connection, and its slot is free all the same."""
    async with rig(at_once=False) as r:
        (first,) = await r.queue(1)
        second = r.ask()
        first.cancel()
        await turns(4)
        assert (r.of().dials, len(r.dials.made), r.of().open) == (2, 1, 1)
        channel = r.dials.pending[0].succeed()
        assert await second is channel


async def test_decided_again_just_before_dialling() -> None:
    """Between the start of a dial and its first step a connection came free: no second connection is made."""
    async with rig(limit=2, at_once=False) as r:
        (task,) = await r.queue(1)
        r.dials.pending[0].succeed()
        channel = await task
        waiting = r.ask()
        await turns(1)
        assert r.of().dialling == 1
        r.pool.release(channel)
        await turns(2)
        assert waiting.result() is channel
        assert (len(r.dials.made), r.of().open) == (1, 1)


async def test_the_loser_of_the_race_is_kept() -> None:
    """A returned connection and a dial race for one caller; the dial comes second and lies idle for the next one."""
    async with rig(limit=2, at_once=False) as r:
        (task,) = await r.queue(1)
        r.dials.pending[0].succeed()
        channel = await task
        (waiting,) = await r.queue(1)
        r.pool.release(channel)
        assert await waiting is channel
        assert r.of().dialling == 1
        spare = r.dials.pending[0].succeed()
        await turns(2)
        assert (r.of().idle, r.of().leased) == (1, 1)
        assert r.pool.try_lease(A) is spare


async def test_the_loser_fails() -> None:
    """Nobody waits for that dial: nobody hears of it."""
    async with rig(limit=2, at_once=False) as r:
        (task,) = await r.queue(1)
        r.dials.pending[0].succeed()
        channel = await task
        (waiting,) = await r.queue(1)
        r.pool.release(channel)
        await waiting
        r.dials.pending[0].fail(REFUSED)
        await turns(2)
        assert (r.of().open, r.of().dial_failures) == (1, 1)


async def test_a_dial_given_up_covers_nobody() -> None:
    """While it closes its sockets it holds its slot, but whoever comes now has a dial of its own at once."""
    async with rig(limit=2, at_once=False) as r:
        r.dials.clean_up = r.loop.create_future()
        (gone,) = await r.queue(1)
        gone.cancel()
        await turns(2)
        assert (r.of().dialling, r.of().closing, r.of().open) == (0, 1, 1)
        first, second = await r.queue(2)
        assert (len(r.dials.pending), r.of().open) == (1, 2)
        channel = r.dials.pending[0].succeed()
        assert await first is channel
        r.dials.clean_up.set_result(None)
        await turns(3)
        assert (r.of().dialling, r.of().closing) == (1, 0)
        r.dials.pending[0].succeed()
        await second


async def test_the_last_useful_dial_stays() -> None:
    """A caller that leaves takes a surplus dial with it, never the one that somebody else waits for."""
    async with rig(limit=2, at_once=False) as r:
        r.dials.clean_up = r.loop.create_future()
        first, second = await r.queue(2)
        second.cancel()
        await turns(2)
        (third,) = await r.queue(1)
        third.cancel()
        await turns(2)
        assert [dial.was_cancelled for dial in r.dials.made] == [False, True]
        channel = r.dials.made[0].succeed()
        assert await first is channel
        r.dials.clean_up.set_result(None)
        await turns(2)
        assert r.of().open == 1


@pytest.mark.fault("P10")
async def test_cancelled_as_the_dial_succeeds() -> None:
    """Connected and cancelled in one turn: the connection is closed or kept, never unowned."""
    async with rig(limit=1, at_once=False) as r:
        (task,) = await r.queue(1)
        channel = r.dials.pending[0].succeed()
        task.cancel()
        await turns(3)
        assert task.cancelled()
        assert (channel.state == states.CLOSED or r.of().idle == 1) is True
        assert r.pool.open == r.of().idle


@pytest.mark.fault("P10")
async def test_cancelled_once_it_was_given_one() -> None:
    """The dial's connection was settled on the caller, which is cancelled before it runs: it lies idle, unused."""
    async with rig(limit=1, at_once=False) as r:
        (task,) = await r.queue(1)
        channel = r.dials.pending[0].succeed()
        await turns(1)
        assert channel.state == states.LEASED
        task.cancel()
        await turns(1)
        assert (task.cancelled(), channel.state, channel.uses) == (True, states.IDLE, 0)


async def test_a_dial_that_will_not_be_cancelled() -> None:
    """A _create_connection that swallows the cancellation and connects all the same: the connection is kept."""
    async with rig(limit=1, at_once=False) as r:
        stubborn: list[FakeChannel] = []

        async def connect(request: DialRequest, /) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                await turns(3)
            channel = request.channel_factory()
            assert isinstance(channel, FakeChannel)
            channel.open()
            stubborn.append(channel)
            return channel.wire, channel

        swapped = type(r)(r.loop, limit=1, connect=connect)
        (task,) = await swapped.queue(1)
        task.cancel()
        await turns(2)
        assert (swapped.of().closing, swapped.of().dialling) == (1, 0)
        (next_one,) = await swapped.queue(1)
        await turns(4)
        assert next_one.done()
        assert next_one.result() is stubborn[0]
        assert swapped.of().open == 1
        swapped.pool.close()
        await swapped.pool.wait_closed()


async def test_cancelled_from_outside() -> None:
    """Somebody cancels the dial's task: its caller is told, and the slot is free."""
    async with rig(limit=1, at_once=False) as r:
        (task,) = await r.queue(1)
        (dialling,) = [task for task in asyncio.all_tasks() if task.get_name() == "keepwarm dial http://a.example:80"]
        dialling.cancel()
        with pytest.raises(ClientConnectionError, match=r"the dial to http://a\.example:80 was cancelled from outside"):
            await task
        assert r.pool.open == 0


async def test_conn_timeout() -> None:
    """The dial is cut off, its caller hears how far it got, the slot is free and the next dial begins."""
    async with rig(limit=1, at_once=False, conn_timeout=5) as r:
        first, second = await r.queue(2)
        request = r.dials.pending[0].request
        request.phase = "connect"
        request.attempts.append(("192.0.2.1:80", "no answer"))
        r.clock.advance(4.999)
        await turns(2)
        assert not first.done()
        r.clock.advance(0.005)
        with pytest.raises(ConnectTimeoutError) as caught:
            await first
        assert (caught.value.endpoint, caught.value.phase, caught.value.reused) == (A, "connect", False)
        assert str(caught.value) == (
            "Connection timeout to host a.example:80 ssl:False [still in the phase 'connect' after conn_timeout=5 s] "
            "tried 192.0.2.1:80: no answer. Check that the host is reachable, or raise conn_timeout"
        )
        await turns(2)
        assert (r.dials.made[0].was_cancelled, r.of().dialling) == (True, 1)
        channel = r.dials.pending[0].succeed()
        assert await second is channel
        assert (r.of().dial_failures, r.clock.timers) == (1, 0)


@pytest.mark.parametrize("how", ["fin", "bytes", "lost"])
async def test_dead_on_arrival(how: str) -> None:
    """A new connection that ends, or speaks first: the caller is told, and nobody dials in circles."""
    async with rig(at_once=False) as r:
        (task,) = await r.queue(1)
        channel = r.dials.pending[0].succeed()
        if how == "lost":
            channel.wire.lose()
        elif how == "fin":
            channel.wire.feed_eof()
        else:
            channel.wire.feed(b"220 mail.example ESMTP\r\n")
        with pytest.raises(ClientConnectionError, match=r"check that the port speaks HTTP$") as caught:
            await task
        assert (caught.value.endpoint, caught.value.phase, caught.value.reused) == (A, "connect", False)
        await turns(2)
        assert (r.pool.open, len(r.dials.made)) == (0, 1)


@pytest.mark.parametrize(
    ("reason", "text"), [("peer_fin", "closed the connection"), ("stray_bytes", "sent bytes"), ("error", "dropped")]
)
async def test_dead_between_the_dial_and_the_caller(reason: str, text: str) -> None:
    """The same in the turn in which the caller wakes."""
    async with rig(at_once=False) as r:
        (task,) = await r.queue(1)
        channel = r.dials.pending[0].succeed()
        await turns(1)
        assert channel.state == states.LEASED
        channel.retiring = reason
        with pytest.raises(ClientConnectionError, match=f"http://a.example:80 {text}.* before it was asked anything"):
            await task


async def test_retired_between_the_dial_and_the_caller() -> None:
    """Our own reasons are no fault of the peer's: the caller waits for another one."""
    async with rig(at_once=False) as r:
        (task,) = await r.queue(1)
        channel = r.dials.pending[0].succeed()
        await turns(1)
        r.pool.retire(channel, "cert_reload")
        await turns(4)
        assert not task.done()
        other = r.dials.pending[0].succeed()
        assert await task is other
        assert r.total.retired == {"cert_reload": 1}


class Wrong(FakeDials):
    """A _create_connection that does not keep its promise."""

    def __init__(self, loop: asyncio.AbstractEventLoop, kind: str) -> None:
        super().__init__(loop)
        self.kind = kind
        self.given = FakeTransport()

    async def __call__(self, request: DialRequest, /) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        channel = request.channel_factory()
        self.given = FakeTransport(asyncio.Protocol(), call_soon=self._loop.call_soon)
        if self.kind == "another protocol":
            return self.given, asyncio.Protocol()
        if self.kind == "not connected":
            return self.given, channel
        if self.kind == "used before":
            channel.connection_made(self.given)
            channel.state = states.LEASED
            return self.given, channel
        other = FakeChannel(B, self._loop)
        other.connection_made(self.given)
        return self.given, other


@pytest.mark.parametrize("kind", ["another protocol", "not connected", "used before", "another endpoint"])
async def test_what_cannot_join_the_pool(kind: str) -> None:
    """F-14: said to the caller, the transport is closed, and no slot is lost."""
    loop = asyncio.get_running_loop()
    wrong = Wrong(loop, kind)
    async with rig(limit=1, connect=wrong) as r:
        for _ in range(2):
            with pytest.raises(TypeError, match="_create_connection must return"):
                await r.pool.acquire(A)
            assert wrong.given.ended_by == "abort"
            assert (r.pool.open, r.pool.channels) == (0, set())
