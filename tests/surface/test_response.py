"""Section K: what a response is, and how it ends."""

import asyncio
import gc
import gzip
import json
import logging
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from http.cookies import SimpleCookie
from typing import Any

import pytest
from multidict import CIMultiDictProxy

import keepwarm
from keepwarm import ClientResponse, Connection, HttpVersion, StreamReader
from tests.support.http1 import chunked, head, ok, response
from tests.support.leaks import Baseline, no_cycles
from tests.support.server import Peer
from tests.surface.calls import calling, routes, with_answer

pytestmark = pytest.mark.asyncio

HALF = response(body=b"half", length=100_000)
HUGE = b"x" * 300_000
LINES = b"".join(b"line %d\n" % number for number in range(100))


def test_k_01_responses_come_from_calls() -> None:
    """The constructor asks for what only a session has."""
    with pytest.raises(TypeError):
        ClientResponse()  # type: ignore[call-arg]


@pytest.mark.parametrize("row", ["K-02", "R-07"])
async def test_async_with_a_response(row: str) -> None:
    """Released at the end of the block, closed after an exception."""
    async with calling(routes(half=HALF)) as (session, server):
        resp = await session.get(server.url())
        async with resp as entered:
            assert entered is resp
        assert resp.closed and server.open == 1
        resp = await session.get(server.url("/half"))
        with pytest.raises(ZeroDivisionError):
            async with resp:
                raise ZeroDivisionError
        await server.until_idle()


@pytest.mark.parametrize(
    ("row", "name", "expected"),
    [
        ("K-03", "version", HttpVersion(1, 0)),
        ("K-04", "status", 404),
        ("K-05", "reason", "Not Here"),
        ("K-06", "host", "127.0.0.1"),
        ("K-07", "method", "POST"),
    ],
)
async def test_plain_attributes(row: str, name: str, expected: Any) -> None:
    """What the status line and the request say."""
    answer = response("404 Not Here", version="HTTP/1.0")
    async with calling(with_answer(answer)) as (session, server), session.post(server.url(), data=b"x") as resp:
        assert getattr(resp, name) == expected
        assert type(getattr(resp, name)) is type(expected)


async def test_k_07_method_after_a_redirect() -> None:
    """The one that was sent last."""
    script = routes(a=response("303 See Other", headers=[("Location", "/b")]))
    async with calling(script) as (session, server), session.post(server.url("/a"), data=b"x") as resp:
        assert (resp.method, resp.history[0].method) == ("GET", "POST")


async def test_k_08_url() -> None:
    """Text: the last URL, with params."""
    async with calling(routes(a=response("302 Found", headers=[("Location", "/b?c=d")]))) as (session, server):
        async with session.get(server.url("/x"), params={"a": "b"}) as resp:
            assert (type(resp.url), resp.url) == (str, server.url("/x?a=b"))
        async with session.get(server.url("/a")) as resp:
            assert resp.url == server.url("/b?c=d")


@pytest.mark.parametrize("end", ["release", "close", "read"])
async def test_k_09_connection(end: str) -> None:
    """The connection in use; None once it is given back."""
    async with calling(with_answer(response(body=HUGE))) as (session, server):
        resp = await session.get(server.url())
        assert isinstance(resp.connection, Connection)
        assert not resp.connection.closed
        ended = getattr(resp, end)()
        if ended is not None:
            await ended
        assert resp.connection is None


async def test_k_10_content() -> None:
    """A StreamReader, whether the body came with the head or not."""
    async with calling(routes(big=response(body=HUGE), small=ok(b"small"))) as (session, server):
        for path, body in (("/big", HUGE), ("/small", b"small")):
            async with session.get(server.url(path)) as resp:
                assert isinstance(resp.content, StreamReader)
                assert await resp.content.read(3) == body[:3]
                assert await resp.content.read() == body[3:]
                assert await resp.content.read() == b""


