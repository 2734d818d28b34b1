"""What users of today's aiohttp type and expect of a session, a response and an error."""

import asyncio
import collections.abc
import io
import pickle
from typing import Any

import pytest

import keepwarm
from keepwarm import BasicAuth, ClientResponse, ClientResponseError, ClientSession, ClientTimeout, CookieJar
from keepwarm.client.errors import ClientPayloadError, InvalidInput, InvalidRedirect, TooManyRedirects
from tests.support.http1 import response
from tests.support.server import Script, ScriptedServer
from tests.surface.calls import calling, routes, seen, with_answer

pytestmark = pytest.mark.asyncio

REFUSAL = response("404 Not Here", body=b"x" * 20_000, headers=[("X-Why", "gone")])


def slow_refusal(body: bytes) -> Script:
    """A head first, and a body that comes when the test says so."""

    async def script(peer: Any) -> None:
        while True:
            await peer.request()
            peer.send(b"HTTP/1.1 500 Oops\r\nContent-Length: %d\r\n\r\n" % len(body))
            await go.wait()
            peer.send(body)

    go = asyncio.Event()
    script.go = go  # type: ignore[attr-defined]
    return script


# Errors


async def test_m_04_what_a_status_error_says() -> None:
    """Status, message, headers, what was asked, and the way there; a pickled copy keeps all but the history."""
    hop = response("302 Found", headers=[("Location", "/x")])
    headers = {"Authorization": "Bearer s3cret", "X-A": "b"}
    async with calling(routes(hop=hop, x=REFUSAL)) as (session, server):
        with pytest.raises(ClientResponseError) as caught:
            await session.get(server.url("/hop"), raise_for_status=True, headers=headers)
        error = caught.value
        assert (error.status, error.code, error.message) == (404, 404, "Not Here")
        assert error.headers is not None and error.headers["x-why"] == "gone"
        assert [hop.status for hop in error.history] == [302]
        info = error.request_info
        assert info is not None and (info.method, info.url, info.real_url) == ("GET", *[server.url("/x")] * 2)
        assert (info.headers["authorization"], info.headers["x-a"]) == ("Bearer s3cret", "b")
        assert info.headers["Host"] == f"127.0.0.1:{server.port}"
        again = pickle.loads(pickle.dumps(error))
        assert (again.status, again.message, again.headers["X-Why"]) == (404, "Not Here", "gone")
        assert (str(again), again.history, again.request_info.headers["X-A"]) == (str(error), (), "b")
        assert "Authorization" not in again.request_info.headers
        for text in (str(error), repr(error), repr(info)):
            assert "404 Not Here" in text or text == repr(info)
            assert server.url("/x") in text and "s3cret" not in text


async def test_m_04_redirects_that_fail_tell_the_answer() -> None:
    """TooManyRedirects and InvalidRedirect have the answer that was not followed."""
    round_trip = response("302 Round", headers=[("Location", "/again")])
    nowhere = response("301 Gone Off", headers=[("Location", "ftp://h/")])
    async with calling(routes(again=round_trip, off=nowhere)) as (session, server):
        with pytest.raises(TooManyRedirects) as many:
            await session.get(server.url("/again"), max_redirects=1)
        assert (many.value.status, many.value.message, len(many.value.history)) == (302, "Round", 2)
        with pytest.raises(InvalidRedirect) as bad:
            await session.get(server.url("/off"))
        assert (bad.value.status, bad.value.code, bad.value.message) == (301, 301, "Gone Off")
        assert bad.value.request_info is not None and bad.value.request_info.url == server.url("/off")


async def test_m_22_a_cut_body_tells_the_answer() -> None:
    """So does every error that comes after the head."""

    async def cut(peer: Any) -> None:
        await peer.request()
        peer.send(response("203 Hearsay", body=b"12345", length=9))
        peer.fin()

    async with calling(cut) as (session, server):
        resp = await session.get(server.url())
        with pytest.raises(ClientPayloadError) as caught:
            await resp.read()
        assert (caught.value.status, caught.value.message) == (203, "Hearsay")
        assert caught.value.request_info is not None and caught.value.request_info.url == server.url()


async def test_an_error_without_an_answer_has_no_status() -> None:
    """The attributes are there all the same."""
    error = ClientResponseError("nothing came")
    assert (error.status, error.code, error.message, error.headers) == (0, 0, "", None)
    assert (error.request_info, error.history) == (None, ())
    assert not hasattr(error, "cod")
    assert keepwarm.errors.BadHttpMessage("odd").code == 400


