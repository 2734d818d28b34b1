"""The opening handshake: refused, broken, stalled, and what of a session goes along (FAULTS W01 to W05, W08)."""

import asyncio
from typing import Any

import pytest

from keepwarm import BasicAuth, ClientSession
from keepwarm.client.errors import ClientResponseError, InvalidInput, TotalTimeoutError, WSServerHandshakeError
from keepwarm.client.ws_connect import REFUSAL_BYTES, REFUSAL_SECONDS
from keepwarm.ws.handshake import accept_for
from tests.support.calling import Conserved, fetch, numbers, serve, session
from tests.support.fakes import FakeClock
from tests.support.leaks import turns
from tests.support.server import (
    Answer,
    Peer,
    PeerGone,
    RecvRequest,
    Request,
    Rst,
    Send,
    Stall,
    answering,
    head,
    ok,
    response,
)
from tests.support.ws_peer import KINDS, agreement, echo, serve_frames, stop_the_clock

pytestmark = pytest.mark.asyncio


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The clock of every pool that the test makes: it stands still."""
    return stop_the_clock(monkeypatch)


async def refused(server: Any, calls: ClientSession, **arguments: Any) -> WSServerHandshakeError:
    with pytest.raises(WSServerHandshakeError) as caught:
        await calls.ws_connect(server.url("/ws"), **arguments)
    return caught.value


# Refused


@KINDS
@pytest.mark.parametrize("status", ["200 OK", "301 Moved Permanently", "401 Unauthorized", "503 Service Unavailable"])
@pytest.mark.fault("W01")
async def test_another_answer(kind: str, status: str) -> None:
    """The error has status, headers and body, and says what was asked; the connection is not used again."""
    answer = response(status, b"because", [("Location", "/there"), ("X-Why", "so")])
    script = answering(lambda request: answer if request.target == "/ws" else ok(nonce=request.nonce))
    async with serve(script, tls=kind != "plain") as server, session(fast_tls=kind == "fast", limit=1) as calls:
        watch = Conserved(calls, server)
        error = await refused(server, calls)
        assert (error.code, error.status, error.body) == (int(status[:3]), int(status[:3]), b"because")
        assert error.headers is not None
        assert error.headers["X-Why"] == "so"
        assert isinstance(error, ClientResponseError)
        assert server.url("/ws") in str(error)
        assert status in str(error)
        assert (str(error.endpoint), error.phase) == (server.url("").rstrip("/"), "head")
        await watch.settled(idle=0)
        await watch.healthy()
        assert server.accepted == 2


@KINDS
@pytest.mark.fault("W01")
async def test_a_refusal_without_end(kind: str) -> None:
    """64 KiB of its body are kept, the rest is not waited for."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(head("403 Forbidden", [("Transfer-Encoding", "chunked")]))
        try:
            while True:
                peer.send(b"2000\r\n" + b"x" * 8192 + b"\r\n")
                await peer.flush()
                await asyncio.sleep(0)
        except PeerGone:
            pass

    async with serve(script, tls=kind != "plain") as server, session(fast_tls=kind == "fast") as calls:
        watch = Conserved(calls, server)
        error = await refused(server, calls)
        assert (error.code, error.body) == (403, b"x" * REFUSAL_BYTES)
        await watch.settled(idle=0)


@pytest.mark.fault("W01")
async def test_a_refusal_that_stalls(clock: FakeClock) -> None:
    """What came within a second is the body."""
    script = [RecvRequest(), Send(head("503 Busy", [("Content-Length", "10")]) + b"half"), Stall()]
    async with serve(script) as server, session() as calls:
        watch = Conserved(calls, server)
        task = asyncio.create_task(refused(server, calls))
        await server.until_requests(1)
        await turns(10)
        assert not task.done()
        clock.advance(REFUSAL_SECONDS)
        error = await task
        assert (error.code, error.body) == (503, b"half")
        await watch.settled(idle=0)


def agreeing(**changes: str | None) -> Any:
    """A script that agrees, but for some header fields; None leaves one out, KEY stands for the right accept key."""

    async def script(peer: Peer) -> None:
        request = await peer.request()
        accept = accept_for(request.header("Sec-WebSocket-Key"))
        fields = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept}
        for name, value in changes.items():
            fields[name.replace("_", "-")] = "" if value is None else value.replace("KEY", accept)
        peer.send(head("101 Switching Protocols", [(name, value) for name, value in fields.items() if value]))
        try:
            await serve_frames(peer)
        except PeerGone:
            await peer.until_closed()

    return script


