"""What a caller is told who gets no connection: the numbers, and who holds the connections."""

import asyncio
import gc
import pickle
import weakref

import pytest

from keepwarm.client.timeout import ClientTimeout
from keepwarm.pool.channel import Channel
from keepwarm.pool.errors import PoolFullError, PoolTimeoutError
from keepwarm.pool.holders import Holders
from keepwarm.pool.leak_finder import LeakFinder
from keepwarm.pool.shortage import Holder, Shortage
from tests.support.calling import fetch, session
from tests.support.fake_channels import A, B, FakeChannel, Rig, rig
from tests.support.http1 import ok
from tests.support.leaks import turns
from tests.support.server import Peer, ScriptedServer

pytestmark = pytest.mark.asyncio


async def refused(r: Rig) -> Shortage:
    """The numbers that the next caller of A is told."""
    with pytest.raises(PoolFullError) as caught:
        await r.pool.acquire(A)
    assert caught.value.shortage is not None
    return caught.value.shortage


async def test_every_number() -> None:
    """Each state of a connection has its count, and the caller who waits longest its age."""
    async with rig(limit=6, max_waiting=1, at_once=False) as r:
        tasks = await r.queue(3)
        for dial in r.dials.pending:
            dial.succeed()
        await turns(3)
        kept, detached, closing = [task.result() for task in tasks]
        r.clock.advance(1)
        await r.queue(4)
        assert isinstance(closing, FakeChannel)
        closing.wire.blocked = True
        closing.wire.write(b"unread by the peer")
        r.pool.close_channel(closing, "error")
        r.pool.detach(detached)
        r.clock.advance(0.2)
        short = await refused(r)
        assert (short.limit, short.limit_total, short.waiting) == (6, None, 4)
        assert (short.leased, short.idle, short.dialling, short.detached, short.closing) == (1, 0, 3, 1, 1)
        assert short.oldest_wait == pytest.approx(0.2)
        assert short.holders == (Holder(A, 1, pytest.approx(1.2)),)  # type: ignore[arg-type]
        stats = r.of()
        assert stats.open == short.leased + short.idle + short.dialling + short.detached + short.closing
        assert kept.state == 2


async def test_the_oldest_holders() -> None:
    """Three of many, the oldest first, at this endpoint; who has let go of one is not among them."""
    async with rig(limit=8, max_waiting=1) as r:
        await r.lease(B)
        held = []
        for _ in range(8):
            held.append(await r.lease())
            r.clock.advance(1)
        await r.queue(1)
        expected = [channel.number for channel in held]
        for channel in (held[1], held[0], held[2], held[5], held[3]):
            short = await refused(r)
            assert [holder.connection for holder in short.holders] == expected[:3]
            assert {holder.endpoint for holder in short.holders} == {A}
            assert [holder.seconds for holder in short.holders] == sorted(
                (h.seconds for h in short.holders), reverse=True
            )
            r.pool.release(channel)
            await r.queue(1)
            expected.remove(channel.number)
            expected.append(channel.number)  # leased again, by who waited
            r.clock.advance(1)
        assert [holder.connection for holder in (await refused(r)).holders] == expected[:3]


async def test_looking_is_rare() -> None:
    """A storm of refusals looks at the channels once for many leases that end, not once for each refusal."""
    looks = 0

    class Counting(list[Channel]):
        def __iter__(self):  # type: ignore[no-untyped-def]
            nonlocal looks
            looks += 1
            return super().__iter__()

    async with rig(limit=50) as r:
        channels = Counting([await r.lease() for _ in range(50)])
        holders = Holders()
        for _ in range(47):
            for _ in range(20):
                assert len(holders.oldest(channels, 50, r.clock.now(), None)) == 3
            channel = channels.pop(0)
            r.pool.release(channel)
            r.clock.advance(0.1)
            channels.append(await r.lease())
        assert looks == 1
        assert len(holders.oldest(channels, 50, r.clock.now(), None)) == 3
        for _ in range(3):
            r.pool.release(channels.pop(0))
            r.clock.advance(0.1)
            channels.append(await r.lease())
        assert len(holders.oldest(channels, 50, r.clock.now(), None)) == 3
        assert looks == 2


async def test_a_connection_that_is_over_is_not_kept() -> None:
    """Whoever was told of it does not keep it alive."""
    async with rig(limit=1, max_waiting=1) as r:
        channel = await r.lease()
        await r.queue(1)
        short = await refused(r)
        gone = weakref.ref(channel)
        r.pool.close_channel(channel, "error", politely=False)
        await turns(3)
        del channel
        r.dials.made.clear()
        gc.collect()
        assert (gone(), len(short.holders)) == (None, 1)


async def test_who_holds_the_total() -> None:
    """An endpoint without any connection is told of the others' holders; those who are out of time together cost one
    look at the channels."""
    async with rig(total=2, pool_timeout=1) as r:
        await r.lease(B)
        r.clock.advance(3)
        await r.lease(B)
        tasks = await r.queue(3)
        r.clock.advance(1.01)
        await turns(1)
        for task in tasks:
            error = task.exception()
            assert isinstance(error, PoolTimeoutError)
            assert error.shortage is not None
            assert [holder.endpoint for holder in error.shortage.holders] == [B, B]
            assert [holder.seconds for holder in error.shortage.holders] == [pytest.approx(4), pytest.approx(1)]
            assert (error.shortage.limit, error.shortage.limit_total) == (None, 2)


async def test_without_a_total_limit_others_do_not_matter() -> None:
    """Nothing is leased here, and that is what is said."""
    async with rig(limit=1, max_waiting=1) as r:
        await r.lease(B)
        channel = await r.lease()
        r.pool.detach(channel)
        await r.queue(1)
        short = await refused(r)
        assert short.holders == ()
        assert "nothing is leased" in str(short)


async def test_the_stack_of_a_holder() -> None:
    """Only while leaks are looked for; then the text says where the oldest took its connection."""
    async with rig(limit=1, max_waiting=1) as r:
        assert (await _with_a_holder(r)).stack is None
    async with rig(limit=1, max_waiting=1) as r:
        r.pool.find_leaks(LeakFinder(r.clock, 60.0))
        short = await _with_a_holder(r)
        assert short.stack is not None
        assert "_with_a_holder" in short.stack
        with pytest.raises(PoolFullError, match=r"(?s)taken at\n.*test_shortage\.py") as caught:
            await r.pool.acquire(A)
        copy = pickle.loads(pickle.dumps(caught.value))
        assert (copy.shortage, str(copy)) == (caught.value.shortage, str(caught.value))


async def _with_a_holder(r: Rig) -> Shortage:
    await r.lease()
    await r.queue(1)
    return await refused(r)


async def test_what_a_holder_does() -> None:
    """Over HTTP: the method and the path, and no query, for there may be a secret in it."""
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            await release.wait()
            peer.send(ok(nonce=request.nonce))

    async with ScriptedServer(script) as server, session(limit=1) as calls:
        holder = asyncio.create_task(fetch(calls, server.url("/reports/7?token=secret")))
        await server.until_requests(1)
        with pytest.raises(PoolTimeoutError) as caught:
            await calls.get(server.url("/x"), timeout=ClientTimeout(pool=0.02))
        release.set()
        await holder
    short = caught.value.shortage
    assert short is not None
    assert [one.purpose for one in short.holders] == ["GET /reports/7"]
    assert "s (GET /reports/7)" in str(caught.value)
    assert "secret" not in str(caught.value)
