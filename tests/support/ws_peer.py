"""A scripted server of WebSockets: it agrees to the handshake and then writes the bytes that it is told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import pytest

from keepwarm.client.session import ClientSession
from keepwarm.pool.channel import Channel
from keepwarm.ws.handshake import accept_for
from keepwarm.ws.messages import Message, MsgType
from keepwarm.ws.websocket import ClientWebSocketResponse
from tests.support.calling import Conserved, WatchedConnector, serve, session
from tests.support.fakes import FakeClock
from tests.support.http1 import Request, head
from tests.support.peer import Peer, PeerGone
from tests.support.server import Script, ScriptedServer
from tests.support.ws_frames import BINARY, CLOSE, PING, TEXT, ClientFrame, client_frames, close_payload, server_frame

Fields = Iterable[tuple[str, str]]


def agreement(request: Request, extra: Fields = ()) -> bytes:
    """The answer of 101 to a handshake, with more header fields."""
    return head(
        "101 Switching Protocols",
        [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept_for(request.header("Sec-WebSocket-Key"))),
            *extra,
        ],
    )


async def agree(peer: Peer, extra: Fields = (), glued: bytes = b"") -> Request:
    """Take a handshake and agree to it; `glued` goes out in the same write."""
    request = await peer.request()
    peer.send(agreement(request, extra) + glued)
    return request


async def frame_from(peer: Peer) -> ClientFrame:
    """The next frame of the client."""
    start = await peer.recv_exactly(2)
    length = start[1] & 0x7F
    wide = {126: 2, 127: 8}.get(length, 0)
    more = await peer.recv_exactly(wide) if wide else b""
    size = int.from_bytes(more, "big") if wide else length
    rest = await peer.recv_exactly(4 + size)
    return client_frames(start + more + rest)[0]


async def answer_close(peer: Peer, frame: ClientFrame) -> None:
    """Answer a close frame, and end the connection as a server does (RFC 6455, 7.1.1)."""
    peer.send(server_frame(CLOSE, frame.payload[:2]))
    await peer.flush()
    peer.fin()
    await peer.until_closed()


async def serve_frames(peer: Peer) -> None:
    """Echo messages, answer pings, until the client closes."""
    while True:
        frame = await frame_from(peer)
        if frame.opcode == CLOSE:
            await answer_close(peer, frame)
            return
        if frame.opcode in (TEXT, BINARY):
            peer.send(server_frame(frame.opcode, frame.payload, rsv=frame.rsv))
        elif frame.opcode == PING:
            peer.send(server_frame(10, frame.payload))


async def echo(peer: Peer) -> None:
    """Agree to a handshake and echo. Requests that ask for nothing else are answered too."""
    while True:
        request = await peer.request()
        if request.header("Upgrade"):
            break
        peer.send(
            head("200 OK", [("X-Nonce", request.nonce), ("Content-Length", "2")]) + b"ok",
        )
    peer.send(agreement(request))
    await serve_frames(peer)


async def polite_close(peer: Peer) -> None:
    """Wait for the client's close frame, whatever comes before it, and answer it."""
    while (frame := await frame_from(peer)).opcode != CLOSE:
        pass
    await answer_close(peer, frame)


def saying(
    *pieces: bytes, extra: Fields = (), then: Callable[[Peer], Awaitable[None]] = polite_close
) -> Callable[[Peer], Awaitable[None]]:
    """A script: agree, write each piece by itself, then go on with `then`."""

    async def script(peer: Peer) -> None:
        await agree(peer, extra)
        for piece in pieces:
            peer.send(piece)
            await peer.flush()
            await asyncio.sleep(0)
        await then(peer)

    return script


async def hang_up(peer: Peer) -> None:
    """FIN."""
    peer.fin()
    await peer.until_closed()


async def reset(peer: Peer) -> None:
    """RST."""
    with suppress(PeerGone):
        await peer.flush()
    peer.rst()


def closing(code: int = 1000, reason: bytes = b"") -> bytes:
    """The server's close frame."""
    return server_frame(CLOSE, close_payload(code, reason))


def stop_the_clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The clock of every pool that the test makes from now on stands still until it is moved."""
    clock = FakeClock()
    monkeypatch.setattr("keepwarm.pool.connector.Clock", lambda loop: clock)
    return clock


KINDS = pytest.mark.parametrize("kind", ["plain", "tls", "fast"])


class Open(NamedTuple):
    """A WebSocket, and what it hangs on."""

    ws: ClientWebSocketResponse
    calls: ClientSession
    server: ScriptedServer

    @property
    def channel(self) -> Channel:
        """The connection of the WebSocket."""
        assert isinstance(self.calls.connector, WatchedConnector)
        return self.calls.connector.channels[0]


@asynccontextmanager
async def opened(
    *scripts: Script, kind: str = "plain", server: dict[str, Any] | None = None, **arguments: Any
) -> AsyncIterator[Open]:
    """A WebSocket to a server that plays `scripts`, over a connection of that kind. Afterwards it is closed, and
    nothing may be left of it."""
    tls = kind != "plain"
    async with serve(*scripts, tls=tls, **(server or {})) as peer, session(fast_tls=kind == "fast") as calls:
        watch = Conserved(calls, peer)
        ws = await calls.ws_connect(peer.url("/ws"), **arguments)
        yield Open(ws, calls, peer)
        await ws.close()
        await watch.settled(idle=0)


async def all_of(ws: ClientWebSocketResponse) -> list[Message]:
    """What `receive` gives up to the message of type closed, which is left out."""
    messages = []
    while (message := await ws.receive()).tp is not MsgType.closed:
        messages.append(message)
    return messages