@KINDS
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Sec_WebSocket_Accept": None}, "Sec-WebSocket-Accept"),
        ({"Sec_WebSocket_Accept": "AAAAAAAAAAAAAAAAAAAAAAAAAAA="}, "Sec-WebSocket-Accept"),
        ({"Sec_WebSocket_Accept": "xKEY"}, "Sec-WebSocket-Accept"),
        ({"Upgrade": None}, "Upgrade"),
        ({"Upgrade": "notwebsocket"}, "Upgrade"),
        ({"Connection": None}, "Connection"),
        ({"Connection": "notupgrade"}, "Connection"),
        ({"Sec_WebSocket_Protocol": "chat"}, "chat"),
        ({"Sec_WebSocket_Extensions": "permessage-deflate"}, "permessage-deflate"),
    ],
)
@pytest.mark.fault("W02", "W03")
async def test_an_agreement_that_is_none(kind: str, changes: dict[str, str | None], said: str) -> None:
    """A 101 whose fields do not agree: the error names the field, the connection is closed."""
    async with serve(agreeing(**changes), tls=kind != "plain") as server, session(fast_tls=kind == "fast") as calls:
        watch = Conserved(calls, server)
        error = await refused(server, calls)
        assert error.code == 101
        assert said in str(error)
        await server.until_idle()
        await watch.settled(idle=0)


@pytest.mark.fault("W03")
@pytest.mark.parametrize(
    "changes", [{"Connection": "keep-alive, UPGRADE"}, {"Upgrade": "WebSocket"}, {"Connection": "upgrade ,x"}]
)
async def test_tokens_are_compared_as_tokens(changes: dict[str, str | None]) -> None:
    async with serve(agreeing(**changes)) as server, session() as calls, calls.ws_connect(server.url("/ws")) as ws:
        await ws.send_str("x")
        assert (await ws.receive()).data == "x"


@pytest.mark.fault("W02")
async def test_a_key_in_another_case() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.request()
        accept = accept_for(request.header("Sec-WebSocket-Key"))
        peer.send(agreement(request).replace(accept.encode(), accept.swapcase().encode()))
        await peer.until_closed()

    async with serve(script) as server, session() as calls:
        assert "Sec-WebSocket-Accept" in str(await refused(server, calls))


# Flood and stall


