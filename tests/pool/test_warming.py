"""Warm pools: connections that are there before anybody asks."""

import asyncio
from typing import Any

import pytest

from keepwarm.pool.endpoint import make_endpoint, parse_endpoint
from keepwarm.pool.errors import InvalidURL, PoolClosedError
from keepwarm.pool.keepalive import Keepalive
from keepwarm.pool.lifetime import Lifetime
from keepwarm.pool.min_idle import MinIdle
from keepwarm.pool.refill import FIRST_PAUSE, LONGEST_PAUSE, MOST_AT_ONCE, PACE, REMEMBERED, SLOW
from tests.support.fake_channels import A, B, FakeChannel, Rig, rig
from tests.support.fake_connector import FakeConnector
from tests.support.leaks import turns

pytestmark = pytest.mark.asyncio

REFUSED = ConnectionRefusedError(111, "refused")


async def warm(r: Rig, wanted: int) -> "asyncio.Task[int]":
    """warm() in a task of its own, up to its first wait."""
    task = r.loop.create_task(r.pool.warm(A, wanted))
    await turns(2)
    return task


# warm()


async def test_warm_dials_and_the_first_calls_do_not() -> None:
    """So many connections are idle, and so many calls find one."""
    async with rig() as r:
        assert await r.pool.warm(A, 3) == 3
        assert (r.of().idle, r.of().dials, r.of().leases) == (3, 3, 0)
        assert [r.pool.try_lease(A) is not None for _ in range(4)] == [True, True, True, False]
        for channel in list(r.pool.channels):
            r.pool.release(channel)


async def test_what_is_idle_counts() -> None:
    """Only the missing ones are dialled; nothing is, if there are enough."""
    async with rig() as r:
        await r.shelved(2)
        assert await r.pool.warm(A, 3) == 3
        assert await r.pool.warm(A, 2) == 2
        assert r.of().dials == 3


async def test_warm_stays_within_the_limits() -> None:
    """It says how many there are, and waits for nobody."""
    async with rig(limit=2) as r:
        assert await r.pool.warm(A, 5) == 2
    async with rig(total=3) as r:
        await r.shelved(2, B)
        assert await r.pool.warm(A, 5) == 1
        assert r.of(B).idle == 2


async def test_the_dials_error_is_raised_if_none_came() -> None:
    """And only then."""
    async with rig(at_once=False) as r:
        task = await warm(r, 2)
        for dial in r.dials.pending:
            dial.fail(REFUSED)
        with pytest.raises(ConnectionRefusedError):
            await task
        task = await warm(r, 2)
        r.dials.pending[0].fail(REFUSED)
        r.dials.pending[0].succeed()
        assert await task == 1
        assert r.of().idle == 1


async def test_a_cancelled_warm_leaves_no_dial() -> None:
    """What has connected stays; what has not is given up."""
    async with rig(at_once=False) as r:
        task = await warm(r, 3)
        r.dials.pending[0].succeed()
        await turns(2)
        task.cancel()
        await turns(4)
        assert (r.of().idle, r.of().dialling, r.of().closing) == (1, 0, 0)
        assert [dial.was_cancelled for dial in r.dials.made] == [False, True, True]


async def test_a_caller_may_take_what_is_being_warmed() -> None:
    """The finished dial goes to who waits, and the wish gets another one where there is room."""
    async with rig(at_once=False) as r:
        task = await warm(r, 1)
        (caller,) = await r.queue(1)
        r.dials.pending[0].succeed()
        await turns(3)
        assert caller.done() and not task.done()
        r.dials.pending[0].succeed()
        assert await task == 1
        r.pool.release(await caller)


async def test_a_caller_may_take_it_for_good() -> None:
    """Without room for another, warm says that there is none."""
    async with rig(at_once=False, limit=1) as r:
        task = await warm(r, 1)
        (caller,) = await r.queue(1)
        r.dials.pending[0].succeed()
        assert await task == 0
        r.pool.release(await caller)


async def test_a_caller_who_leaves_takes_no_dial_along() -> None:
    """The dial that was begun for the wish goes on."""
    async with rig(at_once=False) as r:
        task = await warm(r, 1)
        (caller,) = await r.queue(1)
        caller.cancel()
        await turns(2)
        assert r.of().dialling == 1
        r.dials.pending[0].succeed()
        assert await task == 1


