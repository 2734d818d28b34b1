"""What may be kept for the next call: hints on the wire, goodbyes, exclusivity, and responses that are forgotten."""

import asyncio
import gc
import threading
from typing import Any

import pytest

from keepwarm.client.errors import ResponseDisconnected
from keepwarm.pool import states
from keepwarm.pool.channel import Channel
from tests.support.calling import PLAIN_AND_TLS, Conserved, WatchedConnector, fetch, numbers, sent, serve, session
from tests.support.leaks import Baseline, turns
from tests.support.server import Answer, Handler, Peer, Repeat, answer_all, chunk, chunked, head, ok

pytestmark = pytest.mark.asyncio


def hinting(*hints: str) -> Handler:
    """Answers call k with the Keep-Alive header `hints[k]`, and the last one from then on."""

    async def script(peer: Peer) -> None:
        number = 0
        while True:
            request = await peer.request()
            hint = hints[min(number, len(hints) - 1)]
            peer.send(ok(b"x", [("Keep-Alive", hint)], nonce=request.nonce))
            number += 1

    return script


# The server's hint


@pytest.mark.fault("P31")
@pytest.mark.parametrize(
    ("hint", "own", "window"),
    [
        ("timeout=5, max=100", 30, 4.0),
        ("timeout=20", 10, 10.0),
        ("timeout=1", 30, 0.5),
        ("timeout=100000", 30, 30.0),
        ("timeout=600", None, 599.0),
        ("max=7", 30, 30.0),
        ("nonsense", 30, 30.0),
        ("timeout=-1", 30, 30.0),
    ],
)
async def test_the_idle_time_is_the_smaller_of_ours_and_the_hint(hint: str, own: float | None, window: float) -> None:
    """Keep-Alive: timeout=n shortens the idle time, with a margin; it never lengthens it."""
    connector = WatchedConnector(keepalive_timeout=own)
    async with serve(hinting(hint)) as server, session(connector) as calls:
        await fetch(calls, server.url("/x"))
        channel = connector.channels[0]
        assert channel.deadline - channel.idle_since == pytest.approx(window)


