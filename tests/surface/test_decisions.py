"""Section A: where the reference, the old code and today's Python disagree, what was decided."""

import asyncio
import hashlib
import inspect
import json
import ssl
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

import keepwarm
from keepwarm import BaseConnector, BasicAuth, ClientSession, HttpVersion10, TCPConnector, WeakFingerprintWarning
from tests.support.bad_certificates import foreign
from tests.support.certificates import client_context, der, leaf, server_context
from tests.support.http1 import Request, ok, response
from tests.support.leaks import turns
from tests.support.server import (
    Answer,
    Fin,
    Peer,
    RecvRequest,
    ScriptedServer,
    answer_all,
    answering,
    unserved_port,
)
from tests.support.threaded import ThreadedServer
from tests.surface.calls import calling, routes, seen, with_answer

pytestmark = pytest.mark.asyncio

LOOPS = pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.SelectorEventLoop], ids=["uvloop", "std"])


@LOOPS
def test_a_01_constructed_outside_a_loop(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """No running loop is needed to make a session or a connector; the loop of the first connect is theirs."""
    asyncio.set_event_loop(None)
    loop = new_loop()
    with ThreadedServer() as server:
        with ClientSession(connector=TCPConnector()) as session:
            assert session.loop is None

            async def fetch() -> int:
                async with session.get(server.url()) as resp:
                    return resp.status

            assert loop.run_until_complete(fetch()) == 200
            assert session.loop is loop
        loop.run_until_complete(turns(5))
        loop.close()


def test_a_02_sync_with_closes() -> None:
    """A plain `with` closes the session."""
    with ClientSession() as session:
        assert not session.closed
    assert session.closed


async def test_a_02_async_with_closes() -> None:
    """So does `async with`."""
    async with ClientSession() as session:
        assert not session.closed
    assert session.closed


@pytest.mark.parametrize("kind", ["session", "connector"])
async def test_a_03_close_works_when_called(kind: str) -> None:
    """The work is done at the call; awaiting what it returns waits until the sockets are gone."""
    async with ScriptedServer() as server:
        connector = TCPConnector()
        session = ClientSession(connector=connector)
        async with session.get(server.url()):
            pass
        closing = session.close() if kind == "session" else connector.close()
        assert session.closed and connector.closed
        await server.until_idle()
        await closing
        await closing
        assert connector.stats().total.open == 0
        session.detach()


@LOOPS
def test_a_03_close_without_a_running_loop(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Neither a loop that rests nor one that never was is in the way."""
    TCPConnector().close()
    ClientSession().close()
    loop = new_loop()
    with ThreadedServer() as server:
        session = ClientSession()

        async def fetch() -> bytes:
            async with session.get(server.url()) as resp:
                return await resp.read()

        assert loop.run_until_complete(fetch()) == b"ok"
        closing = session.close()
        assert session.closed

        async def wait() -> None:
            await closing

        loop.run_until_complete(wait())
    loop.close()


@pytest.mark.parametrize("value", [0, None])
async def test_a_04_keepalive_timeout_of_nothing_keeps(value: float | None) -> None:
    """0 and None keep an idle connection for ever."""
    connector = TCPConnector(keepalive_timeout=value)
    assert connector.keepalive_timeout is None
    async with calling(connector=connector) as (session, server):
        for _ in range(3):
            async with session.get(server.url()):
                pass
            await asyncio.sleep(0.002)
        assert server.accepted == 1


@pytest.mark.parametrize("value", [0, None])
async def test_a_05_conn_timeout_of_nothing(value: float | None) -> None:
    """0 and None are no limit for a dial."""
    connector = TCPConnector(conn_timeout=value)
    assert connector.conn_timeout is None
    async with calling(connector=connector) as (session, server), session.get(server.url()) as resp:
        assert resp.status == 200


async def test_a_05_conn_timeout_is_for_dialling_only() -> None:
    """Who waits for the limit is not cut off by it."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await go.wait()
        peer.send(ok())
        await answer_all(peer)

    async with calling(script, connector=TCPConnector(conn_timeout=0.02, limit=1)) as (session, server):
        first = asyncio.ensure_future(session.get(server.url()))
        await server.until_requests(1)
        second = asyncio.ensure_future(session.get(server.url()))
        await asyncio.sleep(0.05)
        go.set()
        for call in (first, second):
            assert (await call).status == 200


@pytest.mark.parametrize("value", [True, False])
def test_a_06_dns_cache_under_both_names(value: bool) -> None:
    """`dns_cache` as the reference has it, `use_dns_cache` as the parameter is called."""
    connector = TCPConnector(use_dns_cache=value)
    assert connector.dns_cache is connector.use_dns_cache is value


@pytest.mark.parametrize("arguments", [{"host": "localhost"}, {"port": 1}, {}, "both"])
async def test_a_07_only_host_and_port_together_name_one_entry(arguments: Any) -> None:
    """With one of them, everything is cleared."""
    async with calling(connector=TCPConnector(use_dns_cache=True)) as (session, server):
        async with session.get(f"http://localhost:{server.port}/"):
            pass
        connector = session.connector
        assert isinstance(connector, TCPConnector)
        assert list(connector.cached_hosts) == [("localhost", server.port)]
        if arguments == "both":
            connector.clear_dns_cache("localhost", server.port + 1)
            assert len(connector.cached_hosts) == 1
            arguments = {"host": "localhost", "port": server.port}
        connector.clear_dns_cache(**arguments)
        assert connector.cached_hosts == {}


async def test_a_08_json_takes_its_arguments_in_both_styles() -> None:
    """Positional, as the reference shows it, and by keyword."""
    body = json.dumps({"a": "ü"}, ensure_ascii=False).encode("utf-16")
    async with calling(with_answer(response(body=body))) as (session, server), session.get(server.url()) as resp:
        assert await resp.json("utf-16") == {"a": "ü"}
        assert await resp.json("utf-16", str.upper) == '{"A": "Ü"}'
        assert await resp.json(encoding="utf-16", loads=json.loads) == {"a": "ü"}


async def test_a_14_version_in_both_places() -> None:
    """The session takes it and the call takes it, without a warning."""
    assert (await seen(of={"version": HttpVersion10})).version == "HTTP/1.0"
    assert (await seen(version=HttpVersion10)).version == "HTTP/1.0"
    assert (await seen(of={"version": HttpVersion10}, version="1.1")).version == "HTTP/1.1"


def hops(*, status: str = "302 Found", count: int = 1000) -> Callable[[Request], bytes]:
    """/n redirects to /n+1, `count` times."""

    def respond(request: Request) -> bytes:
        number = int(request.target.strip("/"))
        return response(status, headers=[("Location", f"/{number + 1}")]) if number < count else ok()

    return respond


async def test_a_15_too_many_redirects() -> None:
    """Beyond max_redirects there is an error with the history, not the redirect itself."""
    async with calling(answering(hops())) as (session, server):
        with pytest.raises(keepwarm.TooManyRedirects) as caught:
            await session.get(server.url("/0"), max_redirects=3)
        assert isinstance(caught.value, keepwarm.ClientResponseError)
        assert [resp.url for resp in caught.value.history] == [server.url(f"/{number}") for number in range(4)]
        assert len(server.requests) == 4


@pytest.mark.parametrize("value", [0, None])
async def test_a_15_none_at_all(value: int | None) -> None:
    """0 and None follow none: the redirect is the response."""
    async with calling(answering(hops())) as (session, server):
        async with session.get(server.url("/0"), max_redirects=value) as resp:
            assert (resp.status, resp.history) == (302, ())
        async with session.get(server.url("/999"), max_redirects=1) as resp:
            assert (resp.status, len(resp.history)) == (200, 1)


@pytest.mark.parametrize(
    ("status", "method", "expected", "keeps_body"),
    [
        (301, "POST", "GET", False),
        (302, "POST", "GET", False),
        (301, "PUT", "PUT", True),
        (302, "DELETE", "DELETE", True),
        (301, "HEAD", "HEAD", False),
        (303, "POST", "GET", False),
        (303, "PUT", "GET", False),
        (303, "HEAD", "HEAD", False),
        (307, "POST", "POST", True),
        (308, "PUT", "PUT", True),
    ],
)
async def test_a_16_method_and_body_of_a_redirect(status: int, method: str, expected: str, keeps_body: bool) -> None:
    """303 becomes GET unless HEAD, 301 and 302 turn POST into GET, all others keep method and body."""
    async with calling(answering(hops(status=f"{status} Moved", count=1))) as (session, server):
        data = None if method == "HEAD" else b"body"
        async with session.request(method, server.url("/0"), data=data) as resp:
            assert (resp.status, resp.method) == (200, expected)
        first, second = server.requests
        assert (first.method, second.method) == (method, expected)
        assert second.body == (b"body" if keeps_body else b"")
        assert bool(second.header("content-type")) is keeps_body


async def test_a_16_a_body_that_cannot_be_sent_again() -> None:
    """A clear error before anything of the second request."""

    async def pieces() -> Any:
        yield b"once"

    async with calling(answering(hops(status="307 Again"))) as (session, server):
        with pytest.raises(keepwarm.ClientError, match="second time"):
            await session.post(server.url("/0"), data=pieces())
        assert len(server.requests) == 1


@pytest.mark.parametrize("how", ["auth", "headers"])
async def test_a_17_credentials_stay_with_their_origin(how: str) -> None:
    """Another host, scheme or port gets none of them, and the way back restores none."""
    there: list[str] = []
    async with ScriptedServer(answering(lambda _: response("302 Found", headers=[("Location", there[0])]))) as other:
        script = answering(
            lambda request: (
                response("302 Found", headers=[("Location", other.url("/b"))]) if request.target == "/a" else ok()
            )
        )
        secrets: dict[str, Any] = {"headers": {"Cookie": "a=b", "Proxy-Authorization": "Basic eDp5", "X-Other": "1"}}
        if how == "auth":
            secrets["auth"] = BasicAuth("user", "password")
        else:
            secrets["headers"]["Authorization"] = "Bearer secret"
        async with calling(script) as (session, server):
            there.append(server.url("/c"))
            async with session.get(server.url("/a"), **secrets) as resp:
                assert resp.status == 200
            for name in ("Authorization", "Cookie", "Proxy-Authorization"):
                assert server.requests[0].header(name)
                assert other.requests[0].header_all(name) == []
                assert server.requests[1].header_all(name) == []
            assert other.requests[0].header("X-Other") == server.requests[1].header("X-Other") == "1"


async def test_a_17_the_cookies_of_one_call_stay_too() -> None:
    """`cookies` of a request and of the session are for the first origin."""
    async with ScriptedServer() as other:
        script = with_answer(lambda: response("302 Found", headers=[("Location", other.url())]))
        async with calling(script, cookies={"session": "1"}) as (session, server):
            async with session.get(server.url(), cookies={"call": "2"}):
                pass
            assert sorted(server.requests[0].header("Cookie").split("; ")) == ["call=2", "session=1"]
        assert other.requests[0].header_all("Cookie") == []


@pytest.mark.parametrize(("length", "warns"), [(16, True), (20, True), (32, False)])
def test_a_18_the_length_says_which_digest(length: int, warns: bool) -> None:
    """MD5 and SHA-1 are accepted with a warning, SHA-256 without."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert TCPConnector(fingerprint=bytes(length)).fingerprint == bytes(length)
    assert [warning.category for warning in caught] == ([WeakFingerprintWarning] if warns else [])


@pytest.mark.parametrize("length", [0, 15, 31, 33, 64])
def test_a_18_other_lengths(length: int) -> None:
    """Nothing else is a digest."""
    with pytest.raises(ValueError, match="fingerprint"):
        TCPConnector(fingerprint=bytes(length))


async def test_a_19_a_pin_does_not_replace_the_chain() -> None:
    """The right fingerprint on a certificate that nobody vouches for is refused all the same."""
    pin = hashlib.sha256(der(foreign())).digest()
    async with ScriptedServer(ssl=server_context(certificate=foreign())) as server:
        async with ClientSession(connector=TCPConnector(ssl_context=client_context(), fingerprint=pin)) as session:
            with pytest.raises(keepwarm.TLSError, match="certificate verify failed"):
                await session.get(server.url())
        assert server.requests == []


def test_a_21_verify_ssl_off_and_a_context() -> None:
    """They contradict each other."""
    with pytest.raises(ValueError, match="verify_ssl"):
        TCPConnector(verify_ssl=False, ssl_context=ssl.create_default_context())


async def test_a_22_the_triple_is_the_key() -> None:
    """Equal (host, port, is_ssl) share connections, whatever the spelling; another host of the same address not."""
    async with calling() as (session, server):
        for host in ("127.0.0.1", "localhost", "LOCALHOST", "127.0.0.1"):
            async with session.get(f"http://{host}:{server.port}/{host}"):
                pass
        assert server.accepted == 2
        connector = session.connector
        assert connector is not None
        assert sorted(connector.stats().endpoints) == [
            ("127.0.0.1", server.port, False),
            ("localhost", server.port, False),
        ]


@pytest.mark.parametrize("kind", [BaseConnector, TCPConnector])
def test_a_23_limits_that_are_none(kind: type[BaseConnector]) -> None:
    """None is no limit; 0 and less are refused."""
    assert kind(limit=None).limit is None
    for limit in (0, -1):
        with pytest.raises(ValueError, match="limit"):
            kind(limit=limit)


async def test_a_23_no_slot_is_lost() -> None:
    """Dials that fail and callers that give up leave a limit of 1 as it was."""
    async with calling(connector=TCPConnector(limit=1)) as (session, server):
        with unserved_port() as port:
            for _ in range(3):
                with pytest.raises(keepwarm.ClientOSError):
                    await session.get(f"http://127.0.0.1:{port}/")
        async with session.get(server.url()):
            waiting = asyncio.ensure_future(session.get(server.url()))
            await asyncio.sleep(0)
        (await waiting).close()
        held = await connect(session, server)
        given_up = asyncio.ensure_future(session.get(server.url()))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        held.release()
        async with session.get(server.url()) as resp:
            assert resp.status == 200


async def connect(session: ClientSession, server: ScriptedServer) -> keepwarm.Connection:
    assert session.connector is not None
    return await session.connector.connect(keepwarm.ClientRequest("GET", server.url()))


async def test_a_24_every_open_socket_counts() -> None:
    """Idle ones and dials too: a limit of 2 is 2 sockets."""
    async with calling(connector=TCPConnector(limit=2)) as (session, server):

        async def fetch() -> None:
            async with session.get(server.url()) as resp:
                await resp.read()

        await asyncio.gather(*[fetch() for _ in range(8)])
        await asyncio.gather(*[fetch() for _ in range(8)])
        assert len(server.requests) == 16
        assert server.accepted == 2


async def test_a_25_the_callers_spelling_goes_out() -> None:
    """Names are sent as they were given and compared without regard to case."""
    request = await seen(of={"headers": {"x-MiXed": "1", "X-Same": "session"}}, headers={"x-sAME": "call"})
    assert ("x-MiXed", "1") in request.headers
    assert [pair for pair in request.headers if pair[0].lower() == "x-same"] == [("x-sAME", "call")]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("GET", []),
        ("HEAD", []),
        ("OPTIONS", []),
        ("DELETE", []),
        ("POST", ["0"]),
        ("PUT", ["0"]),
        ("PATCH", ["0"]),
    ],
)
async def test_a_26_content_length_without_a_body(method: str, expected: list[str]) -> None:
    """0 where a body is usual, nothing where it is not."""
    assert (await seen(method)).header_all("Content-Length") == expected


@pytest.mark.parametrize(
    ("method", "headers", "retry", "expected"),
    [
        ("GET", {}, True, 3),
        ("POST", {}, True, 2),
        ("POST", {"Idempotency-Key": "k"}, True, 3),
        ("GET", {}, False, 2),
    ],
)
async def test_a_27_a_stale_connection_is_replaced(
    method: str, headers: dict[str, str], retry: bool, expected: int
) -> None:
    """Once, on a new connection, and only where sending twice does no harm; a switch turns it off."""
    stale = [Answer(), RecvRequest(), Fin()]
    async with calling(stale, answer_all, retry_stale=retry) as (session, server):
        async with session.get(server.url()):
            pass
        if expected == 3:
            async with session.request(method, server.url(), headers=headers) as resp:
                assert resp.status == 200
        else:
            with pytest.raises(keepwarm.ClientResponseError):
                await session.request(method, server.url(), headers=headers)
        assert len(server.requests) == expected


async def test_a_28_loop_is_checked(loop: asyncio.AbstractEventLoop) -> None:
    """One loop for session and connector, and for their whole life."""
    other = asyncio.SelectorEventLoop()
    try:
        with pytest.raises(ValueError, match="loop"):
            ClientSession(connector=TCPConnector(loop=other), loop=loop)
        with pytest.raises(TypeError, match="loop"):
            ClientSession(loop="loop")  # type: ignore[arg-type]
        async with calling(loop=loop) as (session, server):
            assert session.loop is loop
            async with session.get(server.url()):
                pass
        async with ScriptedServer() as server:
            foreign_session = ClientSession(loop=other)
            with pytest.raises(RuntimeError, match="belongs to"):
                await foreign_session.get(server.url())
            assert server.accepted == 0
            foreign_session.detach()
    finally:
        other.close()


async def test_a_29_module_functions_work_and_warn() -> None:
    """A connection of its own that is closed afterwards; a connector that was given stays open."""
    async with ScriptedServer() as server:
        with pytest.warns(DeprecationWarning, match="ClientSession"):
            call = keepwarm.get(server.url())
        async with call as resp:
            assert resp.status == 200
        await server.until_idle()
        async with TCPConnector() as connector:
            for _ in range(2):
                with pytest.warns(DeprecationWarning):
                    call = keepwarm.get(server.url(), connector=connector)
                async with call:
                    pass
            assert not connector.closed
            assert server.accepted == 2


async def test_a_31_a_call_is_awaited_or_entered() -> None:
    """Leaving the block releases; leaving it with an exception closes."""
    async with calling(routes(big=response(body=b"x" * 1000, length=2000))) as (session, server):
        call = session.get(server.url())
        assert inspect.isawaitable(call)
        (await call).release()
        async with session.get(server.url()):
            pass
        assert server.accepted == 1
        with pytest.raises(ZeroDivisionError):
            async with session.get(server.url("/big")) as resp:
                raise ZeroDivisionError
        assert resp.connection is None
        await server.until_idle()


def test_a_18_a_pin_is_read_only() -> None:
    """What is pinned cannot be changed behind the connections' back."""
    connector = TCPConnector(fingerprint=hashlib.sha256(der(leaf())).digest())
    with pytest.raises(AttributeError):
        connector.fingerprint = None  # type: ignore[misc]
