"""One body, one answer: what a series of reads gives does not depend on how the response was cut up on its way."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from keepwarm.client.response import ClientResponse
from tests.support.calling import Conserved, serve
from tests.support.coded_peer import client, coded
from tests.support.codings import ENCODERS
from tests.support.http1 import chunk, head
from tests.support.peer import Peer

pytestmark = pytest.mark.asyncio

TEXT = b"one\ntwo\nthree\n"
Reads = Callable[[ClientResponse], Awaitable[list[bytes]]]


async def line_then_the_rest(resp: ClientResponse) -> list[bytes]:
    content = resp.content
    return [await content.readline(), await resp.read(), await resp.read(), await content.read()]


async def whole_then_content(resp: ClientResponse) -> list[bytes]:
    got = [await resp.read(), await resp.content.read(), await resp.content.readline(), await resp.read()]
    return [*got, *[piece async for piece in resp.content.iter_any()], *[line async for line in resp.content]]


async def content_then_whole(resp: ClientResponse) -> list[bytes]:
    return [await resp.content.read(), await resp.read(), await resp.read(), await resp.content.readany()]


async def looked_at_then_whole(resp: ClientResponse) -> list[bytes]:
    content = resp.content
    return [await content.read(0), await resp.read(), await content.read(), await resp.read()]


async def put_back_then_text(resp: ClientResponse) -> list[bytes]:
    start = await resp.content.readexactly(6)
    resp.content.unread_data(b"ONE\n")
    return [start, (await resp.text()).encode(), await resp.read()]


async def left_in_the_middle(resp: ClientResponse) -> list[bytes]:
    async for line in resp.content:
        return [line, await resp.content.readuntil(b"wo"), await resp.read()]
    return []


WAYS: dict[Reads, list[bytes]] = {
    line_then_the_rest: [b"one\n", b"two\nthree\n", b"two\nthree\n", b""],
    whole_then_content: [TEXT, b"", b"", TEXT],
    content_then_whole: [TEXT, b"", b"", b""],
    looked_at_then_whole: [b"", TEXT, b"", TEXT],
    put_back_then_text: [b"one\ntw", b"ONE\no\nthree\n", b"ONE\no\nthree\n"],
    left_in_the_middle: [b"one\n", b"two", b"\nthree\n"],
}


def answer(coding: str, framing: str) -> tuple[bytes, int]:
    """A response with TEXT as its body, and where the body begins."""
    body = ENCODERS[coding](TEXT) if coding else TEXT
    fields = coded(coding) if coding else []
    if framing == "chunked":
        start = head("200 OK", [*fields, ("Transfer-Encoding", "chunked")])
        half = len(body) // 2
        return start + chunk(body[:half]) + chunk(body[half:]) + b"0\r\n\r\n", len(start)
    start = head("200 OK", [*fields, ("Content-Length", str(len(body)))])
    return start + body, len(start)


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("coding", ["", "gzip", "br", "zstd"])
@pytest.mark.parametrize("reads", WAYS)
async def test_the_same_reads_give_the_same(reads: Reads, coding: str, framing: str) -> None:
    """K-10, K-16: read() gives what content has left and stays as it is; content is at its end after it. The body
    comes with its head, or after it in two parts, cut at each place."""
    message, start = answer(coding, framing)
    go_on = asyncio.Event()
    cuts = range(start, len(message) + 1)

    async def script(peer: Peer) -> None:
        for cut in cuts:
            await peer.request()
            peer.send(message[:cut])
            await go_on.wait()
            go_on.clear()
            peer.send(message[cut:])

    at_hand = []
    async with serve(script) as server, client() as calls:
        watch = Conserved(calls, server)
        for _ in cuts:
            async with calls.get(server.url("/x")) as resp:
                at_hand.append(resp.closed)
                asyncio.get_running_loop().call_soon(go_on.set)
                assert await reads(resp) == WAYS[reads]
        assert server.accepted == 1
        await watch.settled(idle=1)
    assert at_hand[0] is False and at_hand[-1] is True
