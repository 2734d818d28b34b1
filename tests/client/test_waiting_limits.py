"""Which time limit ends a call that waits for a connection: every combination, on a clock that is moved by hand."""

import asyncio
from itertools import product

import pytest

from keepwarm.client.request import ClientRequest
from keepwarm.client.sending import send
from keepwarm.client.timeout import ClientTimeout
from keepwarm.pool.clock import NEVER
from keepwarm.pool.errors import ClientTimeoutError, ConnectTimeoutError, PoolTimeoutError
from keepwarm.pool.shedding import Shedding
from tests.support.fake_channels import Rig, rig
from tests.support.leaks import turns

pytestmark = pytest.mark.asyncio

URL = "http://a.example/"
AT_ALL = (None, 2.0)
COMBINATIONS = list(product(AT_ALL, (None, 1.0, 3.0), (None, 0.7, 4.0), (None, 0.5, 5.0)))


def call(r: Rig, timeout: ClientTimeout) -> "asyncio.Task[object]":
    """A call of a session, as far as the pool can tell."""
    deadline = NEVER if timeout.total is None else r.clock.now() + timeout.total
    return r.loop.create_task(send(r.pool, ClientRequest("GET", URL), timeout, deadline, may_replay=True))


async def ends_after(r: Rig, task: "asyncio.Task[object]", most: float = 9.0) -> float | None:
    """At which tenth of a second the call has ended; None if it goes on."""
    await turns(2)
    began = r.clock.now()
    for tenth in range(1, round(most * 10) + 1):
        r.clock.advance(began + tenth / 10 + 0.006 - r.clock.now())
        await turns(4)
        if task.done():
            return tenth / 10
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return None


@pytest.mark.fault("P46")
@pytest.mark.parametrize(("own", "pool", "connect", "total"), COMBINATIONS)
async def test_in_the_queue(own: float | None, pool: float | None, connect: float | None, total: float | None) -> None:
    """The call's `pool`, else the connector's pool_timeout; `connect` and `total` besides: the first of them ends the
    wait, with PoolTimeoutError, and is named."""
    limits = [limit for limit in (own if pool is None else pool, connect, total) if limit is not None]
    async with rig(limit=1, pool_timeout=own) as r:
        await r.lease()
        task = call(r, ClientTimeout(total, pool=pool, connect=connect))
        assert await ends_after(r, task) == (min(limits) if limits else None)
        if limits:
            error = task.exception()
            assert type(error) is PoolTimeoutError
            assert error.shortage is not None
            waited = min(limits)
            name = "the call's time limit"
            if waited not in (connect, total):
                name = "pool_timeout" if pool is None else "the pool limit of the call's timeout"
            assert f"within {waited:.3g} s: raise limit or {name}, or" in str(error)
        assert (r.of().waiting, r.clock.timers) == (0, 0)


@pytest.mark.parametrize(("own", "pool", "connect", "total"), COMBINATIONS)
async def test_in_a_dial(own: float | None, pool: float | None, connect: float | None, total: float | None) -> None:
    """What bounds the wait for the limit does not bound a dial: conn_timeout, `connect` and `total` do."""
    limits = [limit for limit in (6.0, connect, total) if limit is not None]
    async with rig(limit=1, pool_timeout=own, conn_timeout=6.0, at_once=False) as r:
        task = call(r, ClientTimeout(total, pool=pool, connect=connect))
        assert await ends_after(r, task) == min(limits)
        error = task.exception()
        assert isinstance(error, ClientTimeoutError)
        assert not isinstance(error, PoolTimeoutError)
        assert isinstance(error, ConnectTimeoutError) is (min(limits) == 6.0)


@pytest.mark.parametrize(
    ("timeout", "is_refused"), [(ClientTimeout(None, connect=0.65), False), (ClientTimeout(0.65), True)]
)
async def test_the_answer_needs_time_as_well(timeout: ClientTimeout, is_refused: bool) -> None:
    """With shedding `connect` is for the connection alone, and `total` for the answer too."""
    async with rig(limit=1, shed=Shedding(headroom=0)) as r:
        channel = await r.lease()
        await r.queue(1)
        for _ in range(20):
            r.clock.advance(0.1)
            await r.queue(1)
            r.pool.release(channel)
        await r.queue(4)
        # Five wait: the connection would come in 0.6 s, and each has it for 0.1 s.
        task = call(r, timeout)
        await turns(2)
        assert task.done() is is_refused
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