async def test_a_failed_dial_is_told_to_the_caller_first() -> None:
    """The oldest waiter hears it; the wish tries again."""
    async with rig(at_once=False) as r:
        task = await warm(r, 1)
        (caller,) = await r.queue(1)
        r.dials.pending[0].fail(REFUSED)
        await turns(3)
        assert isinstance(caller.exception(), ConnectionRefusedError)
        r.dials.pending[0].succeed()
        assert await task == 1


@pytest.mark.parametrize("drain", [None, 5.0])
async def test_closed_while_warming(drain: float | None) -> None:
    """PoolClosedError, before as after."""
    async with rig(at_once=False) as r:
        task = await warm(r, 2)
        r.pool.close(drain=drain)
        with pytest.raises(PoolClosedError, match="was closed while"):
            await task
        with pytest.raises(PoolClosedError, match="is closed"):
            await r.pool.warm(A, 1)


async def test_a_warmed_connection_is_idle_like_others() -> None:
    """It ends with its idle time."""
    async with rig(keepalive=Keepalive(5)) as r:
        await r.pool.warm(A, 1)
        r.clock.advance(5)
        assert r.of().retired == {"idle": 1}


async def test_warm_of_a_connector() -> None:
    """URLs and endpoints; what is none is refused before any dial, and never repeated."""
    connector = FakeConnector()
    assert await connector.warm("http://a.example/path?query", 2) == 2
    assert await connector.warm(make_endpoint("b.example", 8080)) == 1
    assert [request.endpoint.port for request in connector.requests] == [80, 80, 8080]
    bad: list[tuple[Any, Any, type[Exception], str]] = [
        ("ftp://a.example", 1, InvalidURL, "must begin with http"),
        ("http://me:secret@", 1, InvalidURL, "cannot be read"),
        (b"http://a.example", 1, TypeError, "url must be"),
        ("http://a.example", 0, ValueError, "n must be at least 1"),
        ("http://a.example", None, TypeError, "n must be"),
    ]
    for url, n, error, text in bad:
        with pytest.raises(error, match=text) as caught:
            await connector.warm(url, n)
        assert "secret" not in str(caught.value)
    assert len(connector.requests) == 3
    await connector.close()
    with pytest.raises(PoolClosedError):
        await connector.warm("http://a.example")


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://A.example", ("a.example", 443, True)),
        ("HTTP://user:pw@a.example:81/x@y", ("a.example", 81, False)),
        ("http://[::1]:8080", ("::1", 8080, False)),
        ("https://bücher.example?q", ("xn--bcher-kva.example", 443, True)),
    ],
)
def test_where_a_url_leads(url: str, endpoint: tuple[str, int, bool]) -> None:
    """The same endpoint as a request's."""
    assert tuple(parse_endpoint(url)) == endpoint


# min_idle


async def use(r: Rig) -> None:
    """One call to A."""
    r.pool.release(await r.lease())


async def pass_time(r: Rig, seconds: float) -> None:
    """In steps of the refill's pace, with turns for its dials."""
    for _ in range(round(seconds / PACE)):
        r.clock.advance(PACE)
        await turns(3)


async def test_min_idle_is_kept() -> None:
    """An endpoint in use is brought to so many idle connections, and again when some have gone; others are not."""
    async with rig(min_idle=MinIdle(3)) as r:
        await use(r)
        assert r.of().idle == 1
        await pass_time(r, PACE)
        assert r.of().idle == 3
        for channel in list(r.pool.channels)[:2]:
            r.pool.retire(channel, "dns_gone")
        await pass_time(r, 2 * PACE)
        assert (r.of().idle, r.of().dials, r.of(B).dials) == (3, 5, 0)


async def test_a_replacement_comes_first() -> None:
    """Before a connection reaches its age, another is there: the idle ones are never fewer than wanted."""
    async with rig(min_idle=MinIdle(2), keepalive=Keepalive(None), lifetime=Lifetime(max_age=20, jitter=0)) as r:
        await use(r)
        await pass_time(r, 2)
        for _ in range(60):
            await pass_time(r, 1)
            await use(r)
            assert r.of().idle >= 2
        assert r.of().retired["age"] >= 4


