"""Section E: the calls without a session. All of them are deprecated since 0.21 and still work (R-11)."""

import asyncio
import gc
import inspect
import zlib
from typing import Any

import pytest

import keepwarm
from keepwarm import BasicAuth, ClientRequest, ClientResponse, HttpVersion11, TCPConnector
from keepwarm.client.context import RequestContext
from tests.support.http1 import Request, head, ok, response
from tests.support.leaks import Baseline
from tests.support.server import Peer, Script, ScriptedServer, answer_all, answering, unserved_port
from tests.surface.calls import routes

pytestmark = pytest.mark.asyncio

NAMES = ["request", "get", "options", "head", "delete", "post", "put", "patch"]


def call(name: str, *arguments: Any, **options: Any) -> RequestContext:
    """The function, with its warning expected."""
    with pytest.warns(DeprecationWarning, match=f"keepwarm.{name}.*ClientSession"):
        made: RequestContext = getattr(keepwarm, name)(*arguments, **options)
    return made


async def seen(method: str = "GET", *, script: Script = answer_all, **options: Any) -> Request:
    """What the server saw of one request(); its connection is closed afterwards."""
    async with ScriptedServer(script) as server:
        async with call("request", method, server.url(), **options) as resp:
            await resp.read()
        await server.until_idle()
        return server.requests[0]


@pytest.mark.parametrize(
    ("row", "name", "default"),
    [
        ("E-02", "params", None),
        ("E-03", "data", None),
        ("E-04", "headers", None),
        ("E-05", "cookies", None),
        ("E-06", "auth", None),
        ("E-07", "allow_redirects", True),
        ("E-08", "max_redirects", 10),
        ("E-09", "encoding", "utf-8"),
        ("E-10", "version", HttpVersion11),
        ("E-11", "compress", None),
        ("E-12", "chunked", None),
        ("E-13", "expect100", False),
        ("E-14", "read_until_eof", True),
        ("E-16", "connector", None),
        ("E-17", "loop", None),
        ("E-18", "request_class", None),
        ("E-19", "response_class", None),
        ("E-20", "skip_auto_headers", None),
    ],
)
def test_parameters_of_request(row: str, name: str, default: Any) -> None:
    """Keyword-only, with the defaults that the reference shows."""
    parameter = inspect.signature(keepwarm.request).parameters[name]
    assert (parameter.kind, parameter.default) == (inspect.Parameter.KEYWORD_ONLY, default)


async def test_e_01_request() -> None:
    """It warns at the caller's line, takes method and url by position, and keeps neither connection nor cookies."""
    answer = response(headers=[("Set-Cookie", "a=b")])
    async with ScriptedServer(answering(lambda _: answer)) as server:
        for _ in range(2):
            with pytest.warns(DeprecationWarning) as caught:
                made = keepwarm.request("GET", server.url())
            assert caught[0].filename == __file__
            async with made as resp:
                assert resp.status == 200
            await server.until_idle()
        assert [request.header("Connection") for request in server.requests] == ["close", "close"]
        assert server.requests[1].header_all("Cookie") == []
        with pytest.raises(TypeError):
            keepwarm.request("GET", server.url(), {"a": "b"})  # type: ignore[call-arg]


async def test_e_02_params() -> None:
    """In the query."""
    assert (await seen(params={"a": "x y"})).target == "/?a=x+y"


async def test_e_03_data() -> None:
    """As for a session."""
    assert (await seen("POST", data={"a": "b"})).body == b"a=b"
    assert (await seen("POST", data=b"raw")).body == b"raw"


async def test_e_04_headers() -> None:
    """Sent as given."""
    assert ("X-a", "1") in (await seen(headers={"X-a": "1"})).headers


async def test_e_05_cookies() -> None:
    """For this request, and for its redirects on the same origin."""
    async with ScriptedServer(routes(a=response("302 Found", headers=[("Location", "/b")]))) as server:
        async with call("get", server.url("/a"), cookies={"c": "d"}) as resp:
            assert len(resp.history) == 1
        assert [request.header("Cookie") for request in server.requests] == ["c=d", "c=d"]


