"""Calls that are tried again by a RetryPolicy, and what `attempts` says of them. Counted on the wire."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from keepwarm.client.attempts import Attempt, peer_of
from keepwarm.client.backoff import Backoff
from keepwarm.client.errors import ResponseDisconnected
from keepwarm.client.retry import RetryPolicy
from keepwarm.client.session import ClientSession
from keepwarm.pool.channel import Channel
from keepwarm.pool.endpoint import make_endpoint
from keepwarm.pool.errors import ConnectError, InvalidInput, PoolClosedError
from tests.support.calling import Conserved, WatchedConnector, numbers, serve, session
from tests.support.fakes import FakeClock
from tests.support.http1 import Request, ok
from tests.support.leaks import turns
from tests.support.server import Answer, Peer, ScriptedServer, answer_all, answering, response, unserved_port

pytestmark = pytest.mark.asyncio

POLICY = RetryPolicy(attempts=3, backoff=Backoff(first=1.0, longest=8.0, jitter=0.0))


class Pauses:
    """Stands in for `sleep`: time moves by what is asked for, and is noted."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.on_pause: Callable[[], object] | None = None
        self.total = 0.0
        self.is_stuck = False
        self.begun = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.begun.set()
        if self.on_pause is not None:
            self.on_pause()
        if self.is_stuck:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(0)
        self.total += seconds
        self.clock.advance(seconds)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    clock = FakeClock()
    pauses = Pauses(clock)
    monkeypatch.setattr("keepwarm.pool.connector.Clock", lambda loop: clock)
    monkeypatch.setattr("keepwarm.client.retrying.sleep", pauses.sleep)
    return pauses


def calls_with(retry: RetryPolicy | None = POLICY, **options: Any) -> ClientSession:
    return ClientSession(connector=WatchedConnector(), retry=retry, **options)


def failing(times: int, status: str = "503 Service Unavailable", headers: Any = (), body: bytes = b"no") -> Any:
    """A server that fails so many requests in all, whatever connection they come over."""
    left = [times]

    def respond(request: Request) -> bytes:
        left[0] -= 1
        return response(status, body, headers) if left[0] >= 0 else ok(nonce=request.nonce)

    return answering(respond)


async def test_an_answer_that_is_given_up(pauses: Pauses) -> None:
    """Two 503, then 200: three requests over one connection, for the first two were drained; the pauses grow."""
    async with serve(failing(2)) as server, calls_with() as calls:
        left = Conserved(calls, server)
        async with calls.get(server.url("/x")) as answer:
            assert answer.status == 200
            await answer.read()
        assert [(a.number, a.status, a.error, a.written, a.waited) for a in answer.attempts] == [
            (1, 503, None, "all", 0.0),
            (2, 503, None, "all", 1.0),
            (3, 200, None, "all", 2.0),
        ]
        assert (len(server.requests), server.accepted, pauses.total) == (3, 1, 3.0)
        await left.settled(idle=1)


async def test_without_a_policy_nothing_is_tried_again(pauses: Pauses) -> None:
    """The default: the answer is the caller's, and it is the only attempt."""
    async with serve(failing(9)) as server, calls_with(None) as calls:
        async with calls.get(server.url("/x")) as answer:
            assert answer.status == 503
        (only,) = answer.attempts
        assert only == Attempt(1, only.connection, only.address, False, 503, None, "all", 0.0)
        assert (len(server.requests), pauses.total) == (1, 0.0)


async def test_the_last_answer_is_the_callers(pauses: Pauses) -> None:
    """With its body unread."""
    async with serve(failing(9)) as server, calls_with() as calls, calls.get(server.url("/x")) as answer:
        assert (answer.status, await answer.read(), len(answer.attempts)) == (503, b"no", 3)
        assert len(server.requests) == 3