async def test_where_the_limit_leaves_no_room_the_old_one_goes_first() -> None:
    """Limits hold; the replacement follows within the pace."""
    async with rig(limit=1, min_idle=MinIdle(1), keepalive=Keepalive(10)) as r:
        await use(r)
        await pass_time(r, 9)
        assert (r.of().idle, r.of().dials) == (1, 1)
        await pass_time(r, 3)
        assert (r.of().idle, r.total.dials) == (1, 2)


async def test_a_short_idle_time_is_no_reason_to_dial_all_the_time() -> None:
    """However short: one connection at a time is replaced, when its time is nearly over."""
    async with rig(min_idle=MinIdle(1), keepalive=Keepalive(4)) as r:
        await use(r)
        await pass_time(r, 40)
        assert 8 <= r.of().dials <= 15
        assert 1 <= r.of().idle <= 2


async def test_at_most_so_many_dials_at_a_time() -> None:
    """Over all endpoints; the rest follow."""
    async with rig(min_idle=MinIdle(MOST_AT_ONCE), at_once=False) as r:
        for endpoint in (A, B):
            task = r.ask(endpoint)
            await turns(2)
            r.dials.pending[0].succeed()
            r.pool.release(await task)
        await pass_time(r, PACE)
        assert r.total.dialling == MOST_AT_ONCE
        for _ in range(2):
            for dial in r.dials.pending:
                dial.succeed()
            await turns(2)
            await pass_time(r, PACE)
        assert (r.of(A).idle, r.of(B).idle, r.total.dialling) == (MOST_AT_ONCE, MOST_AT_ONCE, 0)


async def failing(r: Rig, seconds: float) -> int:
    """Let the refill's dials fail for so long; how many there were."""
    before = r.total.dials
    for _ in range(round(seconds / PACE)):
        r.clock.advance(PACE)
        await turns(2)
        for dial in r.dials.pending:
            dial.fail(REFUSED)
        await turns(2)
    return r.total.dials - before


async def test_failures_make_the_pauses_grow() -> None:
    """One dial a pause, up to a minute; the first success ends it, whoever wanted it."""
    async with rig(min_idle=MinIdle(2), at_once=False) as r:
        task = r.ask()
        await turns(2)
        r.dials.pending[0].succeed()
        r.pool.close_channel(await task, "error", politely=False)
        await turns(2)
        assert FIRST_PAUSE == 1
        assert await failing(r, 63) in (7, 8)
        assert await failing(r, 2 * LONGEST_PAUSE) in (2, 3)
        task = r.ask()
        await turns(2)
        r.dials.pending[-1].succeed()
        r.pool.release(await task)
        r.dials.at_once = True
        await pass_time(r, PACE)
        assert r.of().idle == 2


async def test_an_endpoint_out_of_use_is_forgotten() -> None:
    """Nobody has called it for five minutes: its connections end and are not replaced. A call begins anew."""
    async with rig(min_idle=MinIdle(2)) as r:
        await use(r)
        await pass_time(r, REMEMBERED - 10)
        assert r.of().idle >= 2
        await pass_time(r, 60)
        assert (r.of().idle, r.pool.open, r.clock.entries) == (0, 0, 0)
        await use(r)
        await pass_time(r, 2)
        assert r.of().idle == 2


async def test_by_host() -> None:
    """The most specific pattern says how many; without one there are none."""
    least = MinIdle({"a.example": 2, "*.example": 1})
    assert [least.of(host) for host in ("a.example", "b.example", "example", "a.b.example")] == [2, 1, 0, 1]
    assert not MinIdle(0)


@pytest.mark.parametrize(
    ("least", "limit", "error"),
    [
        (-1, None, ValueError),
        (True, None, TypeError),
        ("1", None, TypeError),
        (3, 2, ValueError),
        ({"a": 3}, 2, ValueError),
        ({"a": None}, 2, TypeError),
        ({"http://a": 1}, None, ValueError),
    ],
)
def test_bad_numbers(least: Any, limit: int | None, error: type[Exception]) -> None:
    """Refused, by name."""
    with pytest.raises(error, match="min_idle"):
        MinIdle(least, limit)


