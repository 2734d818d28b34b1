"""The pool's cases over a unix socket: dead and dirty connections, replays, cancellation, close()."""

import asyncio

import pytest

from keepwarm.client.errors import ClientPayloadError, ResponseDisconnected
from keepwarm.pool.errors import TLSError
from tests.support.calling import PLAIN_AND_TLS, Conserved, fetch, numbers
from tests.support.leaks import turns
from tests.support.server import Answer, Cut, Peer, RecvRequest, Send, Stall, answer_all, response
from tests.support.steps import cancel_at_every_step
from tests.support.unix_sockets import serve_at, socket_path, unix_session

pytestmark = pytest.mark.asyncio


async def dies_on_reuse(peer: Peer) -> None:
    """Answers once; then takes the head of a second request and ends the connection."""
    await Answer().run(peer)
    await peer.head()
    peer.fin()


@pytest.mark.fault("P29")
@PLAIN_AND_TLS
async def test_a_dead_connection_is_replaced(tls: bool) -> None:
    """A GET on a reused connection that dies is sent once more; a POST fails, once on the wire."""
    with socket_path() as path:
        async with (
            serve_at(path, dies_on_reuse, dies_on_reuse, answer_all, tls=tls) as server,
            unix_session(path) as of,
        ):
            conserved = Conserved(of, server)
            await fetch(of, server.url("/1"))
            assert await fetch(of, server.url("/2")) == "/2"
            with pytest.raises(ResponseDisconnected):
                await of.post(server.url("/post"), data=b"x")
            assert [request.target for request in server.requests] == ["/1", "/2", "/2", "/post"]
            await conserved.healthy()


@pytest.mark.fault("P24")
@PLAIN_AND_TLS
@pytest.mark.parametrize("noticed", [True, False], ids=["noticed", "unnoticed"])
async def test_an_idle_connection_ends(tls: bool, noticed: bool) -> None:
    """The server's end takes it out of the pool, also when the loop has not read it yet; no call shows it."""
    with socket_path() as path:
        async with serve_at(path, [Answer()], answer_all, tls=tls) as server, unix_session(path) as of:
            conserved = Conserved(of, server)
            await fetch(of, server.url("/1"))
            if noticed:
                await server.until_idle()
                await turns(5)
                assert numbers(of).open == 0
            assert await fetch(of, server.url("/2")) == "/2"
            assert await fetch(of, server.url("/3")) == "/3"
            await conserved.healthy()


@pytest.mark.fault("T14")
@PLAIN_AND_TLS
async def test_a_body_that_is_cut_short(tls: bool) -> None:
    """An error, never a short body; the connection is not used again."""
    with socket_path() as path:
        cut = [RecvRequest(), Send(response(body=b"12345", length=9)), Cut()]
        async with serve_at(path, cut, answer_all, tls=tls) as server, unix_session(path) as of:
            conserved = Conserved(of, server)
            with pytest.raises(ClientPayloadError):
                async with of.get(server.url("/")) as answer:
                    await answer.read()
            await conserved.healthy()
            assert server.accepted == 2


@pytest.mark.fault("T12")
@pytest.mark.parametrize("fast_tls", [False, True], ids=["loop", "fast"])
async def test_a_server_that_hangs_up_in_the_handshake(fast_tls: bool) -> None:
    """A TLS error that names the path, and nothing stays open."""

    async def hang_up(peer: Peer) -> None:
        await peer.recv()

    with socket_path() as path:
        async with serve_at(path, hang_up) as server, unix_session(path, fast_tls=fast_tls) as of:
            with pytest.raises(TLSError, match=f"TLS with unix:{path} failed"):
                await of.get("https://localhost/")
            assert numbers(of).open == 0
            await server.until_idle()


@pytest.mark.fault("P07", "U07")
@PLAIN_AND_TLS
@pytest.mark.parametrize("double", [False, True], ids=["once", "twice"])
async def test_a_call_is_cancelled_at_every_step(tls: bool, double: bool) -> None:
    """Dial, handshake, request, answer or goodbye: no connection is left of the call."""
    with socket_path() as path:
        async with serve_at(path, tls=tls) as server:

            async def call() -> None:
                async with unix_session(path) as of:
                    assert await fetch(of, server.url("/x")) == "/x"

            async def check(_: int) -> None:
                await server.until_idle()

            steps = await cancel_at_every_step(call, check=check, double=double)
            assert steps > 3
            await call()


@pytest.mark.fault("T17")
@PLAIN_AND_TLS
async def test_close_with_calls_in_flight(tls: bool) -> None:
    """close() ends the calls and all sockets, those of mute servers among them."""

    async def mute(peer: Peer) -> None:
        await peer.request()
        await Stall().run(peer)

    with socket_path() as path:
        async with serve_at(path, mute, tls=tls) as server, unix_session(path) as of:
            calls = [asyncio.create_task(fetch(of, server.url(f"/{n}"))) for n in range(5)]
            await server.until_requests(5)
            await of.close()
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(outcome, Exception) for outcome in outcomes)
            await server.until_idle()
