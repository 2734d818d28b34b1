"""When a request is sent a second time (K7), and when it must not be. Attempts are counted on the wire."""

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest

from keepwarm.client.errors import ClientPayloadError, ResponseDisconnected
from keepwarm.pool.endpoint import make_endpoint
from tests.support.calling import PLAIN_AND_TLS, Conserved, WatchedConnector, fetch, nonce_of, numbers, serve, session
from tests.support.leaks import turns
from tests.support.server import (
    Answer,
    Handler,
    Peer,
    RecvRequest,
    Repeat,
    Rst,
    ScriptedServer,
    Send,
    answer_all,
    ok,
    response,
)

pytestmark = pytest.mark.asyncio


async def dies_on_reuse(peer: Peer) -> None:
    """Answers once; then takes the head of a second request and ends the connection."""
    await Answer().run(peer)
    await peer.head()
    peer.fin()


async def resets_on_reuse(peer: Peer) -> None:
    await Answer().run(peer)
    await peer.head()
    peer.rst()


async def dies_at_the_first_byte(peer: Peer) -> None:
    await Answer().run(peer)
    await peer.recv_exactly(1)
    peer.fin()


def dying_together(count: int) -> Handler:
    """Like dies_on_reuse, but no connection answers before `count` of them have been asked: all are in use at once."""
    everybody = asyncio.Barrier(count)

    async def script(peer: Peer) -> None:
        request = await peer.request()
        await everybody.wait()
        peer.send(ok(nonce=request.nonce))
        await peer.head()
        peer.fin()

    return script


def attempts(server: ScriptedServer, path: str) -> int:
    """How many requests for `path` have reached the server."""
    return sum(request.target == path for request in server.requests)


async def expect_refusal(server: ScriptedServer, call: Any, path: str = "/x") -> ResponseDisconnected:
    """The call fails with ResponseDisconnected and was on the wire exactly once, on the only connection."""
    with pytest.raises(ResponseDisconnected) as caught:
        await nonce_of(await call)
    assert attempts(server, path) == 1
    assert server.accepted == 1
    return caught.value


