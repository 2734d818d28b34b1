"""The pool's numbers: what is counted, when, and under which name."""

import asyncio

import pytest

from keepwarm.pool.dial_times import DialTimes
from keepwarm.pool.errors import ConnectError, TLSError
from keepwarm.pool.stats import EndpointStats
from tests.support.fake_channels import A, B, rig

pytestmark = pytest.mark.asyncio


async def test_a_connection_is_counted_with_its_age_and_uses_when_it_goes() -> None:
    """Not before; then once, under its reason."""
    async with rig() as r:
        channel = await r.lease()
        r.pool.release(channel)
        for _ in range(3):
            r.clock.advance(2)
            await r.lease()
            r.pool.release(channel)
        assert (r.of().age.count, r.of().uses.count) == (0, 0)
        r.pool.close_channel(channel, "drain")
        await channel.lost.wait()
        assert (r.total.age.count, r.total.age.sum) == (1, pytest.approx(6))
        assert (r.total.uses.count, r.total.uses.sum, r.total.retired) == (1, 4, {"drain": 1})
        assert (r.total.leases, r.total.reused, r.total.reuse_ratio) == (4, 3, 0.75)


async def test_no_ratio_of_no_lease() -> None:
    """Not zero: that would look like a pool that never reuses."""
    assert EndpointStats().reuse_ratio is None


async def test_the_wait_of_those_who_waited_and_were_served() -> None:
    """Not of those who found an idle connection, nor of those who left."""
    async with rig(limit=1) as r:
        channel = await r.lease()
        first, second = await r.queue(2)
        r.clock.advance(3)
        second.cancel()
        await asyncio.sleep(0)
        r.pool.release(channel)
        assert await first is channel
        assert (r.of().wait.count, r.of().wait.sum) == (2, pytest.approx(3))  # the dial was waited for too
        r.pool.release(channel)
        await r.lease()
        assert r.of().wait.count == 2
        r.pool.release(channel)


async def test_dials_and_their_phases() -> None:
    """The whole dial, and TLS by itself; the channel knows how it was made."""
    async with rig(at_once=False) as r:
        asked = r.ask()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        request = r.dials.pending[0].request
        for phase, seconds in (("resolve", 1.0), ("connect", 2.0), ("tls", 4.0)):
            request.phase = phase
            r.clock.advance(seconds)
        r.dials.pending[0].succeed()
        channel = await asked
        times = channel.dial_times
        assert times == DialTimes(1.0, 2.0, None, 4.0, 7.0, r.clock.now())
        assert (r.of().dial.sum, r.of().tls.sum, r.of().tls.count) == (7.0, 4.0, 1)
        r.pool.release(channel)


async def test_a_phase_that_comes_twice_took_the_sum() -> None:
    """TLS that is tried again, without the session that was refused."""
    marks = [("tls", 0.0), ("resolve", 1.0), ("connect", 2.0), ("tls", 4.0), ("connect", 5.0), ("tls", 5.5)]
    assert DialTimes.of(0.0, marks, 7.0) == DialTimes(1.0, 2.5, None, 3.5, 7.0, 7.0)
    assert DialTimes.of(1.0, [], 3.0) == DialTimes(None, None, None, None, 2.0, 3.0)


async def test_failures_by_phase() -> None:
    """By that of the error; of an error that has none, by how far the dial had come."""
    async with rig(at_once=False) as r:
        for error in (
            ConnectError(111, "refused", endpoint=A),
            TLSError(1, "bad certificate", endpoint=A),
            RuntimeError("a connector's own"),
        ):
            asked = r.ask()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            r.dials.pending[0].request.phase = "proxy"
            r.dials.pending[0].fail(error)
            with pytest.raises(type(error)):
                await asked
        assert r.total.failures == {"connect": 1, "tls": 1, "proxy": 1}
        assert (r.total.dial_failures, r.total.dials, r.total.dial.count) == (3, 3, 0)


async def test_the_total_goes_on_when_an_endpoint_is_forgotten() -> None:
    """Histograms as well as counters; what is in use is added once."""
    async with rig() as r:
        for endpoint in (A, A, B):
            channel = await r.lease(endpoint)
            r.clock.advance(1)
            r.pool.close_channel(channel, "drain")
            await channel.lost.wait()
        assert r.pool.stats().endpoints == {}
        held = await r.lease(B)
        total = r.total
        assert (total.dials, total.age.count, total.age.sum, total.dial.count) == (4, 3, 3.0, 4)
        assert (r.of(B).dials, r.of(B).dial.count) == (1, 1)
        r.pool.release(held)