async def test_a_call_has_a_policy_of_its_own(pauses: Pauses) -> None:
    """None tries once; another one counts in place of the session's."""
    async with serve(failing(99)) as server, calls_with() as calls:
        for retry, requests in ((None, 1), (RetryPolicy(attempts=5), 5), (RetryPolicy(statuses=frozenset({429})), 1)):
            before = len(server.requests)
            async with calls.get(server.url("/x"), retry=retry) as answer:
                assert answer.status == 503
            assert len(server.requests) - before == requests
        with pytest.raises(InvalidInput, match="retry must be"):
            await calls.get(server.url("/x"), retry=3)


async def test_an_answer_with_a_large_body_costs_its_connection(pauses: Pauses) -> None:
    """What is given up is drained within K4 or closed: a megabyte that does not come is not waited for."""

    async def endless(peer: Peer) -> None:
        await peer.request()
        peer.send(response("503 Service Unavailable", b"begin", length=1 << 20))
        await peer.until_closed()

    async with serve(endless, answer_all) as server, calls_with() as calls:
        async with calls.get(server.url("/x")) as answer:
            assert answer.status == 200
        assert (server.accepted, numbers(calls).open) == (2, 1)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_what_may_have_been_done_is_not_done_again(pauses: Pauses, method: str) -> None:
    """Neither after a status nor after a lost connection; with an Idempotency-Key it is."""
    async with (
        serve(failing(1)) as server,
        calls_with() as calls,
        calls.request(method, server.url("/x"), data=b"1") as answer,
    ):
        assert (answer.status, len(server.requests)) == (503, 1)

    async def dies(peer: Peer) -> None:
        await peer.request()
        peer.fin()

    async with serve(dies, answer_all) as server, calls_with() as calls:
        with pytest.raises(ResponseDisconnected, match="request sent") as caught:
            await calls.request(method, server.url("/x"), data=b"1")
        assert (caught.value.written, caught.value.tried, server.accepted) == ("all", (), 1)
    async with serve(dies, answer_all) as server, calls_with() as calls:
        async with calls.request(method, server.url("/x"), data=b"1", headers={"Idempotency-Key": "k"}) as answer:
            assert answer.status == 200
        first, last = answer.attempts
        assert first.error is not None and "went away before it answered" in first.error
        assert (first.reused, first.written, last.status) == (False, "all", 200)
        assert [request.body for request in server.requests] == [b"1", b"1"]


async def test_a_server_that_does_not_listen_yet(pauses: Pauses) -> None:
    """Refused twice, then there: also for POST, as nothing was sent."""
    with unserved_port() as port:
        pass
    server = ScriptedServer(port=port)

    async def starts() -> None:
        await server.start()

    starting: list[asyncio.Task[None]] = []

    def second_pause() -> None:
        if pauses.total == 1.0:
            starting.append(asyncio.create_task(starts()))

    pauses.on_pause = second_pause
    async with calls_with() as calls:
        try:
            async with calls.post(f"http://127.0.0.1:{port}/x", data=b"1") as answer:
                assert answer.status == 200
        finally:
            await asyncio.gather(*starting)
            await server.close()
    refused, again, answered = answer.attempts
    assert refused.error is not None and again.error is not None
    assert "refused" in refused.error and refused.error.startswith("ConnectError: ")
    assert [a.written for a in answer.attempts] == ["none", "none", "all"]
    assert (answered.status, answered.waited) == (200, 2.0)


async def test_the_error_in_the_end_tells_of_all(pauses: Pauses) -> None:
    """It is the last one; `tried` has them all."""
    with unserved_port() as port:
        async with calls_with() as calls:
            with pytest.raises(ConnectError) as caught:
                await calls.get(f"http://127.0.0.1:{port}/x")
    assert [(a.number, a.waited, a.written) for a in caught.value.tried] == [
        (1, 0.0, "none"),
        (2, 1.0, "none"),
        (3, 2.0, "none"),
    ]