async def test_e_06_auth() -> None:
    """BasicAuth."""
    assert (await seen(auth=BasicAuth("a", "b"))).header("Authorization") == BasicAuth("a", "b").encode()


async def test_e_07_allow_redirects() -> None:
    """Followed unless told not to."""
    async with ScriptedServer(routes(a=response("302 Found", headers=[("Location", "/b")]))) as server:
        async with call("request", "GET", server.url("/a")) as resp:
            assert resp.status == 200
        async with call("request", "GET", server.url("/a"), allow_redirects=False) as resp:
            assert resp.status == 302


async def test_e_08_max_redirects() -> None:
    """As for a session."""
    async with ScriptedServer(answering(lambda _: response("302 Found", headers=[("Location", "/")]))) as server:
        with pytest.raises(keepwarm.TooManyRedirects):
            await call("get", server.url(), max_redirects=2)
        assert len(server.requests) == 3


async def test_e_09_encoding() -> None:
    """Of text and forms."""
    assert (await seen("POST", data="ü", encoding="latin1")).body == b"\xfc"


async def test_e_10_version() -> None:
    """HttpVersion or text."""
    assert (await seen(version=keepwarm.HttpVersion10)).version == "HTTP/1.0"


async def test_e_11_compress() -> None:
    """True is deflate."""
    request = await seen("POST", data=b"x" * 100, compress=True)
    assert (request.header("Content-Encoding"), zlib.decompress(request.body)) == ("deflate", b"x" * 100)


async def test_e_12_chunked() -> None:
    """The size of the chunks."""
    assert (await seen("POST", data=b"1234", chunked=3)).chunks == [b"123", b"4"]


async def test_e_13_expect100() -> None:
    """The body waits for the server."""

    async def script(peer: Peer) -> None:
        request = await peer.head()
        assert peer.unread == b""
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await peer.body(request)
        peer.send(ok())

    request = await seen("POST", script=script, data=b"x", expect100=True)
    assert (request.header("Expect"), request.body) == ("100-continue", b"x")


async def test_e_14_read_until_eof() -> None:
    """False takes a body without a length for none."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(head() + b"to the end")

    async with ScriptedServer(script) as server:
        async with call("get", server.url()) as resp:
            assert await resp.read() == b"to the end"
        async with call("get", server.url(), read_until_eof=False) as resp:
            assert await resp.read() == b""


async def test_e_15_compress_false() -> None:
    """The body is compressed already: it is left alone whatever Content-Encoding says."""
    request = await seen("POST", data=b"as it is", headers={"Content-Encoding": "gzip"}, compress=False)
    assert (request.header("Content-Encoding"), request.body) == ("gzip", b"as it is")


async def test_e_16_connector() -> None:
    """The caller's connector keeps its connection, and is not closed, not even by a failure."""
    async with ScriptedServer() as server, TCPConnector() as connector:
        for _ in range(2):
            async with call("get", server.url(), connector=connector):
                pass
        with unserved_port() as port, pytest.raises(keepwarm.ClientOSError):
            await call("get", f"http://127.0.0.1:{port}/", connector=connector)
        assert (server.accepted, connector.closed) == (1, False)


async def test_e_17_loop(loop: asyncio.AbstractEventLoop) -> None:
    """The loop that runs, or an error before any I/O."""
    assert (await seen(loop=loop)).method == "GET"
    other = asyncio.SelectorEventLoop()
    async with ScriptedServer() as server:
        with pytest.raises(RuntimeError, match="belongs to"):
            await call("get", server.url(), loop=other)
        assert server.accepted == 0
    other.close()


class OwnRequest(ClientRequest):
    __slots__ = ()
    made: list[str] = []  # noqa: RUF012

    def __init__(self, method: str, url: Any, **arguments: Any) -> None:
        self.made.append(method)
        super().__init__(method, url, **arguments)


class OwnResponse(ClientResponse):
    __slots__ = ()


async def test_e_18_request_class() -> None:
    """None is the default class."""
    OwnRequest.made.clear()
    await seen(request_class=None)
    await seen(request_class=OwnRequest)
    assert OwnRequest.made == ["GET"]


