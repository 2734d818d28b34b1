"""ws_reconnect: how long it waits, what it tries again, and what it closes."""

import asyncio
import gc
import ssl
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from keepwarm.client.backoff import Backoff
from keepwarm.client.errors import WSServerHandshakeError
from keepwarm.client.session import ClientSession
from keepwarm.client.ws_connect import is_worth_retrying
from keepwarm.client.ws_reconnect import reconnecting
from keepwarm.pool.errors import ClientConnectionError, ConnectError, PoolClosedError, TLSError
from keepwarm.pool.proxy_errors import HttpProxyError
from keepwarm.ws.websocket import ClientWebSocketResponse
from tests.support.calling import Conserved, serve, session
from tests.support.leaks import turns
from tests.support.server import ScriptedServer, answering, response, unserved_port
from tests.support.ws_frames import TEXT, server_frame
from tests.support.ws_peer import closing, echo, hang_up, polite_close, saying

pytestmark = pytest.mark.asyncio

EXACT = Backoff(first=1, factor=2, longest=5, jitter=0)


class Waits:
    """A sleep that takes no time, and a clock that it moves."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self.time = 0.0

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)

    def now(self) -> float:
        return self.time

    def loop(
        self, calls: ClientSession, url: str, backoff: Backoff = EXACT
    ) -> AsyncGenerator[ClientWebSocketResponse, None]:
        return reconnecting(lambda: calls.ws_connect(url), backoff, chance=lambda: 0.5, sleep=self.sleep, now=self.now)


# The pauses


def test_pauses_grow_to_the_longest() -> None:
    assert [EXACT.pause(failures, 0.5) for failures in range(1, 6)] == [1, 2, 4, 5, 5]


def test_pauses_after_a_night_of_failures() -> None:
    assert EXACT.pause(10**6, 0.5) == 5
    assert Backoff(first=3, factor=1, jitter=0).pause(1000, 0) == 3


def test_the_first_pause_is_not_longer_than_the_longest() -> None:
    assert Backoff(first=10, longest=2, jitter=0).pause(1, 0) == 2


@pytest.mark.parametrize(("jitter", "chance", "pause"), [(1.0, 0.25, 3.0), (0.5, 1.0, 2.0), (0.5, 0.0, 4.0)])
def test_jitter_takes_its_share(jitter: float, chance: float, pause: float) -> None:
    assert Backoff(first=4, jitter=jitter).pause(1, chance) == pause


@pytest.mark.parametrize(
    "wrong",
    [{"first": 0}, {"longest": 0}, {"factor": 0.9}, {"jitter": 1.1}, {"jitter": -0.1}, {"tries": 0}, {"first": -1}],
)
def test_a_backoff_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Backoff(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"factor": "2"}, {"factor": True}, {"jitter": None}, {"tries": "3"}, {"tries": 1.5}, {"longest": "9"}]
)
def test_a_backoff_of_the_wrong_type(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"^{next(iter(wrong))} must be"):
        Backoff(**wrong)


# What is tried again


async def test_failures_are_tried_again_after_growing_pauses() -> None:
    """A 503, and a connection that is dropped at once; one that was of use for a while sets the count back."""
    scripts = [
        answering(lambda request: response("503 Busy")),
        saying(then=hang_up),
        saying(server_frame(TEXT, b"news"), then=hang_up),
        saying(then=hang_up),
        echo,
    ]
    async with serve(*scripts) as server, session() as calls:
        watch, waits = Conserved(calls, server), Waits()
        got = []
        async with aclosing(waits.loop(calls, server.url("/ws"))) as sockets:
            async for ws in sockets:
                got.append([message.data async for message in ws if isinstance(message.data, str)])
                waits.time += 2 * len(got[-1])
                if server.accepted == 4:
                    break
        assert got == [[], ["news"], []]
        assert waits.pauses == [1, 2]
        await watch.settled(idle=0)


async def test_nobody_listens_until_somebody_does() -> None:
    """A refused connect is tried again; `tries` bounds it, and the last error is raised."""
    waits = Waits()
    async with session() as calls:
        with unserved_port() as port, pytest.raises(ConnectError):
            await anext(waits.loop(calls, f"ws://127.0.0.1:{port}/", Backoff(first=1, jitter=0, tries=4)))
        assert waits.pauses == [1, 2, 4]


@pytest.mark.parametrize(("status", "again"), [(407, False), (403, False), (502, True), (503, True), (0, True)])
def test_the_refusal_of_a_proxy(status: int, again: bool) -> None:
    """A proxy that wants a login, or lets nobody through to this host, will want that the next time too."""
    assert is_worth_retrying(HttpProxyError("no tunnel", code=status)) is again


def test_a_certificate_that_is_not_trusted() -> None:
    """Neither the server's nor that of a proxy, whose error is told by another one."""
    of_server = TLSError(1, "certificate verify failed")
    of_server.__cause__ = ssl.SSLCertVerificationError(1, "certificate verify failed")
    of_proxy = TLSError(1, "TLS with the proxy failed")
    of_proxy.__cause__ = of_server
    hung_up = TLSError(1, "the server closed the connection during the TLS handshake")
    hung_up.__cause__ = ConnectionResetError()
    assert [is_worth_retrying(error) for error in (of_server, of_proxy, hung_up)] == [False, False, True]


