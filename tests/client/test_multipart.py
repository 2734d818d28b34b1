"""Multipart bodies."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from keepwarm.client.boundary import Boundary
from keepwarm.client.errors import ClientRequestError, InvalidInput
from keepwarm.client.multipart import MultipartWriter
from keepwarm.client.payload import make_payload
from keepwarm.client.source import BytesPayload, Payload
from tests.support.bodies import Failing, agen, body, gen, made
from tests.support.multipart import one_part, read, writer

pytestmark = pytest.mark.asyncio

OCTETS = "application/octet-stream"


async def test_the_bytes() -> None:
    """RFC 2046, 5.1: nothing before the first delimiter, nothing after the last."""
    data = writer(b"one", "two", boundary="xyz")
    data.append(b"", {"X-A": "b"})
    payload = made(data)
    assert payload.content_type == "multipart/mixed; boundary=xyz"
    assert payload.body == (
        b"--xyz\r\nContent-Type: application/octet-stream\r\n\r\none\r\n"
        b"--xyz\r\nContent-Type: text/plain; charset=utf-8\r\n\r\ntwo\r\n"
        b"--xyz\r\nX-A: b\r\nContent-Type: application/octet-stream\r\n\r\n\r\n--xyz--\r\n"
    )
    assert payload.length == len(payload.body) and payload.replayable


async def test_kinds_of_parts() -> None:
    """C-10: what can be a body can be a part."""
    data = MultipartWriter("related")
    data.append_json({"a": "\u20ac"})
    data.append_form([("a", "1"), ("a", "2")])
    data.append_payload(BytesPayload(b"raw", "image/png"))
    for value in (bytearray(b"ba"), memoryview(b"mv"), [b"li", b"st"], agen(b"as", b"ync"), gen(b"sy", b"nc")):
        data.append(value)
    assert len(data) == 8 and [part.headers["Content-Type"] for part in data][3:] == [OCTETS] * 5
    parts = await read(data)
    assert json.loads(parts[0].body) == {"a": "\u20ac"} and parts[0].content_type == "application/json"
    assert (parts[1].content_type, parts[1].body) == ("application/x-www-form-urlencoded", b"a=1&a=2")
    assert (parts[2].content_type, parts[2].body) == ("image/png", b"raw")
    assert [part.body for part in parts[3:]] == [b"ba", b"mv", b"list", b"async", b"sync"]
    assert data.content_type.startswith("multipart/related; boundary=")


async def test_json_by_another_function() -> None:
    data = MultipartWriter()
    data.append_json(5, json_serialize=lambda value: f"<{value}>")
    data.append_json(5, {"Content-Type": "application/x-own"}, json_serialize=lambda value: b"raw")
    first, second = await read(data)
    assert (first.body, second.body, second.content_type) == (b"<5>", b"raw", "application/x-own")


async def test_text_in_its_charset() -> None:
    data = MultipartWriter()
    for kind in ("text/html; charset=latin1", 'text/html;Charset="latin1"', "text/html; charset=latin1; a=b"):
        data.append("\u00fc", {"content-type": kind})
    data.append("\u00fc")
    data.append("\u00fc", {"Content-Type": "text/html"})
    parts = await read(data)
    assert [part.body for part in parts] == [b"\xfc"] * 3 + ["\u00fc".encode()] * 2
    for kind in ("text/plain; charset=no-such", "text/plain; charset=ascii"):
        with pytest.raises(InvalidInput):
            data.append("\u00fc", {"Content-Type": kind})


async def test_a_file_is_an_attachment(tmp_path: Path) -> None:
    """C-09: its name, type and length are known."""
    path = tmp_path / "notes.txt"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        file.seek(4)
        data = writer(file, io.BytesIO(b"abc"))
        data.append(file, {"Content-Disposition": "inline"})
        named, unnamed, own = await read(data)
        assert made(data).length is not None
    assert (named.disposition, named.filename, named.body) == ("attachment", "notes.txt", b"456789")
    assert named.content_type == "text/plain"
    assert (dict(unnamed.headers), unnamed.body) == ({"content-type": OCTETS}, b"abc")
    assert own.headers["content-disposition"] == "inline"


async def test_nested() -> None:
    """Parts may be added to a nested body after it was appended, until the request is made."""
    inner = MultipartWriter("alternative")
    with MultipartWriter("mixed") as outer:
        outer.append("before")
        outer.append(inner, {"X-Level": "1"})
        inner.append("deep")
        inner.append(agen(b"deeper"))
        outer.append("after")
    before, nested, after = await read(outer)
    assert (before.body, after.body) == (b"before", b"after")
    assert nested.content_type == inner.content_type and nested.headers["x-level"] == "1"
    assert [part.body for part in nested.parts] == [b"deep", b"deeper"]


async def test_nested_in_itself() -> None:
    a, b, c = MultipartWriter(), MultipartWriter(), MultipartWriter()
    a.append(b)
    b.append(c)
    for inner, outer in ((a, a), (b, a), (c, a), (c, b)):
        with pytest.raises(InvalidInput, match="itself"):
            inner.append(outer)
    assert len(c) == 0


async def test_nothing() -> None:
    """C-11: a writer without parts is no body; nested it is an error, since RFC 2046 has no such body."""
    assert make_payload(MultipartWriter()) is None
    with pytest.raises(InvalidInput, match="at least one part"):
        make_payload(writer(MultipartWriter()))
    with pytest.raises(InvalidInput, match="at least one part"):
        MultipartWriter().payload()


@pytest.mark.parametrize("obj", [None, 5, {"a": "b"}, object(), ["text"], [("a", "b")]])
async def test_other_types(obj: Any) -> None:
    data = MultipartWriter()
    with pytest.raises(TypeError, match="obj"):
        data.append(obj)
    with pytest.raises(TypeError, match="payload"):
        data.append_payload(obj)
    assert len(data) == 0


# headers of parts


@pytest.mark.fault("O06")
@pytest.mark.parametrize(
    "headers",
    [{"X-A": "b\r\nX-C: d"}, {"X-A": "b\n"}, {"X-A": "b\rc"}, {"X-A\r\nX-B": "c"}, {"X-A: b": "c"}, {"": "a"},
     {"Content-Type": "text/plain\r\n\r\nbody"}, {"X-A": "\x00"}],
)  # fmt: skip
async def test_headers_are_checked(headers: dict[str, str]) -> None:
    """A header of a part cannot end its line, nor can what is set afterwards."""
    data = MultipartWriter()
    with pytest.raises(InvalidInput) as caught:
        data.append(b"x", headers)
    assert caught.value.argument == "headers" and len(data) == 0
    part = data.append(b"x")
    part.headers.update(headers)
    with pytest.raises(InvalidInput):
        make_payload(data)


async def test_headers_of_other_types() -> None:
    data = MultipartWriter()
    for headers in ({"a": 5}, {5: "a"}, {b"a": "b"}, "ab", 5, ["a"]):
        with pytest.raises(TypeError, match="headers"):
            data.append(b"x", headers)


async def test_headers_are_kept() -> None:
    data = MultipartWriter()
    part = data.append(b"x", [("X-A", "1"), ("x-b", "\u20ac"), ("X-A", "2")])
    part.add_headers({"X-C": "3", "content-type": "a/b"})
    assert part.head() == (
        "X-A: 1\r\nx-b: \u20ac\r\nX-A: 2\r\nX-C: 3\r\ncontent-type: a/b\r\n\r\n".encode()
    )  # fmt: skip
    data.append(part, {"X-A": "4"})
    assert part.headers.getall("X-A") == ["4"] and list(data) == [part, part]


async def test_a_nested_body_makes_its_own_content_type() -> None:
    inner = writer(b"x")
    with pytest.raises(InvalidInput, match="Content-Type"):
        MultipartWriter().append(inner, {"Content-Type": "multipart/mixed"})


@pytest.mark.fault("O06")
async def test_dispositions() -> None:
    """Content-Disposition is made of checked and encoded parameters, and filename* only when asked for."""
    part = MultipartWriter().append(b"x")
    part.set_content_disposition("attachment", filename='\u20ac "1".txt')
    part.set_content_disposition("attachment", filename='\u20ac "1".txt', extended=True)
    assert part.headers.getall("Content-Disposition") == [
        "attachment; filename=\"\u20ac %221%22.txt\"; filename*=UTF-8''%E2%82%AC%20%221%22.txt"
    ]
    assert part.head().startswith(b"Content-Disposition: ")
    for wrong in ("", "a b", "a\r\nb", "a;b"):
        with pytest.raises(InvalidInput, match="disposition"):
            part.set_content_disposition(wrong)
    with pytest.raises(InvalidInput, match="extended"):
        part.set_content_disposition("form-data", name="a", filename="b", extended=True)


@pytest.mark.fault("O07")
async def test_content_length_of_a_part() -> None:
    """A part's Content-Length is held against its content, and gives a stream a length."""
    data = MultipartWriter()
    data.append(agen(b"abc"), {"Content-Length": "3"})
    payload = made(data)
    assert payload.length == len(await body(payload))

    data.append(b"abcd", {"Content-Length": "3"})
    with pytest.raises(InvalidInput, match="Content-Length"):
        make_payload(data)
    for wrong in ("-1", "x", "3, 3", ""):
        with pytest.raises(InvalidInput, match="Content-Length"):
            make_payload(one_part(b"abc", {"Content-Length": wrong}))
    with pytest.raises(InvalidInput, match="once"):
        make_payload(one_part(b"abc", [("Content-Length", "3"), ("content-length", "3")]))

    for parts in ((b"ab",), (b"ab", b"cd")):
        failing = Failing()
        error = await failing.drain(made(one_part(agen(*parts), {"Content-Length": "3"})))
        assert isinstance(error, ClientRequestError) and failing.sent.endswith(b"\r\n\r\nab")


async def test_objects_are_small() -> None:
    data = writer(agen(b"x"))
    payload = made(data)
    things: list[object] = [data, *data, payload, payload.chunks(), Boundary()]
    assert [thing for thing in things if hasattr(thing, "__dict__")] == []
    assert "MultipartWriter" in repr(data) and isinstance(payload, Payload)
    await body(payload)
