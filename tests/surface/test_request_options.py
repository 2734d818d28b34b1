"""Rows C-15 to C-35: redirects, versions, codings, verbs and errors of a request."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

import keepwarm
from keepwarm import HttpVersion, HttpVersion10
from tests.support.http1 import Request, chunked, head, ok, response
from tests.support.server import Peer, answering, unserved_port
from tests.surface.calls import calling, routes, seen

pytestmark = pytest.mark.asyncio


def redirecting(status: str, location: str | None, name: str = "Location") -> Any:
    """/ redirects, everything else is answered."""
    headers = [] if location is None else [(name, location)]
    return answering(lambda request: response(status, headers=headers) if request.target == "/" else ok())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_c_15_allow_redirects(status: int) -> None:
    """Followed unless told not to."""
    async with calling(redirecting(f"{status} Moved", "/there")) as (session, server):
        async with session.request("GET", server.url()) as resp:
            assert (resp.status, resp.url) == (200, server.url("/there"))
        async with session.request("GET", server.url(), allow_redirects=False) as resp:
            assert (resp.status, resp.headers["Location"]) == (status, "/there")


async def test_c_16_max_redirects_is_10() -> None:
    """The tenth redirect is followed, the eleventh is not."""

    def respond(request: Request) -> bytes:
        left = int(request.target.strip("/"))
        return response("302 Found", headers=[("Location", f"/{left - 1}")]) if left else ok()

    async with calling(answering(respond)) as (session, server):
        async with session.get(server.url("/10")) as resp:
            assert len(resp.history) == 10
        with pytest.raises(keepwarm.TooManyRedirects):
            await session.get(server.url("/11"))


async def test_c_17_encoding() -> None:
    """For text and forms; UTF-8 unless given."""
    assert (await seen("POST", data="ü")).body == "ü".encode()
    assert (await seen("POST", data="ü", encoding="latin1")).body == b"\xfc"
    assert (await seen("POST", data={"a": "ü"}, encoding="latin1")).body == b"a=%FC"


@pytest.mark.parametrize("version", [HttpVersion(1, 0), HttpVersion10, "1.0"])
async def test_c_18_version(version: Any) -> None:
    """HttpVersion or text; 1.1 by default."""
    assert (await seen(version=version)).version == "HTTP/1.0"
    assert (await seen()).version == "HTTP/1.1"


@pytest.mark.parametrize("version", ["x", "1.2", "1.0\r\nX: y", HttpVersion(2, 0)])
async def test_c_18_a_bad_version(version: Any) -> None:
    """ValueError, before any I/O."""
    async with calling() as (session, server):
        with pytest.raises(ValueError, match="version"):
            await session.get(server.url(), version=version)
        assert server.accepted == 0


BODY = b"to be compressed " * 50


@pytest.mark.parametrize(
    ("compress", "coding", "bits"), [(True, "deflate", 15), ("deflate", "deflate", 15), ("gzip", "gzip", 31)]
)
async def test_c_19_compress(compress: Any, coding: str, bits: int) -> None:
    """True is deflate, with the header that RFC 9110 asks for; other codings by name."""
    request = await seen("POST", data=BODY, compress=compress)
    assert request.header_all("Content-Encoding") == [coding]
    assert zlib.decompress(request.body, bits) == BODY


async def test_c_20_compressed_already() -> None:
    """A Content-Encoding of the caller's compresses the body, compress=False leaves it alone."""
    headers = {"Content-Encoding": "gzip"}
    request = await seen("POST", data=BODY, headers=headers)
    assert zlib.decompress(request.body, 31) == BODY
    request = await seen("POST", data=b"as it is", headers=headers, compress=False)
    assert (request.header_all("Content-Encoding"), request.body) == (["gzip"], b"as it is")


@pytest.mark.parametrize(("chunked", "sizes"), [(3, [3, 3, 2]), (True, [8])])
async def test_c_21_chunked(chunked: Any, sizes: list[int]) -> None:
    """In chunks of that size, without a Content-Length."""
    request = await seen("POST", data=b"12345678", chunked=chunked)
    assert request.header_all("Transfer-Encoding") == ["chunked"]
    assert request.header_all("Content-Length") == []
    assert (request.body, [len(piece) for piece in request.chunks]) == (b"12345678", sizes)


@pytest.mark.parametrize("how", [{"expect100": True}, {"headers": {"Expect": "100-continue"}}])
async def test_c_22_expect100(how: dict[str, Any]) -> None:
    """The body waits for the server's word."""
    early: list[bytes] = []

    async def script(peer: Peer) -> None:
        request = await peer.head()
        early.append(peer.unread)
        assert request.header_all("Expect") == ["100-continue"]
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await peer.body(request)
        peer.send(ok())

    async with calling(script) as (session, server):
        async with session.post(server.url(), data=b"body", **how) as resp:
            assert resp.status == 200
        assert (early, server.requests[0].body) == ([b""], b"body")