@pytest.mark.parametrize("status", ["200 OK", "301 Moved", "400 Bad", "401 Unauthorized", "404 Not Found"])
async def test_what_stays_the_same_is_raised(status: str) -> None:
    waits = Waits()
    async with serve(answering(lambda request: response(status))) as server, session() as calls:
        with pytest.raises(WSServerHandshakeError):
            await anext(waits.loop(calls, server.url("/ws")))
        assert (server.accepted, waits.pauses) == (1, [])


@pytest.mark.parametrize("status", ["408 x", "429 x", "500 x", "502 x", "503 x", "504 x"])
async def test_what_may_pass_is_tried_again(status: str) -> None:
    waits = Waits()
    async with serve(answering(lambda request: response(status)), echo) as server, session() as calls:
        async with aclosing(waits.loop(calls, server.url("/ws"))) as sockets:
            await anext(sockets)
        assert waits.pauses == [1]


async def test_a_certificate_that_is_not_trusted_is_raised() -> None:
    waits = Waits()
    async with serve(echo, tls=True) as server, ClientSession() as calls:
        with pytest.raises(ClientConnectionError):
            await anext(waits.loop(calls, server.url("/ws")))
        assert waits.pauses == []


async def test_a_closed_connector_is_raised() -> None:
    """While waiting for the connection, and afterwards."""
    waits = Waits()
    async with serve(echo) as server:
        calls = session(limit=1)
        ws = await calls.ws_connect(server.url("/ws"))
        task = asyncio.ensure_future(anext(waits.loop(calls, server.url("/ws"))))
        await turns(5)
        await calls.close()
        with pytest.raises(PoolClosedError):
            await task
        with pytest.raises(RuntimeError):
            await anext(waits.loop(calls, server.url("/ws")))
        assert (ws.closed, waits.pauses) == (True, [])


async def test_a_server_that_drops_everybody_is_not_stormed() -> None:
    """Accepted and dropped, again and again: the pauses grow as for any failure, and `tries` ends it."""
    waits = Waits()
    async with serve(saying(then=hang_up)) as server, session() as calls:
        with pytest.raises(ClientConnectionError, match="without a close frame"):
            async for ws in waits.loop(calls, server.url("/ws"), Backoff(first=1, jitter=0, tries=4)):
                async for _ in ws:
                    pass
        assert (server.accepted, waits.pauses) == (4, [1, 2, 4])


async def test_a_server_that_says_why_and_drops_is_not_stormed_either() -> None:
    """A message before the end makes no difference while the connections last less than the first pause."""
    waits = Waits()
    async with serve(saying(server_frame(TEXT, b"overloaded") + closing(1013), then=hang_up)) as server:
        async with session() as calls, aclosing(waits.loop(calls, server.url("/ws"))) as sockets:
            async for ws in sockets:
                assert [message.data async for message in ws] == ["overloaded"]
                if server.accepted == 5:
                    break
        assert waits.pauses == [1, 2, 4, 5]


async def test_who_leaves_an_open_websocket_gets_the_next_at_once() -> None:
    """How often is the user's affair then."""
    waits = Waits()
    async with serve(saying(server_frame(TEXT, b"x"))) as server, session() as calls:
        async with aclosing(waits.loop(calls, server.url("/ws"))) as sockets:
            async for ws in sockets:
                assert await ws.receive_str() == "x"
                if server.accepted == 3:
                    break
        assert waits.pauses == []


async def test_a_websocket_that_only_sends() -> None:
    """One that lasted longer than the longest pause was no failure, though nothing came over it."""
    waits = Waits()
    async with serve(saying(then=polite_close)) as server, session() as calls:
        sockets = waits.loop(calls, server.url("/ws"))
        for _ in range(3):
            await anext(sockets)
            waits.time += 6
        await sockets.aclose()
        assert waits.pauses == []


# What is closed


async def test_each_is_closed_before_the_next() -> None:
    async with serve(echo) as server, session(limit=1) as calls:
        watch, waits = Conserved(calls, server), Waits()
        seen: list[ClientWebSocketResponse] = []
        async with aclosing(waits.loop(calls, server.url("/ws"))) as sockets:
            async for ws in sockets:
                assert all(earlier.closed for earlier in seen)
                seen.append(ws)
                ws.send_str("x")
                assert await ws.receive_str() == "x"
                if len(seen) == 3:
                    break
        assert all(ws.closed for ws in seen)
        await watch.settled(idle=0)


async def use_one(calls: ClientSession, server: ScriptedServer) -> ClientWebSocketResponse:
    async for ws in calls.ws_reconnect(server.url("/ws")):
        return ws
    raise AssertionError("the loop ended by itself")


async def test_leaving_the_loop_closes_the_last_one() -> None:
    async with serve(echo) as server, session() as calls:
        watch = Conserved(calls, server)
        ws = await use_one(calls, server)
        gc.collect()
        await watch.settled(idle=0)
        assert ws.closed


async def test_its_arguments() -> None:
    """Those of ws_connect; what is wrong is raised and not tried again."""
    async with serve(echo) as server, session() as calls:
        with pytest.raises(TypeError, match="backoff"):
            calls.ws_reconnect(server.url("/ws"), backoff=5)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="protocol"):
            await anext(calls.ws_reconnect(server.url("/ws"), protocol="x"))
        with pytest.raises(ValueError, match="timeout"):
            await anext(calls.ws_reconnect(server.url("/ws"), timeout=-1))
        assert server.accepted == 0
