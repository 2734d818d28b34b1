"""Sections B and D: what a session is made of, and how it ends."""

import asyncio
import gc
import inspect
from http.cookies import Morsel, SimpleCookie
from typing import Any

import pytest
import yarl
from multidict import CIMultiDict

import keepwarm
from keepwarm import BasicAuth, ClientRequest, ClientResponse, ClientSession, TCPConnector, upstr
from keepwarm.pool.connector import BaseConnector
from tests.support.http1 import response
from tests.support.leaks import Baseline
from tests.support.server import ScriptedServer
from tests.surface.calls import calling, routes, seen

pytestmark = pytest.mark.asyncio

PARAMETERS = inspect.signature(ClientSession).parameters


def test_b_01_everything_is_keyword_only() -> None:
    """A positional argument is a TypeError, and so is a name that there is not."""
    kinds = {name: parameter.kind for name, parameter in PARAMETERS.items()}
    assert kinds.pop("unknown") is inspect.Parameter.VAR_KEYWORD
    assert set(kinds.values()) == {inspect.Parameter.KEYWORD_ONLY}
    with pytest.raises(TypeError, match="no argument 'cokies'"):
        ClientSession(cokies={})  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        ClientSession(TCPConnector())  # type: ignore[misc]


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ("B-02", "connector"),
        ("B-03", "loop"),
        ("B-04", "cookies"),
        ("B-05", "headers"),
        ("B-06", "skip_auto_headers"),
        ("B-09", "auth"),
    ],
)
def test_parameters_that_are_none_by_default(row: str, name: str) -> None:
    assert PARAMETERS[name].default is None


async def test_b_02_any_connector_is_closed_by_its_session() -> None:
    """The default is a TCPConnector; one that was given is closed too."""
    session = ClientSession()
    made = session.connector
    assert type(made) is TCPConnector
    await session.close()
    assert made.closed
    given = BaseConnector()
    async with ClientSession(connector=given) as session:
        assert session.connector is given
    assert given.closed
    with pytest.raises(TypeError, match="connector"):
        ClientSession(connector="tcp")  # type: ignore[arg-type]


async def test_b_03_the_loop_is_borrowed_from_the_connector(loop: asyncio.AbstractEventLoop) -> None:
    """Both given must agree."""
    session = ClientSession(connector=TCPConnector(loop=loop))
    assert session.loop is loop
    await session.close()
    async with ClientSession(connector=TCPConnector(loop=loop), loop=loop) as session:
        assert session.loop is loop


def morsel() -> "Morsel[str]":
    return SimpleCookie('c="x y"; Path=/only')["c"]


@pytest.mark.parametrize("cookies", [{"a": "1", "b": "2"}, [("a", "1"), ("b", "2")], SimpleCookie("a=1; b=2")])
async def test_b_04_cookies(cookies: Any) -> None:
    """A mapping or pairs; what a Morsel says is kept."""
    request = await seen(of={"cookies": cookies})
    assert sorted(request.header("Cookie").split("; ")) == ["a=1", "b=2"]


async def test_b_04_a_morsel_keeps_its_value_and_path() -> None:
    """The coded value goes out as it is, and only where the path allows."""
    async with calling(cookies={"c": morsel()}) as (session, server):
        for path in ("/only/here", "/elsewhere"):
            async with session.get(server.url(path)):
                pass
        assert [request.header_all("Cookie") for request in server.requests] == [['c="x y"'], []]


@pytest.mark.parametrize(
    "headers", [{"X-A": "1"}, CIMultiDict([("X-A", "1"), ("X-A", "2")]), [("X-A", "1"), ("X-A", "2")]]
)
async def test_b_05_default_headers(headers: Any) -> None:
    """A mapping or pairs; repeated names are kept."""
    request = await seen(of={"headers": headers})
    assert request.header_all("X-A") == (["1"] if isinstance(headers, dict) else ["1", "2"])


@pytest.mark.parametrize("name", ["Accept", "Accept-Encoding", "Host", "User-Agent", "Content-Type"])
@pytest.mark.parametrize("spelling", [str.lower, upstr])
async def test_b_06_generated_headers_can_be_left_out(name: str, spelling: type[str]) -> None:
    """Named in any case, as str or upstr."""
    assert (await seen("POST", data=b"x")).header(name)
    request = await seen("POST", of={"skip_auto_headers": {spelling(name)}}, data=b"x")
    assert request.header_all(name) == []


