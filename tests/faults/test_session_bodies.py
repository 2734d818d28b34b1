"""Abandoned, slow and dishonest bodies through whole calls (FAULTS R02, R03, O07, O09)."""

import asyncio
import gc
import io
import random
import warnings
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from keepwarm.client.body import StreamReader
from keepwarm.client.errors import ClientRequestError
from keepwarm.client.exchange import Exchange
from keepwarm.client.h1_channel import HIGH_WATER, H1Channel
from keepwarm.client.response import ClientResponse
from keepwarm.client.unread import UnreadGuard
from tests.support.calling import PLAIN_AND_TLS, Conserved, WatchedConnector, serve, session
from tests.support.coded_peer import coded
from tests.support.http1 import chunk, head, response
from tests.support.leaks import turns
from tests.support.server import Peer, answer_all

pytestmark = pytest.mark.asyncio

MIB = 1 << 20


# Answers that nobody reads

PER_RESPONSE = (ClientResponse, Exchange, StreamReader, UnreadGuard, H1Channel)


def alive() -> Counter[str]:
    """How many objects there are of what a response is made of."""
    return Counter(type(item).__name__ for item in gc.get_objects() if isinstance(item, PER_RESPONSE))


async def half_an_answer(peer: Peer) -> None:
    """A head, a third of the body, and silence."""
    while True:
        request = await peer.request()
        if request.target == "/whole":
            peer.send(response(body=bytes(3000)))
        else:
            peer.send(head("200 OK", [("Content-Length", "300000")]) + bytes(100_000))


@PLAIN_AND_TLS
@pytest.mark.fault("R02")
@pytest.mark.parametrize("how", ["forgotten", "closed", "released", "whole"])
async def test_a_thousand_abandoned_responses(tls: bool, how: str, loop: asyncio.AbstractEventLoop) -> None:
    """Never read, and dropped, closed, released, or whole from the start: only what is held by somebody is in
    memory, without the help of the cycle collector. The loop's handler hears of what was forgotten."""
    connector = WatchedConnector()
    told: list[str] = []
    loop.set_exception_handler(lambda _, context: told.append(context["message"]))
    async with serve(half_an_answer, tls=tls) as server, session(connector) as calls:
        watch = Conserved(calls, server)
        gc.collect()
        gc.disable()
        try:
            before = alive()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                for _ in range(1000):
                    resp = await calls.get(server.url("/whole" if how == "whole" else "/half"))
                    if how == "closed":
                        resp.close()
                    elif how == "released":
                        resp.release()
                    del resp
                    connector.channels.clear()
            await watch.settled()
            left = alive() - before
        finally:
            gc.enable()
        assert set(left) <= {"H1Channel"} and left["H1Channel"] <= 1, left
        assert (server.accepted == 1) is (how == "whole")
        assert told == ["Unclosed response"] * (1000 if how == "forgotten" else 0)


