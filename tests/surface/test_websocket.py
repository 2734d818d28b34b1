"""WebSockets: ws_connect of session and module, ClientWebSocketResponse, messages (rows A, B, D, E, L and N)."""

import asyncio
from typing import Any

import pytest

import keepwarm
from keepwarm import BasicAuth, ClientSession, ClientWebSocketResponse, TCPConnector, WSServerHandshakeError, websocket
from keepwarm.websocket import Message, MsgType, WebSocketError
from tests.support.fakes import FakeClock
from tests.support.leaks import turns
from tests.support.server import Peer, Script, ScriptedServer, answering, response
from tests.support.ws_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload, server_frame
from tests.support.ws_peer import agree, all_of, closing, echo, frame_from, hang_up, opened, saying, stop_the_clock
from tests.surface.calls import calling

pytestmark = pytest.mark.asyncio


def refusing(status: str) -> Script:
    return answering(lambda request: response(status, b"no", [("X-Why", "so")]))


async def received_by_peer(peer: Peer, frames: list[Any], count: int) -> None:
    """Agree, note so many frames, and close."""
    await agree(peer)
    frames.extend([await frame_from(peer) for _ in range(count)])
    peer.send(closing())
    await hang_up(peer)


# A and B


async def test_a_09_ping_is_empty_by_default() -> None:
    frames: list[Any] = []
    async with opened(lambda peer: received_by_peer(peer, frames, 1)) as o:
        o.ws.ping()
        assert [message.tp for message in await all_of(o.ws)] == [MsgType.close]
    assert [(frame.opcode, frame.payload) for frame in frames] == [(PING, b"")]


