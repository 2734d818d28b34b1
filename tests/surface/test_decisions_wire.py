"""Section A, redirects, headers and replays: what was decided where the reference is silent."""

from collections.abc import Callable
from typing import Any

import pytest

import keepwarm
from keepwarm import BasicAuth
from tests.support.http1 import Request, ok, response
from tests.support.server import (
    Answer,
    Fin,
    RecvRequest,
    ScriptedServer,
    answer_all,
    answering,
)
from tests.surface.calls import calling, seen, with_answer

pytestmark = pytest.mark.asyncio


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
