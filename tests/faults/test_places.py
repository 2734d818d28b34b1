"""Other loops, other threads, other times (FAULTS L03, L04, L15, R16)."""

import asyncio
import concurrent.futures
import time
from collections.abc import Callable

import pytest
import uvloop

from keepwarm.client.errors import TotalTimeoutError
from keepwarm.client.h1 import ResponseParser
from keepwarm.client.session import ClientSession
from keepwarm.pool.clock import STALL
from keepwarm.pool.pool import Pool
from keepwarm.pool.tcp_connector import TCPConnector
from tests.support.calling import PLAIN_AND_TLS, Conserved, fetch, numbers, serve, session
from tests.support.certificates import client_context
from tests.support.fakes import FakeClock
from tests.support.leaks import turns
from tests.support.server import Peer, RecvRequest, Send, Stall, ok
from tests.support.threaded import ThreadedServer

pytestmark = pytest.mark.asyncio

LOOPS = pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.SelectorEventLoop], ids=["uvloop", "std"])
KINDS = pytest.mark.parametrize(
    ("tls", "fast"), [(False, False), (True, False), (True, True)], ids=["plain", "tls", "fast"]
)
NewLoop = Callable[[], asyncio.AbstractEventLoop]


async def get(calls: ClientSession, url: str) -> bytes:
    async with calls.get(url) as response:
        return await response.read()


async def close(calls: ClientSession) -> None:
    await calls.close()


# Another loop


@LOOPS
@pytest.mark.fault("L03")
def test_a_second_loop_is_refused(new_loop: NewLoop) -> None:
    """A session that one loop has used cannot be used or closed from another, and the first one goes on with it."""
    with ThreadedServer() as server:
        one, two = new_loop(), new_loop()
        calls = session()
        one.run_until_complete(get(calls, server.url("/a")))
        with pytest.raises(RuntimeError, match=r"belongs to .* and cannot be used from"):
            two.run_until_complete(get(calls, server.url("/refused")))
        with pytest.raises(RuntimeError, match=r"belongs to .* and cannot be closed from"):
            two.run_until_complete(close(calls))
        assert not calls.closed
        assert one.run_until_complete(get(calls, server.url("/b"))) == b"ok"
        one.run_until_complete(close(calls))
        one.close()
        two.close()
        assert server.accepted == 1
    assert [request.split()[1] for request in server.requests] == [b"/a", b"/b"]


@LOOPS
@pytest.mark.fault("L03")
def test_a_session_for_a_given_loop(new_loop: NewLoop) -> None:
    """A session made for one loop refuses every other from the first request on, before any I/O."""
    with ThreadedServer() as server:
        one, two = new_loop(), new_loop()
        calls = ClientSession(loop=one)
        with pytest.raises(RuntimeError, match="belongs to"):
            two.run_until_complete(get(calls, server.url("/refused")))
        assert one.run_until_complete(get(calls, server.url("/a"))) == b"ok"
        one.run_until_complete(close(calls))
        one.close()
        two.close()
        assert server.accepted == 1


@pytest.mark.fault("L03")
def test_a_session_closed_while_no_loop_runs() -> None:
    """close() between two runs of the loop is fine: the sockets are gone when the loop has run again."""
    with ThreadedServer() as server:
        loop = asyncio.new_event_loop()
        calls = session()
        loop.run_until_complete(get(calls, server.url()))
        closing = calls.close()
        loop.run_until_complete(_wait(closing))
        loop.close()


async def _wait(closing: object) -> None:
    assert hasattr(closing, "__await__")
    await closing


# Another thread