@pytest.mark.parametrize("row", ["A-10", "D-03"])
async def test_timeout_is_that_of_close(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """10 s by default; `receive` has no limit unless it gets its own."""
    clock: FakeClock = stop_the_clock(monkeypatch)
    async with opened(saying(then=Peer.until_closed)) as o:
        receiver = asyncio.create_task(o.ws.receive())
        clock.advance(3600)
        await turns(3)
        assert not receiver.done()
        closer = asyncio.create_task(o.ws.close())
        await turns(3)
        clock.advance(9)
        assert not o.ws.exception()
        clock.advance(1.1)
        assert await closer is True
        assert (await receiver).tp is MsgType.closed
    async with opened(saying(then=hang_up), receive_timeout=None, timeout=None) as o:
        assert (await o.ws.receive()).tp is MsgType.error


async def test_a_11_the_close_message_is_returned_once() -> None:
    async with opened(saying(closing(1001, b"bye"), then=hang_up)) as o:
        assert await o.ws.receive() == Message(MsgType.close, 1001, "bye")
        for _ in range(3):
            assert await o.ws.receive() == websocket.closedMessage


@pytest.mark.parametrize("row", ["A-12", "D-05"])
@pytest.mark.parametrize("autoclose", [True, False])
async def test_closed_once_the_peer_has_closed(row: str, autoclose: bool) -> None:
    """With and without autoclose; without it the answer is the caller's."""
    answers = []

    async def script(peer: Peer) -> None:
        await agree(peer)
        peer.send(closing(4001))
        answers.append((await frame_from(peer)).payload)

    async with opened(script, autoclose=autoclose) as o:
        assert (await o.ws.receive()).tp is MsgType.close
        assert (o.ws.closed, o.ws.close_code) == (True, 4001)
        assert await o.ws.close(code=4002) is True
        await o.server.until(lambda: answers)
    assert answers == [(4001 if autoclose else 4002).to_bytes(2, "big")]


@pytest.mark.parametrize("row", ["A-13", "D-06"])
@pytest.mark.parametrize("autoping", [True, False])
async def test_pings_and_pongs(row: str, autoping: bool) -> None:
    frames: list[Any] = []

    async def script(peer: Peer) -> None:
        await agree(peer, glued=server_frame(PING, b"p") + server_frame(PONG, b"q") + server_frame(TEXT, b"t"))
        if autoping:
            frames.append(await frame_from(peer))
        peer.send(closing())
        await hang_up(peer)

    async with opened(script, autoping=autoping) as o:
        *messages, _ = await all_of(o.ws)
        control = [Message(MsgType.ping, b"p", ""), Message(MsgType.pong, b"q", "")]
        assert messages == [*([] if autoping else control), Message(MsgType.text, "t", "")]
    assert [(frame.opcode, frame.payload) for frame in frames] == [(PONG, b"p")] * autoping


class Own(ClientWebSocketResponse):
    """A class of the caller's."""


@pytest.mark.parametrize("row", ["B-12", "E-34"])
async def test_ws_response_class(row: str) -> None:
    async with calling(echo, ws_response_class=Own) as (session, server), session.ws_connect(server.url()) as ws:
        assert type(ws) is Own
    async with ScriptedServer(echo) as server:
        with pytest.warns(DeprecationWarning):
            call = keepwarm.ws_connect(server.url(), ws_response_class=Own)
        async with call as ws:
            assert type(ws) is Own
    with pytest.raises(TypeError, match="ws_response_class"):
        ClientSession(ws_response_class=dict)  # type: ignore[arg-type]


# D and E: opening


async def module_call(url: str, **arguments: Any) -> ClientWebSocketResponse:
    with pytest.warns(DeprecationWarning, match="ClientSession"):
        call = keepwarm.ws_connect(url, **arguments)
    return await call


@pytest.mark.parametrize("row", ["D-01", "E-29"])
async def test_awaited_or_entered(row: str) -> None:
    """Leaving the block closes. The module function warns, and its session is gone afterwards."""
    async with calling(echo) as (session, server):
        if row == "D-01":
            ws = await session.ws_connect(server.url())
            call = session.ws_connect(server.url())
        else:
            ws = await module_call(server.url())
            with pytest.warns(DeprecationWarning):
                call = keepwarm.ws_connect(server.url())
        assert isinstance(ws, ClientWebSocketResponse)
        async with call as other:
            for each in (ws, other):
                await each.send_str("x")
                assert (await each.receive()).data == "x"
        assert other.closed
        assert not ws.closed
        async with ws:
            pass
        assert ws.closed
        await server.until_idle()


@pytest.mark.parametrize("row", ["D-02", "E-30"])
@pytest.mark.parametrize(("chosen", "got"), [("b", "b"), (None, None), ("c", WSServerHandshakeError)])
async def test_protocols(row: str, chosen: str | None, got: Any) -> None:
    extra = [("Sec-WebSocket-Protocol", chosen)] if chosen else []
    async with calling(saying(extra=extra, then=hang_up)) as (session, server):
        connect: Any = session.ws_connect if row == "D-02" else module_call
        if got is WSServerHandshakeError:
            with pytest.raises(WSServerHandshakeError, match="c"):
                await connect(server.url(), protocols=("a", "b"))
        else:
            ws = await connect(server.url(), protocols=("a", "b"))
            assert ws.protocol == got
            await ws.close()
        assert server.requests[0].header_all("Sec-WebSocket-Protocol") == ["a, b"]


@pytest.mark.parametrize(
    ("row", "arguments", "name", "value"),
    [
        ("D-04", {"auth": BasicAuth("me", "pw")}, "Authorization", BasicAuth("me", "pw").encode()),
        ("E-33", {"auth": BasicAuth("me", "pw")}, "Authorization", BasicAuth("me", "pw").encode()),
        ("D-07", {"origin": "http://o.example"}, "Origin", "http://o.example"),
        ("E-38", {"origin": "http://o.example"}, "Origin", "http://o.example"),
        ("D-07", {}, "Origin", ""),
        ("E-38", {"origin": None}, "Origin", ""),
        ("E-39", {"headers": {"X-Own": "1"}}, "X-Own", "1"),
        ("E-39", {"headers": keepwarm.CIMultiDict([("X-Own", "1")])}, "X-Own", "1"),
    ],
)
async def test_what_the_handshake_carries(row: str, arguments: dict[str, Any], name: str, value: str) -> None:
    async with calling(echo) as (session, server):
        connect: Any = module_call if row.startswith("E") else session.ws_connect
        await (await connect(server.url(), **arguments)).close()
        assert server.requests[0].header(name) == value


@pytest.mark.parametrize("scheme", ["ws", "http"])
async def test_d_08_schemes(scheme: str) -> None:
    """The same with TLS: tests/faults/test_websocket_routes.py. Others are refused."""
    async with calling(echo) as (session, server):
        async with session.ws_connect(server.url().replace("http", scheme)):
            pass
        with pytest.raises(keepwarm.InvalidURL):
            await session.ws_connect("ftp://127.0.0.1/")


@pytest.mark.parametrize("row", ["D-09", "E-40"])
async def test_a_refused_handshake(row: str) -> None:
    async with calling(refusing("403 Forbidden")) as (session, server):
        connect: Any = session.ws_connect if row == "D-09" else module_call
        with pytest.raises(WSServerHandshakeError) as caught:
            await connect(server.url())
        assert (caught.value.code, caught.value.body) == (403, b"no")
        assert caught.value.headers is not None
        assert caught.value.headers["X-Why"] == "so"
        assert "403" in caught.value.message


async def test_d_10_headers_and_cookies_of_the_session() -> None:
    async with calling(echo, headers={"X-Of": "session"}, cookies={"a": "b"}) as (session, server):
        async with session.ws_connect(server.url()):
            pass
        request = server.requests[0]
        assert (request.header("X-Of"), request.header("Cookie")) == ("session", "a=b")


@pytest.mark.parametrize("row", ["E-31", "E-35", "E-36"])
async def test_options_of_the_module_function(row: str) -> None:
    """timeout, autoclose and autoping do what they do for a session."""
    script = saying(server_frame(PING, b"p") + closing(), then=Peer.until_closed)
    async with ScriptedServer(script) as server:
        ws = await module_call(server.url(), timeout=0.01, autoclose=False, autoping=False)
        assert [(await ws.receive()).tp for _ in range(2)] == [MsgType.ping, MsgType.close]
        assert await ws.close() is True
    async with ScriptedServer(saying(then=Peer.until_closed)) as server:
        ws = await module_call(server.url(), timeout=0.01)
        await ws.close()
        assert isinstance(ws.exception(), TimeoutError)


@pytest.mark.parametrize("row", ["E-32", "E-37"])
async def test_connector_and_loop_of_the_module_function(row: str) -> None:
    """The connector of the caller stays open."""
    async with ScriptedServer(echo) as server, TCPConnector() as connector:
        ws = await module_call(server.url(), connector=connector, loop=asyncio.get_running_loop())
        assert connector.stats().total.detached == 1
        await ws.close()
        assert not connector.closed
        await server.until_idle()


# L: ClientWebSocketResponse


async def test_l_01_not_built_by_users() -> None:
    with pytest.raises(TypeError):
        ClientWebSocketResponse()  # type: ignore[call-arg]


async def test_l_02_closed() -> None:
    async with opened(echo) as o:
        assert o.ws.closed is False
        await o.ws.close()
        assert o.ws.closed is True


async def test_l_03_protocol() -> None:
    async with opened(echo) as o:
        assert o.ws.protocol is None


async def test_l_04_exception() -> None:
    async with opened(echo) as o:
        assert o.ws.exception() is None
    async with opened(saying(b"\xff\xff", then=Peer.until_closed)) as o:
        error = (await o.ws.receive()).data
        assert o.ws.exception() is error
        assert isinstance(error, WebSocketError)


@pytest.mark.parametrize(
    ("row", "name", "data", "opcode", "payload"),
    [
        ("L-05", "ping", "grün", PING, "grün".encode()),
        ("L-05", "ping", b"\0", PING, b"\0"),
        ("L-06", "pong", "x", PONG, b"x"),
        ("L-06", "pong", b"\0", PONG, b"\0"),
        ("L-07", "send_str", "grün", TEXT, "grün".encode()),
        ("L-08", "send_bytes", b"\0", BINARY, b"\0"),
        ("L-08", "send_bytes", bytearray(b"\1"), BINARY, b"\1"),
        ("L-08", "send_bytes", memoryview(b"\2"), BINARY, b"\2"),
        ("L-15", "send_bytes", b"masked", BINARY, b"masked"),
    ],
)
@pytest.mark.parametrize("awaited", [False, True])
async def test_sending(row: str, name: str, data: Any, opcode: int, payload: bytes, awaited: bool) -> None:
    """A plain call that may be awaited; RuntimeError after the end. The frame has a mask."""
    frames: list[Any] = []
    async with opened(lambda peer: received_by_peer(peer, frames, 1)) as o:
        sent = getattr(o.ws, name)(data)
        if awaited:
            assert await sent is None
        await all_of(o.ws)
        with pytest.raises(RuntimeError, match="cannot send"):
            getattr(o.ws, name)(data)
    assert [(frame.opcode, frame.payload, len(frame.key)) for frame in frames] == [(opcode, payload, 4)]


@pytest.mark.parametrize(
    ("row", "name", "data"),
    [
        ("L-05", "ping", 5),
        ("L-06", "pong", None),
        ("L-07", "send_str", b"x"),
        ("L-08", "send_bytes", "x"),
        ("L-08", "send_bytes", [1]),
    ],
)
async def test_what_cannot_be_sent(row: str, name: str, data: Any) -> None:
    async with opened(echo) as o:
        with pytest.raises(TypeError):
            getattr(o.ws, name)(data)
        assert not o.ws.closed


@pytest.mark.parametrize(("row", "reason"), [("L-09", "bye"), ("L-10", "grün"), ("L-10", b"bytes")])
async def test_close(row: str, reason: str | bytes) -> None:
    """True the first time, False later; the reason may be text or bytes."""
    frames: list[Any] = []

    async def script(peer: Peer) -> None:
        await agree(peer)
        frames.append(await frame_from(peer))
        peer.send(server_frame(CLOSE, frames[0].payload))

    async with opened(script) as o:
        assert await o.ws.close(code=4000, message=reason) is True
        assert await o.ws.close() is False
        assert o.ws.close_code == 4000
    assert frames[0].payload == close_payload(4000, reason.encode() if isinstance(reason, str) else reason)


async def test_l_11_receive() -> None:
    """One at a time; an error comes once as a message, then `closed`."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await agree(peer)
        await go.wait()
        peer.send(b"\xff\xff")
        await peer.until_closed()

    async with opened(script) as o:
        receiver = asyncio.create_task(o.ws.receive())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task"):
            await o.ws.receive()
        go.set()
        assert (await receiver).tp is MsgType.error
        assert o.ws.close_code == 1002
        assert (await o.ws.receive()).tp is MsgType.closed


async def test_l_12_a_message_has_tp() -> None:
    async with opened(echo) as o:
        o.ws.send_str("x")
        message = await o.ws.receive()
        assert (message.tp, message.type, message.data, message.extra) == (MsgType.text, MsgType.text, "x", "")


@pytest.mark.parametrize("end", [closing(), b"\xff\xff", b""])
async def test_l_13_iteration_ends(end: bytes) -> None:
    """At a close frame, after an error, after a loss: never without end."""

    async def script(peer: Peer) -> None:
        await agree(peer, glued=server_frame(TEXT, b"x") + end)
        await (Peer.until_closed if end == b"\xff\xff" else hang_up)(peer)

    async with opened(script) as o:
        got = [message.tp async for message in o.ws]
    assert got == [MsgType.text] + [MsgType.error] * (end != closing())


@pytest.mark.parametrize(("end", "code"), [(closing(4000), 4000), (server_frame(CLOSE), 0), (b"", 1006)])
async def test_l_14_close_code(end: bytes, code: int) -> None:
    async def script(peer: Peer) -> None:
        await agree(peer, glued=end)
        await (Peer.until_closed if end == b"\xff\xff" else hang_up)(peer)

    async with opened(script) as o:
        await all_of(o.ws)
        assert o.ws.close_code == code


# N: messages


@pytest.mark.parametrize(
    ("row", "name", "value"),
    [
        ("N-01", "TEXT", 1),
        ("N-02", "BINARY", 2),
        ("N-03", "CLOSE", 8),
        ("N-04", "PING", 9),
        ("N-05", "PONG", 10),
        ("N-06", "CLOSED", 20),
        ("N-06", "ERROR", 21),
    ],
)
def test_message_types(row: str, name: str, value: int) -> None:
    assert getattr(websocket, f"MSG_{name}") == value
    assert MsgType[name.lower()] is getattr(websocket, f"MSG_{name}")
    assert keepwarm.MsgType is MsgType


def test_n_07_message() -> None:
    assert Message._fields == ("tp", "data", "extra")
    assert isinstance(Message(MsgType.text, "x", ""), tuple)


@pytest.mark.parametrize(("frame", "data", "extra"), [(closing(1001, b"why"), 1001, "why"), (server_frame(8), 0, "")])
async def test_n_08_close_message(frame: bytes, data: int, extra: str) -> None:
    async with opened(saying(frame, then=hang_up)) as o:
        assert await o.ws.receive() == (MsgType.close, data, extra)


async def test_n_09_data_messages() -> None:
    async with opened(saying(server_frame(TEXT, b"x") + server_frame(BINARY, b"y"))) as o:
        assert [await o.ws.receive(), await o.ws.receive()] == [(MsgType.text, "x", ""), (MsgType.binary, b"y", "")]


def test_n_10_closed_message() -> None:
    assert websocket.closedMessage == (MsgType.closed, None, None)


@pytest.mark.parametrize("code", [1004, 1005, 1006, 1015, 2999, 999])
async def test_n_11_close_codes(code: int) -> None:
    assert [
        websocket.CLOSE_OK,
        websocket.CLOSE_GOING_AWAY,
        websocket.CLOSE_PROTOCOL_ERROR,
        websocket.CLOSE_UNSUPPORTED_DATA,
        websocket.CLOSE_INVALID_TEXT,
        websocket.CLOSE_POLICY_VIOLATION,
        websocket.CLOSE_MESSAGE_TOO_BIG,
        websocket.CLOSE_MANDATORY_EXTENSION,
        websocket.CLOSE_INTERNAL_ERROR,
    ] == [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011]
    async with opened(saying(closing(code), then=hang_up)) as o:
        assert (await o.ws.receive()).data.code == 1002


def test_n_12_websocket_error() -> None:
    error = WebSocketError(1002, "why")
    assert (error.code, str(error)) == (1002, "why")


@pytest.mark.parametrize(
    ("row", "data", "code"),
    [
        ("N-13", server_frame(BINARY, b"x" * 11), 1009),
        ("N-14", server_frame(TEXT, b"x", rsv=0x20), 1002),
        ("N-14", server_frame(PING, b"x", fin=False), 1002),
        ("N-14", server_frame(PING, b"x" * 126), 1002),
        ("N-14", server_frame(TEXT, b"\xff"), 1007),
        ("N-15", server_frame(TEXT, b"x", rsv=0x40), 1002),
    ],
)
async def test_strictness(row: str, data: bytes, code: int) -> None:
    async with opened(saying(data, then=Peer.until_closed), max_msg_size=10) as o:
        assert (await o.ws.receive()).data.code == code
        assert o.server.requests[0].header("Sec-WebSocket-Extensions") == ""


async def test_json() -> None:
    """What is sent as JSON is a text message; `dumps` and `loads` may be the caller's. A binary one is refused."""
    async with opened(echo) as o:
        await o.ws.send_json({"a": [1, None]})
        assert await o.ws.receive() == (MsgType.text, '{"a": [1, null]}', "")
        await o.ws.send_json("b", dumps=lambda data: f"[{data}]")
        assert await o.ws.receive_json(loads=str.upper) == "[B]"
        o.ws.send_json([2])
        assert await o.ws.receive_json() == [2]
        with pytest.raises(ValueError):
            o.ws.send_json(1, dumps=lambda data: chr(0xD800))
        o.ws.send_bytes(b"[]")
        with pytest.raises(TypeError, match="type text"):
            await o.ws.receive_json()


async def test_n_16_control_frames_between_fragments() -> None:
    parts = [server_frame(TEXT, b"a", fin=False), *[server_frame(PING)] * 3, server_frame(CONTINUATION, b"b")]
    async with opened(saying(b"".join(parts))) as o:
        assert await o.ws.receive() == (MsgType.text, "ab", "")