async def test_e_19_response_class() -> None:
    """None is the default class."""
    async with ScriptedServer() as server:
        async with call("get", server.url(), response_class=OwnResponse) as resp:
            assert type(resp) is OwnResponse
        async with call("get", server.url(), response_class=None) as resp:
            assert type(resp) is ClientResponse


async def test_e_20_skip_auto_headers() -> None:
    """As for a session."""
    assert (await seen(skip_auto_headers=["User-Agent"])).header_all("User-Agent") == []


async def test_e_21_awaited_or_entered() -> None:
    """The body can be read after the call, whatever is collected meanwhile; then the connection is closed."""
    body = b"x" * 300_000
    async with ScriptedServer(answering(lambda _: response(body=body))) as server:
        async with call("request", "GET", server.url()) as resp:
            assert await resp.read() == body
        resp = await call("request", "GET", server.url())
        gc.collect()
        assert await resp.read() == body
        await server.until_idle()
        assert server.accepted == 2


async def test_e_21_a_call_that_is_dropped(baseline: Baseline) -> None:
    """Leaving with an exception, forgetting the response and cancelling all close the connection."""
    async with ScriptedServer(routes(half=response(body=b"half", length=100_000))) as server:
        with pytest.raises(ZeroDivisionError):
            async with call("get", server.url("/half")):
                raise ZeroDivisionError
        await server.until_idle()
        resp = await call("get", server.url("/half"))
        with pytest.warns(ResourceWarning, match="Unclosed response"):
            del resp
            gc.collect()
        baseline.errors.clear()
        await server.until_idle()
    silent = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        silent.set()
        await peer.until_closed()

    async with ScriptedServer(script) as server:
        task = asyncio.ensure_future(awaited(call("get", server.url())))
        await silent.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.until_idle()


async def awaited(made: RequestContext) -> ClientResponse:
    return await made


@pytest.mark.parametrize(
    ("row", "name", "takes_data"),
    [
        ("E-22", "get", False),
        ("E-23", "options", False),
        ("E-24", "head", False),
        ("E-25", "delete", False),
        ("E-26", "post", True),
        ("E-27", "put", True),
        ("E-28", "patch", True),
    ],
)
async def test_verbs(row: str, name: str, takes_data: bool) -> None:
    """Each sends its method and takes what request() takes."""
    data = {"data": b"x"} if takes_data else {}
    async with ScriptedServer() as server:
        async with call(name, server.url(), params={"a": "b"}, **data) as resp:
            assert (resp.status, resp.method) == (200, name.upper())
        request = server.requests[0]
        assert (request.method, request.target, request.body) == (name.upper(), "/?a=b", data.get("data", b""))
        with pytest.raises(TypeError, match="nonsense"):
            await call(name, server.url(), nonsense=1)
    if takes_data:
        parameter = inspect.signature(getattr(keepwarm, name)).parameters["data"]
        assert (parameter.kind, parameter.default) == (inspect.Parameter.KEYWORD_ONLY, None)


async def test_e_24_head_follows_redirects() -> None:
    """Unlike ClientSession.head: that is the reference's trap, and it is documented."""
    script = routes(a=response("302 Found", headers=[("Location", "/b")]))
    async with ScriptedServer(script) as server, call("head", server.url("/a")) as resp:
        assert (resp.status, resp.method) == (200, "HEAD")
    assert "follows redirects" in (keepwarm.head.__doc__ or "")


@pytest.mark.parametrize("row", ["R-11"])
@pytest.mark.parametrize("name", NAMES)
def test_deprecated_since_0_21(row: str, name: str) -> None:
    """A DeprecationWarning at the call, at the caller's line, and nothing is begun before it is awaited."""
    arguments = ("GET", "http://127.0.0.1:1/") if name == "request" else ("http://127.0.0.1:1/",)
    with pytest.warns(DeprecationWarning, match=f"use ClientSession\\(\\).{name}") as caught:
        getattr(keepwarm, name)(*arguments).close()
    assert [warning.filename for warning in caught] == [__file__]