@PLAIN_AND_TLS
@pytest.mark.fault("L04")
async def test_another_thread_is_refused(tls: bool) -> None:
    """Requests and close() from another thread raise RuntimeError before any I/O; the session is none the worse."""
    async with serve(tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        await fetch(calls, server.url("/a"))

        def with_a_loop() -> None:
            asyncio.run(get(calls, server.url("/refused")))

        def without_a_loop() -> None:
            get(calls, server.url("/refused")).send(None)

        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            for attempt, text in (
                (with_a_loop, "belongs to .* and cannot be used from"),
                (without_a_loop, "no running event loop"),
                (calls.close, "cannot be closed from another thread"),
                (lambda: asyncio.run(close(calls)), "belongs to .* and cannot be closed from"),
            ):
                with pytest.raises(RuntimeError, match=text):
                    await asyncio.get_running_loop().run_in_executor(threads, attempt)
        assert [request.target for request in server.requests] == ["/a"]
        await watch.healthy()
        assert server.accepted == 1


# Something raises in the middle of a callback


class Break:
    """A function that raises once, after or instead of doing its work."""

    def __init__(self, real: Callable[..., object], error: BaseException, after: bool) -> None:
        self.real = real
        self.error: BaseException | None = error
        self.after = after

    def __call__(self, *args: object, **kwargs: object) -> object:
        error, self.error = self.error, None
        if error is None:
            return self.real(*args, **kwargs)
        if self.after:
            self.real(*args, **kwargs)
        raise error

    def __get__(self, instance: object, owner: type | None = None) -> Callable[..., object]:
        return lambda *args, **kwargs: self(instance, *args, **kwargs)


@LOOPS
@KINDS
@pytest.mark.fault("L15")
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize(("owner", "method"), [(ResponseParser, "feed"), (Pool, "release")], ids=["feed", "release"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_an_interrupt_in_a_callback(
    new_loop: NewLoop,
    tls: bool,
    fast: bool,
    error: type[BaseException],
    owner: type,
    method: str,
    after: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A KeyboardInterrupt inside data_received leaves the loop and reaches the caller, ends its connection and frees
    its slot; the next request is as good as ever."""
    with ThreadedServer(tls=tls) as server:
        loop = new_loop()
        calls = session(TCPConnector(ssl_context=client_context(), fast_tls=fast, limit=1))
        assert loop.run_until_complete(get(calls, server.url("/a"))) == b"ok"
        monkeypatch.setattr(owner, method, Break(getattr(owner, method), error(), after))
        task = loop.create_task(get(calls, server.url("/b")))
        with pytest.raises(error):
            loop.run_until_complete(task)
        if not task.done():  # asyncio leaves at once, and the caller has not had its turn
            with pytest.raises(error):
                loop.run_until_complete(task)
        loop.run_until_complete(turns(5))
        assert numbers(calls).open == 0
        assert loop.run_until_complete(get(calls, server.url("/c"))) == b"ok"
        loop.run_until_complete(close(calls))
        loop.close()
        assert server.accepted == 2


# Other times


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The clock of every pool that the test makes."""
    clock = FakeClock()
    monkeypatch.setattr("keepwarm.pool.connector.Clock", lambda loop: clock)
    return clock


@PLAIN_AND_TLS
@pytest.mark.fault("R16")
async def test_the_wall_clock_does_not_matter(tls: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Years forward and back: nothing expires, nothing lives longer."""
    async with serve(tls=tls) as server, session(keepalive_timeout=30, pool_timeout=10) as calls:
        real = time.time
        for jump in (0, 3e8, -3e8):
            monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
            monkeypatch.setattr(time, "time_ns", lambda jump=jump: int((real() + jump) * 1e9))
            for path in ("/a", "/b"):
                assert await fetch(calls, server.url(path), timeout=30) == path
        monkeypatch.undo()
        assert server.accepted == 1
        assert numbers(calls).retired == {}


@PLAIN_AND_TLS
@pytest.mark.fault("R16")
async def test_an_answer_that_came_while_the_loop_stood_still(tls: bool, clock: FakeClock) -> None:
    """After 30 s of standing still, answers that lie in the kernel are read before any call is overdue."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        request = await peer.request()
        await go.wait()
        peer.send(ok(nonce=request.nonce))
        await peer.until_closed()

    async with serve(script, tls=tls) as server, session() as calls:
        tasks = [asyncio.create_task(fetch(calls, server.url(f"/{k}"), timeout=10)) for k in range(5)]
        await server.until_requests(5)
        go.set()
        # The loop stands still: the sweep's timer fires late, and all answers are on their way.
        clock.scheduler.time += 30
        clock.scheduler.run_until(clock.scheduler.time)
        assert not any(task.done() for task in tasks)
        await asyncio.gather(*tasks)
        clock.advance(STALL)
        assert sorted(task.result() for task in tasks) == [f"/{k}" for k in range(5)]


@PLAIN_AND_TLS
@pytest.mark.fault("R16")
async def test_a_stall_does_not_save_who_is_really_late(tls: bool, clock: FakeClock) -> None:
    """A call whose answer did not come during the stall either is overdue one look later."""
    async with serve([RecvRequest(), Stall()], tls=tls) as server, session() as calls:
        task = asyncio.create_task(fetch(calls, server.url(), timeout=10))
        await server.until_requests(1)
        clock.stall(30)
        assert not task.done()
        clock.advance(STALL)
        with pytest.raises(TotalTimeoutError):
            await task


@pytest.mark.fault("R16")
async def test_idle_connections_after_a_stall(clock: FakeClock) -> None:
    """Connections that went out of date during a stall are retired, silently; the next call dials."""
    answered = [RecvRequest(), Send(ok(nonce="/a")), Stall()]
    async with serve(answered) as server, session(keepalive_timeout=20) as calls:
        assert await fetch(calls, server.url("/a")) == "/a"
        clock.stall(30)
        assert await fetch(calls, server.url("/a")) == "/a"
        assert server.accepted == 2
        assert numbers(calls).retired == {"idle": 1}