async def test_b_07_content_length_cannot_be_left_out() -> None:
    """A body has its length whatever is skipped."""
    request = await seen("POST", of={"skip_auto_headers": ["Content-Length"]}, data=b"four")
    assert (request.header_all("Content-Length"), request.body) == (["4"], b"four")


async def test_b_08_user_agent_and_content_type_are_generated() -> None:
    """Unless they are passed."""
    request = await seen("POST", data=b"x")
    assert request.header("User-Agent").startswith(f"keepwarm/{keepwarm.__version__}")
    assert request.header("Content-Type") == "application/octet-stream"
    request = await seen("POST", of={"headers": {"user-agent": "mine"}}, data=b"x", headers={"content-type": "text/x"})
    assert (request.header_all("User-Agent"), request.header_all("Content-Type")) == (["mine"], ["text/x"])


async def test_b_09_auth() -> None:
    """For all requests that have none of their own."""
    of = {"auth": BasicAuth("user", "session")}
    assert (await seen(of=of)).header("Authorization") == BasicAuth("user", "session").encode()
    assert (await seen(of=of, auth=BasicAuth("a", "b"))).header("Authorization") == BasicAuth("a", "b").encode()


class OwnRequest(ClientRequest):
    __slots__ = ()
    made: list[dict[str, Any]] = []  # noqa: RUF012

    def __init__(self, method: str, url: Any, **arguments: Any) -> None:
        self.made.append(arguments)
        super().__init__(method, url, **arguments)


class OwnResponse(ClientResponse):
    __slots__ = ()


async def test_b_10_request_class() -> None:
    """It is called with the method, the URL and the reference's keywords."""
    OwnRequest.made.clear()
    request = await seen("POST", of={"request_class": OwnRequest}, data=b"x", params={"a": "b"})
    assert (request.target, request.body) == ("/?a=b", b"x")
    (arguments,) = OwnRequest.made
    assert {
        *("params", "headers", "skip_auto_headers", "data", "cookies", "encoding", "auth", "version", "compress"),
        *("chunked", "expect100", "loop", "response_class"),
    } <= set(arguments)
    with pytest.raises(TypeError, match="request_class"):
        ClientSession(request_class=dict)  # type: ignore[arg-type]


async def test_b_11_response_class() -> None:
    """It makes the responses."""
    async with calling(response_class=OwnResponse) as (session, server), session.get(server.url()) as resp:
        assert type(resp) is OwnResponse
    with pytest.raises(TypeError, match="response_class"):
        ClientSession(response_class=dict)  # type: ignore[arg-type]


@pytest.mark.parametrize("row", ["B-13", "R-04"])
def test_the_classes_are_the_defaults(row: str) -> None:
    """Not None."""
    assert PARAMETERS["request_class"].default is ClientRequest
    assert PARAMETERS["response_class"].default is ClientResponse


async def test_b_14_closed() -> None:
    """By close, by detach, or because somebody closed the connector; read-only."""
    session = ClientSession()
    assert session.closed is False
    with pytest.raises(AttributeError):
        session.closed = True  # type: ignore[misc]
    await session.close()
    assert session.closed is True
    connector = TCPConnector()
    session = ClientSession(connector=connector)
    session.detach()
    assert session.closed is True
    session = ClientSession(connector=connector)
    await connector.close()
    assert session.closed is True
    session.detach()


async def test_b_15_connector() -> None:
    """Read-only; None after the end."""
    connector = TCPConnector()
    session = ClientSession(connector=connector)
    assert session.connector is connector
    with pytest.raises(AttributeError):
        session.connector = connector  # type: ignore[misc]
    session.detach()
    assert session.connector is None
    session = ClientSession(connector=connector)
    await session.close()
    assert session.connector is None


