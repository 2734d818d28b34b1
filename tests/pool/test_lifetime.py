"""Lifetime: how old a connection gets, and how many calls it serves."""

from typing import Any

import pytest

from keepwarm.pool.clock import NEVER
from keepwarm.pool.control import EXPIRED
from keepwarm.pool.errors import PoolClosedError
from keepwarm.pool.keepalive import Keepalive
from keepwarm.pool.lifetime import Lifetime
from tests.support.fake_channels import A, B, rig
from tests.support.fake_connector import TO_A, FakeConnector
from tests.support.leaks import turns

pytestmark = pytest.mark.asyncio

FOR_EVER = Keepalive(None)
TEN = Lifetime(max_age=10, jitter=0)


def test_each_connection_draws_its_own_age() -> None:
    """Between (1 - jitter) and 1 times max_age."""
    lifetime = Lifetime(max_age=100, jitter=0.1)
    assert [lifetime.expiry(5, lambda share=share: share) for share in (0.0, 0.5, 1.0)] == [105, 100, 95]
    drawn = {lifetime.expiry(0) for _ in range(50)}
    assert len(drawn) > 10
    assert all(90 <= age <= 100 for age in drawn)


@pytest.mark.parametrize("max_age", [None, 0])
def test_no_age_is_for_ever(max_age: float | None) -> None:
    """0 and None."""
    lifetime = Lifetime(max_age)
    assert (lifetime.expiry(5), lifetime.is_bounded, lifetime.is_used_up(10**9)) == (NEVER, False, False)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"max_age": -1}, ValueError, "max_age must be"),
        ({"max_age": "1"}, TypeError, "max_age must be"),
        ({"max_age": float("inf")}, ValueError, "max_age must be"),
        ({"max_uses": 0}, ValueError, "max_uses must be at least 1"),
        ({"max_uses": 1.5}, TypeError, "max_uses must be"),
        ({"max_age_jitter": 1}, ValueError, "max_age_jitter must be at least 0 and below 1"),
        ({"max_age_jitter": -0.1}, ValueError, "max_age_jitter must be"),
        ({"max_age_jitter": None}, TypeError, "max_age_jitter must be"),
    ],
)
def test_bad_options(options: dict[str, Any], error: type[Exception], text: str) -> None:
    """Refused, by name."""
    with pytest.raises(error, match=text):
        FakeConnector(**options)


async def test_an_idle_connection_ends_at_its_age() -> None:
    """At the moment itself, and not before; the reason is `age`."""
    async with rig(keepalive=FOR_EVER, lifetime=TEN) as r:
        (channel,) = await r.shelved(1)
        r.clock.advance(9.9)
        assert not channel.wire.is_closing()
        r.clock.advance(0.1)
        assert (channel.wire.ended_by, r.of().retired) == ("close", {"age": 1})


async def test_a_connection_past_its_age_is_never_leased() -> None:
    """Though the loop was stalled, and no sweep has come by."""
    async with rig(keepalive=FOR_EVER, lifetime=TEN) as r:
        (channel,) = await r.shelved(1)
        r.clock.stall(20)
        assert r.pool.try_lease(A) is None
        assert (channel.retiring, r.of().retired) == ("age", {"age": 1})


async def test_a_leased_connection_ends_when_its_call_does() -> None:
    """It is not cut off, and it is not handed to somebody who waits either."""
    async with rig(limit=1, keepalive=FOR_EVER, lifetime=TEN) as r:
        channel = await r.lease()
        (waiting,) = await r.queue(1)
        r.clock.advance(100)
        assert not channel.wire.is_closing()
        r.pool.release(channel)
        assert channel.wire.ended_by == "close"
        assert (await waiting) is not channel
        assert r.of().retired == {"age": 1}


async def test_age_and_idle_time_are_told_apart() -> None:
    """The earlier one names the reason, whatever the server hinted."""
    async with rig(keepalive=Keepalive(4), lifetime=TEN) as r:
        (channel,) = await r.shelved(1)
        r.clock.advance(4)
        assert channel.retiring == "idle"
        channel = await r.lease()
        channel.idle_hint = 500.0
        r.clock.advance(9)
        r.pool.release(channel)
        assert channel.state == 1
        r.clock.advance(1)
        assert channel.retiring == "age"


async def test_a_hint_still_shortens_the_idle_time() -> None:
    """An age does not turn it off."""
    async with rig(keepalive=Keepalive(30), lifetime=Lifetime(max_age=1000)) as r:
        channel = await r.lease()
        channel.idle_hint = 5.0
        r.pool.release(channel)
        r.clock.advance(4)
        assert channel.retiring == "idle"


