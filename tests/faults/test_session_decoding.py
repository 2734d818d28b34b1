"""Coded bodies through whole calls: what is delivered, refused, decoded and reused (FAULTS F45 to F48, C09)."""

import asyncio
import tracemalloc
from typing import Any

import pytest

from keepwarm.client.decoding import WINDOW
from keepwarm.client.decoding_error import ContentDecodingError
from keepwarm.client.errors import BodyTooLarge, ClientProtocolError, TotalTimeoutError
from keepwarm.client.session import ClientSession
from keepwarm.pool.clock import NEVER
from tests.support.calling import PLAIN_AND_TLS, Conserved, WatchedConnector, fetch, serve
from tests.support.coded_peer import CODINGS, COMES, Decoded, client, coded, sending
from tests.support.codings import ENCODERS, TEXT, encode, zeros
from tests.support.http1 import head, ok, response
from tests.support.server import Peer, answer_all, answering
from tests.support.sites import pages

pytestmark = pytest.mark.asyncio

MIB = 1 << 20


# What is delivered


@PLAIN_AND_TLS
@CODINGS
@COMES
async def test_a_coded_body_is_delivered_decoded(tls: bool, coding: str, comes: str) -> None:
    """read() and content give the text, a second read() the same; the connection is used again."""
    script = sending(ENCODERS[coding](TEXT), coded(coding), comes)
    async with serve(script, tls=tls) as server, client() as calls:
        watch = Conserved(calls, server)
        async with calls.get(server.url("/x")) as resp:
            assert await resp.read() == await resp.read() == TEXT
            assert resp.headers["Content-Encoding"] == coding
        async with calls.get(server.url("/x")) as resp:
            assert b"".join([line async for line in resp.content]) == TEXT
        assert server.accepted == 1
        await watch.settled(idle=1)


@CODINGS
async def test_an_empty_body_that_is_coded_stays_empty(coding: str) -> None:
    """The coded form of nothing is nothing, however it is read, and also after it has been read."""
    async with serve(sending(ENCODERS[coding](b""), coded(coding))) as server, client() as calls:
        async with calls.get(server.url("/x")) as resp:
            assert await resp.read() == await resp.content.read() == b""
        async with calls.get(server.url("/x")) as resp:
            assert await resp.content.read() == await resp.read() == b""


@CODINGS
@COMES
async def test_without_auto_decompress_it_comes_as_it_is(coding: str, comes: str) -> None:
    body = ENCODERS[coding](TEXT)
    async with serve(sending(body, coded(coding), comes)) as server, client(auto_decompress=False) as calls:
        async with calls.get(server.url("/x")) as resp:
            assert await resp.read() == body
        assert server.requests[0].header_all("Accept-Encoding") == []


@PLAIN_AND_TLS
@pytest.mark.fault("F45")
@CODINGS
@COMES
@pytest.mark.parametrize("how", ["cut", "garbage", "behind", "other"])
async def test_a_broken_coded_body(tls: bool, coding: str, comes: str, how: str) -> None:
    """Cut short, no such data at all, something behind its end, another coding than announced: an error each time
    that it is read, and the connection serves nobody any more."""
    good = ENCODERS[coding](TEXT)
    body = {
        "cut": good[:-5],
        "garbage": b"\xff" * 200,
        "behind": good + b"\x00garbage",
        "other": ENCODERS["br" if coding == "gzip" else "gzip"](TEXT),
    }[how]
    async with serve(sending(body, coded(coding), comes), answer_all, tls=tls) as server, client() as calls:
        watch = Conserved(calls, server)
        resp = await calls.get(server.url("/x"))
        with pytest.raises(ContentDecodingError) as caught:
            await resp.read()
        error = caught.value
        assert (error.phase, error.coding) == ("body", coding)
        assert error.endpoint is not None and error.endpoint.port == server.port
        with pytest.raises(ContentDecodingError):
            await resp.read()
        await watch.settled(idle=0)
        await watch.healthy()
        assert server.accepted == 2


@pytest.mark.fault("F45")
async def test_a_connection_in_use_again_is_dropped_when_it_comes_back() -> None:
    """The bad body came whole, its connection is busy with the next call when somebody looks: that call ends well."""
    bodies = iter([response(body=b"no gzip", headers=coded("gzip"))])
    script = answering(lambda request: next(bodies, ok(nonce=request.nonce)))
    async with serve(script, answer_all) as server, client() as calls:
        watch = Conserved(calls, server)
        bad = await calls.get(server.url("/bad"))
        other = asyncio.create_task(fetch(calls, server.url("/other")))
        await server.until_requests(2)
        with pytest.raises(ContentDecodingError):
            await bad.read()
        assert await other == "/other"
        assert server.accepted == 1
        await watch.settled(idle=0)