@pytest.mark.fault("W05")
async def test_header_fields_without_end() -> None:
    """The limit of a head is that of any response."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\n")
        try:
            while True:
                peer.send(b"X-More: of the same\r\n" * 100)
                await peer.flush()
                await asyncio.sleep(0)
        except PeerGone:
            pass

    async with serve(script) as server, session() as calls:
        watch = Conserved(calls, server)
        with pytest.raises(ClientResponseError, match="more than"):
            await calls.ws_connect(server.url("/ws"))
        await watch.settled(idle=0)


@KINDS
@pytest.mark.parametrize("as_option", [False, True])
@pytest.mark.fault("W05")
async def test_no_answer(kind: str, as_option: bool, clock: FakeClock) -> None:
    """`handshake_timeout`, or else the session's, bounds the wait; after it the times are the WebSocket's own."""
    async with serve([RecvRequest(), Stall()], echo, tls=kind != "plain") as server:
        calls = session(fast_tls=kind == "fast")
        watch = Conserved(calls, server)
        seconds = 7 if as_option else 300
        arguments = {"handshake_timeout": 7} if as_option else {}
        task = asyncio.create_task(calls.ws_connect(server.url("/ws"), **arguments))
        await server.until_requests(1)
        clock.advance(seconds - 0.1)
        await turns(3)
        assert not task.done()
        clock.advance(0.2)
        with pytest.raises(TotalTimeoutError):
            await task
        await watch.settled(idle=0)
        async with calls.ws_connect(server.url("/ws"), **arguments) as ws:
            clock.advance(10 * seconds)
            ws.send_str("x")
            assert (await ws.receive()).data == "x"
        await calls.close()


# Redirects


@pytest.mark.fault("W08")
async def test_redirects_are_followed_if_allowed() -> None:
    """Within the origin with credentials, to another without; the history is kept on a refusal."""
    async with serve(echo) as other:
        locations = {"/ws": "/again", "/again": other.url("/there")}
        script = answering(lambda request: response("302 Found", b"", [("Location", locations[request.target])]))
        async with serve(script) as server, session() as calls:
            arguments: dict[str, Any] = {"auth": BasicAuth("me", "secret"), "cookies": {"a": "b"}}
            assert (await refused(server, calls, **arguments)).code == 302
            assert server.accepted == 1
            async with calls.ws_connect(server.url("/ws"), allow_redirects=True, **arguments) as ws:
                ws.send_str("x")
                assert (await ws.receive()).data == "x"
            own = server.requests[1:]
            assert [request.target for request in own] == ["/ws", "/again"]
            assert all(request.header("Authorization") and request.header("Cookie") == "a=b" for request in own)
            (there,) = other.requests
            assert (there.header("Authorization"), there.header("Cookie")) == ("", "")
            assert there.header("Upgrade") == "websocket"


@pytest.mark.fault("W08")
async def test_a_redirect_to_ws_is_refused() -> None:
    """D-08: what a redirect may lead to is http and https."""
    script = answering(lambda request: response("302 Found", b"", [("Location", "ws://127.0.0.1:1/")]))
    async with serve(script) as server, session() as calls:
        with pytest.raises(ClientResponseError, match="redirected"):
            await calls.ws_connect(server.url("/ws"), allow_redirects=True)


# What of the session goes along


async def test_the_session_goes_along() -> None:
    """Headers, cookies and auth of session and call, params, origin and base_url; Set-Cookie of the 101 is kept."""

    async def script(peer: Peer) -> None:
        request = await peer.request()
        peer.send(agreement(request, [("Set-Cookie", "new=1")]))
        await serve_frames(peer)

    async with serve(script) as server:
        options = {"base_url": server.url("/api/"), "headers": {"X-Of": "session"}, "auth": BasicAuth("me", "pw")}
        async with ClientSession(cookies={"old": "1"}, **options) as calls:
            arguments = {"params": {"q": "1"}, "headers": {"X-Own": "call"}, "cookies": {"own": "2"}}
            async with calls.ws_connect("chat", origin="http://o.example", protocols=("a", "b"), **arguments):
                pass
            async with calls.ws_connect("chat"):
                pass
    first, second = server.requests
    assert (first.method, first.target, first.version) == ("GET", "/api/chat?q=1", "HTTP/1.1")
    assert (first.header("X-Of"), first.header("X-Own")) == ("session", "call")
    assert first.header("Authorization") == BasicAuth("me", "pw").encode()
    assert set(first.header("Cookie").split("; ")) == {"old=1", "own=2"}
    assert first.header("Origin") == "http://o.example"
    assert first.header_all("Sec-WebSocket-Protocol") == ["a, b"]
    assert first.header("Connection").lower() == "upgrade"
    assert set(second.header("Cookie").split("; ")) == {"old=1", "new=1"}
    assert (second.header("Origin"), second.header("Sec-WebSocket-Protocol")) == ("", "")
    assert first.header("Sec-WebSocket-Key") != second.header("Sec-WebSocket-Key")


@pytest.mark.parametrize(
    ("wrong", "error", "named"),
    [
        ({"headers": {"Sec-WebSocket-Key": "x"}}, InvalidInput, "headers"),
        ({"headers": {"sec-websocket-version": "8"}}, InvalidInput, "headers"),
        ({"headers": {"Sec-WebSocket-Protocol": "x"}}, InvalidInput, "protocols="),
        ({"headers": {"Sec-WebSocket-Extensions": "x"}}, InvalidInput, "compress="),
        ({"headers": {"Upgrade": "h2c"}}, InvalidInput, "headers"),
        ({"headers": {"Connection": "close"}}, InvalidInput, "headers"),
        ({"headers": {"Origin": "http://x"}, "origin": "http://y"}, InvalidInput, "Origin"),
        ({"protocols": "chat"}, TypeError, "protocols"),
        ({"protocols": ["a b"]}, InvalidInput, "protocols"),
        ({"protocols": ["a", "a"]}, InvalidInput, "protocols"),
        ({"origin": "http://x\r\n"}, InvalidInput, "origin"),
        ({"timeout": -1}, InvalidInput, "timeout"),
        ({"timeout": "10"}, TypeError, "timeout"),
        ({"receive_timeout": -1}, InvalidInput, "receive_timeout"),
        ({"heartbeat": "1"}, TypeError, "heartbeat"),
        ({"compress": 7}, InvalidInput, "compress must be .*9 to 15"),
        ({"compress": 16}, InvalidInput, "compress must be .*9 to 15"),
        ({"compress": "yes"}, TypeError, "compress"),
        ({"max_msg_size": -1}, InvalidInput, "max_msg_size"),
        ({"max_fragments": 1.5}, TypeError, "max_fragments"),
        ({"max_redirects": -1, "allow_redirects": True}, InvalidInput, "max_redirects"),
        ({"handshake_timeout": "1"}, InvalidInput, "^handshake_timeout must be"),
        ({"handshake_timeout": -1}, InvalidInput, "^handshake_timeout must be"),
    ],
)
async def test_refused_before_a_byte(wrong: dict[str, Any], error: type[Exception], named: str) -> None:
    """Bad input names its argument; nothing is dialled."""
    async with serve(echo) as server, session() as calls:
        with pytest.raises(error, match=named) as caught:
            await calls.ws_connect(server.url("/ws"), **wrong)
        assert isinstance(caught.value, (TypeError, ValueError))
        if "compress" in wrong and isinstance(caught.value, InvalidInput):
            assert caught.value.argument == "compress"
        assert server.accepted == 0


async def test_unknown_keywords() -> None:
    async with session() as calls:
        with pytest.raises(TypeError, match="protocol"):
            calls.ws_connect("ws://127.0.0.1/", protocol="chat")  # type: ignore[call-arg]


async def test_as_a_task() -> None:
    """ws_connect gives what create_task and gather take."""
    async with serve(echo) as server, session() as calls:
        one = asyncio.create_task(calls.ws_connect(server.url("/ws")))
        two, three = await asyncio.gather(*[calls.ws_connect(server.url("/ws")) for _ in range(2)])
        for ws in (await one, two, three):
            await ws.close()


# Connections


@KINDS
async def test_an_idle_connection_is_taken(kind: str) -> None:
    """ws and http share the key: the connection of a GET carries the WebSocket, and never comes back."""
    async with serve(echo, tls=kind != "plain") as server, session(fast_tls=kind == "fast") as calls:
        watch = Conserved(calls, server)
        assert await fetch(calls, server.url("/get")) == "/get"
        async with calls.ws_connect(server.url("/ws").replace("http", "ws", 1)) as ws:
            assert (server.accepted, numbers(calls).idle) == (1, 0)
            await ws.send_str("x")
            assert (await ws.receive_str()) == "x"
        await watch.settled(idle=0)
        assert server.accepted == 1


@pytest.mark.parametrize("kind", ["plain", "tls"])
async def test_an_idle_connection_that_is_dead(kind: str) -> None:
    """K7: the handshake is sent again on a new one."""
    script = [Answer(), RecvRequest(), Rst()]
    async with serve(script, echo, tls=kind != "plain") as server, session() as calls:
        await fetch(calls, server.url("/get"))
        async with calls.ws_connect(server.url("/ws")) as ws:
            assert server.accepted == 2
            await ws.send_str("x")
            assert (await ws.receive_str()) == "x"


async def test_an_upgrade_that_nobody_asked_for() -> None:
    """101 in answer to a plain GET is an error, and the connection is closed."""
    script = answering(lambda request: head("101 Switching Protocols", [("Upgrade", "websocket")]))
    async with serve(script) as server, session() as calls:
        watch = Conserved(calls, server)
        with pytest.raises(ClientResponseError):
            await calls.get(server.url("/"))
        await watch.settled(idle=0)


async def test_no_secret_is_shown() -> None:
    """Neither repr nor error has the password of the URL."""

    def refuse(request: Request) -> bytes:
        return response("401 Unauthorized")

    async with serve(echo) as server, serve(answering(refuse)) as stern, session() as calls:
        async with calls.ws_connect(server.url("/ws").replace("//", "//me:secret@")) as ws:
            assert server.requests[0].header("Authorization") == BasicAuth("me", "secret").encode()
            assert "secret" not in repr(ws)
            assert "open" in repr(ws)
            assert str(server.port) in repr(ws)
        assert "closed" in repr(ws)
        with pytest.raises(WSServerHandshakeError) as caught:
            await calls.ws_connect(stern.url("/ws").replace("//", "//me:secret@"))
        assert "secret" not in f"{caught.value} {caught.value!r}"