async def test_a_connection_serves_so_many_calls() -> None:
    """Then it is closed on release, with the reason `uses`; the peer's own count goes on beside ours."""
    async with rig(lifetime=Lifetime(max_uses=3)) as r:
        first = await r.lease()
        for _ in range(2):
            r.pool.release(first)
            assert await r.lease() is first
        r.pool.release(first)
        assert (first.wire.ended_by, r.of().retired) == ("close", {"uses": 1})
        second = await r.lease()
        second.uses_left = 100
        r.pool.release(second)
        assert await r.lease() is second
        second.uses_left = 0
        r.pool.release(second)
        assert r.of().retired == {"uses": 2}


async def test_a_holder_that_never_ran_is_no_use() -> None:
    """A caller that is cancelled before it had the connection has not used it up."""
    async with rig(limit=1, lifetime=Lifetime(max_uses=2)) as r:
        channel = await r.lease()
        (waiting,) = await r.queue(1)
        r.pool.release(channel)
        waiting.cancel()
        await turns(2)
        assert (channel.uses, channel.wire.is_closing(), r.of().idle) == (1, False, 1)


async def test_without_a_lifetime_nothing_ends() -> None:
    """However old and however much used."""
    async with rig(keepalive=FOR_EVER) as r:
        (channel,) = await r.shelved(1)
        for _ in range(1000):
            assert r.pool.try_lease(A) is channel
            r.pool.release(channel)
        r.clock.advance(10.0**7)
        assert r.pool.try_lease(A) is channel
        r.pool.release(channel)


# expire()


async def test_expire_closes_what_is_idle_and_spares_who_calls() -> None:
    """One host: idle now, leased when it comes back, another host not at all; a new call dials."""
    async with rig() as r:
        idle, leased = await r.shelved(2)
        other = await r.lease(B)
        assert r.pool.try_lease(A) is leased
        assert r.pool.expire("a.example", None) == 2
        assert (idle.wire.ended_by, leased.wire.ended_by, other.retiring) == ("close", "", None)
        r.pool.release(leased)
        assert leased.wire.ended_by == "close"
        assert r.of().retired == {EXPIRED: 2}
        assert await r.lease() not in (idle, leased)
        r.pool.release(other)
        assert r.pool.expire(None, 81) == 0
        assert r.pool.expire(None, 80) == 2


async def test_a_dial_that_was_under_way_serves_nobody() -> None:
    """What it brings is closed; who waits gets another, at its place."""
    async with rig(limit=1, at_once=False) as r:
        first, second = await r.queue(2)
        assert r.pool.expire(None, None) == 0
        old = r.dials.pending[0].succeed()
        await turns(4)
        assert (old.retiring, first.done()) == (EXPIRED, False)
        new = r.dials.pending[0].succeed()
        await turns(2)
        assert (await first, second.done()) == (new, False)


async def test_a_detached_connection_stays() -> None:
    """A WebSocket is its holder's: neither age nor expire touches it."""
    async with rig(lifetime=TEN) as r:
        channel = await r.lease()
        r.pool.detach(channel)
        assert r.pool.expire(None, None) == 0
        r.clock.advance(1000)
        assert (channel.wire.is_closing(), channel.retiring) == (False, None)
        r.pool.close_channel(channel, "error")


async def test_expire_of_a_connector() -> None:
    """Hosts are normalised; bad ones and a closed connector are refused; before the first connect there is nothing."""
    connector = FakeConnector()
    assert connector.expire("a.example") == 0
    (await connector.connect(TO_A)).release()
    assert connector.expire("A.Example.", 443) == 0
    assert connector.expire("A.Example.", 80) == 1
    with pytest.raises(ValueError, match="host"):
        connector.expire("not a host")
    with pytest.raises(TypeError, match="port"):
        connector.expire("a.example", "80")  # type: ignore[arg-type]
    for port in (-1, 0, 65536):
        with pytest.raises(ValueError, match="port must be from 1 to 65535"):
            connector.expire("a.example", port)
    await connector.close()
    with pytest.raises(PoolClosedError, match="closed"):
        connector.expire()


async def test_the_options_can_be_read() -> None:
    """As they were given; and they reach the connections."""
    connector = FakeConnector(max_age=60, max_age_jitter=0.5, max_uses=7, min_idle={"a.example": 2})
    seen = (connector.max_age, connector.max_age_jitter, connector.max_uses, connector.min_idle)
    assert seen == (60, 0.5, 7, {"a.example": 2})
    (await connector.connect(TO_A)).release()
    assert connector.made[0].expires < NEVER
    await connector.close()
