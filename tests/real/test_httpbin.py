"""httpbin, an HTTP server that tells what it was sent: the whole surface of a call against somebody else's parser."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import keepwarm
from tests.real.httpbin import running_httpbin

pytestmark = pytest.mark.asyncio

BODIES = pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])


@pytest.fixture(scope="module")
def httpbin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_httpbin(tmp_path_factory.mktemp("httpbin")) as base:
        yield base


def session(base: str, **options: Any) -> keepwarm.ClientSession:
    return keepwarm.ClientSession(base_url=base, **options)


async def ask(calls: keepwarm.ClientSession, method: str, url: str, **options: Any) -> Any:
    """The JSON of a call that succeeds."""
    async with calls.request(method, url, **options) as resp:
        assert resp.status == 200
        return await resp.json()


def at_rest(calls: keepwarm.ClientSession) -> bool:
    """Promise G2: nothing leased, nobody waiting, every open socket idle or on its way out."""
    assert calls.connector is not None
    total = calls.connector.stats().total
    return total.leased == total.waiting == total.dialling == 0 and total.open == total.idle + total.closing


# What a request says


async def test_a_get_says_what_it_was_given(httpbin: str) -> None:
    """Parameters, own headers, and the generated ones; one after the other over one connection."""
    async with session(httpbin) as calls:
        for k in range(20):
            seen = await ask(calls, "GET", "/get", params={"k": str(k), "ü": "a b&c=d"}, headers={"X-Own": "ä"})
            assert seen["args"] == {"k": str(k), "ü": "a b&c=d"}
            assert seen["headers"]["X-Own"].encode("latin-1").decode() == "ä"
            assert seen["headers"]["User-Agent"].startswith("keepwarm/")
            assert "Content-Length" not in seen["headers"] and "Transfer-Encoding" not in seen["headers"]
        assert calls.connector is not None and calls.connector.stats().total.dials == 1
        assert at_rest(calls)


@BODIES
async def test_a_form(httpbin: str, method: str) -> None:
    """Pairs, repeated names and what has to be escaped."""
    async with session(httpbin) as calls:
        data = [("name", "välue"), ("a&b", "c=d +%"), ("twice", "1"), ("twice", "2"), ("empty", "")]
        seen = await ask(calls, method, f"/{method.lower()}", data=data)
        assert seen["form"] == {"name": "välue", "a&b": "c=d +%", "twice": ["1", "2"], "empty": ""}
        assert seen["headers"]["Content-Type"].startswith("application/x-www-form-urlencoded")


@BODIES
async def test_json(httpbin: str, method: str) -> None:
    async with session(httpbin) as calls:
        value = {"text": "ü\u20ac\U0001f600", "list": [1, 2.5, None, True]}
        seen = await ask(calls, method, f"/{method.lower()}", json=value)
        assert seen["json"] == value
        assert seen["headers"]["Content-Type"] == "application/json"


@BODIES
@pytest.mark.parametrize("size", [1, 70_000, 3_000_000])
async def test_bytes(httpbin: str, method: str, size: int) -> None:
    """Small ones go out with the head, large ones in pieces; both arrive whole."""
    body = bytes(range(256)) * (size // 256 + 1)
    async with session(httpbin) as calls:
        seen = await ask(calls, method, f"/{method.lower()}", data=body[:size])
        data = seen["data"]
        prefix = "data:application/octet-stream;base64,"
        got = base64.b64decode(data.removeprefix(prefix)) if data.startswith(prefix) else data.encode()
        assert got == body[:size]


@pytest.mark.parametrize("compress", [None, "gzip", "deflate"])
async def test_an_async_generator_is_sent_in_chunks(httpbin: str, compress: str | None) -> None:
    """The length is unknown, so it goes in chunks, compressed or not."""

    async def parts() -> AsyncIterator[bytes]:
        for k in range(100):
            yield b"part %d\n" % k

    async with session(httpbin) as calls:
        seen = await ask(calls, "POST", "/post", data=parts(), compress=compress)
        assert seen["headers"]["Transfer-Encoding"] == "chunked"
        assert seen["headers"].get("Content-Encoding") == compress
        if compress is None:
            assert seen["data"].encode() == b"".join(b"part %d\n" % k for k in range(100))
        assert at_rest(calls)


async def test_a_multipart_form_with_files(httpbin: str) -> None:
    """Fields, a file in memory, one with a name that needs escaping, one of a type of its own."""
    form = keepwarm.FormData()
    form.add_field("field", "välue")
    form.add_field("one", io.BytesIO(b"first\r\n--file"), filename="one.txt")
    form.add_field("two", bytes(range(256)), filename='odd "name".bin', content_type="application/x-odd")
    async with session(httpbin) as calls:
        seen = await ask(calls, "POST", "/post", data=form)
        assert seen["form"] == {"field": "välue"}
        assert seen["files"]["one"] == "first\r\n--file"
        kind, _, data = seen["files"]["two"].partition(",")
        assert (kind, base64.b64decode(data)) == ("data:application/x-odd;base64", bytes(range(256)))
        assert seen["headers"]["Content-Type"].startswith("multipart/form-data; boundary=")


async def test_a_file_from_disk(httpbin: str, tmp_path: Any) -> None:
    """In a form, and as the whole body."""
    path = tmp_path / "body.txt"
    path.write_bytes(b"line\n" * 50_000)
    async with session(httpbin) as calls:
        with path.open("rb") as file:
            seen = await ask(calls, "POST", "/post", data={"upload": file})
            assert seen["files"]["upload"].encode() == path.read_bytes()
        with path.open("rb") as file:
            seen = await ask(calls, "PUT", "/put", data=file)
            assert seen["data"].encode() == path.read_bytes()
            assert seen["headers"]["Content-Type"] == "text/plain"


# What an answer says


async def test_head(httpbin: str) -> None:
    """Headers without a body, over the connection that serves the next call."""
    async with session(httpbin) as calls:
        async with calls.head("/get") as resp:
            assert (resp.status, await resp.read()) == (200, b"")
            assert int(resp.headers["Content-Length"]) > 0
        async with calls.options("/get") as resp:
            assert "GET" in resp.headers["Allow"]
        await ask(calls, "GET", "/get")
        assert calls.connector is not None and calls.connector.stats().total.dials == 1


@pytest.mark.parametrize("status", [200, 201, 204, 205, 300, 304, 400, 401, 403, 404, 405, 418, 429, 500, 503, 599])
async def test_status_codes(httpbin: str, status: int) -> None:
    """Each comes as it is, and is an error only for who asks for that; the body of the error gives way to the next."""
    async with session(httpbin, connector=keepwarm.TCPConnector(limit=1)) as calls:
        for method in ("GET", "POST"):
            async with calls.request(method, f"/status/{status}") as resp:
                assert (resp.status, resp.ok) == (status, status < 400)
                await resp.read()
        if status >= 400:
            with pytest.raises(keepwarm.ClientResponseError, match=f"answered {status}"):
                await calls.get(f"/status/{status}", raise_for_status=True)
        await ask(calls, "GET", "/get")
        assert at_rest(calls)


async def test_response_headers(httpbin: str) -> None:
    """Repeated fields and their order."""
    async with session(httpbin) as calls:
        resp = await calls.get("/response-headers", params=[("X-A", "1"), ("X-B", "b b"), ("X-A", "2")])
        assert (await resp.json())["X-A"] == ["1", "2"]
        assert resp.headers.getall("x-a") == ["1", "2"]
        assert (resp.headers["X-B"], resp.content_type) == ("b b", "application/json")


async def test_a_text_in_utf8(httpbin: str) -> None:
    async with session(httpbin) as calls:
        async with calls.get("/encoding/utf8") as resp:
            assert resp.charset == "utf-8"
            text = await resp.text()
        assert "∮ E⋅da = Q" in text and "コンニチハ" in text


@pytest.mark.parametrize(("path", "key"), [("/gzip", "gzipped"), ("/deflate", "deflated"), ("/brotli", "brotli")])
async def test_codings(httpbin: str, path: str, key: str) -> None:
    """Decoded for the caller, whole and as a stream; as it came without auto_decompress."""
    async with session(httpbin) as calls, session(httpbin, auto_decompress=False) as raw:
        assert (await ask(calls, "GET", path))[key] is True
        async with calls.get(path) as resp:
            assert json.loads(b"".join([piece async for piece in resp.content.iter_chunked(7)]))[key] is True
        async with raw.get(path) as resp:
            body = await resp.read()
            assert len(body) == int(resp.headers["Content-Length"])
            assert key.encode() not in body


async def test_lines_of_a_stream(httpbin: str) -> None:
    """A chunked answer, line by line."""
    async with session(httpbin) as calls:
        async with calls.get("/stream/50") as resp:
            ids = [json.loads(line)["id"] async for line in resp.content]
        assert ids == list(range(50))
        assert at_rest(calls)


@pytest.mark.parametrize("path", ["/bytes/100000", "/stream-bytes/100000"])
async def test_bytes_that_come(httpbin: str, path: str) -> None:
    """The same seed gives the same bytes, whichever way they are read."""
    async with session(httpbin) as calls:
        async with calls.get(path, params={"seed": "1"}) as resp:
            whole = await resp.read()
        async with calls.get(path, params={"seed": "1", "chunk_size": "3000"}) as resp:
            parts = [piece async for piece in resp.content.iter_chunked(1000)]
        assert len(whole) == 100_000 and b"".join(parts) == whole
        assert max(map(len, parts)) <= 1000


async def test_an_answer_that_drips(httpbin: str) -> None:
    """A byte at a time, over a tenth of a second."""
    async with session(httpbin) as calls:
        async with calls.get("/drip", params={"numbytes": "10", "duration": "0.1", "delay": "0"}) as resp:
            assert await resp.read() == b"*" * 10
        assert at_rest(calls)


@pytest.mark.fault("P12")
async def test_an_answer_that_is_late(httpbin: str) -> None:
    """The time limit ends the call; its late answer reaches nobody."""
    async with session(httpbin) as calls:
        with pytest.raises(keepwarm.ClientTimeoutError):
            await calls.get("/delay/1", timeout=0.1)
        assert at_rest(calls)
        assert (await ask(calls, "GET", "/get", params={"mine": "1"}))["args"] == {"mine": "1"}


# Ranges and conditions


async def test_ranges(httpbin: str) -> None:
    async with session(httpbin) as calls:
        async with calls.get("/range/26", headers={"Range": "bytes=3-6"}) as resp:
            assert (resp.status, await resp.read()) == (206, b"defg")
            assert resp.headers["Content-Range"] == "bytes 3-6/26"
        async with calls.get("/range/26", headers={"Range": "bytes=100-"}) as resp:
            assert resp.status == 416
        async with calls.get("/etag/mine", headers={"If-None-Match": "mine"}) as resp:
            assert (resp.status, await resp.read()) == (304, b"")


# Credentials


@pytest.mark.parametrize(
    ("auth", "status"),
    [(("user", "pass word"), 200), (("user", "wrong"), 401), (("other", "pass word"), 401), (None, 401)],
)
async def test_basic_auth(httpbin: str, auth: tuple[str, str] | None, status: int) -> None:
    """Right, wrong, none: with the argument, of the session, and in the URL."""
    given = None if auth is None else keepwarm.BasicAuth(*auth)
    path = "/basic-auth/user/pass%20word"
    async with session(httpbin) as calls, session(httpbin, auth=given) as whole:
        for call in (calls.get(path, auth=given), whole.get(path)):
            async with call as resp:
                assert resp.status == status
                if status == 200:
                    assert (await resp.json())["user"] == "user"
        if auth is not None:
            url = httpbin.replace("//", f"//{auth[0]}:{auth[1].replace(' ', '%20')}@")
            async with calls.get(url + path) as resp:
                assert resp.status == status


async def test_a_bearer_token(httpbin: str) -> None:
    async with session(httpbin) as calls:
        seen = await ask(calls, "GET", "/bearer", headers={"Authorization": "Bearer abc"})
        assert seen["token"] == "abc"


# Cookies


async def test_cookies_are_set_and_deleted(httpbin: str) -> None:
    """Set by a redirect, seen where it leads, kept for later calls, deleted by another redirect."""
    async with session(httpbin, cookies={"mine": "m"}) as calls:
        assert (await ask(calls, "GET", "/cookies"))["cookies"] == {"mine": "m"}
        seen = await ask(calls, "GET", "/cookies/set", params={"a": "1", "b": "two"})
        assert seen["cookies"] == {"mine": "m", "a": "1", "b": "two"}
        async with calls.get("/cookies/set/c/3") as resp:
            assert [hop.status for hop in resp.history] == [302]
            assert resp.history[0].cookies["c"].value == "3"
        assert (await ask(calls, "GET", "/cookies"))["cookies"] == {"mine": "m", "a": "1", "b": "two", "c": "3"}
        seen = await ask(calls, "GET", "/cookies/delete", params={"a": "", "c": ""})
        assert seen["cookies"] == {"mine": "m", "b": "two"}
        assert set(calls.cookies) == {"mine", "b"}


async def test_cookies_of_one_call(httpbin: str) -> None:
    """They go along through redirects of the origin, and are not kept."""
    async with session(httpbin) as calls:
        seen = await ask(calls, "GET", "/redirect-to", params={"url": "/cookies"}, cookies={"once": "1"})
        assert seen["cookies"] == {"once": "1"}
        assert (await ask(calls, "GET", "/cookies"))["cookies"] == {}


# Redirects


@pytest.mark.parametrize("path", ["/redirect/5", "/relative-redirect/5", "/absolute-redirect/5"])
async def test_five_redirects(httpbin: str, path: str) -> None:
    async with session(httpbin) as calls:
        async with calls.get(path) as resp:
            assert (resp.status, len(resp.history)) == (200, 5)
            assert resp.url == httpbin + "/get"
        with pytest.raises(keepwarm.TooManyRedirects) as caught:
            await calls.get(path, max_redirects=4)
        assert len(caught.value.history) == 5
        async with calls.get(path, allow_redirects=False) as resp:
            assert (resp.status, resp.history) == (302, ())
        assert at_rest(calls)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_what_a_redirect_does_to_the_method(httpbin: str, status: int, method: str) -> None:
    """303 always becomes a GET, 301 and 302 if it was a POST; all others keep method and body."""
    becomes = "GET" if status == 303 or (status in (301, 302) and method == "POST") else method
    params = {"url": "/anything", "status_code": str(status)}
    async with session(httpbin) as calls:
        data = None if method == "GET" else b"the body"
        seen = await ask(calls, method, "/redirect-to", params=params, data=data)
        assert (seen["method"], seen["data"]) == (becomes, "the body" if becomes == method != "GET" else "")


@pytest.mark.parametrize("status", [307, 308])
async def test_a_form_with_a_file_goes_along(httpbin: str, status: int) -> None:
    """The file is read again from its start."""
    file = io.BytesIO(b"x" * 200_000)
    params = {"url": "/anything", "status_code": str(status)}
    async with session(httpbin) as calls:
        seen = await ask(calls, "POST", "/redirect-to", params=params, data={"file": file, "field": "f"})
        assert (len(seen["files"]["file"]), seen["form"]) == (200_000, {"field": "f"})
        assert at_rest(calls)


async def test_many_kinds_of_calls_at_once(httpbin: str) -> None:
    """Two hundred calls over eight connections: every one gets the answer to its own question."""
    connector = keepwarm.TCPConnector(limit=8)
    async with session(httpbin, connector=connector) as calls:

        async def one(k: int) -> None:
            path = ("/anything", "/gzip", "/redirect-to", "/post")[k % 4]
            if path == "/post":
                assert (await ask(calls, "POST", path, json={"k": k}))["json"] == {"k": k}
            elif path == "/gzip":
                assert (await ask(calls, "GET", path, headers={"X-K": str(k)}))["headers"]["X-K"] == str(k)
            else:
                params = {"url": f"/anything?k={k}"} if path == "/redirect-to" else {"k": str(k)}
                assert (await ask(calls, "GET", path, params=params))["args"]["k"] == str(k)

        await asyncio.gather(*(one(k) for k in range(200)))
        assert connector.stats().total.dials <= 8
        assert at_rest(calls)