@pytest.mark.fault("F45")
@COMES
async def test_several_members_are_one_body(comes: str) -> None:
    """gzip members one behind the other are joined (RFC 1952 2.2)."""
    body = ENCODERS["gzip"](TEXT) + ENCODERS["gzip"](b"more")
    async with serve(sending(body, coded("gzip"), comes)) as server, client() as calls:
        resp = await calls.get(server.url("/x"))
        assert await resp.read() == TEXT + b"more"


@PLAIN_AND_TLS
@pytest.mark.fault("F45")
async def test_no_body_needs_no_decoding(tls: bool) -> None:
    """HEAD, 204, 304 and a length of 0 may name a coding: the body is empty, the connection is used again."""
    field = [("Content-Encoding", "gzip")]
    table: dict[str, Any] = {
        "/204": head("204 No Content", field),
        "/304": head("304 Not Modified", field),
        "/0": response(headers=field),
        "/chunked": head("200 OK", [*field, ("Transfer-Encoding", "chunked")]) + b"0\r\n\r\n",
        "/head": head("200 OK", [*field, ("Content-Length", "900")]),
    }
    async with serve(pages(table), tls=tls) as server, client() as calls:
        for path in table:
            async with calls.request("HEAD" if path == "/head" else "GET", server.url(path)) as resp:
                assert (await resp.read(), await resp.content.read()) == (b"", b"")
        assert server.accepted == 1