async def test_b_16_cookies() -> None:
    """A SimpleCookie that is edited in place, never replaced; its cookies go to one host only."""
    async with calling(cookies={"a": "1"}) as (session, server), ScriptedServer() as other:
        assert isinstance(session.cookies, SimpleCookie)
        with pytest.raises(AttributeError):
            session.cookies = SimpleCookie()  # type: ignore[misc, assignment]
        async with session.get(server.url()):
            pass
        session.cookies["b"] = "2"
        async with session.get(server.url()):
            pass
        del session.cookies["a"]
        for url in (server.url(), other.url(), f"http://localhost:{server.port}/"):
            async with session.get(url):
                pass
        found = [request.header("Cookie") for request in server.requests]
        assert found == ["a=1", "a=1; b=2", "b=2", ""]
        assert other.requests[0].header("Cookie") == ""


async def test_b_16_what_responses_set_is_kept() -> None:
    """And sent from then on, where it belongs."""
    async with calling(routes(set=response(headers=[("Set-Cookie", "a=b; Path=/x")]))) as (session, server):
        for path in ("/set", "/x/y", "/z"):
            async with session.get(server.url(path)):
                pass
        assert session.cookies["a"].value == "b"
        assert [request.header("Cookie") for request in server.requests] == ["", "a=b", ""]


def test_b_17_version() -> None:
    """The HttpVersion of the session."""
    with ClientSession() as session:
        assert session.version == keepwarm.HttpVersion11
    with ClientSession(version="1.0") as session:
        assert session.version == keepwarm.HttpVersion10
        assert isinstance(session.version, keepwarm.HttpVersion)


async def test_b_18_sync_with() -> None:
    """The end of the block closes session and connector, an exception included."""
    with pytest.raises(ZeroDivisionError), ClientSession() as session:
        connector = session.connector
        raise ZeroDivisionError
    assert session.closed and connector is not None and connector.closed


async def test_b_19_async_with() -> None:
    """The end of the block waits for the sockets."""
    async with ScriptedServer() as server:
        connector = TCPConnector()
        async with ClientSession(connector=connector) as session, session.get(server.url()):
            pass
        assert connector.stats().total.open == 0


async def test_b_20_connections_are_kept() -> None:
    """Without any option."""
    async with calling() as (session, server):
        for _ in range(3):
            async with session.get(server.url()) as resp:
                await resp.read()
        assert server.accepted == 1
        assert server.requests[0].header_all("Connection") == []


async def test_b_21_an_unclosed_session(loop: asyncio.AbstractEventLoop, baseline: Baseline) -> None:
    """It is closed, there is a ResourceWarning, and the loop's exception handler hears of it."""
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    loop.set_debug(True)
    async with ScriptedServer() as server:
        session = ClientSession()
        async with session.get(server.url()):
            pass
        with pytest.warns(ResourceWarning, match="Unclosed client session"):
            del session
            gc.collect()
        await server.until_idle()
    assert [context["message"] for context in contexts] == ["Unclosed client session"]
    assert isinstance(contexts[0]["client_session"], ClientSession)
    assert contexts[0]["source_traceback"]
    loop.set_debug(False)


@pytest.mark.parametrize("end", ["close", "detach"])
async def test_b_22_use_after_the_end(end: str) -> None:
    """RuntimeError, before any I/O."""
    async with ScriptedServer() as server:
        session = ClientSession()
        connector = session.connector
        getattr(session, end)()
        with pytest.raises(RuntimeError, match="Session is closed, or it was detached: make the call before close"):
            await session.get(server.url())
        assert server.accepted == 0
        assert connector is not None
        await connector.close()


async def test_d_11_close_is_idempotent() -> None:
    """Everything is released at the first call; the next ones find nothing to do."""
    async with ScriptedServer() as server:
        session = ClientSession()
        async with session.get(yarl.URL(server.url())):
            pass
        await session.close()
        await server.until_idle()
        await session.close()
        session.close()
        assert session.closed


async def test_d_12_detach_leaves_the_connector_open() -> None:
    """Another session can go on with its connections."""
    async with ScriptedServer() as server:
        connector = TCPConnector()
        first = ClientSession(connector=connector)
        async with first.get(server.url()):
            pass
        first.detach()
        first.detach()
        assert first.closed and not connector.closed
        with pytest.raises(RuntimeError, match="Session is closed"):
            await first.get(server.url())
        async with ClientSession(connector=connector) as second, second.get(server.url()) as resp:
            assert resp.status == 200
        assert connector.closed and server.accepted == 1