@PLAIN_AND_TLS
@pytest.mark.fault("P31")
async def test_max_says_how_many_requests_are_left(tls: bool) -> None:
    """Keep-Alive: max=1 means one more, and max=0 none: the connection is closed by us, not under a request."""
    async with serve(hinting("max=1", "max=0"), tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        for number in range(6):
            assert await fetch(calls, server.url(f"/{number}")) == f"/{number}"
        assert [len(peer.requests) for peer in server.connections] == [2, 2, 2]
        await server.until_idle()
        await watch.settled(idle=0)
        assert numbers(calls).retired == {"uses": 3}


@pytest.mark.fault("P31")
@pytest.mark.parametrize("hint", ["timeout=0", "timeout=0, max=5"])
async def test_a_hint_of_zero_keeps_nothing(hint: str) -> None:
    """A server that keeps a connection for no time at all gets a new one for each call."""
    async with serve(hinting(hint)) as server, session() as calls:
        for number in range(3):
            assert await fetch(calls, server.url(f"/{number}")) == f"/{number}"
        assert server.accepted == 3


# Close, by either side


@PLAIN_AND_TLS
@pytest.mark.fault("P35")
async def test_force_close_says_so_and_closes(tls: bool) -> None:
    """With force_close the request has Connection: close, and no connection serves twice."""
    async with serve(tls=tls) as server, session(force_close=True) as calls:
        watch = Conserved(calls, server)
        for number in range(3):
            assert await fetch(calls, server.url(f"/{number}")) == f"/{number}"
        assert [request.header("connection") for request in server.requests] == ["close"] * 3
        assert server.accepted == 3
        await server.until_idle()
        await watch.settled(idle=0)


@PLAIN_AND_TLS
@pytest.mark.fault("P35")
@pytest.mark.parametrize("who", ["caller", "server", "server, in a list"])
async def test_connection_close_by_either_side_is_heeded(tls: bool, who: str) -> None:
    """A request or an answer with Connection: close ends the connection, even if the other side keeps it open."""
    value = {"caller": "keep-alive", "server": "close", "server, in a list": "foo, Close"}[who]
    script = Repeat([Answer(lambda request: ok(b"x", [("Connection", value)], nonce=request.nonce))])
    headers = {"Connection": "close"} if who == "caller" else {}
    async with serve([script], tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        for number in range(3):
            assert await fetch(calls, server.url(f"/{number}"), headers=headers) == f"/{number}"
        assert server.accepted == 3
        await server.until_idle()
        await watch.settled(idle=0)


@PLAIN_AND_TLS
@pytest.mark.fault("F53")
async def test_keep_alive_promised_and_not_kept(tls: bool) -> None:
    """Every answer says keep-alive and is followed by FIN: no call fails."""
    script = [Answer(lambda request: ok(b"x", [("Connection", "keep-alive")], nonce=request.nonce))]
    async with serve(script, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        for k in range(30):
            assert await fetch(calls, server.url(f"/{k}")) == f"/{k}"
        await watch.settled()


# One owner at a time


@PLAIN_AND_TLS
@pytest.mark.fault("P36")
async def test_a_connection_is_never_lent_twice(tls: bool) -> None:
    """A hundred calls over six connections: no connection gets a request before it has answered the last one."""
    overlaps = []

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            await turns(3)
            if peer.unread:
                overlaps.append(request.target)
            peer.send(chunked([b"a", b"b"], nonce=request.nonce))

    async with serve(script, tls=tls) as server, session(limit=6) as calls:
        watch = Conserved(calls, server)
        paths = [f"/{number}" for number in range(100)]
        assert await asyncio.gather(*(fetch(calls, server.url(path)) for path in paths)) == paths
        assert overlaps == []
        stats = numbers(calls)
        assert stats.open == stats.idle == server.accepted <= 6
        await watch.healthy()


@pytest.mark.fault("P40")
async def test_the_newest_idle_connection_is_taken_first() -> None:
    """Of five idle connections one serves all calls that come one by one; the surplus can expire."""
    together = asyncio.Barrier(5)

    async def script(peer: Peer) -> None:
        request = await peer.request()
        await together.wait()
        peer.send(ok(nonce=request.nonce))
        await Repeat([Answer()]).run(peer)

    async with serve(script) as server, session() as calls:
        await asyncio.gather(*(fetch(calls, server.url("/x")) for _ in range(5)))
        for _ in range(10):
            await fetch(calls, server.url("/y"))
        assert sorted(len(peer.requests) for peer in server.connections) == [1, 1, 1, 1, 11]


# Responses that nobody reads


async def begins_a_body(peer: Peer) -> None:
    request = await peer.request()
    peer.send(head("200 OK", [("X-Nonce", request.nonce), ("Transfer-Encoding", "chunked")]) + chunk(b"begun"))
    await peer.until_closed()


@PLAIN_AND_TLS
@pytest.mark.fault("P41")
async def test_a_response_that_is_forgotten_gives_its_slot_back(tls: bool, baseline: Baseline) -> None:
    """Dropped with its body unread: closed, the slot is free, and a ResourceWarning names the request."""
    async with serve(begins_a_body, answer_all, tls=tls) as server, session(limit=1) as calls:
        watch = Conserved(calls, server)
        got: Any = await sent(calls.get(server.url("/forgotten")))
        assert numbers(calls).leased == 1
        with pytest.warns(ResourceWarning, match="GET .*/forgotten"):
            del got
            gc.collect()
        assert baseline.errors == ["Unclosed response"]
        baseline.errors.clear()
        await watch.settled(idle=0)
        await watch.healthy()


@pytest.mark.fault("P41")
async def test_a_response_that_another_thread_forgets(monkeypatch: pytest.MonkeyPatch, baseline: Baseline) -> None:
    """The transport is touched on the loop's own thread only."""
    threads: list[int] = []
    abort = Channel.abort_transport

    def watched(channel: Channel) -> None:
        threads.append(threading.get_ident())
        abort(channel)

    async with serve(begins_a_body, answer_all) as server, session(limit=1) as calls:
        watch = Conserved(calls, server)
        held = [await sent(calls.get(server.url("/forgotten")))]
        monkeypatch.setattr(Channel, "abort_transport", watched)
        with pytest.warns(ResourceWarning, match="GET .*/forgotten"):
            other = threading.Thread(target=held.clear)
            other.start()
            other.join()
        assert threads == []
        assert baseline.errors == ["Unclosed response"]
        baseline.errors.clear()
        await watch.settled(idle=0)
        assert threads == [threading.get_ident()]
        await watch.healthy()


@pytest.mark.fault("P41")
async def test_forgetting_a_response_that_came_whole_costs_nothing() -> None:
    """Its connection went back before the caller woke: no warning, and the next call reuses it."""
    async with serve() as server, session(limit=1) as calls:
        watch = Conserved(calls, server)
        for _ in range(3):
            await calls.get(server.url("/x"))
        assert server.accepted == 1
        await watch.settled(idle=1)


@pytest.mark.fault("P41")
async def test_a_response_that_is_forgotten_while_its_upload_runs(baseline: Baseline) -> None:
    """The upload ends with it: no task is left, and the body's source is finished."""
    finished = asyncio.Event()

    async def endless() -> Any:
        try:
            while True:
                yield b"x" * 100
                await asyncio.sleep(0)
        finally:
            finished.set()

    async def script(peer: Peer) -> None:
        request = await peer.head()
        peer.send(head("200 OK", [("X-Nonce", request.nonce), ("Transfer-Encoding", "chunked")]))
        await peer.until_closed()

    async with serve(script, answer_all) as server, session(limit=1) as calls:
        watch = Conserved(calls, server)
        got: Any = await sent(calls.post(server.url("/forgotten"), data=endless()))
        assert not finished.is_set()
        with pytest.warns(ResourceWarning, match="/forgotten"):
            del got
            gc.collect()
        assert baseline.errors == ["Unclosed response"]
        baseline.errors.clear()
        await watch.settled(idle=0)
        assert finished.is_set()
        await watch.healthy()


@pytest.mark.fault("P34")
async def test_release_and_close_in_any_order_free_one_slot() -> None:
    """release, close, release again: the books stay right, and the connection is closed once."""
    connector = WatchedConnector(limit=1)
    async with serve(begins_a_body, begins_a_body, answer_all) as server, session(connector) as calls:
        watch = Conserved(calls, server)
        got = await calls.get(server.url("/x"))
        pending = got.release()
        got.close()
        got.close()
        await pending
        await got.release()
        got = await calls.get(server.url("/y"))
        got.close()
        await got.release()
        await watch.settled(idle=0)
        assert [channel.state for channel in connector.channels] == [states.CLOSED] * 2
        await watch.healthy()


@pytest.mark.fault("P35")
async def test_force_close_is_its_own_reason() -> None:
    """The books say that we closed it, not that the server asked for it."""
    async with serve(answer_all) as server, session(force_close=True) as calls:
        assert await fetch(calls, server.url("/x")) == "/x"
        await turns(20)
        assert numbers(calls).retired == {"force_close": 1}


@pytest.mark.fault("P25")
async def test_a_post_that_is_not_repeated_says_what_to_change() -> None:
    """A POST on a connection that died is an error with advice; a GET never needs it."""

    async def once(peer: Peer) -> None:
        await Answer().run(peer)
        await peer.head()
        peer.fin()

    async with serve(once) as server, session() as calls:
        await fetch(calls, server.url("/warm"))
        with pytest.raises(ResponseDisconnected, match=r"POST is not sent twice.*keepalive_timeout.*Idempotency-Key"):
            await calls.post(server.url("/x"), data=b"x")