async def test_c_23_read_until_eof() -> None:
    """A body that only the end of the connection delimits: whole, or not at all."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(head() + b"until the end")

    async with calling(script) as (session, server):
        async with session.get(server.url()) as resp:
            assert await resp.read() == b"until the end"
        async with session.get(server.url(), read_until_eof=False) as resp:
            assert await resp.read() == b""
        assert server.accepted == 2


@pytest.mark.parametrize(
    ("row", "verb", "takes_data", "follows"),
    [
        ("C-24", "get", False, True),
        ("C-25", "post", True, True),
        ("C-26", "put", True, True),
        ("C-27", "delete", False, True),
        ("C-28", "head", False, False),
        ("C-29", "options", False, True),
        ("C-30", "patch", True, True),
    ],
)
async def test_verbs(row: str, verb: str, takes_data: bool, follows: bool) -> None:
    """Each sends its method, takes `data` where the reference shows it, and follows redirects or not."""
    async with calling(redirecting("307 Again", "/there")) as (session, server):
        call = getattr(session, verb)
        with pytest.raises(TypeError):
            call(server.url(), {"a": "b"})
        async with call(server.url(), **({"data": b"x"} if takes_data else {})) as resp:
            assert resp.status == (200 if follows else 307)
        assert server.requests[0].method == verb.upper()
        assert server.requests[0].body == (b"x" if takes_data else b"")
        async with call(server.url(), allow_redirects=not follows) as resp:
            assert resp.status == (307 if follows else 200)


@pytest.mark.parametrize("verb", ["get", "post", "put", "delete", "head", "options", "patch"])
async def test_c_31_verbs_forward_to_request(verb: str) -> None:
    """What `request` takes they take; what it does not know is a TypeError."""
    async with calling() as (session, server):
        async with getattr(session, verb)(server.url(), params={"a": "b"}, headers={"X-A": "1"}):
            pass
        assert (server.requests[0].target, server.requests[0].header("X-A")) == ("/?a=b", "1")
        with pytest.raises(TypeError, match="nonsense"):
            await getattr(session, verb)(server.url(), nonsense=1)


async def reset(peer: Peer) -> None:
    await peer.request()
    peer.rst()


async def hang_up(peer: Peer) -> None:
    await peer.request()


async def babble(peer: Peer) -> None:
    await peer.request()
    peer.send(b"this is not HTTP\r\n\r\n")


@pytest.mark.parametrize("script", [reset, hang_up, babble])
async def test_c_32_no_usable_answer(script: Any) -> None:
    """A reset, an end and nonsense are ClientResponseErrors."""
    async with calling(script) as (session, server):
        with pytest.raises(keepwarm.ClientResponseError):
            await session.get(server.url())


async def test_c_32_no_connection_or_no_body() -> None:
    """The system's refusal is a ClientOSError with its errno, a body that fails is a ClientRequestError."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"first"
        raise OSError("the disk is gone")

    async with calling() as (session, server):
        with unserved_port() as port, pytest.raises(keepwarm.ClientOSError) as caught:
            await session.get(f"http://127.0.0.1:{port}/")
        assert isinstance(caught.value, OSError) and caught.value.errno == 111
        assert "Connection refused" in str(caught.value.strerror)
        with pytest.raises(keepwarm.ClientRequestError):
            await session.post(server.url(), data=broken())


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/", "file:///etc/passwd", "javascript:1"])
async def test_c_33_a_redirect_to_another_scheme(location: str) -> None:
    """A ValueError that is a ClientError too."""
    async with calling(redirecting("302 Found", location)) as (session, server):
        with pytest.raises(ValueError, match="redirected") as caught:
            await session.get(server.url())
        assert isinstance(caught.value, keepwarm.ClientResponseError)


@pytest.mark.parametrize("name", ["Location", "URI"])
@pytest.mark.parametrize(
    ("location", "target"), [("next", "/a/next"), ("../b", "/b"), ("?q=1", "/a/x?q=1"), ("/c", "/c")]
)
async def test_c_34_a_relative_location(name: str, location: str, target: str) -> None:
    """Relative to the URL that was asked; the header URI does as well."""
    script = answering(
        lambda request: response("302 Found", headers=[(name, location)]) if request.target == "/a/x" else ok()
    )
    async with calling(script) as (session, server), session.get(server.url("/a/x")) as resp:
        assert resp.url == server.url(target)


async def test_c_34_no_location() -> None:
    """A clean error."""
    async with calling(redirecting("302 Found", None)) as (session, server):
        with pytest.raises(keepwarm.ClientResponseError, match="without a Location"):
            await session.get(server.url())


async def test_c_35_the_end_of_the_block() -> None:
    """Released on a normal end, closed on an exception."""
    script = routes(small=chunked([b"unread"]), huge=response(body=b"x" * 100, length=200000))
    async with calling(script) as (session, server):
        async with session.get(server.url("/small")) as resp:
            pass
        assert resp.closed and server.open == 1
        with pytest.raises(asyncio.TimeoutError):
            async with session.get(server.url("/huge")) as resp:
                raise TimeoutError
        assert resp.closed
        await server.until_idle()
        assert server.accepted == 1


async def test_c_21_pieces_stay_whole_unless_chunks_are_asked_for() -> None:
    """A source's pieces are the chunks; only `chunked` cuts them."""
    pieces = [b"a" * 20_000, b"b" * 3]
    plain = await seen("POST", data=pieces)
    assert [len(piece) for piece in plain.chunks] == [20_000, 3]
    asked = await seen("POST", data=pieces, chunked=True)
    assert [len(piece) for piece in asked.chunks] == [8192, 8192, 3616, 3]
    huge = await seen("POST", data=[b"c" * 300_000])
    assert [len(piece) for piece in huge.chunks] == [262_144, 37_856]
