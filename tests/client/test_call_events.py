"""Every phase of a call: told to listeners, and timed for the response."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from keepwarm.client.call_events import CallEvent
from keepwarm.client.errors import ClientPayloadError, ResponseDisconnected
from keepwarm.client.session import ClientSession
from keepwarm.client.timings import Timings
from keepwarm.pool.errors import ConnectError
from keepwarm.pool.events import ConnectionEvent
from tests.support.calling import WatchedConnector, fetch, serve, session
from tests.support.server import Answer, Cut, Peer, RecvRequest, Send, Stall, answering, response, unserved_port
from tests.support.ws_peer import echo

pytestmark = pytest.mark.asyncio


def calls_of(calls: ClientSession) -> list[CallEvent]:
    """The events of calls, from now on."""
    assert calls.connector is not None
    seen: list[CallEvent] = []
    calls.connector.subscribe(lambda event: seen.append(event) if isinstance(event, CallEvent) else None)
    return seen


def kinds(seen: list[CallEvent]) -> list[str]:
    """What was told, in order, of one call; nothing of it is left."""
    assert len({event.call for event in seen}) <= 1
    assert [event.time for event in seen] == sorted(event.time for event in seen)
    found = [event.kind for event in seen]
    seen.clear()
    return found


async def test_the_phases_of_a_call() -> None:
    """Queued where no connection is idle; a small answer ends with its head."""
    async with serve() as server, session() as calls:
        seen = calls_of(calls)
        url = server.url("/a")
        await fetch(calls, url)
        first, last = seen[0], seen[-1]
        assert (first.method, first.url, first.status, first.connection) == ("GET", url, None, None)
        assert (last.status, last.connection, last.error, last.endpoint.port) == (200, 1, None, server.port)
        assert kinds(seen) == ["queued", "leased", "sent", "head", "body_ended"]
        await fetch(calls, url)
        assert kinds(seen) == ["leased", "sent", "head", "body_ended"]


async def test_calls_and_redirects_have_numbers_of_their_own() -> None:
    """Each request over the wire is one call."""
    answers = {"/from": response("302 Found", headers=[("Location", "/to")]), "/to": response()}
    async with serve(answering(lambda request: answers[request.target])) as server, session() as calls:
        seen = calls_of(calls)
        async with calls.get(server.url("/from")) as answer:
            assert answer.url.endswith("/to")
        numbers = {event.call: event.url.rpartition("/")[2] for event in seen}
        assert list(numbers.values()) == ["from", "to"]
        assert [event.status for event in seen if event.kind == "head"] == [302, 200]


async def test_a_call_without_a_connection_fails() -> None:
    """With what it was told; and a cancelled one with the cancellation."""
    async with session() as calls:
        seen = calls_of(calls)
        with unserved_port() as port, pytest.raises(ConnectError) as caught:
            await calls.get(f"http://127.0.0.1:{port}/")
        assert seen[-1].error is caught.value
        assert kinds(seen) == ["queued", "failed"]


async def test_a_cancelled_call() -> None:
    """It ends with the cancellation."""
    async with serve([RecvRequest(), Stall()]) as server, session() as calls:
        seen = calls_of(calls)
        task = asyncio.create_task(fetch(calls, server.url()))
        await server.until_requests(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert isinstance(seen[-1].error, asyncio.CancelledError)
        assert kinds(seen) == ["queued", "leased", "sent", "failed"]


async def dies_on_reuse(peer: Peer) -> None:
    await Answer().run(peer)
    await peer.head()
    peer.fin()


async def test_a_replay_is_told_with_its_reason() -> None:
    """The same call goes on, on another connection."""
    async with serve(dies_on_reuse) as server, session(WatchedConnector(), retry_stale=True) as calls:
        await fetch(calls, server.url("/one"))
        seen = calls_of(calls)
        await fetch(calls, server.url("/two"))
        replayed = seen[2]
        assert isinstance(replayed.error, ResponseDisconnected) and replayed.connection == 1
        assert seen[-1].connection == 2
        assert kinds(seen) == ["leased", "sent", "replayed", "queued", "leased", "sent", "head", "body_ended"]


async def test_a_body_that_breaks_off() -> None:
    """Failed after its head; the status is known by then."""
    cut = [RecvRequest(), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"), Cut()]
    async with serve(cut) as server, session() as calls:
        seen = calls_of(calls)
        with pytest.raises(ClientPayloadError):
            async with calls.get(server.url()) as answer:
                await answer.read()
        assert (seen[-1].status, type(seen[-1].error)) == (200, ClientPayloadError)
        assert kinds(seen) == ["queued", "leased", "sent", "head", "failed"]


async def test_an_answer_that_its_caller_closes() -> None:
    """No failure: nobody wanted the rest."""
    endless = [RecvRequest(), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\nab"), Stall()]
    async with serve(endless) as server, session() as calls:
        seen = calls_of(calls)
        answer = await calls.get(server.url())
        answer.close()
        assert (seen[-1].status, seen[-1].error) == (200, None)
        assert kinds(seen) == ["queued", "leased", "sent", "head", "closed"]
        async with calls.get(server.url()):
            pass
        assert kinds(seen) == ["queued", "leased", "sent", "head", "closed"]


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(3):
        await asyncio.sleep(0)
        yield b"x" * 1000


async def test_a_streamed_body_is_sent_when_its_last_byte_is() -> None:
    """Not when its head is."""
    async with serve() as server, session() as calls:
        seen = calls_of(calls)
        async with calls.post(server.url(), data=pieces()) as answer:
            await answer.read()
        assert kinds(seen) == ["queued", "leased", "sent", "head", "body_ended"]


async def test_no_timings_unless_they_are_asked_for() -> None:
    """By the session, or by a listener."""
    async with serve() as server, session() as calls:
        async with calls.get(server.url()) as answer:
            assert answer.timings is None
        calls_of(calls)
        async with calls.get(server.url()) as answer:
            assert answer.timings is not None


async def test_timings_of_a_first_and_a_second_call() -> None:
    """The first has the times of its dial; the parts are no more than the whole."""
    async with serve(tls=True) as server, ClientSession(connector=WatchedConnector(), timings=True) as calls:
        async with calls.get(server.url()) as answer:
            await answer.read()
        first = answer.timings
        async with calls.get(server.url()) as answer:
            await answer.read()
        second = answer.timings
    assert first is not None and second is not None
    for name in ("queued", "dns", "connect", "tls", "sent", "head", "body", "total"):
        assert getattr(first, name) is not None, name
    assert first.proxy is None
    assert sum_of(first.dns, first.connect, first.tls) <= sum_of(first.queued)
    assert sum_of(first.queued, first.sent, first.head, first.body) <= sum_of(first.total) + 1e-9
    assert [second.queued, second.dns, second.connect, second.tls] == [None] * 4
    assert 0 < sum_of(second.sent, second.head, second.body) <= sum_of(second.total) + 1e-9


def sum_of(*seconds: float | None) -> float:
    return sum(one for one in seconds if one is not None)


async def test_timings_before_the_end_of_the_body() -> None:
    """As far as the answer has come; redirects have their own."""
    stalls = [RecvRequest(), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"), Stall()]
    async with serve(stalls) as server, ClientSession(connector=WatchedConnector(), timings=True) as calls:
        answer = await calls.get(server.url())
        timings = answer.timings
        assert timings is not None
        assert timings.head is not None and timings.body is None and timings.total is not None
        answer.close()
    assert Timings() == Timings(None, None, None, None, None, None, None, None, None)


async def dropped(calls: ClientSession, url: str) -> list[dict[str, Any]]:
    """What the loop's exception handler gets when an answer is forgotten unread."""
    contexts: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))

    async def forgetful() -> None:
        await calls.get(url)

    await forgetful()
    gc.collect()
    await asyncio.sleep(0)
    return contexts