@PLAIN_AND_TLS
@pytest.mark.fault("F46")
@COMES
@pytest.mark.parametrize("form", ["one line", "six lines"])
@pytest.mark.parametrize("count", [6, 100])
async def test_too_many_codings(tls: bool, comes: str, form: str, count: int) -> None:
    """More than five are refused with the head, before anything is decoded, and the connection is closed."""
    codings = ["identity", "gzip"] * (count // 2)
    script = sending(TEXT, coded(*codings, form=form), comes)
    async with serve(script, answer_all, tls=tls) as server, client() as calls:
        watch = Conserved(calls, server)
        with pytest.raises(ClientProtocolError, match=f"names {count} content codings") as caught:
            await calls.get(server.url("/x"))
        assert caught.value.endpoint is not None
        await watch.settled(idle=0)
        await watch.healthy()


@pytest.mark.fault("F46")
@COMES
@pytest.mark.parametrize("form", ["one line", "six lines"])
async def test_five_codings(comes: str, form: str) -> None:
    """Five are undone, the last one first."""
    codings = ["gzip", "br", "deflate", "zstd", "gzip"]
    async with serve(sending(encode(TEXT, codings), coded(*codings, form=form), comes)) as server, client() as calls:
        resp = await calls.get(server.url("/x"))
        assert await resp.read() == TEXT


# Bombs


@pytest.mark.fault("F47")
@pytest.mark.parametrize("comes", ["whole", "chunked"])
@CODINGS
async def test_a_bomb_is_read_in_small_pieces(comes: str, coding: str) -> None:
    """64 MiB in pieces of 64 KiB: what is held is a piece, a window, and what the decoder keeps, never the whole."""
    body, total = zeros(64 * MIB, coding), 0
    async with serve(sending(body, coded(coding), comes)) as server, client() as calls:
        resp = await calls.get(server.url("/x"))
        tracemalloc.start()
        try:
            async for piece in resp.content.iter_chunked(WINDOW):
                total += len(piece)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert total == 64 * MIB
    assert peak < len(body) + MIB


@PLAIN_AND_TLS
@pytest.mark.fault("F47", "R12")
@CODINGS
@COMES
async def test_a_bomb_beyond_the_cap(tls: bool, coding: str, comes: str) -> None:
    """max_body_size counts decoded bytes: no more than a window beyond it is made, and the connection is dropped."""
    script = sending(zeros(16 * MIB, coding), coded(coding), comes)
    async with serve(script, answer_all, tls=tls) as server, client(max_body_size=MIB) as calls:
        watch = Conserved(calls, server)
        with pytest.raises(BodyTooLarge, match="max_body_size") as caught:
            async with calls.get(server.url("/x")) as resp:
                await resp.read()
        error = caught.value
        assert isinstance(error, ContentDecodingError)
        assert error.expected == MIB and error.received is not None and error.received <= MIB + WINDOW
        await watch.settled(idle=0)
        await watch.healthy()


def past_the_limit(calls: ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the pool of `calls` finds that every time limit has passed."""
    assert isinstance(calls.connector, WatchedConnector)
    owner = calls.connector.channels[0].owner
    assert owner is not None
    monkeypatch.setattr(owner.clock, "now", lambda: NEVER)


@pytest.mark.fault("F47")
@CODINGS
@pytest.mark.parametrize("how", ["read", "text", "iter_any", "iter_chunked"])
@pytest.mark.parametrize("comes", ["whole", "chunked"])
async def test_a_bomb_is_under_the_time_limit(
    comes: str, how: str, coding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came whole, so its connection serves others already: the call ends by its total limit all the same, and the
    connection is kept."""
    script = sending(zeros(16 * MIB, coding), coded(coding), comes)
    async with serve(script, answer_all) as server, client(timeout=100) as calls:
        watch = Conserved(calls, server)
        resp = await calls.get(server.url("/x"))
        await resp.wait_for_close()  # the end of the body is here
        with monkeypatch.context() as patch:
            past_the_limit(calls, patch)
            with pytest.raises(TotalTimeoutError, match=r"timeout\.total has passed, in the phase 'body'") as caught:
                if how in ("read", "text"):
                    await getattr(resp, how)()
                else:
                    content = resp.content
                    async for _ in content.iter_any() if how == "iter_any" else content.iter_chunked(WINDOW):
                        pass
        assert caught.value.endpoint is not None and caught.value.endpoint.port == server.port
        assert resp.content.total_bytes <= MIB
        with pytest.raises(TotalTimeoutError):
            await resp.read()
        await watch.settled(idle=1)
        assert server.accepted == 1


@pytest.mark.fault("F47")
async def test_a_bomb_on_its_way_is_under_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same while its end is still to come: the connection is closed then."""
    bomb = zeros(16 * MIB, "gzip")

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(response(body=bomb, length=len(bomb) + 9, headers=coded("gzip")))
        await peer.until_closed()

    async with serve(script, answer_all) as server, client(timeout=100) as calls:
        watch = Conserved(calls, server)
        resp = await calls.get(server.url("/x"))
        with monkeypatch.context() as patch:
            assert await resp.content.readexactly(1) == b"\0"
            past_the_limit(calls, patch)
            with pytest.raises(TotalTimeoutError):
                await resp.read()
        assert resp.closed
        await watch.settled(idle=0)
        await watch.healthy()


@pytest.mark.fault("R12")
@CODINGS
@COMES
async def test_a_decoded_body_of_the_cap_itself(coding: str, comes: str) -> None:
    script = sending(zeros(MIB, coding), coded(coding), comes)
    async with serve(script) as server, client(max_body_size=MIB) as calls:
        async with calls.get(server.url("/x")) as resp:
            assert len(await resp.read()) == MIB
        assert server.accepted == 1


@PLAIN_AND_TLS
@pytest.mark.fault("F48")
@CODINGS
@COMES
@pytest.mark.parametrize("how", ["release", "close", "exit", "partly read"])
async def test_a_bomb_that_nobody_wants(
    tls: bool, coding: str, comes: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever lets go of it, not a byte more is decoded; a small one is drained and its connection used again."""
    body = zeros(16 * MIB, coding)
    assert len(body) < 60_000
    decoded = Decoded(monkeypatch)
    async with serve(sending(body, coded(coding), comes), tls=tls) as server, client() as calls:
        watch = Conserved(calls, server)
        async with calls.get(server.url("/x")) as resp:
            if how == "partly read":
                assert await resp.content.readexactly(10) == bytes(10)
                decoded.reads = 0
            elif how == "close":
                resp.close()
            if how in ("release", "partly read"):
                await resp.release()
        assert decoded.reads == 0
        await watch.settled(idle=0 if how == "close" and comes != "whole" else 1)


@PLAIN_AND_TLS
@pytest.mark.fault("C09", "F48")
@COMES
async def test_a_redirect_with_a_bomb(tls: bool, comes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is drained as it came, and nothing is decoded; the next hop goes over the same connection."""
    fields = [*coded("gzip"), ("Location", "/to")]
    script = sending(zeros(32 * MIB, "gzip"), fields, comes, status="302 Found", then=answer_all)
    decoded = Decoded(monkeypatch)
    async with serve(script, tls=tls) as server, client() as calls:
        watch = Conserved(calls, server)
        assert await fetch(calls, server.url("/from")) == "/to"
        assert (decoded.reads, server.accepted) == (0, 1)
        await watch.healthy()
