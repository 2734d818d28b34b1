"""Connection, the lease, row by row (SURFACE J-01 to J-09)."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from keepwarm.pool import states
from keepwarm.pool.connection import Connection
from keepwarm.pool.errors import ClientConnectionError
from tests.support.fake_channels import A
from tests.support.fake_connector import TO_A, FakeConnector
from tests.support.leaks import turns

pytestmark = pytest.mark.asyncio

ENDS = pytest.mark.parametrize(
    ("end", "how"),
    [(Connection.close, "closed"), (Connection.release, "released"), (Connection.detach, "detached")],
    ids=["close", "release", "detach"],
)


@pytest_asyncio.fixture
async def connector() -> AsyncIterator[FakeConnector]:
    async with FakeConnector(limit=2) as made:
        yield made


async def test_j01_comes_from_connect(connector: FakeConnector) -> None:
    """connect() gives a Connection that is open, on the channel that the connector made."""
    connection = await connector.connect(TO_A)
    assert type(connection) is Connection
    assert not connection.closed
    assert (connection.endpoint, connection.channel) == (A, connector.made[0])
    assert connection.transport is connector.made[0].wire
    connection.close()


@ENDS
async def test_j02_closed(connector: FakeConnector, end: Callable[[Connection], None], how: str) -> None:
    """True once closed, released or detached; read-only."""
    connection = await connector.connect(TO_A)
    end(connection)
    assert connection.closed
    with pytest.raises(AttributeError):
        connection.closed = False  # type: ignore[misc]


async def test_j02_closed_by_the_peer(connector: FakeConnector) -> None:
    """Or lost: the lease is over, and says so."""
    connection = await connector.connect(TO_A)
    connector.made[0].wire.lose()
    assert connection.closed
    with pytest.raises(ClientConnectionError, match=r"was lost: the lease is over, take a new one"):
        _ = connection.transport
    connection.release()
    connection.close()
    assert connector.stats().total.open == 0


async def test_j02_closed_by_the_pool(connector: FakeConnector) -> None:
    """close() of the connector ends the leases too."""
    connection = await connector.connect(TO_A)
    connector.close()
    assert connection.closed
    connection.release()


async def test_j03_loop(connector: FakeConnector) -> None:
    """The loop that it belongs to; read-only."""
    connection = await connector.connect(TO_A)
    assert connection.loop is asyncio.get_running_loop()
    with pytest.raises(AttributeError):
        connection.loop = None  # type: ignore[misc, assignment]
    connection.close()


async def test_j04_close(connector: FakeConnector) -> None:
    """The socket is closed at once; a second time does nothing."""
    connection = await connector.connect(TO_A)
    connection.close()
    connection.close()
    assert connector.made[0].wire.ended_by == "abort"
    await turns(1)
    assert (connector.stats().total.open, connector.stats().total.retired) == (0, {"error": 1})


async def test_j05_release(connector: FakeConnector) -> None:
    """Back to the pool, to be used again; a second time does nothing, even when somebody else has it by then."""
    first = await connector.connect(TO_A)
    first.release()
    first.release()
    assert connector.stats().total.idle == 1
    second = await connector.connect(TO_A)
    assert second.channel is connector.made[0]
    first.release()
    first.close()
    assert not second.closed
    assert (connector.stats().total.leased, len(connector.made)) == (1, 1)
    second.release()


@pytest.mark.fault("P34")
async def test_j06_detach(connector: FakeConnector) -> None:
    """Neither close nor release touches it; it stays counted until its transport is lost."""
    connection = await connector.connect(TO_A)
    connection.detach()
    connection.close()
    connection.release()
    connection.detach()
    wire = connector.made[0].wire
    assert not wire.is_closing()
    assert connection.transport is wire  # whoever detaches it goes on using it
    assert (connector.stats().total.detached, connector.stats().total.open) == (1, 1)
    wire.close()
    await turns(1)
    assert connector.stats().total.open == 0


@pytest.mark.fault("P34")
@ENDS
async def test_any_end_after_any_other(connector: FakeConnector, end: Callable[[Connection], None], how: str) -> None:
    """The first one counts; one slot is freed, no error."""
    for later in (Connection.close, Connection.release, Connection.detach):
        connection = await connector.connect(TO_A)
        channel = connection.channel
        end(connection)
        after = channel.state
        later(connection)
        assert channel.state == after
        channel.abort_transport()
        await turns(1)
        assert connector.stats().total.open == 0
        assert repr(connection) == f"<Connection http://a.example:80 {how}>"


async def test_j07_reader_and_writer(connector: FakeConnector) -> None:
    """Raw bytes, both ways; a connection that was used like this is not pooled again."""
    connection = await connector.connect(TO_A)
    wire = connector.made[0].wire
    reader = connection.reader
    assert connection.reader is reader
    wire.feed(b"220 hello\r\n")
    assert await reader.readline() == b"220 hello\r\n"
    connection.writer.write(b"QUIT\r\n")
    await connection.writer.drain()
    assert wire.written == b"QUIT\r\n"
    wire.feed_eof()
    assert await reader.read() == b""
    connection.release()
    await turns(1)
    assert (connector.stats().total.open, connector.stats().total.idle) == (0, 0)


async def test_j07_a_reader_learns_of_the_loss(connector: FakeConnector) -> None:
    """What ended the connection is raised from the read that waits."""
    connection = await connector.connect(TO_A)
    reading = asyncio.get_running_loop().create_task(connection.reader.read())
    await turns(1)
    connector.made[0].wire.lose(ConnectionResetError(104, "reset"))
    with pytest.raises(ConnectionResetError):
        await reading


@ENDS
async def test_j07_after_the_end(connector: FakeConnector, end: Callable[[Connection], None], how: str) -> None:
    """Nothing to read from or write to, but for the one who has detached it."""
    connection = await connector.connect(TO_A)
    channel = connection.channel
    end(connection)
    for name in ("channel", "reader", "writer", "transport"):
        if how == "detached":
            assert getattr(connection, name) is not None
            continue
        with pytest.raises(ClientConnectionError, match=rf"http://a\.example:80 was {how}: the lease is over"):
            getattr(connection, name)
    channel.abort_transport()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.fault("L01")
@pytest.mark.parametrize("debug", [False, True])
async def test_j08_dropped(connector: FakeConnector, loop: asyncio.AbstractEventLoop, debug: bool) -> None:
    """A lease that nobody ended: closed at once, a ResourceWarning, and the loop's handler hears of it."""
    heard: list[dict[str, Any]] = []
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: heard.append(context))
    loop.set_debug(debug)
    try:
        connection: Connection | None = await connector.connect(TO_A)
        with pytest.warns(ResourceWarning, match=r"^Unclosed connection <Connection http://a\.example:80 open>$"):
            del connection
            gc.collect()
    finally:
        loop.set_debug(False)
        loop.set_exception_handler(before)
    assert connector.made[0].wire.ended_by == "abort"
    assert [context["message"] for context in heard] == ["Unclosed connection"]
    assert isinstance(heard[0]["client_connection"], Connection)
    assert ("source_traceback" in heard[0]) is debug
    heard.clear()
    await turns(1)
    assert connector.stats().total.open == 0


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.fault("L01")
async def test_j08_collected_by_another_thread(
    connector: FakeConnector, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transport is touched on the loop's own thread only."""
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: None)
    threads: list[int] = []
    try:
        held = [await connector.connect(TO_A)]
        channel = connector.made[0]
        monkeypatch.setattr(channel.wire, "abort", lambda: threads.append(threading.get_ident()))
        await loop.run_in_executor(None, held.clear)
        await turns(2)
    finally:
        loop.set_exception_handler(before)
    assert (threads, channel.state) == ([threading.get_ident()], states.CLOSING)
    channel.wire.close()


