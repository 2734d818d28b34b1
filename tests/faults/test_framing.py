"""Responses that are odd, broken or too much, over real connections. What the codec makes of each message is proved in
tests/client; here it is about the connection: who gets which answer, and whether it is used again."""

import asyncio
import os
import socket
from collections import defaultdict

import pytest

from keepwarm.client.errors import (
    ClientPayloadError,
    ClientProtocolError,
    ResponseDisconnected,
)
from keepwarm.client.session import ClientSession
from keepwarm.pool.errors import ClientConnectionError
from tests.support.calling import PLAIN_AND_TLS, Conserved, WatchedConnector, fetch, numbers, serve, session
from tests.support.h1_corpus import CHUNKED, CORPUS, LINE, Case
from tests.support.leaks import turns
from tests.support.server import Answer, Fin, Handler, Peer, RecvRequest, Repeat, Send, answer_all, head, ok, response

pytestmark = pytest.mark.asyncio


def by_fault(cases: list[Case]) -> list[object]:
    groups: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        groups[case.fault].append(case)
    return [pytest.param(group, id=fault, marks=pytest.mark.fault(fault, "P37")) for fault, group in groups.items()]


@PLAIN_AND_TLS
@pytest.mark.parametrize("cases", by_fault(CORPUS))
async def test_the_corpus(tls: bool, cases: list[Case]) -> None:
    """Each message is delivered or refused as it must be; the connection goes on only if it came whole and nothing is
    left of it; the call after it gets its own answer; nobody is leased, waits or leaks."""

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if not request.target.startswith("/case"):
                peer.send(ok(nonce=request.nonce))
                continue
            case = cases[int(request.target.removeprefix("/case"))]
            peer.send(case.message)
            if not case.complete:
                peer.fin()

    async with serve(script, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        assert await fetch(calls, server.url("/first")) == "/first"
        for number, case in enumerate(cases):
            accepted, asked = server.accepted, len(server.requests)
            await _try(calls, server.url(f"/case{number}"), case)
            await watch.settled()
            assert len(server.requests) == asked + 1, f"{case.name}: sent again"
            assert await fetch(calls, server.url("/after")) == "/after"
            kept = not case.refused and case.complete and not case.surplus and case.keep_alive
            assert server.accepted == accepted + (not kept), case.name
            await watch.settled(idle=1)


async def _try(calls: ClientSession, url: str, case: Case) -> None:
    is_cut = not case.complete and case.fault != "F30"
    if not case.refused and not is_cut:
        async with calls.request(case.method, url) as answer:
            assert await answer.read() == case.body, case.name
            trailers = [(name.encode(), value.encode()) for name, value in answer.trailers.items()]
            assert trailers == list(case.trailers)
        return
    expected = ClientProtocolError if case.refused else ClientPayloadError
    with pytest.raises(expected) as caught:
        async with calls.request(case.method, url) as answer:
            await answer.read()
    assert type(caught.value).__name__ == (case.refused or "ClientPayloadError")
    assert caught.value.endpoint is not None
    assert caught.value.reused is True


# Bytes that nobody asked for


@pytest.mark.fault("F01", "F04")
@PLAIN_AND_TLS
@pytest.mark.parametrize("stray", [ok(b"stray", nonce="/stray"), b"H", b"\n"], ids=["response", "a byte", "a line end"])
async def test_unsolicited_bytes_on_an_idle_connection(tls: bool, stray: bytes) -> None:
    """The connection is dropped at the first byte, and never asked again."""
    event = asyncio.Event()

    async def script(peer: Peer) -> None:
        await Answer().run(peer)
        await event.wait()
        peer.send(stray)
        await peer.until_closed()

    async with serve(script, answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        await fetch(calls, server.url("/1"))
        event.set()
        await server.until_idle()
        await watch.settled(idle=0)
        assert numbers(calls).retired == {"stray_bytes": 1}
        await watch.healthy()
        assert server.accepted == 2


STRAY = ok(b"stray", nonce="/stray")


@pytest.mark.fault("F03")
@pytest.mark.parametrize(("tls", "stray"), [(False, STRAY), (False, b"H"), (True, STRAY)], ids=["all", "one", "tls"])
async def test_unsolicited_bytes_that_nobody_has_read(tls: bool, stray: bytes) -> None:
    """Bytes that are in the kernel when the next request starts are found before it is sent. With TLS they are no
    record, and the loop gets a turn to find that out."""
    async with serve(answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        await fetch(calls, server.url("/1"))
        peer = server.connections[0]
        with socket.socket(fileno=os.dup(peer.transport.get_extra_info("socket").fileno())) as raw:
            raw.send(stray)  # below the loop, and below TLS
        assert await fetch(calls, server.url("/2")) == "/2"  # begins in the same turn
        assert server.accepted == 2
        assert len(server.connections[0].requests) == 1
        await watch.healthy()


@pytest.mark.fault("F06")
@PLAIN_AND_TLS
async def test_a_server_that_speaks_first(tls: bool) -> None:
    """A response before any request is an error of the connection; no request gets it."""

    async def script(peer: Peer) -> None:
        peer.send(ok(b"stray", nonce="/stray"))
        await answer_all(peer)

    connector = WatchedConnector()
    async with serve(script, answer_all, tls=tls) as server, session(connector) as calls:
        watch = Conserved(calls, server)
        connector.gate = asyncio.Event()
        call = asyncio.create_task(fetch(calls, server.url("/1")))
        await connector.until_made(1)
        await server.until(lambda: server.connections[0].secure or not tls)
        channel = connector.channels[0]
        for _ in range(50):
            if channel.retiring:
                break
            await asyncio.sleep(0)
        connector.gate.set()
        with pytest.raises(ClientConnectionError, match="sent bytes before it was asked"):
            await call
        assert server.accepted == 1
        assert not server.requests
        await watch.healthy()


@pytest.mark.fault("F08", "F10")
@PLAIN_AND_TLS
@pytest.mark.parametrize(
    ("method", "start"),
    [("HEAD", CHUNKED), ("GET", head("204 No Content", [("Content-Length", "5")])), ("GET", head("304 Not Modified"))],
    ids=["HEAD", "204", "304"],
)
async def test_a_body_that_comes_later_where_none_may_be(tls: bool, method: str, start: bytes) -> None:
    """The head completes the response; a body behind it, in another segment, ends the idle connection."""
    event = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(start)
        await event.wait()
        peer.send(b"5\r\nhello\r\n0\r\n\r\n")
        await peer.until_closed()

    async with serve(script, answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        async with calls.request(method, server.url("/1")) as answer:
            assert await answer.read() == b""
        await watch.settled(idle=1)
        event.set()
        await server.until_idle()
        await watch.settled(idle=0)
        await watch.healthy()


# The end of the connection


@pytest.mark.fault("F30")
@PLAIN_AND_TLS
async def test_read_until_eof(tls: bool) -> None:
    """Without length and chunks the body lasts until the end; read_until_eof=False takes it to be empty."""
    steps = [RecvRequest(), Send(head("200 OK", [("X-Nonce", "/x")]) + b"body"), Fin()]
    async with serve(steps, steps, answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        async with calls.get(server.url("/x")) as answer:
            assert await answer.read() == b"body"
            assert not answer.is_truncated
        await watch.settled(idle=0)
        async with calls.get(server.url("/x"), read_until_eof=False) as answer:
            assert answer.closed
            assert await answer.read() == b""
        await watch.settled(idle=0)
        async with calls.get(server.url("/x"), read_until_eof=False) as answer:
            assert (await answer.read(), answer.headers["X-Nonce"]) == (b"ok", "/x")
        await watch.healthy()
        assert server.accepted == 3


@pytest.mark.fault("F31", "F23")
@PLAIN_AND_TLS
@pytest.mark.parametrize("end", ["fin", "rst", "cut"])
@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (LINE + b"Content-Length: 99\r\n\r\n0123456789", 99),
        (LINE + b"Content-Length: 1099511627776\r\n\r\n0123456789", 1099511627776),
        (CHUNKED + b"a\r\n0123456789\r\n", None),
        (CHUNKED + b"a\r\n0123456789\r\n0\r\nX: y\r\n", None),
    ],
    ids=["length", "a terabyte", "chunks", "trailers"],
)
async def test_a_body_cut_short(tls: bool, end: str, start: bytes, expected: int | None) -> None:
    """FIN or RST inside a body is an error that names expected and received bytes; the call is not made again."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(start)
        await event.wait()
        getattr(peer, end)()
        await peer.until_closed()

    async with serve(script, answer_all, tls=tls) as server, session() as calls:
        event = asyncio.Event()
        watch = Conserved(calls, server)
        async with calls.get(server.url("/x")) as answer:
            assert await answer.content.readexactly(10) == b"0123456789"
            event.set()
            with pytest.raises(ClientPayloadError) as caught:
                await answer.read()
        assert caught.value.expected == expected
        assert caught.value.received == 10
        assert "received 10 bytes" in str(caught.value)
        assert len(server.requests) == 1
        await watch.healthy()


@pytest.mark.fault("T14")
@pytest.mark.parametrize("fast_tls", [False, True], ids=["loop's TLS", "fast TLS"])
@pytest.mark.parametrize("goodbye", [True, False], ids=["close_notify", "FIN alone"])
async def test_tls_ends_without_a_goodbye(goodbye: bool, fast_tls: bool) -> None:
    """FIN without close_notify cuts a body of known length short; a body until the end is delivered, and marked."""

    def script(start: bytes) -> Handler:
        async def run(peer: Peer) -> None:
            await peer.request()
            peer.send(start + b"body")
            await peer.flush()
            peer.fin() if goodbye else peer.cut()
            await peer.until_closed()

        return run

    until_eof, by_length = script(LINE + b"\r\n"), script(LINE + b"Content-Length: 9\r\n\r\n")
    async with serve(until_eof, by_length, answer_all, tls=True) as server, session(fast_tls=fast_tls) as calls:
        watch = Conserved(calls, server)
        async with calls.get(server.url("/x")) as answer:
            assert await answer.read() == b"body"
            assert answer.is_truncated is not goodbye
        await watch.settled(idle=0)
        with pytest.raises(ClientPayloadError) as caught:
            async with calls.get(server.url("/x")) as answer:
                await answer.read()
        assert (caught.value.expected, caught.value.received) == (9, 4)
        await watch.healthy()


@pytest.mark.fault("F37")
@PLAIN_AND_TLS
@pytest.mark.parametrize("wait", [True, False], ids=["after the request", "at once"])
async def test_a_peer_that_says_nothing(tls: bool, wait: bool) -> None:
    """A FIN in place of a response is a disconnect, in one attempt on a new connection."""

    async def script(peer: Peer) -> None:
        if wait:
            await peer.request()
        peer.fin()

    async with serve(script, answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        with pytest.raises((ResponseDisconnected, ClientConnectionError)) as caught:
            await fetch(calls, server.url("/x"))
        assert caught.value.reused is False
        assert server.accepted == 1
        assert not isinstance(caught.value, ResponseDisconnected) or caught.value.response_begun is False
        await watch.healthy()


@pytest.mark.fault("F44")
@PLAIN_AND_TLS
@pytest.mark.parametrize("keep", [True, False])
async def test_http_10(tls: bool, keep: bool) -> None:
    """HTTP/1.0 is kept with keep-alive only, call after call."""
    fields = [("Connection", "keep-alive")] if keep else []
    steps = Repeat(
        [Answer(lambda request: response(headers=[*fields, ("X-Nonce", request.nonce)], version="HTTP/1.0"))]
    )
    async with serve([steps], tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        for number in range(3):
            assert await fetch(calls, server.url(f"/{number}")) == f"/{number}"
            await watch.settled(idle=int(keep))
        assert server.accepted == (1 if keep else 3)
        await turns(3)