async def test_the_body_of_a_refusal_can_be_read_in_its_block() -> None:
    """raise_for_status() leaves it until the block ends, and the connection is kept then."""
    body = b"why" * 10_000
    script = slow_refusal(body)
    async with calling(script) as (session, server):
        for _ in range(2):
            script.go.clear()  # type: ignore[attr-defined]
            with pytest.raises(ClientResponseError):
                async with session.get(server.url()) as resp:
                    try:
                        resp.raise_for_status()
                    except ClientResponseError:
                        script.go.set()  # type: ignore[attr-defined]
                        assert await resp.read() == body
                        raise
        assert server.accepted == 1


async def test_a_refusal_that_leaves_its_block_unread_keeps_the_connection() -> None:
    """It is released, not closed: the answer is whole."""
    script = slow_refusal(b"why")
    async with calling(script) as (session, server):
        for _ in range(2):
            script.go.clear()  # type: ignore[attr-defined]
            with pytest.raises(ClientResponseError):
                async with session.get(server.url()) as resp:
                    script.go.set()  # type: ignore[attr-defined]
                    resp.raise_for_status()
        assert server.accepted == 1


async def test_outside_a_block_a_refusal_is_released() -> None:
    """As aiohttp does."""
    script = slow_refusal(b"why" * 100_000)
    async with calling(script) as (session, server):
        resp = await session.get(server.url())
        with pytest.raises(ClientResponseError):
            resp.raise_for_status()
        script.go.set()  # type: ignore[attr-defined]
        await resp.wait_for_close()
        with pytest.raises(ClientPayloadError):
            await resp.read()


@pytest.mark.parametrize("where", ["session", "call"])
async def test_a_function_can_judge_answers(where: str) -> None:
    """raise_for_status= takes a coroutine function; what it raises is raised, and the response is released."""
    judged = []

    async def judge(resp: ClientResponse) -> None:
        judged.append(await resp.text())
        if resp.status == 404:
            raise LookupError(resp.reason)

    of, arguments = ({"raise_for_status": judge}, {}) if where == "session" else ({}, {"raise_for_status": judge})
    async with calling(routes(x=REFUSAL), **of) as (session, server):
        async with session.get(server.url("/fine"), **arguments) as resp:
            assert resp.status == 200
        with pytest.raises(LookupError, match="Not Here"):
            await session.get(server.url("/x"), **arguments)
        assert len(judged) == 2
        assert server.accepted == 1
        assert (await session.get(server.url("/x"), raise_for_status=False)).status == 404
        with pytest.raises(TypeError, match="coroutine function"):
            await session.get(server.url("/x"), raise_for_status=lambda resp: None)


# Tasks


async def test_a_31_a_call_is_a_coroutine() -> None:
    """create_task, gather, wait_for and task groups take it."""
    async with calling() as (session, server):
        call = session.get(server.url())
        assert isinstance(call, collections.abc.Coroutine)
        task = asyncio.create_task(call)
        assert "_perform" in repr(task) or "_request" in repr(task)
        await asyncio.sleep(0)
        assert task.get_stack()
        assert (await task).status == 200
        both = await asyncio.gather(session.get(server.url()), session.post(server.url(), data=b"x"))
        assert [resp.status for resp in both] == [200, 200]
        assert (await asyncio.wait_for(session.get(server.url()), 5)).status == 200
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(session.get(server.url())) for _ in range(3)]
        assert [task.result().status for task in tasks] == [200] * 3


async def test_a_31_a_task_of_a_call_can_be_cancelled() -> None:
    """Before its first step and while it waits."""

    async def silent(peer: Any) -> None:
        await peer.request()
        asked.set()
        await asyncio.Event().wait()

    asked = asyncio.Event()
    async with calling(silent) as (session, server):
        unstarted = asyncio.create_task(session.get(server.url()))
        unstarted.cancel()
        with pytest.raises(asyncio.CancelledError):
            await unstarted
        waiting = asyncio.create_task(session.get(server.url()))
        await asked.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await server.until(lambda: server.open == 0)
        assert server.accepted == 1


async def test_a_31_a_call_that_nobody_awaits_says_so() -> None:
    """As a coroutine does; close() drops it without a word."""
    async with calling() as (session, server):
        session.get(server.url()).close()
        with pytest.warns(RuntimeWarning, match="never awaited"):
            session.get(server.url())
        assert server.accepted == 0


