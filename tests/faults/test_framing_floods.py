"""Peers that send too much, or what should never reach a terminal, over real connections."""

import asyncio

import pytest

from keepwarm.client.errors import BodyTooLarge, ClientProtocolError, ClientResponseError, HeadTooLarge
from keepwarm.client.head_limits import HeadLimits
from keepwarm.client.session import ClientSession
from tests.support.calling import PLAIN_AND_TLS, Conserved, WatchedConnector, nonce_of, serve, session
from tests.support.h1_corpus import CHUNKED, LINE
from tests.support.server import Handler, Peer, Request, answer_all, answering, chunk, chunked, head, ok, response

pytestmark = pytest.mark.asyncio


def first(message: bytes) -> Handler:
    """Answers the first request on a connection with `message`, all others with their nonces."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(message)
        await answer_all(peer)

    return script


@pytest.mark.fault("F38", "F26", "F27", "F14")
@PLAIN_AND_TLS
@pytest.mark.parametrize(
    ("start", "more"),
    [
        (LINE + b"A: ", b"x" * 1000),
        (LINE, b"A: b\r\n" * 100),
        (LINE, b"A: " + b"x" * 4000 + b"\r\n"),
        (b"", b"HTTP/1.1 103 X\r\nA: b\r\n\r\n"),
        (CHUNKED + b"1;", b"x" * 1000),
        (CHUNKED + b"0\r\n", b"A: b\r\n" * 100),
    ],
    ids=["line", "fields", "block", "interim", "extension", "trailers"],
)
async def test_floods(tls: bool, start: bytes, more: bytes) -> None:
    """A peer that sends without end is cut off; it never gets rid of more than the sockets' buffers hold."""
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        peer.send(start)
        for _ in range(100_000):
            peer.send(more)
            sent += len(more)
            await peer.flush()
            await asyncio.sleep(0)

    async with serve(script, answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        with pytest.raises(ClientProtocolError):
            async with calls.get(server.url("/x")) as answer:
                await answer.read()
        await server.until_idle()
        assert sent < 1024 * 1024
        assert server.connections[0].closed == "rst"
        await watch.healthy()


@pytest.mark.fault("F38", "F39")
async def test_limits_are_options_of_the_session() -> None:
    """What the default refuses, a session with wider limits reads, and the other way round; also over one connector."""
    wide = response(headers=[(f"A{n}", "b" * 100) for n in range(1000)])
    async with serve(first(wide), first(wide), first(ok(nonce="/x"))) as server, session() as calls:
        watch = Conserved(calls, server)
        with pytest.raises(HeadTooLarge, match="an option of the session") as caught:
            await calls.get(server.url("/x"))
        assert caught.value.limit in (65536, 128)
        await watch.settled(idle=0)
        limits = HeadLimits(block=1 << 20, fields=2000)
        wider = ClientSession(connector=calls.connector, limits=limits)
        async with wider.get(server.url("/x")) as answer:
            assert len(answer.headers) == 1001
        assert await nonce_of(await wider.get(server.url("/y"))) == "/y"
        narrow = ClientSession(connector=calls.connector, limits=HeadLimits(fields=1))
        with pytest.raises(HeadTooLarge, match="more than 1 fields"):
            await narrow.get(server.url("/x"))
        assert await nonce_of(await calls.get(server.url("/x"))) == "/x"
        narrow.detach()
        wider.detach()
        await watch.healthy()
    with pytest.raises(TypeError, match="limits must be a HeadLimits"):
        ClientSession(limits=5)  # type: ignore[arg-type]


@pytest.mark.fault("F49")
@PLAIN_AND_TLS
async def test_peer_bytes_are_escaped(tls: bool, caplog: pytest.LogCaptureFixture) -> None:
    """What the peer wrote is escaped and cut in errors, reprs and the log."""
    caplog.set_level(0)
    evil = b"\x1b[31m\x9b2J" + b"z" * 1000
    colour = "HTTP/1.1 404 \x85\xff\r\nContent-Length: 0\r\n\r\n".encode("latin-1")
    steps = [first(evil), first(LINE + b"A:" + evil), first(CHUNKED + evil), first(colour)]
    async with serve(*steps, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        for _ in range(3):
            with pytest.raises(ClientProtocolError) as caught:
                async with calls.get(server.url("/x")) as answer:
                    await answer.read()
            for text in (str(caught.value), repr(caught.value)):
                assert text.isascii() and text.isprintable()
                assert len(text) < 300
        refused = await calls.get(server.url("/x"))
        assert repr(refused).isascii()
        with pytest.raises(ClientResponseError) as unwanted:
            refused.raise_for_status()
        assert str(unwanted.value).isascii() and str(unwanted.value).isprintable()
        await watch.healthy()
    assert caplog.text.isascii()


CAP = 1000


@pytest.mark.fault("R12")
@PLAIN_AND_TLS
@pytest.mark.parametrize(
    ("start", "more"),
    [
        (LINE + b"Content-Length: 1001\r\n\r\n", b""),
        (LINE + b"Content-Length: 1099511627776\r\n\r\n", b"x" * CAP),
        (LINE + b"\r\n" + b"x" * CAP, b"x"),
        (CHUNKED + chunk(b"x" * CAP), b"1"),
        (CHUNKED + chunk(b"x" * 501), chunk(b"x" * 500)),
    ],
    ids=["one too many", "a terabyte", "until the end", "a chunk begins", "chunks"],
)
async def test_a_body_beyond_the_cap(tls: bool, start: bytes, more: bytes) -> None:
    """More than max_body_size is refused as soon as it shows, and the connection is closed."""
    event = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(start)
        await event.wait()
        peer.send(more + (b"\r\nx" if more == b"1" else b""))
        await peer.until_closed()

    connector = WatchedConnector()
    async with (
        serve(script, answer_all, tls=tls) as server,
        ClientSession(connector=connector, max_body_size=CAP) as calls,
    ):
        watch = Conserved(calls, server)
        event.set()
        with pytest.raises(BodyTooLarge, match="max_body_size is 1000") as caught:
            async with calls.get(server.url("/x")) as answer:
                await answer.read()
        assert (caught.value.expected, caught.value.phase) == (CAP, "body")
        await server.until_idle()
        await watch.healthy()


@pytest.mark.fault("R12", "F07")
@PLAIN_AND_TLS
async def test_a_body_within_the_cap(tls: bool) -> None:
    """The cap itself is allowed, whatever the framing, and no length in an answer to HEAD counts."""
    body = b"x" * CAP

    def respond(request: Request) -> bytes:
        if request.method == "HEAD":
            return head("200 OK", [("Content-Length", "1099511627776")])
        return chunked([body[:400], body[400:]]) if request.target == "/chunked" else response(body=body)

    connector = WatchedConnector()
    script = answering(respond)
    async with serve(script, tls=tls) as server, ClientSession(connector=connector, max_body_size=CAP) as calls:
        watch = Conserved(calls, server)
        for path in ("/chunked", "/length"):
            async with calls.get(server.url(path)) as answer:
                assert await answer.read() == body
        async with calls.head(server.url("/x")) as answer:
            assert await answer.read() == b""
        await watch.settled(idle=1)
        assert server.accepted == 1