async def test_k_11_cookies(caplog: pytest.LogCaptureFixture) -> None:
    """A SimpleCookie of the Set-Cookie fields; a bad one is logged, not raised."""
    fields = [("Set-Cookie", "a=b; Path=/x; HttpOnly"), ("Set-Cookie", "no cookie"), ("Set-Cookie", "c=d")]
    answer = response(headers=fields)
    caplog.set_level(logging.DEBUG)
    async with calling(with_answer(answer)) as (session, server), session.get(server.url()) as resp:
        assert isinstance(resp.cookies, SimpleCookie)
        assert {name: morsel.value for name, morsel in resp.cookies.items()} == {"a": "b", "c": "d"}
        assert (resp.cookies["a"]["path"], resp.cookies["a"]["httponly"]) == ("/x", True)
    assert any("Set-Cookie" in record.getMessage() for record in caplog.records)


FIELDS = [("X-Mixed-CASE", "one"), ("x-mixed-case", "t\xfcwo"), ("Content-Length", "0")]


@pytest.mark.parametrize("row", ["K-12", "P-03"])
async def test_headers(row: str) -> None:
    """Read-only, looked up without regard to case, repeated names kept; UTF-8 with surrogateescape."""
    async with calling(with_answer(head("200 OK", FIELDS))) as (session, server), session.get(server.url()) as resp:
        assert isinstance(resp.headers, CIMultiDictProxy)
        assert resp.headers.getall("X-MIXED-case") == ["one", "t\udcfcwo"]
        with pytest.raises(TypeError):
            resp.headers["a"] = "b"  # type: ignore[index]


async def test_k_13_raw_headers() -> None:
    """Pairs of bytes as they came."""
    async with calling(with_answer(head("200 OK", FIELDS))) as (session, server), session.get(server.url()) as resp:
        assert resp.raw_headers == tuple((name.encode(), value.encode("latin-1")) for name, value in FIELDS)


async def test_k_14_history() -> None:
    """The responses before, in order; empty if there were none."""
    hops = {name: response("302 Found", headers=[("Location", there)]) for name, there in (("a", "/b"), ("b", "/c"))}
    async with calling(routes(**hops)) as (session, server):
        async with session.get(server.url("/a")) as resp:
            assert isinstance(resp.history, Sequence)
            assert [(past.url, past.status) for past in resp.history] == [
                (server.url("/a"), 302),
                (server.url("/b"), 302),
            ]
            assert all(isinstance(past, ClientResponse) and past.closed for past in resp.history)
        async with session.get(server.url("/c")) as resp:
            assert resp.history == ()


async def test_k_15_close() -> None:
    """The connection is closed with what is unread; idempotent."""
    async with calling(routes(half=HALF)) as (session, server):
        resp = await session.get(server.url("/half"))
        resp.close()
        resp.close()
        assert resp.closed
        await server.until_idle()


