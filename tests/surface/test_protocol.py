"""Section P: versions, framing, header names, multidicts, forms, and what the top of the package exports."""

import io
from typing import Any

import multidict
import pytest

import keepwarm
from keepwarm import FormData, HttpVersion, HttpVersion10, HttpVersion11, TCPConnector, hdrs, protocol, upstr
from tests.support.http1 import head, ok, response
from tests.support.server import Peer
from tests.surface.calls import calling, routes, seen, with_answer

pytestmark = pytest.mark.asyncio


def test_p_01_http_version() -> None:
    """A named tuple; the two versions have names."""
    version = HttpVersion(1, 0)
    assert version == (1, 0) == HttpVersion10 and (version.major, version.minor) == (1, 0)
    assert HttpVersion11 == (1, 1)
    assert protocol.HttpVersion is HttpVersion
    assert (protocol.HttpVersion10, protocol.HttpVersion11) == (HttpVersion10, HttpVersion11)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 " + b"x" * 9000 + b"\r\nContent-Length: 0\r\n\r\n",
        head("200 OK", [("X", "x" * 9000), ("Content-Length", "0")]),
        head("200 OK", [*[("X", "x" * 8000)] * 9, ("Content-Length", "0")]),
    ],
    ids=["status line", "field", "head"],
)
async def test_p_02_limits(answer: bytes) -> None:
    """A line or a head that is too long is LineTooLong."""
    async with calling(with_answer(answer)) as (session, server):
        with pytest.raises(keepwarm.LineTooLong):
            await session.get(server.url())


async def test_p_04_continuation_lines() -> None:
    """They are refused: two parsers read them as two things."""
    answer = b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n"
    async with calling(with_answer(answer)) as (session, server):
        with pytest.raises(keepwarm.BadHttpMessage):
            await session.get(server.url())


@pytest.mark.parametrize(("value", "accepted"), [("Keep-Alive, x", 1), ("x, CLOSE", 2), ("close", 2)])
async def test_p_05_connection_is_a_list(value: str, accepted: int) -> None:
    """Of tokens, in any case."""
    answer = response(headers=[("Connection", value)])
    async with calling(with_answer(answer)) as (session, server):
        for _ in range(2):
            async with session.get(server.url()):
                pass
        assert server.accepted == accepted


@pytest.mark.parametrize(("fields", "accepted"), [([], 2), ([("Connection", "keep-alive")], 1)])
async def test_p_06_http_10_answers(fields: list[tuple[str, str]], accepted: int) -> None:
    """Closed unless they say keep-alive."""
    answer = response(headers=fields, version="HTTP/1.0")
    async with calling(with_answer(answer)) as (session, server):
        for _ in range(2):
            async with session.get(server.url()):
                pass
        assert server.accepted == accepted


@pytest.mark.parametrize(
    ("version", "force_close", "expected"),
    [("1.1", False, []), ("1.1", True, ["close"]), ("1.0", False, ["keep-alive"]), ("1.0", True, [])],
)
async def test_p_07_the_connection_header_that_is_sent(version: str, force_close: bool, expected: list[str]) -> None:
    """Only what the version does not say by itself."""
    request = await seen(of={"connector": TCPConnector(force_close=force_close)}, version=version)
    assert request.header_all("Connection") == expected


async def test_p_08_length_and_chunks() -> None:
    """Both in one answer is an attempt to smuggle: refused, or at least never kept."""
    fields = [("Content-Length", "5"), ("Transfer-Encoding", "chunked")]

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(head("200 OK", fields) + b"5\r\nhello\r\n0\r\n\r\n")
        await peer.until_closed()

    async with calling(script) as (session, server):
        with pytest.raises(keepwarm.ClientResponseError):
            await (await session.get(server.url())).read()
        await server.until_idle()


async def test_p_09_trailers() -> None:
    """All of them are read and shown, and the next answer is in step."""
    answer = (
        head("200 OK", [("Transfer-Encoding", "chunked")]) + b"2\r\nok\r\n0\r\nX-One: 1\r\nX-Two: 2\r\nX-One: 3\r\n\r\n"
    )
    async with calling(with_answer(answer)) as (session, server):
        for _ in range(2):
            async with session.get(server.url()) as resp:
                assert await resp.read() == b"ok"
                assert resp.trailers.getall("x-one") == ["1", "3"] and resp.trailers["X-Two"] == "2"
        assert server.accepted == 1


@pytest.mark.parametrize("name", ["MultiDict", "MultiDictProxy", "CIMultiDict", "CIMultiDictProxy"])
def test_p_10_multidicts(name: str) -> None:
    """Those of the multidict package."""
    kind = getattr(keepwarm, name)
    assert kind is getattr(multidict, name)
    plain = keepwarm.CIMultiDict if name.startswith("CI") else keepwarm.MultiDict
    made = kind(plain([("a", "1"), ("a", "2")])) if name.endswith("Proxy") else kind([("a", "1"), ("a", "2")])
    assert (made.getall("a"), made.getone("a")) == (["1", "2"], "1")
    assert ("A" in made) is name.startswith("CI")


async def test_p_11_upstr() -> None:
    """Text in upper case, which is a header name like any other."""
    name = upstr("x-Name")
    assert isinstance(name, str) and name == "X-NAME" and name.upper() is name
    assert upstr(b"abc") == "ABC" and upstr() == ""
    assert keepwarm.CIMultiDict({"X-Name": "1"})[name] == "1"
    assert ("X-NAME", "1") in (await seen(headers={name: "1"})).headers


