"""Rows C-01 to C-14: URL, query, body and headers of a request, and what of them arrives at the server."""

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from multidict import MultiDict, MultiDictProxy

import keepwarm
from keepwarm import BasicAuth, DataQueue, FormData, MultipartWriter, StreamReader
from tests.surface.calls import calling, seen

pytestmark = pytest.mark.asyncio


async def test_c_01_only_method_and_url_are_positional() -> None:
    """What comes back can be awaited or entered."""
    async with calling() as (session, server):
        resp = await session.request("GET", server.url())
        assert isinstance(resp, keepwarm.ClientResponse)
        async with session.request(method="GET", url=server.url()) as resp:
            assert resp.status == 200
        with pytest.raises(TypeError):
            session.request("GET", server.url(), {"a": "b"})  # type: ignore[call-arg]


async def test_c_02_the_method_is_upper_case() -> None:
    """Whatever the caller writes; a method that is no token is refused."""
    assert (await seen("get")).method == "GET"
    assert (await seen("Propfind")).method == "PROPFIND"
    async with calling() as (session, server):
        with pytest.raises(ValueError, match="method"):
            await session.request("GET /", server.url())
        assert server.accepted == 0


@pytest.mark.parametrize("url", ["http:///x", "http://:80/", "http://h:99999/", "http://h:x/", "http://xn--a\u2260/"])
async def test_c_03_a_url_that_cannot_be_used(url: str) -> None:
    """ValueError for no host, a bad port, a bad label."""
    async with calling() as (session, _):
        with pytest.raises(ValueError, match="url"):
            await session.get(url)


async def test_c_03_user_and_fragment_of_a_url() -> None:
    """The user is BasicAuth unless auth is given, the fragment stays here."""
    async with calling() as (session, server):
        url = f"http://user:pa%20ss@127.0.0.1:{server.port}/p?q=1#frag"
        async with session.get(url) as resp:
            assert resp.url == server.url("/p?q=1#frag")
        async with session.get(url, auth=BasicAuth("other")):
            pass
        first, second = server.requests
        assert (first.target, first.header("Authorization")) == ("/p?q=1", BasicAuth("user", "pa ss").encode())
        assert second.header("Authorization") == BasicAuth("other").encode()


PAIRS = [("a", "1"), ("b", "x y"), ("a", "ü")]


@pytest.mark.parametrize(
    ("row", "params", "query"),
    [
        ("C-04", {"a": "1", "b": "x y"}, "a=1&b=x+y"),
        ("C-04", MultiDict(PAIRS), "a=1&b=x+y&a=%C3%BC"),
        ("C-04", MultiDictProxy(MultiDict(PAIRS)), "a=1&b=x+y&a=%C3%BC"),
        ("C-05", PAIRS, "a=1&b=x+y&a=%C3%BC"),
        ("C-05", tuple(PAIRS), "a=1&b=x+y&a=%C3%BC"),
        ("C-06", "a=%2f&b=%zz&c", "a=%2f&b=%zz&c"),
    ],
)
async def test_params(row: str, params: Any, query: str) -> None:
    """Mappings and pairs are encoded, in order, with duplicates; text is not touched. Appended with &."""
    assert (await seen(params=params)).target == f"/?{query}"
    assert (await seen(path="/p?x=%20", params=params)).target == f"/p?x=%20&{query}"


async def test_c_07_a_dict_is_a_form() -> None:
    """Urlencoded; multipart as soon as there is a file in it."""
    request = await seen("POST", data={"a": "1", "b": "x y"})
    assert (request.header("Content-Type"), request.body) == ("application/x-www-form-urlencoded", b"a=1&b=x+y")
    request = await seen("POST", data={"a": "1", "file": io.BytesIO(b"content")})
    assert request.header("Content-Type").startswith("multipart/form-data; boundary=")
    assert b'name="file"; filename="file"' in request.body and b"\r\n\r\ncontent\r\n" in request.body


@pytest.mark.parametrize("data", [b"\x00body", bytearray(b"\x00body"), memoryview(b"\x00body"), "\x00body"])
async def test_c_08_bytes(data: Any) -> None:
    """Sent as they are, with their length."""
    request = await seen("POST", data=data)
    assert (request.body, request.header("Content-Length")) == (b"\x00body", "5")
    assert request.header("Content-Type") == "application/octet-stream"


async def test_c_09_files(tmp_path: Path) -> None:
    """From where they stand to their end; the length is announced where it is known, the type guessed."""
    path = tmp_path / "name.json"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        file.seek(4)
        request = await seen("POST", data=file)
        assert (request.body, request.header("Content-Length")) == (b"456789", "6")
        assert request.header("Content-Type") == "application/json"
    request = await seen("POST", data=io.BytesIO(b"abc"))
    assert (request.body, request.header("Content-Length")) == (b"abc", "3")
    with path.open() as text:
        async with calling() as (session, server):
            with pytest.raises(ValueError, match="text mode"):
                await session.post(server.url(), data=text)


async def pieces() -> AsyncIterator[bytes]:
    yield b"first,"
    yield b"second"


async def test_c_10_other_bodies() -> None:
    """FormData, MultipartWriter, a stream, a queue and whatever else iterates over bytes."""
    request = await seen("POST", data=FormData({"a": "b"}))
    assert request.body == b"a=b"
    with MultipartWriter() as writer:
        writer.append("part")
    request = await seen("POST", data=writer)
    assert (
        request.header("Content-Type").startswith("multipart/mixed; boundary=") and b"\r\n\r\npart\r\n" in request.body
    )
    stream = StreamReader()
    stream.feed_data(b"a line\n")
    stream.feed_eof()
    assert (await seen("POST", data=stream)).body == b"a line\n"
    queue: DataQueue[bytes] = DataQueue()
    queue.feed_data(b"item")
    queue.feed_eof()
    assert (await seen("POST", data=queue)).body == b"item"
    request = await seen("POST", data=pieces())
    assert request.is_chunked and request.body == b"first,second"


@pytest.mark.parametrize("data", [None, b"", "", {}, [], ()])
async def test_c_11_nothing_is_no_body(data: Any) -> None:
    """No body and no type of one."""
    request = await seen(data=data)
    assert (request.body, request.header_all("Content-Type"), request.header_all("Content-Length")) == (b"", [], [])


async def test_c_12_headers() -> None:
    """A name replaces the session's; repeated names of the request are all sent."""
    request = await seen(
        of={"headers": [("X-A", "1"), ("X-A", "2"), ("X-B", "3")]}, headers=MultiDict([("x-a", "4"), ("x-a", "5")])
    )
    assert (request.header_all("X-A"), request.header_all("X-B")) == (["4", "5"], ["3"])
    assert (await seen(headers={"X-A": "1"})).header_all("X-A") == ["1"]


async def test_c_13_skip_auto_headers() -> None:
    """Added to what the session skips."""
    request = await seen(of={"skip_auto_headers": ["User-Agent"]}, skip_auto_headers=["accept"])
    assert (request.header_all("User-Agent"), request.header_all("Accept")) == ([], [])
    assert request.header("Host")


async def test_c_14_auth() -> None:
    """BasicAuth; together with an Authorization header it is a ValueError."""
    assert (await seen(auth=BasicAuth("a", "b"))).header("Authorization") == BasicAuth("a", "b").encode()
    async with calling() as (session, server):
        with pytest.raises(ValueError, match="Authorization"):
            await session.get(server.url(), auth=BasicAuth("a"), headers={"AUTHORIZATION": "x"})
        assert server.accepted == 0
