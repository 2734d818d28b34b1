"""What peers do to idle connections, and what lies unread in the kernel."""

import pytest

from keepwarm.pool import states
from tests.support.fake_channels import A, FakeChannel, Rig, rig
from tests.support.leaks import turns

pytestmark = pytest.mark.asyncio


@pytest.mark.fault("P22")
async def test_fin_on_an_idle_connection() -> None:
    """Removed on the event; the socket is closed and the count goes down."""
    async with rig() as r:
        first, second = await r.shelved(2)
        first.wire.feed_eof()
        assert (r.of().idle, first.wire.is_closing()) == (1, True)
        await turns(1)
        assert (r.of().open, r.total.retired) == (1, {"peer_fin": 1})
        assert r.pool.try_lease(A) is second


@pytest.mark.fault("P23")
async def test_reset_of_an_idle_connection() -> None:
    """The same; nothing reaches the loop's exception handler (see the baseline)."""
    async with rig() as r:
        (channel,) = await r.shelved(1)
        channel.wire.lose(ConnectionResetError(104, "reset"))
        assert (r.pool.open, r.pool.stats().endpoints) == (0, {})
        assert r.total.retired == {"error": 1}


async def test_bytes_on_an_idle_connection() -> None:
    """Law 6: they belong to no request, poison it, and are counted."""
    async with rig() as r:
        (channel,) = await r.shelved(1)
        channel.wire.feed(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        assert (r.of().idle, channel.wire.is_closing()) == (0, True)
        await turns(1)
        assert r.total.retired == {"stray_bytes": 1}


@pytest.mark.parametrize(("kernel", "reason"), [("fin", "peer_fin"), ("bytes", "stray_bytes")])
async def test_what_the_loop_has_not_read_yet(kernel: str, reason: str) -> None:
    """A FIN or a byte that still lies in the kernel is seen at the checkout; the next one is taken."""
    async with rig() as r:
        first, second, third = await r.shelved(3)
        second.kernel = third.kernel = kernel
        assert r.pool.try_lease(A) is first
        await turns(1)
        assert r.total.retired == {reason: 2}
        assert r.of().open == 1


async def test_fin_on_a_leased_connection() -> None:
    """It is the holder's to notice; on release the connection is not kept."""
    async with rig() as r:
        channel = await r.lease()
        channel.retiring = "peer_fin"
        r.pool.release(channel)
        assert channel.state == states.CLOSING
        await turns(1)
        assert (r.pool.open, r.total.retired) == (0, {"peer_fin": 1})


async def test_a_leased_connection_is_lost() -> None:
    """The slot comes back with the transport, whatever the holder does later."""
    async with rig(limit=1) as r:
        channel = await r.lease()
        channel.wire.lose()
        assert r.pool.open == 0
        r.pool.close_channel(channel, "error")
        assert (r.pool.open, r.total.retired) == (0, {"peer_fin": 1})
        assert await r.lease() is not channel


async def unread_tls(r: Rig, count: int = 1) -> list[FakeChannel]:
    channels = await r.shelved(count)
    for channel in channels:
        channel.is_tls, channel.kernel = True, "bytes"
    return channels


async def test_a_session_ticket_is_read_first() -> None:
    """No reason to drop the connection: one turn of the loop reads it, and the caller has its connection."""
    async with rig() as r:
        (channel,) = await unread_tls(r)
        assert r.pool.try_lease(A) is None
        assert channel.state == states.IDLE
        asking = r.ask()
        await turns(1)
        channel.kernel = ""
        assert await asking is channel
        assert len(r.dials.made) == 1


async def test_an_alert_is_read_first() -> None:
    """The peer has said goodbye: the connection is dropped and another one dialled."""
    async with rig() as r:
        (channel,) = await unread_tls(r)
        asking = r.ask()
        await turns(1)
        channel.wire.feed_eof()
        assert await asking is not channel
        assert r.total.retired == {"peer_fin": 1}


async def test_bytes_that_stay_unread() -> None:
    """After its turn a connection with unread bytes is not trusted."""
    async with rig() as r:
        (channel,) = await unread_tls(r)
        assert await r.ask() is not channel
        assert r.total.retired == {"stray_bytes": 1}


@pytest.mark.fault("P02")
async def test_reading_first_does_not_cost_the_place() -> None:
    """A caller who waits for the loop to read keeps its turn: whoever comes later is served later."""
    async with rig(limit=1, at_once=False) as r:
        dialled = r.ask()
        await turns(2)
        r.dials.pending[0].succeed()
        channel = await dialled
        assert isinstance(channel, FakeChannel)
        r.pool.release(channel)
        channel.is_tls, channel.kernel = True, "bytes"
        first = r.ask()
        await turns(1)
        second = r.ask()
        await turns(5)  # the bytes stay: dropped, and one of the two gets the only dial
        r.dials.pending[0].succeed()
        await turns(2)
        assert (first.done(), second.done()) == (True, False)
        r.pool.release(first.result())
        assert await second is first.result()


async def test_cancelled_while_the_loop_reads() -> None:
    """The connection goes back, as new as it was."""
    async with rig() as r:
        (channel,) = await unread_tls(r)
        uses = channel.uses
        asking = r.ask()
        await turns(1)
        assert channel.state == states.LEASED
        asking.cancel()
        await turns(1)
        assert (asking.cancelled(), channel.state, channel.uses) == (True, states.IDLE, uses)


async def test_an_older_one_that_is_quiet_is_taken() -> None:
    """Unread bytes on the newest do not hide the others, and their order stays."""
    async with rig() as r:
        channels = await r.shelved(4)
        for channel in channels[2:]:
            channel.is_tls, channel.kernel = True, "bytes"
        assert r.pool.try_lease(A) is channels[1]
        for channel in channels[2:]:
            channel.kernel = ""
        assert [r.pool.try_lease(A) for _ in range(3)] == [channels[3], channels[2], channels[0]]