# Sessions


@pytest.mark.parametrize("path", ["x", "/x", "absolute"])
async def test_a_login_in_base_url_is_for_its_origin(path: str) -> None:
    """All URLs of the origin, and no other; a login of the URL's own comes first."""
    async with ScriptedServer() as server, ScriptedServer() as other:
        base = server.url("/").replace("//", "//us%40er:p%2Fw@")
        async with ClientSession(base_url=base) as session:
            async with session.get(server.url("/x") if path == "absolute" else path) as resp:
                assert resp.url == server.url("/x")
            async with session.get(other.url("/x")):
                pass
            async with session.get(server.url("/x").replace("//", "//own:login@")):
                pass
        sent = [request.header_all("Authorization") for request in server.requests]
        assert sent == [[BasicAuth("us@er", "p/w").encode()], [BasicAuth("own", "login").encode()]]
        assert other.requests[0].header_all("Authorization") == []
        assert "p%2Fw" not in repr(session)


async def test_what_a_session_was_given_can_be_read() -> None:
    """headers, auth, skip_auto_headers; the jar."""
    jar = CookieJar()
    auth = BasicAuth("u", "p")
    options: dict[str, Any] = {"headers": {"X-A": "b"}, "auth": auth, "skip_auto_headers": ["Accept"]}
    async with ClientSession(cookie_jar=jar, cookies={"a": "1"}, **options) as session:
        assert (dict(session.headers), session.auth, session.skip_auto_headers) == ({"X-A": "b"}, auth, {"accept"})
        assert session.headers["x-a"] == "b"
        assert session.cookie_jar is jar and [cookie.name for cookie in jar] == ["a"]
        with pytest.raises(TypeError):
            session.headers["X-C"] = "d"  # type: ignore[index]
    with pytest.raises(TypeError, match="cookie_jar must be"):
        ClientSession(cookie_jar={})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="give one"):
        ClientSession(cookie_jar=jar, cookies=jar)


@pytest.mark.parametrize("where", ["session", "call"])
async def test_b_09_a_tuple_as_auth_warns(where: str) -> None:
    """And is a BasicAuth then; the warning points at this file."""
    with pytest.warns(DeprecationWarning, match="use BasicAuth") as warned:
        if where == "session":
            request = await seen(of={"auth": ("u", "p")})
        else:
            async with calling() as (session, server):
                await session.get(server.url(), auth=("u", "p"))
                request = server.requests[0]
            assert warned[0].filename == __file__
    assert request.header("Authorization") == BasicAuth("u", "p").encode()


SESSION_OPTIONS = ["trust_env", "read_bufsize", "requote_redirect_url", "proxy", "trace_configs"]
SESSION_OPTIONS += ["conn_timeout", "read_timeout", "middlewares", "max_line_size", "fallback_charset_resolver"]


@pytest.mark.parametrize("name", SESSION_OPTIONS)
async def test_options_of_others_are_refused_with_advice(name: str) -> None:
    """A TypeError that names the option and says what to use instead."""
    with pytest.raises(TypeError, match=rf"ClientSession has no argument '{name}': \w+"):
        ClientSession(**{name: 1})


@pytest.mark.parametrize("name", ["ssl", "verify_ssl", "proxy", "proxy_auth", "server_hostname", "read_bufsize"])
async def test_arguments_of_others_are_refused_with_advice(name: str) -> None:
    """Before anything is sent."""
    async with calling() as (session, server):
        with pytest.raises(TypeError, match=rf"a request has no argument '{name}': \w+"):
            await session.get(server.url(), **{name: None})
        with pytest.raises(TypeError, match="unexpected keyword argument 'heders'"):
            await session.get(server.url(), heders={})
        assert server.accepted == 0


# Requests


@pytest.mark.parametrize("params", [{"a": ["1", 2], "b": "3"}, [("a", ("1", 2)), ("b", "3")], {"a": [], "b": "3"}])
async def test_c_04_a_list_of_values_repeats_the_name(params: Any) -> None:
    """An empty one leaves it out."""
    target = (await seen(params=params)).target
    assert target == ("/?b=3" if params and isinstance(params, dict) and not params["a"] else "/?a=1&a=2&b=3")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ('q=%20a+b&c=%zz|"<>', 'q=%20a+b&c=%zz|"<>'),
        ("q=a b", "q=a%20b"),
        ("q=\u00fc", "q=%C3%BC"),
        ("q=#1&%23", "q=%231&%23"),
    ],
)
async def test_c_06_text_as_params(given: str, sent: str) -> None:
    """What is legal is not touched, what is not is percent-encoded."""
    assert (await seen(params=given)).target == f"/?{sent}"