@pytest.mark.parametrize("how", ["close", "drain", "suspend"])
async def test_the_refill_ends(how: str) -> None:
    """With close, at once; while the pool is suspended it begins nothing."""
    async with rig(min_idle=MinIdle(3), at_once=False) as r:
        task = r.ask()
        await turns(2)
        r.dials.pending[0].succeed()
        channel = await task
        r.clock.advance(PACE)
        await turns(2)
        assert r.of().dialling == 3
        if how == "suspend":
            r.pool.suspend()
        else:
            r.pool.close(drain=10 if how == "drain" else None)
        await turns(3)
        dials = r.total.dials
        if how == "suspend":
            for dial in r.dials.pending:
                dial.fail(REFUSED)
        r.clock.advance(5)
        await turns(3)
        assert (r.total.dials, r.total.dialling) == (dials, 0)
        if how != "close":
            r.pool.release(channel)


async def test_a_machine_that_does_not_answer_holds_up_nobody_else() -> None:
    """Its dials hang for as long as they like; after a few seconds they do not count among those under way."""
    async with rig(min_idle=MinIdle(MOST_AT_ONCE), at_once=False) as r:
        for endpoint in (A, B):
            task = r.ask(endpoint)
            await turns(2)
            r.dials.pending[-1].succeed()
            r.pool.release(await task)
            await pass_time(r, PACE)  # what is missing at A is begun, and takes all the room
        assert (r.of(A).dialling, r.of(B).dialling) == (MOST_AT_ONCE - 1, 1)
        stuck = list(r.dials.pending)
        await pass_time(r, SLOW + 2 * PACE)
        assert (r.of(A).dialling, r.of(B).dialling) == (MOST_AT_ONCE - 1, MOST_AT_ONCE - 1)
        for dial in r.dials.pending:
            if dial not in stuck:
                dial.succeed()
        await turns(3)
        assert r.of(B).idle == MOST_AT_ONCE - 1
        await pass_time(r, 10 * SLOW)
        assert r.of(A).dialling == MOST_AT_ONCE  # as many as are wanted, and no more


async def test_a_call_on_a_connection_that_is_left_is_use() -> None:
    """An endpoint is dialled no more when nobody uses it, but a call that finds an idle connection begins it anew."""
    async with rig(min_idle=MinIdle(2), keepalive=Keepalive(None)) as r:
        await use(r)
        await pass_time(r, REMEMBERED + 5)
        assert r.of().idle == 2
        r.pool.retire(next(iter(r.pool.channels)), "dns_gone")
        await pass_time(r, 5)
        assert (r.of().idle, r.of().dials) == (1, 2)
        r.pool.release(await r.lease())
        await pass_time(r, 2 * PACE)
        assert (r.of().idle, r.of().dials) == (2, 3)


async def test_books_that_are_opened_anew_are_no_use() -> None:
    """Connections that end faster than the refill looks do not keep an endpoint in use that nobody calls."""
    async with rig(min_idle=MinIdle(1), keepalive=Keepalive(PACE / 2)) as r:
        await use(r)
        await pass_time(r, REMEMBERED + 5)
        before = r.total.dials
        await pass_time(r, 20)
        assert (r.total.dials, r.clock.entries) == (before, 0)


async def hanging_up(r: Rig, seconds: float) -> None:
    """The peer ends each idle connection within the pace, before anybody has used it."""
    for _ in range(round(seconds / PACE)):
        for channel in list(r.pool.channels):
            if isinstance(channel, FakeChannel) and not channel.uses:
                channel.wire.feed_eof()
        await pass_time(r, PACE)


async def test_a_peer_that_hangs_up_at_once_is_dialled_less_and_less() -> None:
    """A balancer without a server behind it connects and hangs up: the pauses grow as if the dials had failed."""
    async with rig(min_idle=MinIdle(3)) as r:
        await use(r)
        await hanging_up(r, 60)
        assert r.total.dials <= 20
        before = r.total.dials
        await hanging_up(r, 60)
        assert r.total.dials - before <= 4
        await pass_time(r, LONGEST_PAUSE + 2)
        assert r.of().idle >= 3


async def test_a_peer_that_is_tired_of_unused_connections() -> None:
    """It ends all of them now and then: that is one failure, and they are there again a moment later."""
    async with rig(min_idle=MinIdle(3), keepalive=Keepalive(None, learn=False)) as r:
        for _ in range(10):
            await use(r)
            await pass_time(r, 10)
            assert r.of().idle == 3
            for channel in list(r.pool.channels):
                if isinstance(channel, FakeChannel):
                    channel.wire.feed_eof()
            await turns(3)
            await pass_time(r, 3)
            assert r.of().idle == 3
