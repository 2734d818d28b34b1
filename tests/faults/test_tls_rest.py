"""A peer that ends TLS while the reader is slower than the network: nothing that had arrived is lost."""

import pytest

from keepwarm.client.h1_channel import HIGH_WATER
from tests.support.calling import Conserved, WatchedConnector, serve, session
from tests.support.leaks import turns
from tests.support.peer import Changes
from tests.support.server import Peer, answer_all, head

pytestmark = pytest.mark.asyncio

BODY = b"0123456789abcdef" * 30_000


@pytest.mark.fault("R03")
@pytest.mark.parametrize("fast_tls", [False, True], ids=["loop's TLS", "fast TLS"])
@pytest.mark.parametrize("goodbye", [False, True], ids=["FIN alone", "goodbye"])
@pytest.mark.parametrize("framing", ["length", "until the end"])
async def test_an_end_while_reading_is_paused(framing: str, goodbye: bool, fast_tls: bool) -> None:
    """The reader gets every byte, and knows whether the end of a body without length can be trusted."""
    may_end = Changes()
    is_paused = False

    async def script(peer: Peer) -> None:
        request = await peer.request()
        length = [("Content-Length", str(len(BODY)))] if framing == "length" else [("Connection", "close")]
        peer.send(head("200 OK", [("X-Nonce", request.nonce), *length]) + BODY[: HIGH_WATER + 1])
        await may_end.until(lambda: is_paused)
        peer.send(BODY[HIGH_WATER + 1 :])
        if goodbye:
            peer.fin()
        else:
            peer.cut()
        await peer.until_closed()

    connector = WatchedConnector(fast_tls=fast_tls)
    async with serve(script, answer_all, tls=True) as server, session(connector) as calls:
        watch = Conserved(calls, server)
        answer = await calls.get(server.url("/x"))
        while not answer.content.is_paused:
            await turns(1)
        is_paused = True
        may_end.notify()
        await turns(100)
        assert b"".join([piece async for piece in answer.content.iter_chunked(20_000)]) == BODY
        assert answer.is_truncated == (framing == "until the end" and not goodbye)
        await watch.healthy()
