"""Requests made from a pattern: the same bytes as those that were checked and encoded on their own."""

from typing import Any
from unittest import mock

import pytest

from keepwarm.client.cookies import CookieJar
from keepwarm.client.patterns import MOST_TEXT, Patterns, pattern_key
from keepwarm.client.payload import make_payload
from keepwarm.client.request import ONE_WRITE, ClientRequest
from keepwarm.client.session import ClientSession
from tests.support.calling import serve, session
from tests.support.server import Peer, answer_all, response

URL = "http://example.test/path?q=1"
JSON = {"Content-Type": "application/json"}


class AnyCase(str):
    """Text that thinks itself equal to text in another case."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.lower() == other.lower()

    __hash__ = str.__hash__


TWO = {"X-A": "1", "X-B": "2"}


def known(headers: Any = None, data: bytes = b"first", method: str = "POST") -> Patterns:
    """Patterns that have seen one request."""
    request = ClientRequest(method, URL, headers=headers, data=data)
    assert request.payload is not None
    key = pattern_key(method, URL, headers, request.payload)
    assert key is not None
    patterns = Patterns()
    patterns.put(key, request)
    return patterns


def same(made: ClientRequest, own: ClientRequest) -> bool:
    assert made.payload is not None and own.payload is not None
    return (made.wire, made.is_streamed, made.payload.body, made.payload.length, made.method, made.endpoint) == (
        own.wire,
        own.is_streamed,
        own.payload.body,
        own.payload.length,
        own.method,
        own.endpoint,
    )


@pytest.mark.parametrize("headers", [None, {}, JSON, TWO])
@pytest.mark.parametrize("size", [1, 1024, ONE_WRITE, ONE_WRITE + 1])
def test_a_post_of_bytes_is_what_it_would_be_on_its_own(headers: Any, size: int) -> None:
    data = b"x" * size
    made = known(headers).post(URL, data, headers)
    assert made is not None and same(made, ClientRequest("POST", URL, headers=headers, data=data))


@pytest.mark.parametrize("size", [1, ONE_WRITE, ONE_WRITE + 1])
@pytest.mark.parametrize("kind", [bytes, memoryview, str])
def test_a_pattern_takes_any_body_in_memory(kind: Any, size: int) -> None:
    data = "x" * size if kind is str else kind(b"x" * size)
    payload = make_payload(data)
    assert payload is not None
    key = pattern_key("POST", URL, JSON, payload)
    assert key is not None
    pattern = known(JSON).get(key)
    assert pattern is not None
    assert same(pattern.with_body(payload), ClientRequest("POST", URL, headers=JSON, data=data))


def test_cookies_are_added_to_what_a_pattern_made() -> None:
    made = known(JSON).post(URL, b"body", JSON)
    assert made is not None
    own = ClientRequest("POST", URL, headers=JSON, data=b"body").with_cookies("a=1")
    assert b"Cookie: a=1\r\n" in own.wire and same(made.with_cookies("a=1"), own)


@pytest.mark.parametrize(
    "headers",
    [
        None,
        JSON,
        {"X-A": "1"},
        {"X-A": "1", "X-B": "3"},
        {"X-B": "2", "X-A": "1"},
        {"x-a": "1", "X-B": "2"},
        {"X-A": b"1", "X-B": "2"},
        list(TWO.items()),
    ],
)
def test_other_headers_go_the_long_way(headers: Any) -> None:
    assert known(TWO).post(URL, b"body", headers) is None


@pytest.mark.parametrize("value", [AnyCase("ABC"), mock.ANY], ids=["text", "anything"])
def test_a_value_with_an_equality_of_its_own_goes_the_long_way(value: Any) -> None:
    """Else the call would send the value of another one."""
    patterns = known({"X-Token": "abc"})
    assert value == "abc" and patterns.post(URL, b"body", {"X-Token": value}) is None
    assert patterns.post(URL, b"body", {"X-Token": "abc"}) is not None


def test_long_headers_are_not_kept() -> None:
    """Hundreds of patterns are: with headers of any length they would be megabytes."""
    long = {"X-A": "a" * (MOST_TEXT - 3)}
    assert known(long).post(URL, b"body", dict(long)) is not None
    long["X-A"] += "a"
    assert known(long).post(URL, b"body", dict(long)) is None


def test_what_is_not_known_goes_the_long_way() -> None:
    assert known().post(URL + "2", b"body", None) is None
    assert known().post(URL, b"", None) is None
    assert known(method="PUT").post(URL, b"body", None) is None
    assert Patterns().post(URL, b"body", None) is None


@pytest.mark.asyncio
async def test_each_call_gets_its_own_headers_and_body() -> None:
    """Calls of several shapes to one URL, again and again; the caller changes its dict in between."""
    shared = {"X-Call": "0"}
    async with serve(answer_all) as server, session() as calls:
        for number in range(3):
            shared["X-Call"] = str(number)
            for headers, data in ((None, b"plain"), (shared, b"shared"), ({"X-Other": "1"}, b"other"), (None, b"")):
                async with calls.post(server.url("/x"), data=data, headers=headers) as got:
                    await got.read()
                request = server.requests[-1]
                assert request.body == data
                assert request.header("X-Call") == (str(number) if data == b"shared" else "")
                assert request.header("X-Other") == ("1" if data == b"other" else "")


@pytest.mark.asyncio
async def test_a_redirect_takes_the_body_of_a_repeated_post_along() -> None:
    """A-16: 307 repeats the POST, with the body of this call and not that of the one before."""

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.target == "/from":
                peer.send(response("307 Temporary Redirect", headers=[("Location", "/to")]))
            else:
                peer.send(response("200 OK", request.body))

    async with serve(script) as server, session() as calls:
        for body in (b"one", b"the second", b"3"):
            async with calls.post(server.url("/from"), data=body) as got:
                assert (got.status, await got.read()) == (200, body)


@pytest.mark.asyncio
async def test_a_cookie_that_came_later_goes_along() -> None:
    """The jar is asked at each call."""

    async def script(peer: Peer) -> None:
        for number in range(3):
            request = await peer.request()
            assert request.header("Cookie") == (f"a={number - 1}" if number else "")
            peer.send(response("200 OK", b"", [("Set-Cookie", f"a={number}")]))
        await peer.until_closed()

    async with serve(script) as server, session() as calls:
        for _ in range(3):
            async with calls.post(server.url("/x"), data=b"body", headers=JSON) as got:
                assert got.status == 200


class TokenJar(CookieJar):
    """Keeps nothing, and has a cookie all the same."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return True

    def header_for(self, *args: Any, **kwargs: Any) -> str | None:
        return "token=1"


@pytest.mark.asyncio
async def test_a_jar_with_a_word_of_its_own_is_asked() -> None:
    """Whether a jar has cookies is for the jar to say, also where its class says it in another way."""

    async def script(peer: Peer) -> None:
        request = await peer.request()
        assert request.header("Cookie") == "token=1"
        peer.send(response("200 OK", b""))
        await peer.until_closed()

    calls = ClientSession(cookie_jar=TokenJar())
    async with serve(script) as server, calls, calls.get(server.url("/x")) as got:
        assert got.status == 200