async def parts(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


# A connection that dies while it is idle


@PLAIN_AND_TLS
@pytest.mark.fault("P22", "P23")
@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_an_idle_connection_that_ends_is_dropped_on_the_event(tls: bool, how: str) -> None:
    """Removed when the end arrives, descriptor closed, and nothing is logged."""
    async with serve(tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        assert await fetch(calls, server.url("/1")) == "/1"
        assert numbers(calls).idle == 1
        peer = server.connections[0]
        if how == "fin":
            peer.fin()
        else:
            peer.rst()
        await server.until(lambda: peer.lost or peer.closed)
        await watch.settled(idle=0)
        assert await fetch(calls, server.url("/2")) == "/2"
        assert server.accepted == 2
        assert numbers(calls).retired == ({"peer_fin": 1} if how == "fin" else {"error": 1})


# A connection that dies under a request


@PLAIN_AND_TLS
@pytest.mark.fault("P24")
@pytest.mark.parametrize("script", [dies_on_reuse, resets_on_reuse, dies_at_the_first_byte])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_an_idempotent_request_is_sent_once_more(tls: bool, script: Handler, method: str) -> None:
    """A close that crosses the request is invisible: one retry, on a new connection."""
    async with serve(script, answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        await fetch(calls, server.url("/warm"))
        data = b"body" if method == "PUT" else None
        async with calls.request(method, server.url("/x"), data=data) as got:
            assert (got.status, got.headers["X-Nonce"]) == (200, "/x")
        assert server.accepted == 2
        assert server.connections[1].requests[0].body == (data or b"")
        assert attempts(server, "/x") == (1 if script is dies_at_the_first_byte else 2)
        await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("P25")
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_post_is_not_sent_twice(tls: bool, method: str) -> None:
    """Once a byte may have left the process, a request that is not idempotent is never repeated."""
    async with serve(dies_on_reuse, answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        await fetch(calls, server.url("/warm"))
        error = await expect_refusal(server, calls.request(method, server.url("/x"), data=b"once"))
        assert (error.reused, error.response_begun, error.request_sent) == (True, False, True)
        assert (error.phase, error.endpoint) == ("head", make_endpoint("127.0.0.1", server.port, tls))
        await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("P25")
async def test_an_idempotency_key_lets_a_post_be_repeated(tls: bool) -> None:
    """With an Idempotency-Key the peer can tell a repetition, so it is made."""
    async with serve(dies_on_reuse, answer_all, tls=tls) as server, session() as calls:
        await fetch(calls, server.url("/warm"))
        headers = {"Idempotency-Key": "k1"}
        assert await nonce_of(await calls.post(server.url("/x"), data=b"once", headers=headers)) == "/x"
        assert attempts(server, "/x") == 2
        assert server.connections[1].requests[0].body == b"once"


@pytest.mark.fault("P25")
@pytest.mark.parametrize("kind", ["bytes", "large", "generator"])
async def test_a_post_of_which_nothing_was_sent_goes_to_a_new_connection(kind: str) -> None:
    """The connection is found closed when it is written to: no byte left, so a POST may be made again."""
    connector = WatchedConnector()
    async with serve() as server, session(connector) as calls:
        watch = Conserved(calls, server)
        await fetch(calls, server.url("/warm"))
        transport = connector.channels[0].transport
        assert transport is not None
        transport.abort()  # as the loop does when a write fails; connection_lost comes a turn later
        data: Any = {"bytes": b"abc", "large": b"abc" * 50_000, "generator": parts(b"a", b"bc")}[kind]
        assert await nonce_of(await calls.post(server.url("/x"), data=data)) == "/x"
        assert server.connections[1].requests[0].body == (b"abc" * 50_000 if kind == "large" else b"abc")
        assert attempts(server, "/x") == 1
        await watch.healthy()


@pytest.mark.fault("P26")
async def test_a_generator_that_was_started_cannot_be_sent_again() -> None:
    """A PUT is idempotent, but its body is gone: the error comes out, and the generator is finished."""
    finished = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            finished.set()

    async def script(peer: Peer) -> None:
        await Answer().run(peer)
        await peer.recv_until(b"first")
        peer.rst()

    async with serve(script, answer_all) as server, session() as calls:
        watch = Conserved(calls, server)
        await fetch(calls, server.url("/warm"))
        with pytest.raises(ResponseDisconnected):
            await calls.put(server.url("/x"), data=body())
        await watch.settled(idle=0)
        assert finished.is_set()
        assert server.accepted == 1
        await watch.healthy()


@pytest.mark.fault("P26")
@pytest.mark.parametrize("kind", ["file", "list", "bytes"])
async def test_a_body_that_can_be_had_again_is_sent_from_its_beginning(kind: str) -> None:
    """Files, lists and bytes are repeated whole, though part of them had gone out."""
    whole = b"".join(b"%07d\n" % number for number in range(100_000))

    async def script(peer: Peer) -> None:
        await Answer().run(peer)
        await peer.head()
        await peer.recv_exactly(100_000)
        peer.rst()

    async with serve(script, answer_all) as server, session() as calls:
        watch = Conserved(calls, server)
        await fetch(calls, server.url("/warm"))
        data: Any = {"file": io.BytesIO(whole), "list": [whole[:400_000], whole[400_000:]], "bytes": whole}[kind]
        assert await nonce_of(await calls.put(server.url("/x"), data=data)) == "/x"
        assert server.connections[1].requests[0].body == whole
        await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("P27")
async def test_one_dead_connection_condemns_the_older_ones(tls: bool) -> None:
    """After a restart fifty idle connections are dead: one retry, and the other 49 are never tried."""
    async with serve(*[dying_together(50)] * 50, answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        await asyncio.gather(*(fetch(calls, server.url(f"/{k}")) for k in range(50)))
        assert numbers(calls).idle == 50
        assert await fetch(calls, server.url("/x")) == "/x"
        assert attempts(server, "/x") == 2
        await watch.settled(idle=1)
        for k in range(50, 60):
            assert await fetch(calls, server.url(f"/{k}")) == f"/{k}"
            assert attempts(server, f"/{k}") == 1
        assert server.accepted == 51


@pytest.mark.fault("P27")
async def test_fifty_calls_on_fifty_dead_connections_are_all_retried_once() -> None:
    """Leased in one tick, every one of them dead: no error, two attempts each, not more."""
    async with serve(*[dying_together(50)] * 50, answer_all) as server, session() as calls:
        watch = Conserved(calls, server)
        await asyncio.gather(*(fetch(calls, server.url(f"/{k}")) for k in range(50)))
        paths = [f"/x{k}" for k in range(50)]
        assert await asyncio.gather(*(fetch(calls, server.url(path)) for path in paths)) == paths
        assert {attempts(server, path) for path in paths} == {2}
        await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("P28")
@pytest.mark.parametrize("begun", [b"H", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"])
async def test_no_retry_once_a_byte_of_the_response_is_there(tls: bool, begun: bytes) -> None:
    """The peer had begun to answer, so it may have acted: even a GET is not repeated."""
    script = [Answer(), RecvRequest(), Send(begun)]
    async with serve(script, answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        await fetch(calls, server.url("/warm"))
        error = await expect_refusal(server, calls.get(server.url("/x")))
        assert error.response_begun
        await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("P28")
async def test_no_retry_in_the_body(tls: bool) -> None:
    """A body that is cut short is an error, whatever the method."""
    script = [Answer(), RecvRequest(), Send(response(body=b"12345", length=9))]
    async with serve(script, answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        await fetch(calls, server.url("/warm"))
        got = await calls.get(server.url("/x"))
        with pytest.raises(ClientPayloadError, match="received 5 bytes, expected 9"):
            await got.read()
        assert (attempts(server, "/x"), server.accepted) == (1, 1)
        await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("P29")
async def test_no_retry_on_a_fresh_connection(tls: bool) -> None:
    """A server that hangs up on a new connection does it on purpose."""
    async with serve([RecvRequest()], answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        error = await expect_refusal(server, calls.get(server.url("/x")))
        assert error.reused is False
        await watch.healthy()


@pytest.mark.fault("P24")
async def test_at_most_one_retry() -> None:
    """The new connection dies too: that is the end of it."""
    async with serve(dies_on_reuse, [RecvRequest(), Rst()], answer_all) as server, session() as calls:
        watch = Conserved(calls, server)
        await fetch(calls, server.url("/warm"))
        with pytest.raises(ResponseDisconnected) as caught:
            await calls.get(server.url("/x"))
        assert caught.value.reused is False
        assert (attempts(server, "/x"), server.accepted) == (2, 2)
        await watch.healthy()


@pytest.mark.fault("P24")
async def test_the_retry_never_takes_another_reused_connection() -> None:
    """An idle connection that came free meanwhile could be as dead: the retry goes to a new one."""
    release = asyncio.Event()

    async def held(peer: Peer) -> None:
        request = await peer.request()
        await release.wait()
        peer.send(response(body=b"late", headers=[("X-Nonce", request.nonce)]))
        await Repeat([Answer()]).run(peer)

    async def dies_late(peer: Peer) -> None:
        await Answer().run(peer)
        await peer.head()
        release.set()  # the other connection becomes idle before this one dies
        await server.until(lambda: numbers(calls).idle == 1)
        peer.fin()

    async with serve(held, dies_late, answer_all) as server, session() as calls:
        slow = asyncio.create_task(fetch(calls, server.url("/slow")))
        await server.until_requests(1)
        await fetch(calls, server.url("/warm"))
        retried = asyncio.create_task(fetch(calls, server.url("/x")))
        assert await slow == "/slow"
        server.changes.notify()
        assert await retried == "/x"
        assert [request.target for request in server.connections[2].requests] == ["/x"]
        assert len(server.connections[0].requests) == 1


@pytest.mark.fault("P24", "P18")
async def test_a_retry_at_the_limit_has_the_slot_of_the_dead_one() -> None:
    """limit=1 and a queue: the dead one's slot serves the retry first, and its connection then serves the queue."""
    async with serve(dies_on_reuse, answer_all) as server, session(limit=1) as calls:
        watch = Conserved(calls, server)
        await fetch(calls, server.url("/warm"))
        paths = [f"/{k}" for k in range(5)]
        assert await asyncio.gather(*(fetch(calls, server.url(path)) for path in paths)) == paths
        assert [request.target for request in server.connections[1].requests] == paths
        assert server.accepted == 2
        await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("P50")
@pytest.mark.parametrize("script", [dies_on_reuse, resets_on_reuse])
async def test_retry_stale_off_means_one_attempt(tls: bool, script: Handler) -> None:
    """With retry_stale=False the error comes out and nothing is repeated."""
    async with serve(script, answer_all, tls=tls) as server, session(retry_stale=False) as calls:
        watch = Conserved(calls, server)
        await fetch(calls, server.url("/warm"))
        error = await expect_refusal(server, calls.get(server.url("/x")))
        assert error.reused
        await watch.healthy()


@pytest.mark.fault("P50", "P25")
async def test_retry_stale_off_even_if_nothing_was_sent() -> None:
    """The switch turns off every repetition, that of a request which never left included."""
    connector = WatchedConnector()
    async with serve() as server, session(connector, retry_stale=False) as calls:
        await fetch(calls, server.url("/warm"))
        transport = connector.channels[0].transport
        assert transport is not None
        transport.abort()
        with pytest.raises(ResponseDisconnected) as caught:
            await calls.get(server.url("/x"))
        assert caught.value.request_sent is False
        assert attempts(server, "/x") == 0
        await turns(3)


@PLAIN_AND_TLS
@pytest.mark.fault("P24", "P29")
async def test_a_connection_that_has_lain_idle_counts_as_reused_before_its_first_request(tls: bool) -> None:
    """Made for a caller who was gone by then, and closed by a server that got tired of waiting: the GET is retried."""
    connector = WatchedConnector()
    connector.gate = asyncio.Event()
    async with serve([RecvRequest()], answer_all, tls=tls) as server, session(connector) as calls:
        watch = Conserved(calls, server)
        gone = asyncio.create_task(fetch(calls, server.url("/gone")))
        await connector.until_made(1)
        connector.gate.set()  # the dial ends in the turn in which its caller is cancelled
        await turns(1)
        gone.cancel()
        await turns(3)
        assert (numbers(calls).idle, server.requests) == (1, [])
        assert await fetch(calls, server.url("/x")) == "/x"
        assert (attempts(server, "/x"), server.accepted) == (2, 2)
        await watch.healthy()
