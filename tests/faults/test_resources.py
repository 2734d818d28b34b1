"""What keepwarm takes of the machine, and gives back (FAULTS R04, R05, R07, R13, R15)."""

import asyncio
import gc
import logging
import os
import resource
import socket
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import keepwarm.client
import keepwarm.pool
from keepwarm.client.h1_channel import H1Channel
from keepwarm.client.session import ClientSession
from keepwarm.client.url import parse_target
from keepwarm.pool.connector import BaseConnector
from keepwarm.pool.dial import DialRequest
from keepwarm.pool.endpoint_pool import EndpointPool
from keepwarm.pool.errors import ClientConnectionError, ConnectError
from keepwarm.pool.tls_contexts import ContextStore
from tests.support.calling import PLAIN_AND_TLS, Conserved, fetch, numbers, serve, session
from tests.support.fakes import FakeClock, FakeTransport
from tests.support.leaks import ModuleBaseline, turns
from tests.support.server import Peer, ok

pytestmark = pytest.mark.asyncio

IDLE = 1000
MOST_PER_IDLE = 8 * 1024
HOSTS = 10_000
KEEPALIVE = 30


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The clock of every pool that the test makes."""
    clock = FakeClock()
    monkeypatch.setattr("keepwarm.pool.connector.Clock", lambda loop: clock)
    return clock


class Answering(FakeTransport):
    """A peer without a socket that answers each request at once."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        super().write(data)
        self.writes.clear()
        asyncio.get_running_loop().call_soon(self.feed, ANSWER)


ANSWER = ok(nonce="answer")


class FakeConnector(BaseConnector):
    """Connects to peers without sockets."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.dialled = 0

    async def _create_connection(self, req: DialRequest) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        self.dialled += 1
        channel = req.channel_factory()
        transport = Answering(channel, call_soon=asyncio.get_running_loop().call_soon)
        transport.connect()
        return transport, channel


async def visit(calls: ClientSession, url: str) -> None:
    async with calls.get(url) as response:
        await response.read()


# After every module


@pytest.mark.fault("R04")
def test_the_baseline_of_a_module_sees_what_is_left() -> None:
    """What conftest checks after each module: a thread and a descriptor that were not there before are found."""
    before = ModuleBaseline()
    assert before.leaks() == []
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="left behind")
    thread.start()
    reading, writing = os.pipe()
    found = before.leaks()
    stop.set()
    thread.join()
    os.close(reading)
    os.close(writing)
    assert [text.split(" ")[0] for text in found] == ["descriptor", "descriptor", "thread"]
    assert "left behind" in found[2]
    assert before.leaks() == []


# Out of descriptors


@contextmanager
def no_descriptors() -> Iterator[None]:
    """The process has as many descriptors open as it may."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as probe:
        lowest_free = probe.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@PLAIN_AND_TLS
@pytest.mark.fault("R05")
async def test_out_of_descriptors(tls: bool) -> None:
    """Each call fails with a connect error that says so, one dial a call; when descriptors are back, all is well."""
    async with serve(tls=tls) as server, session(limit=2) as calls:
        async with session() as others:
            await fetch(others, server.url("/before"))  # whatever the loop opens once and keeps is open by now
        watch = Conserved(calls, server)
        with no_descriptors():
            tasks = [asyncio.create_task(fetch(calls, server.url("/refused"))) for _ in range(6)]
            refused = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(error) for error in refused] == [ConnectError] * 6
        assert all("out of descriptors" in str(error) for error in refused)
        assert (numbers(calls).dials, numbers(calls).dial_failures) == (6, 6)
        await watch.settled(idle=0)
        await watch.healthy()
        assert numbers(calls).dials == 7


@pytest.mark.fault("R05")
async def test_out_of_descriptors_for_a_lookup() -> None:
    """Where the system can look nothing up for want of descriptors the call fails, and the next one is none the
    worse."""
    async with serve() as server, session() as calls:
        async with session() as others:
            await fetch(others, server.url("/before"))
        watch = Conserved(calls, server)
        url = f"http://localhost:{server.port}/"
        with no_descriptors(), pytest.raises(ClientConnectionError):
            await fetch(calls, url)
        await watch.settled(idle=0)
        assert await fetch(calls, url) == "/"


@pytest.mark.fault("R05")
async def test_out_of_descriptors_for_the_authorities() -> None:
    """A context that cannot read the authorities is an error of that call, and is not kept."""
    store = ContextStore()
    await asyncio.to_thread(int)  # the thread that builds it exists by now
    with no_descriptors(), pytest.raises(OSError, match=r"Too many open files|unknown error"):
        await store.get(True)
    assert (await store.get(True)).cert_store_stats()["x509_ca"] > 0


# Many hosts


async def _visit_hosts(calls: ClientSession, count: int) -> None:
    for number in range(count):
        await visit(calls, f"http://host{number}.test/")


def _kept(kind: type) -> int:
    gc.collect()
    return sum(type(item) is kind for item in gc.get_objects())