async def test_a_replay_is_reported(pauses: Pauses) -> None:
    """K7 without any policy: on which connection the first one was, and what was written."""

    async def dies_on_reuse(peer: Peer) -> None:
        await Answer().run(peer)
        await peer.head()
        peer.fin()

    async with serve(dies_on_reuse, answer_all) as server, session() as calls:
        for _ in range(2):
            async with calls.get(server.url("/x")) as answer:
                await answer.read()
        first, second = answer.attempts
        assert (first.number, first.reused, first.status, first.written) == (1, True, None, "all")
        assert first.error is not None and first.error.startswith("ResponseDisconnected: ")
        assert (second.number, second.reused, second.status, second.error) == (2, False, 200, None)
        assert None not in (first.connection, second.connection) and first.connection != second.connection
        assert first.address == second.address == f"127.0.0.1:{server.port}"


async def test_a_replay_is_no_attempt_of_the_policy(pauses: Pauses) -> None:
    """The stale connection costs none of the attempts; one replay a call."""

    async def stale(peer: Peer) -> None:
        await Answer().run(peer)
        await peer.head()
        peer.fin()

    async with serve(stale, failing(2)) as server, calls_with() as calls:
        async with calls.get(server.url("/x")) as answer:
            await answer.read()
        async with calls.get(server.url("/x")) as answer:
            assert answer.status == 200
        assert [a.status for a in answer.attempts] == [None, 503, 503, 200]
        assert [a.number for a in answer.attempts] == [1, 2, 3, 4]
        assert pauses.total == 3.0


async def test_an_upload_that_was_cut_says_so() -> None:
    """The peer went away in the middle of the body: written in part."""
    more = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        await more.wait()

    async def dies(peer: Peer) -> None:
        await peer.head()
        peer.fin()

    async with serve(dies) as server, session() as calls:
        with pytest.raises(ResponseDisconnected, match="request sent in part") as caught:
            await calls.post(server.url("/x"), data=body())
        assert (caught.value.written, caught.value.request_sent) == ("part", True)


@pytest.mark.parametrize(("asked", "waited"), [("5", 6.0), ("60", 61.0), ("nonsense", 1.0)])
async def test_retry_after(pauses: Pauses, asked: str, waited: float) -> None:
    """What the server asks for, and then the backoff, so that not all come at that moment."""
    script = failing(1, "429 Too Many Requests", [("Retry-After", asked)])
    async with serve(script) as server, calls_with() as calls, calls.get(server.url("/x")) as answer:
        assert (answer.status, answer.attempts[-1].waited) == (200, waited)


async def test_a_retry_after_that_is_too_long_is_the_callers(pauses: Pauses) -> None:
    """Coming back earlier than asked would be no answer to it."""
    script = failing(1, headers=[("Retry-After", "61")])
    async with serve(script) as server, calls_with() as calls, calls.get(server.url("/x")) as answer:
        assert (answer.status, pauses.total) == (503, 0.0)


async def test_a_retry_after_can_be_ignored(pauses: Pauses) -> None:
    policy = RetryPolicy(backoff=Backoff(first=1.0, jitter=0), respect_retry_after=False)
    script = failing(1, headers=[("Retry-After", "3600")])
    async with serve(script) as server, calls_with(policy) as calls, calls.get(server.url("/x")) as answer:
        assert (answer.status, pauses.total) == (200, 1.0)


@pytest.mark.parametrize(("total", "requests"), [(1.0, 1), (1.01, 2), (3.0, 2), (3.01, 3)])
async def test_no_pause_goes_past_the_time_limit(pauses: Pauses, total: float, requests: int) -> None:
    """The last answer is given at once in place of a pause that would not leave time for another."""
    async with serve(failing(9)) as server, calls_with(timeout=total) as calls:
        async with calls.get(server.url("/x")) as answer:
            assert answer.status == 503
        assert len(server.requests) == requests


async def test_retries_stay_a_share_of_the_calls(pauses: Pauses) -> None:
    """A server that fails everything gets a tenth more requests, and no more."""
    policy = RetryPolicy(backoff=Backoff(first=0.001), budget=0.1, budget_floor=0.0)
    async with serve(failing(9999)) as server, calls_with(policy) as calls:
        for _ in range(200):
            async with calls.get(server.url("/x")) as answer:
                assert answer.status == 503
        assert len(server.requests) == 220


