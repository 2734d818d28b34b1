"""How long the pool keeps an idle connection."""

import pytest

from keepwarm.pool import states
from keepwarm.pool.keepalive import HINT_CAP, Keepalive
from tests.support.fake_channels import A, rig
from tests.support.leaks import turns

pytestmark = pytest.mark.asyncio

EPSILON = 0.001


@pytest.mark.fault("P30")
@pytest.mark.parametrize(("idle_for", "alive"), [(30 - EPSILON, True), (30, False), (30 + EPSILON, False)])
async def test_expiry_at_the_checkout(idle_for: float, alive: bool) -> None:
    """Reused until the timeout, not at it; even if the timer has not fired yet."""
    async with rig(keepalive=Keepalive(30)) as r:
        (channel,) = await r.shelved(1)
        r.clock.scheduler.time += idle_for - 0.01
        assert r.pool.try_lease(A) is (channel if alive else None)
        assert (channel.wire.ended_by, channel.retiring) == (("", None) if alive else ("close", "idle"))


@pytest.mark.fault("P30")
async def test_expiry_without_traffic() -> None:
    """The timer closes what is idle for too long; nobody has to come by."""
    async with rig(keepalive=Keepalive(30)) as r:
        (channel,) = await r.shelved(1)
        assert r.clock.timers == 1
        r.clock.advance(30 - 0.01 - EPSILON)
        assert r.of().idle == 1
        r.clock.advance(EPSILON)
        assert (r.of().idle, r.of().closing, channel.wire.ended_by) == (0, 1, "close")
        await turns(1)
        assert r.total.retired == {"idle": 1}


@pytest.mark.fault("P30")
@pytest.mark.parametrize("forever", [0, None])
async def test_no_expiry(forever: float | None) -> None:
    """0 and None: for ever, and no timer for it."""
    async with rig(keepalive=Keepalive(forever)) as r:
        (channel,) = await r.shelved(1)
        r.clock.advance(1e7)
        assert r.clock.timers == 0
        assert r.pool.try_lease(A) is channel


@pytest.mark.fault("P30")
async def test_a_lease_does_not_expire() -> None:
    """Idle time is counted from the release."""
    async with rig(keepalive=Keepalive(30)) as r:
        (channel,) = await r.shelved(1)
        assert r.pool.try_lease(A) is channel
        r.clock.advance(500)
        assert channel.state == states.LEASED
        r.pool.release(channel)
        r.clock.advance(29)
        assert r.pool.try_lease(A) is channel


@pytest.mark.fault("P31")
@pytest.mark.parametrize(("hint", "lives"), [(5, 4), (1, 0.5), (90, 30), (HINT_CAP + 1, 30)])
async def test_the_servers_hint(hint: float, lives: float) -> None:
    """Idle life is the smaller of our own and the server's less a margin; absurd hints do not count."""
    async with rig(keepalive=Keepalive(30)) as r:
        channel = await r.lease()
        channel.idle_hint = hint
        r.pool.release(channel)
        r.clock.advance(lives - EPSILON)
        assert channel.state == states.IDLE
        r.clock.advance(EPSILON + 0.005)
        assert channel.state == states.CLOSING


@pytest.mark.fault("P31")
async def test_the_servers_count() -> None:
    """ "max=2" is two more uses, even if the server never says it again."""
    async with rig() as r:
        channel = await r.lease()
        channel.uses_left = 2
        for _ in range(2):
            r.pool.release(channel)
            assert r.pool.try_lease(A) is channel
        r.pool.release(channel)
        assert (channel.state, channel.retiring) == (states.CLOSING, "uses")


@pytest.mark.fault("P31")
async def test_the_servers_count_renewed() -> None:
    """What the server says last counts; 0 is the end at once."""
    async with rig() as r:
        channel = await r.lease()
        for left in (3, 1, 5):
            channel.uses_left = left
            r.pool.release(channel)
            assert r.pool.try_lease(A) is channel
        channel.uses_left = 0
        r.pool.release(channel)
        assert channel.retiring == "uses"


@pytest.mark.fault("R15")
async def test_a_thousand_idle_one_timer() -> None:
    """Deadlines of idle connections share one timer."""
    async with rig() as r:
        await r.shelved(1000)
        assert (r.of().idle, r.clock.timers) == (1000, 1)


@pytest.mark.fault("R16")
async def test_idle_connections_after_a_stall() -> None:
    """After half a minute of standstill the FINs are read first: they are the peer's doing, not an expiry."""
    async with rig(keepalive=Keepalive(20)) as r:
        channels = await r.shelved(3)
        r.clock.stall(30)
        assert [channel.state for channel in channels] == [states.IDLE] * 3
        channels[0].wire.feed_eof()
        r.clock.advance(0.005)
        assert [channel.retiring for channel in channels] == ["peer_fin", "idle", "idle"]