@ENDS
async def test_j08_dropped_after_its_end(connector: FakeConnector, end: Callable[[Connection], None], how: str) -> None:
    """No warning (warnings are errors here), and the channel stays as it was."""
    connection = await connector.connect(TO_A)
    channel = connection.channel
    end(connection)
    after = channel.state
    del connection
    gc.collect()
    assert channel.state == after
    channel.abort_transport()


async def test_j08_dropped_when_it_is_over(connector: FakeConnector) -> None:
    """The peer hung up, or the connector was closed: nothing is left to warn about."""
    connection = await connector.connect(TO_A)
    connector.made[0].wire.lose()
    del connection
    other = await connector.connect(TO_A)
    connector.close()
    del other
    gc.collect()


@ENDS
async def test_j09_repr(connector: FakeConnector, end: Callable[[Connection], None], how: str) -> None:
    """Shows the endpoint, and how it stands."""
    connection = await connector.connect(TO_A)
    channel = connection.channel
    assert repr(connection) == "<Connection http://a.example:80 open>"
    end(connection)
    assert repr(connection) == f"<Connection http://a.example:80 {how}>"
    channel.abort_transport()


async def test_with(connector: FakeConnector) -> None:
    """Left well: released. Left with an exception: closed."""
    with await connector.connect(TO_A) as connection:
        channel = connection.channel
    assert channel.state == states.IDLE
    with pytest.raises(ValueError, match="boom"), await connector.connect(TO_A):
        raise ValueError("boom")
    assert channel.state == states.CLOSING