async def test_k_16_read() -> None:
    """The whole body, twice the same; success releases, an error closes."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(response(body=b"half", length=8))

    async with calling(with_answer(ok(HUGE))) as (session, server):
        resp = await session.get(server.url())
        assert await resp.read() == HUGE
        assert await resp.read() == HUGE
        assert resp.connection is None and server.open == 1
    async with calling(script) as (session, server):
        resp = await session.get(server.url())
        with pytest.raises(keepwarm.ServerDisconnectedError):
            await resp.read()
        assert resp.connection is None
        await server.until_idle()


@pytest.mark.parametrize("coding", ["", "gzip"])
async def test_k_16_a_second_reader_fails_alone(coding: str) -> None:
    """While one waits for the body, another is refused: the first gets all of it, and then so does everybody."""
    go_on = asyncio.Event()
    body = gzip.compress(HUGE) if coding else HUGE

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(response(body=body[:100], length=len(body), headers=[("Content-Encoding", coding)] if coding else []))
        await go_on.wait()
        peer.send(body[100:])
        await peer.until_closed()

    async with calling(script) as (session, server), session.get(server.url()) as resp:
        first = asyncio.ensure_future(resp.read())
        await asyncio.sleep(0)
        for refused in (resp.read, resp.text, resp.json, resp.content.read):
            with pytest.raises(RuntimeError, match="another coroutine"):
                await refused()
        go_on.set()
        assert await first == HUGE == await resp.read()
        assert server.open == 1


async def test_k_17_release() -> None:
    """A small rest is read and the connection kept; a large one is not waited for."""
    script = routes(small=chunked([b"x" * 1000, b"y" * 1000]), endless=HALF)
    async with calling(script) as (session, server):
        await (await session.get(server.url("/small"))).release()
        assert server.open == 1
        resp = await session.get(server.url("/endless"))
        await resp.release()
        assert resp.closed
        await server.until_idle()
        assert server.accepted == 1


@pytest.mark.parametrize(
    ("body", "content_type", "encoding", "text"),
    [
        ("grüß".encode(), "text/plain", None, "grüß"),
        ("grüß".encode("latin1"), 'text/plain; charset="latin1"', None, "grüß"),
        ("grüß".encode("utf-16"), "text/plain; charset=utf-8", "utf-16", "grüß"),
    ],
)
async def test_k_18_text(body: bytes, content_type: str, encoding: str | None, text: str) -> None:
    """In the given encoding, else the one that the peer names, else detected."""
    answer = response(body=body, headers=[("Content-Type", content_type)])
    async with calling(with_answer(answer)) as (session, server), session.get(server.url()) as resp:
        assert await resp.text(encoding) == text
        assert await resp.text(encoding=encoding) == text


@pytest.mark.parametrize(
    "charset", ["punycode", "idna", "undefined", "unicode_escape", "hex", "bz2", "rot13", "no-such", "aliases"]
)
async def test_k_18_a_peer_cannot_choose_a_codec_that_is_no_charset(charset: str) -> None:
    """It counts as undeclared. The caller can choose any, and gets its errors."""
    answer = response(body=b'"a-\\u0041"', headers=[("Content-Type", f"text/plain; charset={charset}")])
    async with calling(with_answer(answer)) as (session, server), session.get(server.url()) as resp:
        assert resp.charset == charset
        assert await resp.text() == '"a-\\u0041"'
        assert await resp.json() == "a-A"
        assert await resp.text("unicode_escape") == '"a-A"'
        with pytest.raises(LookupError):
            await resp.text("hex")


async def test_k_19_detection() -> None:
    """Text in no stated encoding that is not UTF-8 is detected."""
    text = "Быстрая коричневая лиса прыгает через ленивую собаку. " * 20
    answer = response(body=text.encode("cp1251"))
    async with calling(with_answer(answer)) as (session, server), session.get(server.url()) as resp:
        assert await resp.text() == text


async def test_k_20_json() -> None:
    """Parsed, whatever the media type, by a loader of one's own if given."""
    answer = response(body=b'{"a": [1]}', headers=[("Content-Type", "text/html")])
    async with calling(with_answer(answer)) as (session, server), session.get(server.url()) as resp:
        assert await resp.json() == {"a": [1]}
        assert await resp.json(loads=len) == 10
        assert await resp.json(encoding="ascii", loads=json.loads) == {"a": [1]}


async def test_k_18_errors() -> None:
    """Python's ways to treat bytes that the encoding does not have; strict by default."""
    answer = response(body=b"a\xff", headers=[("Content-Type", "text/plain; charset=utf-8")])
    async with calling(with_answer(answer)) as (session, server), session.get(server.url()) as resp:
        with pytest.raises(UnicodeDecodeError):
            await resp.text()
        assert await resp.text(errors="replace") == "a\ufffd"
        assert await resp.text("ascii", "ignore") == "a"