async def test_p_12_header_names() -> None:
    """Constants in the usual spelling, which a multidict finds at once; methods are plain text."""
    assert isinstance(hdrs.CONTENT_TYPE, multidict.istr) and hdrs.CONTENT_TYPE == "Content-Type"
    assert hdrs.PROXY_AUTHENTICATE == "Proxy-Authenticate"
    assert (hdrs.METH_GET, hdrs.METH_ANY) == ("GET", "*")
    special = {"CONTENT_MD5", "CONTENT_ID", "ETAG", "LAST_EVENT_ID", "TE", "URI", "WEBSOCKET", "WWW_AUTHENTICATE"}
    for name, value in vars(hdrs).items():
        if name.isupper() and not name.startswith("METH_"):
            assert value.upper() == name.replace("_", "-")
            assert name in special or value.title() == value or name.startswith("SEC_WEBSOCKET")
    assert (await seen(headers={hdrs.ACCEPT: "text/plain"})).header_all("Accept") == ["text/plain"]


def test_p_13_form_data() -> None:
    """Fields in order; a file, a file name or bytes make it multipart."""
    form = FormData([("a", "1"), ("a", "2")])
    form.add_field("b", "3")
    form.add_fields(("c", "4"), {"d": "5"})
    assert (form.is_multipart, form.content_type) == (False, "application/x-www-form-urlencoded")
    for value in (b"bytes", io.BytesIO(b"file")):
        form = FormData()
        form.add_field("name", value)
        assert form.is_multipart and form.content_type.startswith("multipart/form-data; boundary=")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"value": b"raw"}, b'name="n"; filename="n"\r\nContent-Type: application/octet-stream\r\n'),
        ({"value": "text", "content_type": "text/csv"}, b'name="n"\r\nContent-Type: text/csv\r\n'),
        ({"value": b"raw", "filename": "f.png"}, b'name="n"; filename="f.png"\r\nContent-Type: image/png\r\n'),
    ],
)
async def test_p_13_parts(arguments: dict[str, Any], part: bytes) -> None:
    """Bytes without a file name are named after their field."""
    form = FormData()
    form.add_field("n", **arguments)
    request = await seen("POST", data=form)
    assert request.header("Content-Type") == form.content_type
    assert part in request.body


async def test_p_16_default_request_headers() -> None:
    """Host, User-Agent, Accept, Accept-Encoding."""
    async with calling() as (session, server):
        async with session.get(server.url()):
            pass
        (request,) = server.requests
        assert request.header_all("Host") == [f"127.0.0.1:{server.port}"]
        assert request.header_all("Accept") == ["*/*"]
        assert {"gzip", "deflate"} <= {coding.strip() for coding in request.header("Accept-Encoding").split(",")}
        assert request.header("User-Agent").startswith("keepwarm/")


async def test_p_17_cookie_headers_are_merged() -> None:
    """A Cookie header and the session's cookies make one header; the request's word counts."""
    request = await seen(of={"cookies": {"a": "session", "b": "2"}}, headers={"Cookie": "a=1; c=3"})
    (cookie,) = request.header_all("Cookie")
    assert sorted(cookie.split("; ")) == ["a=1", "b=2", "c=3"]


OLD_NAMES = {
    "client": "ClientSession request get options head delete post put patch",
    "client_reqrep": "ClientRequest ClientResponse",
    "connector": "BaseConnector TCPConnector",
    "errors": "ClientError ClientOSError ClientTimeoutError HttpProcessingError DisconnectedError BadStatusLine",
    "helpers": "BasicAuth FormData",
    "multidict": "MultiDict MultiDictProxy CIMultiDict CIMultiDictProxy upstr",
    "multipart": "MultipartWriter",
    "protocol": "HttpVersion HttpVersion10 HttpVersion11",
    "streams": "EofStream StreamReader DataQueue ChunksQueue FlowControlStreamReader FlowControlDataQueue "
    "FlowControlChunksQueue",
    "package": "hdrs errors protocol __version__",
}


@pytest.mark.parametrize("origin", OLD_NAMES)
def test_p_19_exports(origin: str) -> None:
    """What the old package exported for clients is there and in `__all__`."""
    names = set(OLD_NAMES[origin].split())
    assert names <= set(keepwarm.__all__)
    assert [name for name in names if not hasattr(keepwarm, name)] == []


@pytest.mark.parametrize(
    ("row", "owner", "names"),
    [
        ("R-02", "BaseConnector", ["force_close", "limit"]),
        ("R-02", "TCPConnector", ["fingerprint"]),
        ("R-10", "BaseConnector", ["close"]),
        ("R-10", "ClientSession", ["close"]),
    ],
)
def test_names_added_by_version(row: str, owner: str, names: list[str]) -> None:
    """What the reference marks as added is documented where it is."""
    for name in names:
        assert getattr(getattr(keepwarm, owner), name).__doc__


async def test_p_03_values_go_back_as_they_came() -> None:
    """A header value in no known encoding survives the way in and out."""
    script = routes(a=head("200 OK", [("X-Raw", "\xff\xfe"), ("Content-Length", "0")]), b=ok())
    async with calling(script) as (session, server):
        async with session.get(server.url("/a")) as resp:
            value = resp.headers["X-Raw"]
        async with session.get(server.url("/b"), headers={"X-Raw": value}):
            pass
        assert server.requests[1].header("X-Raw") == "\xff\xfe"
