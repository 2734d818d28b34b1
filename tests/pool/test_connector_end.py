"""The end of a connector, and where it may be used (SURFACE F-08, F-12, F-17; A-01 to A-03)."""

import asyncio
import gc
import threading
import weakref
from typing import Any

import pytest
import uvloop

from keepwarm.pool import states
from keepwarm.pool.connector import BaseConnector
from keepwarm.pool.errors import PoolClosedError
from tests.support.fake_connector import TO_A, TO_B, FakeConnector
from tests.support.leaks import turns

pytestmark = pytest.mark.asyncio


def test_a01_no_loop_is_needed() -> None:
    """Made and closed where no loop runs, in a thread that never had one."""
    connector = BaseConnector(limit=3)
    assert (connector.loop, connector.stats().total.open) == (None, 0)
    connector.close()
    assert connector.closed


async def test_f12_close_closes_everything() -> None:
    """Idle and leased, at call time; those who wait are told; no connect afterwards."""
    connector = FakeConnector(limit=1)
    leased = await connector.connect(TO_A)
    (await connector.connect(TO_B)).release()
    waiting = asyncio.get_running_loop().create_task(connector.connect(TO_A))
    await turns(2)
    closing = connector.close()
    assert (connector.closed, connector.released) == (True, 1)
    assert [channel.wire.ended_by for channel in connector.made] == ["abort", "close"]
    with pytest.raises(PoolClosedError):
        await waiting
    assert await closing is None  # type: ignore[func-returns-value]
    assert (connector.stats().total.open, leased.closed) == (0, True)
    with pytest.raises(PoolClosedError, match="closed"):
        await connector.connect(TO_A)


@pytest.mark.fault("L05")
async def test_f12_close_twice_at_once_and_cancelled() -> None:
    """Idempotent; nobody has to await it; a cancelled wait leaves the closing done."""
    connector = FakeConnector()
    (await connector.connect(TO_A)).release()
    connector.close()
    one, two, three = connector.close(), connector.close(), connector.close()

    async def wait(closing: Any) -> None:
        await closing

    tasks = [asyncio.get_running_loop().create_task(wait(closing)) for closing in (one, two, three)]
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [task.cancelled() for task in tasks] == [False, True, False]
    await one
    assert (connector.stats().total.open, connector.released) == (0, 1)


@pytest.mark.fault("L05")
async def test_f12_cancelled_in_the_middle() -> None:
    """The socket takes its time: the cancelled wait ends, the socket goes all the same."""
    connector = FakeConnector()
    (await connector.connect(TO_A)).release()
    wire = connector.made[0].wire
    wire.blocked = True
    wire.write(b"unread")

    async def close() -> None:
        await connector.close()

    closing = asyncio.get_running_loop().create_task(close())
    await turns(2)
    assert not closing.done()
    closing.cancel()
    await turns(2)
    assert closing.cancelled()
    wire.drain()
    await connector.close()
    assert connector.stats().total.open == 0


def test_f12_close_before_the_first_connect() -> None:
    """Nothing to close, on no loop; awaiting it does not wait."""
    connector = FakeConnector()
    closing = connector.close()

    async def wait() -> None:
        await closing

    asyncio.run(wait())
    assert connector.closed


@pytest.mark.parametrize("with_async", [False, True])
async def test_context_managers(with_async: bool) -> None:
    """`with` closes, `async with` waits for it as well (A-02)."""
    connector = FakeConnector()
    if with_async:
        async with connector as entered:
            (await connector.connect(TO_A)).release()
        assert connector.stats().total.open == 0
    else:
        with connector as entered:
            (await connector.connect(TO_A)).release()
    assert entered is connector
    assert connector.closed


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.fault("L01")
@pytest.mark.parametrize("connections", [1, 2])
async def test_f17_unclosed(loop: asyncio.AbstractEventLoop, connections: int) -> None:
    """Dropped with connections: a ResourceWarning, the loop's handler hears how many, and they are closed."""
    heard: list[dict[str, Any]] = []
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: heard.append(context))
    try:
        connector = FakeConnector()
        for connection in [await connector.connect(to) for to in (TO_A, TO_B)]:
            connection.release()
        made, gone = connector.made, weakref.ref(connector)
        if connections == 1:
            made[0].wire.lose()
        with pytest.warns(
            ResourceWarning, match=r"^Unclosed connector <FakeConnector .*> with \d connections: await its close\(\), "
        ):
            del connector, connection
            gc.collect()
    finally:
        loop.set_exception_handler(before)
    assert [(context["message"], context["connections"]) for context in heard] == [("Unclosed connector", connections)]
    heard.clear()
    assert gone() is None
    await turns(2)
    assert all(channel.state == states.CLOSED for channel in made)


async def test_f17_nothing_to_warn_about() -> None:
    """Never used, used and empty again, or closed: goes without a word."""
    FakeConnector()
    connector = FakeConnector(force_close=True)
    (await connector.connect(TO_A)).release()
    await turns(1)
    resources = connector.made[0]
    del connector
    gc.collect()
    assert resources.state == states.CLOSED


@pytest.mark.fault("L03")
def test_another_loop() -> None:
    """Used on one loop, then on a second one: refused before any I/O, with what to do."""
    connector = FakeConnector()
    loops = [asyncio.new_event_loop(), uvloop.new_event_loop()]

    async def use() -> None:
        (await connector.connect(TO_A)).release()

    try:
        loops[0].run_until_complete(use())
        with pytest.raises(RuntimeError, match=r"use one connector .* for each event loop and thread"):
            loops[1].run_until_complete(use())
        assert len(connector.requests) == 1

        async def close() -> None:
            await connector.close()

        loops[0].run_until_complete(close())
    finally:
        for loop in loops:
            loop.close()


@pytest.mark.fault("L03")
async def test_another_loop_than_the_given_one() -> None:
    """The loop that was given counts from the beginning."""
    other = asyncio.new_event_loop()
    try:
        connector = FakeConnector(loop=other)
        with pytest.raises(RuntimeError, match="belongs to"):
            await connector.connect(TO_A)
        assert connector.requests == []
    finally:
        other.close()


@pytest.mark.fault("L04")
async def test_another_thread() -> None:
    """With a loop of its own or without one: a clear error, and nothing happens to the pool."""
    async with FakeConnector() as connector:
        (await connector.connect(TO_A)).release()
        errors: list[BaseException] = []

        def use() -> None:
            try:
                asyncio.run(connector.connect(TO_A))
            except RuntimeError as exc:
                errors.append(exc)
            try:
                connector.close()
            except RuntimeError as exc:
                errors.append(exc)

        thread = threading.Thread(target=use)
        thread.start()
        await asyncio.get_running_loop().run_in_executor(None, thread.join)
        assert ["use one connector" in str(errors[0]), "call_soon_threadsafe" in str(errors[1])] == [True, True]
        assert (connector.closed, connector.stats().total.idle, len(connector.requests)) == (False, 1, 1)


def test_numbers_outlive_the_loop() -> None:
    """A connector that is closed after its loop has nothing open, and its counters do not go back."""
    loop = asyncio.new_event_loop()
    connector = FakeConnector()

    async def use() -> None:
        (await connector.connect(TO_A)).release()

    loop.run_until_complete(use())
    before = connector.stats().total
    loop.close()
    connector.close()
    after = connector.stats().total
    assert (before.open, before.dials, before.leases) == (1, 1, 1)
    assert (after.open, after.dials, after.leases, connector.stats().endpoints) == (0, 1, 1, {})