@pytest.mark.parametrize(
    ("sent", "asked"),
    [
        ("application/json", "application/json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        ("application/problem+json", "application/json"),
        ("application/problem+json", "application/problem+json"),
        ("text/javascript", "Text/JavaScript; charset=utf-8"),
        ("text/html", None),
    ],
)
async def test_k_20_the_type_that_was_asked_for(sent: str, asked: str | None) -> None:
    """Parameters and case do not count, and JSON goes by many names."""
    answer = response(body=b"[1]", headers=[("Content-Type", sent)])
    async with calling(with_answer(answer)) as (session, server), session.get(server.url()) as resp:
        assert await resp.json(content_type=asked) == [1]


@pytest.mark.parametrize("body", [b"[1]", b""])
@pytest.mark.parametrize(
    ("sent", "asked"),
    [
        ("text/html; charset=utf-8", "application/json"),
        ("application/jsonp", "application/json"),
        ("text/x+json", "application/json"),
        ("application/json", "application/problem+json"),
        ("", "application/json"),
    ],
)
async def test_k_20_another_type_than_asked_for(sent: str, asked: str, body: bytes) -> None:
    """It is an error that says both types; the body was read, and the connection is used again."""
    answer = response(body=body, headers=[("Content-Type", sent)] if sent else [])
    async with calling(with_answer(answer)) as (session, server):
        resp = await session.get(server.url("/page"))
        with pytest.raises(keepwarm.ContentTypeError) as caught:
            await resp.json(content_type=asked)
        error = caught.value
        assert isinstance(error, keepwarm.ClientResponseError)
        for part in (f"GET {server.url('/page')}", resp.content_type, asked):
            assert part in str(error)
        assert error.endpoint is not None and (error.phase, error.reused) == ("body", False)
        assert await resp.read() == body
        await (await session.get(server.url())).release()
        assert server.accepted == 1


async def test_k_20_a_type_that_is_none() -> None:
    """Refused before anything is read."""
    async with calling() as (session, server), session.get(server.url()) as resp:
        wrong: Any = b"application/json"
        with pytest.raises(TypeError, match="content_type"):
            await resp.json(content_type=wrong)


@pytest.mark.parametrize("body", [b"", b" \r\n\t"])
async def test_k_21_json_of_nothing(body: bytes) -> None:
    """None."""
    async with calling(with_answer(response(body=body))) as (session, server), session.get(server.url()) as resp:
        assert await resp.json() is None


async def test_k_22_errors_of_text_and_json() -> None:
    """A body that is cut short closes the connection; one that is only wrong was read, and releases it."""

    async def script(peer: Peer) -> None:
        for answer in (response(body=b"\xff{", headers=[("Content-Type", "a/b; charset=utf-8")]), ok(b"{")):
            await peer.request()
            peer.send(answer)
        await peer.request()
        peer.send(response(body=b"cut", length=9))

    async with calling(script) as (session, server):
        with pytest.raises(UnicodeDecodeError):
            await (await session.get(server.url())).text()
        with pytest.raises(json.JSONDecodeError):
            await (await session.get(server.url())).json()
        assert server.open == 1
        resp = await session.get(server.url())
        with pytest.raises(keepwarm.ClientPayloadError):
            await resp.json()
        assert resp.connection is None
        await server.until_idle()


@pytest.mark.parametrize(("method", "status"), [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Same")])
async def test_k_23_no_body(method: str, status: str) -> None:
    """HEAD, 204 and 304 have none, whatever their fields say, and the connection is kept."""
    answer = head(status, [("Content-Length", "10")] if status[:3] != "204" else [])
    async with calling(with_answer(answer)) as (session, server):
        for _ in range(2):
            async with session.request(method, server.url()) as resp:
                assert await resp.read() == b""
        assert server.accepted == 1


@pytest.mark.parametrize("status", ["100 Continue", "102 Processing", "103 Early Hints"])
async def test_k_24_interim_answers(status: str) -> None:
    """All of 1xx are passed over."""
    answer = head(status, [("Link", "</a>")]) + ok(b"final")
    async with calling(with_answer(answer)) as (session, server), session.get(server.url()) as resp:
        assert (resp.status, await resp.read()) == (200, b"final")


async def test_k_25_an_unclosed_response(loop: asyncio.AbstractEventLoop, baseline: Baseline) -> None:
    """Its connection is closed, there is a ResourceWarning, and the loop's exception handler hears of it."""
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    async with calling(routes(half=HALF)) as (session, server):
        resp = await session.get(server.url("/half"))
        with pytest.warns(ResourceWarning, match="Unclosed response"):
            del resp
            gc.collect()
        await server.until_idle()
    assert [context["message"] for context in contexts] == ["Unclosed response"]
    assert "client_response" in contexts[0]


@pytest.mark.parametrize("coding", ["", "gzip"])
@pytest.mark.parametrize("how", ["read", "readexactly", "iter_chunked", "iter_any", "lines"])
async def test_k_25_the_content_keeps_its_response(how: str, coding: str) -> None:
    """Who reads `content` need not keep the response; nothing is left that only a garbage collector finds."""
    go_on = asyncio.Event()
    body = gzip.compress(LINES) if coding else LINES

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(response(body=body[:20], length=len(body), headers=[("Content-Encoding", coding)] if coding else []))
        await go_on.wait()
        peer.send(body[20:])
        await peer.until_closed()

    readers: dict[str, Callable[[StreamReader], Awaitable[bytes]]] = {
        "read": lambda content: content.read(),
        "readexactly": lambda content: content.readexactly(len(LINES)),
        "iter_chunked": lambda content: joined(content.iter_chunked(50)),
        "iter_any": lambda content: joined(content.iter_any()),
        "lines": lambda content: joined(aiter(content)),
    }
    async with calling(script) as (session, server):
        with no_cycles("keepwarm"):
            reading = asyncio.ensure_future(readers[how]((await session.get(server.url())).content))
            await asyncio.sleep(0)
            go_on.set()
            assert await reading == LINES
            await asyncio.sleep(0)
            del reading
        assert server.open == 1


@pytest.mark.parametrize("coding", ["", "gzip"])
async def test_k_25_a_forgotten_content(coding: str, baseline: Baseline) -> None:
    """Dropped after its response, nobody reading it: closed at once, without a garbage collector."""
    answer = response(body=b"half", length=100_000, headers=[("Content-Encoding", coding)] if coding else [])
    async with calling(with_answer(answer)) as (session, server):
        with no_cycles("keepwarm"):
            content = (await session.get(server.url())).content
            assert server.open == 1
            with pytest.warns(ResourceWarning, match="Unclosed response"):
                del content
            assert baseline.errors == ["Unclosed response"]
        baseline.errors.clear()
        await server.until_idle()


async def joined(pieces: AsyncIterator[bytes]) -> bytes:
    """What an iterator over a body gives, in one."""
    return b"".join([piece async for piece in pieces])


async def test_k_26_wait_for_close() -> None:
    """Done when the connection is back or closed."""
    async with calling(routes(half=HALF)) as (session, server):
        resp = await session.get(server.url("/half"))
        waiting = asyncio.ensure_future(resp.wait_for_close())
        await asyncio.sleep(0)
        assert not waiting.done()
        resp.close()
        await waiting
        await resp.wait_for_close()


async def test_k_26_cancelling_the_wait_changes_nothing() -> None:
    """Who reads the body gets all of it; another who waits waits on."""
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(response(body=b"01234", length=10))
        await go_on.wait()
        peer.send(b"56789")
        await peer.until_closed()

    async with calling(script) as (session, server):
        resp = await session.get(server.url())
        reading = asyncio.ensure_future(resp.read())
        cancelled, waiting = (asyncio.ensure_future(resp.wait_for_close()) for _ in range(2))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert not (resp.closed or waiting.done() or reading.done())
        go_on.set()
        assert await reading == b"0123456789"
        await waiting
        assert server.open == 1


async def test_k_27_repr() -> None:
    """URL, status and reason."""
    answer = response("404 Not Here", headers=[("X-A", "b")])
    async with calling(with_answer(answer)) as (session, server), session.get(server.url("/x")) as resp:
        assert repr(resp).startswith(f"<ClientResponse({server.url('/x')}) [404 Not Here]>")


@pytest.mark.parametrize(("coding", "encode"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_k_28_content_codings(coding: str, encode: Any) -> None:
    """Undone on the way; bad data is a ContentEncodingError."""
    fields = [("Content-Encoding", coding)]
    script = routes(good=response(body=encode(HUGE), headers=fields), bad=response(body=b"nonsense", headers=fields))
    async with calling(script) as (session, server):
        async with session.get(server.url("/good")) as resp:
            assert await resp.read() == HUGE
        with pytest.raises(keepwarm.ContentEncodingError):
            await (await session.get(server.url("/bad"))).read()


async def test_k_28_the_size_of_what_is_decoded_can_be_limited() -> None:
    """A small body that stands for a huge one is no way to fill the memory."""
    answer = response(body=gzip.compress(HUGE), headers=[("Content-Encoding", "gzip")])
    async with calling(with_answer(answer), max_body_size=1000) as (session, server):
        resp = await session.get(server.url())
        with pytest.raises(keepwarm.BodyTooLarge):
            await resp.read()