async def test_c_08_text_in_memory() -> None:
    """A StringIO is the str that is left in it."""
    text = io.StringIO("\u00fcber")
    text.read(1)
    request = await seen("POST", data=text, encoding="latin-1")
    assert (request.body, request.header("Content-Length")) == (b"ber", "3")
    request = await seen("POST", data=io.StringIO("\u00fc"))
    assert (request.body, request.header("Content-Type")) == ("\u00fc".encode(), "application/octet-stream")
    text.close()
    with pytest.raises(InvalidInput, match="closed"):
        await seen("POST", data=text)


async def test_cookies_of_a_call_as_text_are_the_header() -> None:
    """As it is, checked like any header."""
    assert (await seen(cookies="a=b; c=d")).header_all("Cookie") == ["a=b; c=d"]
    with pytest.raises(InvalidInput):
        await seen(cookies="a=b\r\nX: y")


# Responses


async def test_what_a_response_says_of_itself() -> None:
    """real_url, request_info, content_length, content_disposition, get_encoding."""
    fields = [
        ("Content-Disposition", 'Attachment; filename="a \\"b\\".txt"; filename*=UTF-8\'\'%C3%BC.txt'),
        ("Content-Type", "text/plain; charset=latin-1"),
    ]
    async with calling(with_answer(response(body=b"\xfc", headers=fields))) as (session, server):
        resp = await session.get(server.url("/p?q=1#f"), headers={"X-A": "b"})
        assert resp.real_url == server.url("/p?q=1#f")
        assert (resp.request_info.method, resp.request_info.headers["x-a"]) == ("GET", "b")
        assert resp.content_length == 1
        found = resp.content_disposition
        assert found is not None and (found.type, found.filename) == ("attachment", "\u00fc.txt")
        assert found.parameters["filename"] == 'a "b".txt'
        assert resp.get_encoding() == "latin_1" or resp.get_encoding() == "iso8859_1"


@pytest.mark.parametrize(
    ("value", "filename"),
    [
        ("attachment", None),
        ("attachment; filename=plain.txt; x", "plain.txt"),
        ("attachment; ; a=b;filename = plain.txt", "plain.txt"),
        ('attachment; filename="un;closed', None),
        ("attachment; filename*=UTF-8''%FF; filename=\"b;c\"", "b;c"),
        ("attachment; filename*=utf-9''x; filename=b", "b"),
        ("attachment; filename*=iso-8859-1'en'%E4", "\u00e4"),
    ],
)
async def test_dispositions(value: str, filename: str | None) -> None:
    """What cannot be read is passed over."""
    answer = response(headers=[("Content-Disposition", value)])
    async with calling(with_answer(answer)) as (session, server), session.get(server.url()) as resp:
        assert resp.content_disposition is not None and resp.content_disposition.filename == filename


@pytest.mark.parametrize("headers", [[], [("Content-Disposition", "; filename=x")]])
async def test_no_disposition(headers: list[tuple[str, str]]) -> None:
    async with calling(with_answer(response(headers=headers))) as (session, server):
        assert (await session.get(server.url())).content_disposition is None


@pytest.mark.parametrize(
    ("kind", "body", "encoding"),
    [("application/json", b"{}", "utf-8"), ("text/x", "\u00fc".encode(), "utf-8"), ("a/b+json", b"1", "utf-8")],
)
async def test_the_encoding_of_an_answer_without_a_charset(kind: str, body: bytes, encoding: str) -> None:
    """UTF-8 for JSON, else as its bytes say."""
    answer = response(body=body, headers=[("Content-Type", kind)])
    async with calling(with_answer(answer)) as (session, server), session.get(server.url()) as resp:
        await resp.read()
        assert resp.get_encoding() == encoding


async def test_the_encoding_takes_the_body_to_tell() -> None:
    """Which must have been read."""
    script = slow_refusal("\u00fc".encode())
    async with calling(script) as (session, server), session.get(server.url()) as resp:
        with pytest.raises(RuntimeError, match="read the body"):
            resp.get_encoding()
        script.go.set()  # type: ignore[attr-defined]
        await resp.read()
        assert resp.get_encoding() == "utf-8"