async def _many_hosts(count: int, clock: FakeClock) -> None:
    before = _kept(EndpointPool), _kept(H1Channel)
    async with ClientSession(connector=FakeConnector(keepalive_timeout=KEEPALIVE)) as calls:
        await _visit_hosts(calls, count)
        connector = calls.connector
        assert connector is not None
        assert len(connector.stats().endpoints) == count
        clock.advance(2 * KEEPALIVE)
        await turns(3)
        stats = connector.stats()
        assert stats.endpoints == {}
        assert (stats.total.open, stats.total.dials, stats.total.retired) == (0, count, {"idle": count})
        # One for the sum of all that are gone.
        assert _kept(EndpointPool) <= before[0] + 1
        assert _kept(H1Channel) == before[1]
        assert clock.entries == 0
        assert clock.timers == 0


@pytest.mark.fault("R07")
async def test_many_hosts_once(clock: FakeClock) -> None:
    """Ten thousand hosts, called once each: when their connections have expired nothing is kept for any of them."""
    await _many_hosts(HOSTS, clock)


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.fault("R07")
async def test_very_many_hosts_once(clock: FakeClock) -> None:
    """The same with a hundred thousand."""
    await _many_hosts(10 * HOSTS, clock)


@pytest.mark.fault("R07")
async def test_caches_by_url_are_bounded(clock: FakeClock) -> None:
    """What a session remembers by URL does not grow with the number of URLs."""
    async with ClientSession(connector=FakeConnector(keepalive_timeout=KEEPALIVE)) as calls:
        sizes = []
        for start in (0, 1):
            await _visit_many_urls(calls, start)
            gc.collect()
            sizes.append(len(gc.get_objects()))
        assert sizes[1] - sizes[0] < 500


async def _visit_many_urls(calls: ClientSession, start: int) -> None:
    for number in range(3000):
        await visit(calls, f"http://host.test/{start}/{number}")


# Log volume


@PLAIN_AND_TLS
@pytest.mark.fault("R13")
async def test_a_hostile_peer_does_not_fill_the_log(tls: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a peer sends, keepwarm writes no more than one line a request at the default level. It writes none."""
    hostile: list[Callable[[Peer], None]] = [
        lambda peer: peer.send(b"\x00\x01\x02 no HTTP\r\n\r\n"),
        lambda peer: peer.send(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000),
        lambda peer: peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n\r\n"),
        lambda peer: peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"),
        lambda peer: peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
        lambda peer: peer.rst(),
        lambda peer: peer.cut(),
    ]

    async def script(peer: Peer) -> None:
        await peer.request()
        hostile[peer.index % len(hostile)](peer)
        peer.fin()
        await peer.until_closed()

    caplog.set_level(logging.WARNING)
    async with serve(script, tls=tls) as server, session(retry_stale=False) as calls:
        for number in range(10 * len(hostile)):
            await asyncio.gather(visit(calls, server.url(f"/{number}")), return_exceptions=True)
        assert server.accepted == 10 * len(hostile)
    assert [record.getMessage() for record in caplog.records] == []


# The cost of lying idle


def _own_memory(snapshot: tracemalloc.Snapshot) -> int:
    """Bytes that lines of keepwarm have allocated."""
    folders = [path for package in (keepwarm.pool, keepwarm.client) for path in package.__path__]
    filters = [tracemalloc.Filter(True, f"{os.path.realpath(folder)}/*") for folder in folders]
    filters += [tracemalloc.Filter(True, f"{folder}/*") for folder in folders]
    return sum(statistic.size for statistic in snapshot.filter_traces(filters).statistics("filename"))


@pytest.mark.fault("R15")
async def test_the_cost_of_idle_connections(clock: FakeClock) -> None:
    """A thousand idle connections, each after an answer, cost at most 8 KiB of our own memory each, and one timer."""
    async with ClientSession(connector=FakeConnector(keepalive_timeout=KEEPALIVE)) as calls:
        await visit(calls, "http://host.test/")
        gc.collect()
        tracemalloc.start()
        try:
            before = _own_memory(tracemalloc.take_snapshot())
            await asyncio.gather(*(visit(calls, "http://host.test/") for _ in range(IDLE)))
            gc.collect()
            taken = _own_memory(tracemalloc.take_snapshot()) - before
        finally:
            tracemalloc.stop()
        assert numbers(calls).idle >= IDLE // 2
        each = taken / numbers(calls).idle
        assert 100 < each <= MOST_PER_IDLE
        assert clock.timers == 1


async def test_what_was_sent_is_not_kept(clock: FakeClock) -> None:
    """What a session remembers of a request, to make the next one cheap, is neither its body nor a giant URL."""
    body, giant = bytes(100_000), "http://host.test/" + "x" * 100_000
    parse_target(giant)  # yarl remembers the last few on its own account
    held = sys.getrefcount(body), sys.getrefcount(giant)
    async with ClientSession(connector=FakeConnector()) as calls:
        for _ in range(2):
            async with calls.post("http://host.test/", data=body) as response:
                await response.read()
            await visit(calls, giant)
        del response
        gc.collect()
        assert (sys.getrefcount(body), sys.getrefcount(giant)) == held