@PLAIN_AND_TLS
@pytest.mark.fault("R02")
async def test_abandoned_beside_live_ones(tls: bool, loop: asyncio.AbstractEventLoop) -> None:
    """Ten responses are kept, a hundred dropped in between: the ten still deliver their bodies."""
    loop.set_exception_handler(lambda _, context: None)
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        request = await peer.request()
        mark = request.target.encode().ljust(20)
        peer.send(head("200 OK", [("Content-Length", "40")]) + mark)
        await go_on.wait()
        peer.send(mark)
        await peer.until_closed()

    async with serve(script, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        kept = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            for k in range(110):
                resp = await calls.get(server.url(f"/{k}"))
                if k % 11 == 0:
                    kept.append(resp)
                del resp
        go_on.set()
        bodies = await asyncio.gather(*(resp.read() for resp in kept))
        assert bodies == [2 * f"/{k}".encode().ljust(20) for k in range(0, 110, 11)]
        await watch.settled(idle=10)


# A reader that is slower than the peer


@PLAIN_AND_TLS
@pytest.mark.fault("R03", "F47")
@pytest.mark.parametrize("kind", ["dense", "bomb"])
async def test_a_slow_reader_of_a_coded_body(tls: bool, kind: str) -> None:
    """Nobody reads: reading is paused with at most twice the mark of coded bytes, none of them decoded. Then a read
    takes what it needs, and the peer is held up as before."""
    sent = 0

    async def pours(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        peer.send(head("200 OK", [*coded("gzip"), ("Transfer-Encoding", "chunked")]))
        chance, compress = random.Random(1), zlib.compressobj(1, wbits=31)
        while not peer.closed:
            piece = chance.randbytes(65536) if kind == "dense" else bytes(64 * MIB)
            data = compress.compress(piece) + compress.flush(zlib.Z_SYNC_FLUSH)
            sent += len(data)
            peer.send(chunk(data))
            await peer.flush()

    connector = WatchedConnector()
    async with serve(pours, answer_all, tls=tls, rcvbuf=8192) as server, session(connector) as calls:
        watch = Conserved(calls, server)
        resp = await calls.get(server.url("/x"))
        exchange = connector.channels[0].exchange  # type: ignore[attr-defined]
        raw = exchange.stream
        await until_quiet(lambda: sent)
        assert raw.is_paused and HIGH_WATER < raw.total_bytes <= 2 * HIGH_WATER
        assert resp.content.is_paused and resp.content.total_bytes == 0
        taken = await resp.content.readexactly(100_000)
        assert len(taken) == 100_000
        assert resp.content.total_bytes <= 100_000 + 65536
        await until_quiet(lambda: sent)
        assert raw.total_bytes <= 4 * HIGH_WATER
        resp.close()
        await watch.healthy()


async def until_quiet(number: Callable[[], int]) -> None:
    """Wait until the number has stopped to change."""
    before = -1
    while before != number():
        before = number()
        await turns(50)


# Bodies of requests that are what they say


@PLAIN_AND_TLS
@pytest.mark.parametrize("kind", ["bytes", "memory", "file", "list", "generator", "announced", "expected"])
async def test_the_connection_of_an_upload_is_used_again(tls: bool, kind: str, tmp_path: Path) -> None:
    """The peer answers with the last byte: the source need not have said that it has ended, nor the transport that it
    takes more, for both sides to be done."""
    path = tmp_path / "body"
    path.write_bytes(bytes(300_000))
    pieces = [bytes(100_000)] * 3
    options: dict[str, Any] = {"headers": {"Content-Length": "300000"}} if kind == "announced" else {}

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.head()
            if request.header("Expect"):
                peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            await peer.body(request)
            peer.send(response())

    with path.open("rb") as file:
        async with serve(script, tls=tls) as server, session() as calls:
            watch = Conserved(calls, server)
            for _ in range(20):
                file.seek(0)
                data = {"bytes": bytes(300_000), "memory": io.BytesIO(bytes(300_000)), "file": file, "list": pieces}
                body: Any = data.get(kind) or (bytes(100_000) if kind == "expected" else parts(*pieces))
                async with calls.put(server.url("/x"), data=body, expect100=kind == "expected", **options) as resp:
                    assert resp.status == 200
            assert server.accepted == 1
            await watch.settled(idle=1)


# Bodies of requests that are not what they say


async def parts(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


class Taking:
    """A peer that takes whatever comes and never answers; `got` is what came of the body of the first request."""

    def __init__(self) -> None:
        self.got = b""
        self.ended = ""

    async def script(self, peer: Peer) -> None:
        await peer.head()
        while data := await peer.recv():
            self.got += data
        self.ended = peer.closed


@PLAIN_AND_TLS
@pytest.mark.fault("O07")
@pytest.mark.parametrize("pieces", [(b"123456",), (b"123", b"456"), (b"12345", b"6"), (b"12345", b"", b"x" * 100_000)])
async def test_more_than_was_announced(tls: bool, pieces: tuple[bytes, ...]) -> None:
    """Of a body beyond its Content-Length nothing is written that the length does not cover; then the connection
    is closed, so that nobody takes the rest for another request."""
    peer = Taking()
    async with serve(peer.script, answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        with pytest.raises(ClientRequestError, match="more than the 5 bytes that were announced") as caught:
            await calls.post(server.url("/x"), data=parts(*pieces), headers={"Content-Length": "5"})
        assert caught.value.phase == "send"
        await server.until(lambda: peer.ended)
        assert b"12345".startswith(peer.got)
        await watch.settled(idle=0)
        await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("O07")
async def test_less_than_was_announced(tls: bool) -> None:
    """A body that ends too early is an error; the connection is closed, the peer is not left to wait for the rest."""
    peer = Taking()
    async with serve(peer.script, answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        with pytest.raises(ClientRequestError, match="the body ended after 3 bytes, 5 were announced"):
            await calls.post(server.url("/x"), data=parts(b"123"), headers={"Content-Length": "5"})
        await server.until(lambda: peer.ended)
        assert b"123".startswith(peer.got)
        await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("O09")
@pytest.mark.parametrize("kind", ["async generator", "generator"])
async def test_a_source_that_fails_after_a_mebibyte(tls: bool, kind: str) -> None:
    """Its error comes out as the cause; no last chunk is sent, and the connection is closed."""

    def plain() -> Any:
        for _ in range(16):
            yield bytes(65536)
        raise LookupError("out of bytes")

    async def asynchronous() -> AsyncIterator[bytes]:
        for piece in plain():
            yield piece

    peer = Taking()
    async with serve(peer.script, answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        with pytest.raises(ClientRequestError, match="LookupError: out of bytes") as caught:
            await calls.post(server.url("/x"), data=plain() if kind == "generator" else asynchronous())
        assert isinstance(caught.value.__cause__, LookupError)
        await server.until(lambda: peer.ended)
        assert not peer.got.endswith(b"0\r\n\r\n")
        await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("O09")
@pytest.mark.parametrize("change", [-1000, +1000])
async def test_a_file_that_changes_its_size(tls: bool, change: int, tmp_path: Path) -> None:
    """It became shorter or longer since it was measured: an error, and never a byte more than the length says."""
    path = tmp_path / "body"
    path.write_bytes(b"x" * 1_000_000)
    peer = Taking()
    resized = asyncio.Event()

    class Waiting(io.FileIO):
        """Its size is changed once it was measured, before a byte is read."""

        def read(self, size: int | None = -1) -> bytes:
            if not resized.is_set():
                resized.set()
                with open(path, "r+b") as other:
                    other.truncate(1_000_000 + change)
            return super().read(size)

    with Waiting(path) as file:
        async with serve(peer.script, answer_all, tls=tls) as server, session() as calls:
            watch = Conserved(calls, server)
            with pytest.raises(ClientRequestError, match="announced"):
                await calls.post(server.url("/x"), data=file)
            await server.until(lambda: peer.ended)
            assert server.requests[0].content_length == 1_000_000
            assert len(peer.got) <= 1_000_000
            await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("O09")
async def test_one_object_in_two_requests(tls: bool) -> None:
    """A file that serves two calls at once gives one of them an error, or both the whole; a body in memory serves any
    number. No body ever has bytes of another."""
    bodies = {f"/{k}": bytes([65 + k]) * 300_000 for k in range(8)}
    shared = io.BytesIO(b"".join(b"%06d\n" % k for k in range(50_000)))
    async with serve(tls=tls) as server, session() as calls:

        async def one(path: str, data: Any) -> None:
            async with calls.post(server.url(path), data=data):
                pass

        await asyncio.gather(*(one(path, data) for path, data in bodies.items()), *map(one, [*bodies], bodies.values()))
        results = await asyncio.gather(*(one("/file", shared) for _ in range(2)), return_exceptions=True)
        assert all(result is None or isinstance(result, ClientRequestError) for result in results)
        for request in server.requests:
            if request.body:
                assert request.body == bodies.get(request.target, shared.getvalue())