async def test_a_pause_can_be_cancelled(pauses: Pauses) -> None:
    """At once, and nothing is left: the connection of the answer that was given up is back in the pool."""
    pauses.is_stuck = True
    async with serve(failing(9)) as server, calls_with() as calls:
        left = Conserved(calls, server)
        call = asyncio.ensure_future(calls.get(server.url("/x")))
        await pauses.begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await left.settled(idle=1)
        assert len(server.requests) == 1


async def test_closing_ends_a_pause(pauses: Pauses) -> None:
    """The caller hears of it, and no request is sent any more."""
    async with serve(failing(9)) as server:
        calls = calls_with()
        pauses.on_pause = calls.close
        with pytest.raises(PoolClosedError) as caught:
            await calls.get(server.url("/x"))
        assert [attempt.status for attempt in caught.value.tried] == [503]
        await calls.close()
        await turns(2)
        assert len(server.requests) == 1


async def test_each_hop_of_a_redirect_is_tried_anew(pauses: Pauses) -> None:
    """Two failures of the first URL and two of the second: 200, with the attempts of each where they belong."""
    left = {"/a": 2, "/b": 2}

    def respond(request: Request) -> bytes:
        left[request.target] -= 1
        if left[request.target] >= 0:
            return response("503 Service Unavailable")
        if request.target == "/a":
            return response("302 Found", headers=[("Location", "/b")])
        return ok(nonce=request.nonce)

    async with serve(answering(respond)) as server, calls_with() as calls:
        async with calls.get(server.url("/a")) as answer:
            assert answer.status == 200
        assert [a.status for a in answer.attempts] == [503, 503, 200]
        assert [a.status for a in answer.history[0].attempts] == [503, 503, 302]


async def test_a_file_is_sent_from_its_beginning_again(pauses: Pauses) -> None:
    """A body that can be read twice is whole each time."""
    async with serve(failing(1)) as server, calls_with() as calls:
        async with calls.put(server.url("/x"), data=io.BytesIO(b"z" * 200_000)) as answer:
            assert answer.status == 200
        assert [len(request.body) for request in server.requests] == [200_000, 200_000]


async def test_a_body_that_can_be_read_once_is_sent_once(pauses: Pauses) -> None:
    """Once it was begun. The answer is the caller's then; a connection that could not be made leaves it as it was."""

    async def body() -> AsyncIterator[bytes]:
        yield b"once"

    async with serve(failing(1)) as server, calls_with() as calls:
        async with calls.put(server.url("/x"), data=body()) as answer:
            assert answer.status == 503
        assert [request.body for request in server.requests] == [b"once"]


@pytest.mark.fault("P24")
async def test_an_answer_over_a_connection_that_is_gone() -> None:
    """The second time is answered and closed in one breath: a transport that is gone is not asked what it was."""

    async def script(peer: Peer) -> None:
        request = await peer.request()
        if request.target == "/first":
            peer.send(ok(nonce=request.nonce))
            await peer.request()
            peer.abort()
            return
        peer.send(response(headers=[("Connection", "close"), ("X-Nonce", request.nonce)]))
        peer.close()

    async with serve(script, tls=True) as server, session() as calls:
        async with calls.get(server.url("/first")):
            pass
        async with calls.get(server.url("/second")) as got:
            assert got.headers["X-Nonce"] == "/second"
            assert [attempt.number for attempt in got.attempts] == [1, 2]


async def test_a_transport_that_cannot_tell_any_more() -> None:
    """asyncio's TLS has let go of what it would ask."""

    class Gone(asyncio.Transport):
        def get_extra_info(self, name: str, default: Any = None) -> Any:
            raise AttributeError("'NoneType' object has no attribute '_get_extra_info'")

    channel = Channel(make_endpoint("a.test"), asyncio.get_running_loop())
    assert channel.transport_info("peername") is None
    channel.transport = Gone()
    assert channel.transport_info("peername") is None
    assert peer_of(channel) is None
