"""A final answer that comes while part of the request still waits for the kernel to take it (law 7, F16)."""

import asyncio
import socket

import pytest

from tests.support.calling import Conserved, WatchedConnector, nonce_of, sent, serve, session
from tests.support.leaks import turns
from tests.support.server import Peer, answer_all, response

pytestmark = [pytest.mark.asyncio, pytest.mark.fault("F16")]

# One write, head and body together; more than the kernel takes from a peer that does not read.
SIZE = 60_000


@pytest.mark.parametrize("status", ["200 OK", "413 Content Too Large"])
@pytest.mark.parametrize(("tls", "fast"), [(False, False), (True, False), (True, True)], ids=["plain", "tls", "fast"])
async def test_a_connection_with_unsent_bytes_is_not_reused(status: str, tls: bool, fast: bool) -> None:
    """The answer is delivered; the connection, whose peer would take the next request for the rest of the body, is
    closed at once."""

    answer_now = asyncio.Event()

    async def script(peer: Peer) -> None:
        request = await peer.head()
        peer.send(response(status, b"ok", [("X-Nonce", request.target)]))
        peer.pause()
        await answer_now.wait()
        peer.send(response(status, b"early", [("X-Nonce", "/x")]))
        await peer.flush()
        await peer.stall()

    connector = WatchedConnector(fast_tls=fast)
    async with serve(script, answer_all, tls=tls, rcvbuf=4096) as server, session(connector) as calls:
        watch = Conserved(calls, server)
        assert await nonce_of(await calls.get(server.url("/warm"))) == "/warm"
        transport = connector.channels[0].transport
        assert transport is not None
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        call = asyncio.create_task(sent(calls.post(server.url("/x"), data=bytes(SIZE))))
        await turns(20)  # the kernel has taken what it takes
        answer_now.set()
        async with await call as got:
            assert await got.read() == b"early"
        assert transport.is_closing()
        await watch.settled(idle=0)
        await watch.healthy()
        assert server.accepted == 2


@pytest.mark.parametrize("size", [0, 1000, SIZE])
async def test_a_request_that_is_sent_in_full_keeps_its_connection(size: int) -> None:
    """A peer that reads all of it is asked again on the same connection."""
    async with serve() as server, session() as calls:
        for _ in range(3):
            assert await nonce_of(await calls.post(server.url("/x"), data=bytes(size))) == "/x"
            await asyncio.sleep(0)
        assert server.accepted == 1