async def test_a_link_to_nowhere_is_left_out() -> None:
    """The others are there."""
    answer = response(headers=[("Link", "<http://[x/>; rel=bad, </next>; rel=next")])
    async with calling(with_answer(answer)) as (session, server), session.get(server.url()) as resp:
        assert list(resp.links) == ["next"] and resp.links["next"]["url"] == server.url("/next")


# Secrets


def _said(error: BaseException) -> str:
    """All that whoever logs an error may show of it: its text, and what it carries along."""
    texts = []
    seen_errors: list[BaseException | None] = [error]
    while seen_errors:
        one = seen_errors.pop()
        if one is not None:
            texts += [repr(one), str(one), repr(vars(one)), repr(getattr(one, "object", ""))]
            seen_errors += [one.__cause__, one.__context__]
    return " ".join(texts)


SECRETS: dict[str, dict[str, Any]] = {
    "name with its value": {"headers": {"Authorization: Bearer s3cret": ""}},
    "control character": {"headers": {"Authorization": "s3cret\n"}},
    "not encodable": {"headers": {"X-Api-Key": "s3cret\ud800"}},
    "host": {"headers": {"Host": "s3cret s3cret"}},
    "transfer-encoding": {"headers": {"Transfer-Encoding": "s3cret"}, "data": b"x"},
    "content-length": {"headers": {"Content-Length": "s3cret"}, "data": b"x"},
    "content-encoding": {"headers": {"Content-Encoding": "s3cret"}, "data": b"x"},
    "content-type": {
        "headers": {"Content-Type": "multipart/form-data; s3cret"},
        "data": keepwarm.FormData({"a": b"b"}),
    },
    "cookie": {"cookies": {"a": "s3cret\n"}},
    "cookie name": {"cookies": {"a=s3cret": "1"}},
    "params": {"params": "key=s3cret\n"},
    "auth": {"auth": BasicAuth("u", "s3cret\u20ac")},
    "body": {"data": "s3cret\u20ac", "encoding": "latin-1"},
    "form": {"data": {"a": "s3cret\u20ac"}, "encoding": "latin-1"},
}


@pytest.mark.parametrize("case", SECRETS)
async def test_no_error_tells_a_secret_of_the_caller(case: str) -> None:
    """Neither its text nor what it carries along: the names, never the values."""
    async with ClientSession() as session:
        with pytest.raises((InvalidInput, ValueError)) as caught:
            await session.post("http://127.0.0.1:9/", **SECRETS[case])
    assert "s3cret" not in _said(caught.value)


@pytest.mark.parametrize("url", ["http://u:s3cret@[x/", "http://u:s3cret@h:99999/", "//u:s3cret@[x/"])
@pytest.mark.parametrize("base", [None, "http://h/"])
async def test_no_error_tells_the_password_of_a_url(url: str, base: str | None) -> None:
    """Also where the standard library's own error would."""
    async with ClientSession(base_url=base) as session:
        with pytest.raises(ValueError) as caught:
            await session.get(url)
    assert "s3cret" not in _said(caught.value)


async def test_no_error_tells_the_password_of_a_login() -> None:
    """Read from a header, or written."""
    for bad in ("Basic czNjcmV0\u00e9", "Basic " + "/" * 8):
        with pytest.raises(InvalidInput) as caught:
            BasicAuth.decode(bad, "ascii")
        assert caught.value.__context__ is None


# Time limits


async def test_client_timeout_by_its_other_names() -> None:
    """`total` by position, all others by name."""
    timeout = ClientTimeout(5, sock_connect=2, sock_read=3)
    assert (timeout.total, timeout.connect, timeout.read, timeout.pool) == (5, 2, 3, None)
    assert (timeout.sock_connect, timeout.sock_read) == (2, 3)
    with pytest.raises(TypeError):
        ClientTimeout(5, 1)  # type: ignore[misc]
    with pytest.raises(TypeError, match="no 'ceil_threshold': its limits are total, connect, pool and read"):
        ClientTimeout(ceil_threshold=5)  # type: ignore[arg-type]
    for both in ({"connect": 1, "sock_connect": 2}, {"read": 1, "sock_read": 2}):
        with pytest.raises(InvalidInput, match="one limit"):
            ClientTimeout(**both)  # type: ignore[arg-type]