@pytest.mark.fault("P41")
async def test_a_forgotten_answer_is_named_while_leaks_are_looked_for() -> None:
    """The slot comes back at collection; the warning says where the answer was made, if stacks are taken."""
    endless = [RecvRequest(), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\nab"), Stall()]
    for options, place in (({}, ""), ({"leak_after": 60}, "it was made at .*test_call_events.py:[0-9]+ in forgetful")):
        connector = WatchedConnector(limit=1, **options)
        async with serve(endless) as server, session(connector) as calls:
            with pytest.warns(ResourceWarning, match=f"Unclosed response GET .*{place}$|async with$") as caught:
                (context,) = await dropped(calls, server.url())
            assert ("it was made at" in str(caught[0].message)) is bool(place)
            assert ("source_traceback" in context) is bool(place)
            assert connector.stats().total.leased == 0


async def test_a_websocket_leaves_the_pool_with_its_answer() -> None:
    """Its call is over with the 101; its connection is detached, and lost in the end."""
    async with serve(echo) as server, session() as calls:
        assert calls.connector is not None
        seen = calls_of(calls)
        connections: list[str] = []
        calls.connector.subscribe(
            lambda event: connections.append(event.kind) if isinstance(event, ConnectionEvent) else None
        )
        async with calls.ws_connect(server.url().replace("http", "ws", 1)) as ws:
            await ws.send_str("hello")
            assert await ws.receive_str() == "hello"
            assert seen[-1].status == 101
            assert kinds(seen) == ["queued", "leased", "sent", "head", "body_ended"]
            assert connections == ["dial_started", "dial_ended", "leased", "detached"]
        await calls.connector.close()
        assert connections[4:] == ["retired", "lost"] or connections[4:] == ["lost"]
