"""Multipart bodies."""

import gc
import io
import json
import os
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from keepwarm.client.boundary import Boundary
from keepwarm.client.errors import ClientRequestError, InvalidInput
from keepwarm.client.framing import frame_body
from keepwarm.client.headers import encode_headers
from keepwarm.client.multipart import MultipartWriter
from keepwarm.client.payload import make_payload
from keepwarm.client.source import BytesPayload, Payload
from tests.support.bodies import Failing, agen, body, gen, made, pieces
from tests.support.multipart import Part, read_multipart

pytestmark = pytest.mark.asyncio

OCTETS = "application/octet-stream"


def writer(*parts: Any, **options: Any) -> MultipartWriter:
    made_of = MultipartWriter(**options)
    for part in parts:
        made_of.append(part)
    return made_of


async def read(data: MultipartWriter) -> list[Part]:
    payload = made(data)
    assert payload.content_type == data.content_type
    sent = await body(payload)
    assert payload.length in (None, len(sent))
    return read_multipart(payload.content_type, sent)


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


# the boundary


async def test_boundaries_are_random() -> None:
    texts = {MultipartWriter().boundary for _ in range(100)}
    assert len(texts) == 100 and all(len(text) == 32 for text in texts)


@pytest.mark.parametrize(
    ("text", "written"),
    [("a", "a"), ("a" * 70, "a" * 70), ("a'b-_.c", "a'b-_.c"), ("a b", '"a b"'), ("(a)+/:=?,", '"(a)+/:=?,"')],
)
async def test_legal_boundaries(text: str, written: str) -> None:
    """RFC 2046, 5.1.1: quoted in the Content-Type where that is needed."""
    data = writer(b"1", b"2", boundary=text)
    assert (data.boundary, data.content_type) == (text, f"multipart/mixed; boundary={written}")
    assert [part.body for part in await read(data)] == [b"1", b"2"]


@pytest.mark.fault("O06")
@pytest.mark.parametrize("text", ["", "a" * 71, "a ", "a\r\nb", 'a"b', "a;b", "\u00fc", "a\n", "\x00"])
async def test_illegal_boundaries(text: str) -> None:
    """A boundary has 1 to 70 of the characters of RFC 2046."""
    with pytest.raises(InvalidInput) as caught:
        MultipartWriter(boundary=text)
    assert caught.value.argument == "boundary"


@pytest.mark.fault("O06")
@pytest.mark.parametrize("subtype", ["", "a b", "a\r\nb", "a;b", "a/b", 5, None])
async def test_illegal_subtypes(subtype: Any) -> None:
    """A subtype is a token."""
    with pytest.raises(InvalidInput) as caught:
        MultipartWriter(subtype)
    assert caught.value.argument == "subtype"


async def test_type_of_the_boundary() -> None:
    with pytest.raises(TypeError, match="boundary"):
        MultipartWriter(boundary=b"a")  # type: ignore[arg-type]


HOLDS = [b"--xyz", b"--xyzzy", b"a\r\n--xyz", b"a\n--xyz\n", b"a\r--xyz--", b"\r\n--xyz--\r\n"]
HOLDS_NOT = [b"a--xyz", b"--xy", b"-xyz", b"\r\n --xyz", b"---xyz", b"\r\n--XYZ", b"--x\r\nyz"]


@pytest.mark.fault("O06")
@pytest.mark.parametrize("content", HOLDS)
@pytest.mark.parametrize("wrap", [bytes, memoryview, lambda raw: raw.decode()])
async def test_content_in_memory_with_the_boundary(content: bytes, wrap: Any) -> None:
    """Content that would end its own part is refused before anything is sent."""
    with pytest.raises(InvalidInput) as caught:
        make_payload(writer(wrap(content), boundary="xyz"))
    assert caught.value.argument == "boundary"
    assert [part.body for part in await read(writer(wrap(content)))] == [content]


@pytest.mark.fault("O06")
@pytest.mark.parametrize("content", HOLDS)
@pytest.mark.parametrize("size", [1, 2, 5, 100])
async def test_streams_with_the_boundary(content: bytes, size: int) -> None:
    """A stream that would end its own part fails before the delimiter is complete, however it is cut."""
    content = b"x" * 50 + b"\r\n" + content
    cut = [content[i : i + size] for i in range(0, len(content), size)]
    data = writer(agen(*cut), boundary="xyz")
    failing = Failing()
    error = await failing.drain(made(data))
    assert isinstance(error, ClientRequestError) and "xyz" in str(error)
    head, _, sent = failing.sent.partition(b"\r\n\r\n")
    assert head.startswith(b"--xyz\r\n") and b"--xyz" not in sent and content.startswith(sent)


@pytest.mark.fault("O06")
async def test_a_stream_that_begins_with_the_boundary() -> None:
    """The empty line before the content makes its first bytes the beginning of a line."""
    for source in (agen(b"", b"--", b"xyz"), io.BytesIO(b"--xyz")):
        assert isinstance(await Failing().drain(made(writer(source, boundary="xyz"))), ClientRequestError)


@pytest.mark.parametrize("content", HOLDS_NOT)
@pytest.mark.parametrize("size", [1, 5, 6, 100])
async def test_content_that_only_resembles_the_boundary(content: bytes, size: int) -> None:
    cut = [content[i : i + size] for i in range(0, len(content), size)]
    data = writer(agen(*cut), content, agen(content), boundary="xyz")
    assert [part.body for part in await read(data)] == [content] * 3


@pytest.mark.fault("O06")
async def test_nested_boundaries_that_begin_alike() -> None:
    """A nested delimiter that some readers take for the outer one is refused."""
    inner = writer(b"x", boundary="abcd")
    with pytest.raises(InvalidInput, match="boundary 'abc'"):
        make_payload(writer(inner, boundary="abc"))
    assert len(await read(writer(writer(b"x", boundary="abc"), boundary="abcd"))) == 1


@pytest.mark.fault("O06")
async def test_a_header_with_the_boundary() -> None:
    """A header line that looks like the delimiter is refused too."""
    data = MultipartWriter(boundary="xyz")
    data.append(b"x", {"--xyz": "a"})
    with pytest.raises(InvalidInput, match="boundary"):
        data.payload()


async def test_what_counts_as_the_boundary() -> None:
    boundary = Boundary("xyz")
    assert [boundary.is_in(content) for content in HOLDS] == [True] * len(HOLDS)
    assert [boundary.is_in(content) for content in HOLDS_NOT] == [False] * len(HOLDS_NOT)


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
            make_payload(_with_headers(b"abc", {"Content-Length": wrong}))
    with pytest.raises(InvalidInput, match="once"):
        make_payload(_with_headers(b"abc", [("Content-Length", "3"), ("content-length", "3")]))

    for parts in ((b"ab",), (b"ab", b"cd")):
        failing = Failing()
        error = await failing.drain(made(_with_headers(agen(*parts), {"Content-Length": "3"})))
        assert isinstance(error, ClientRequestError) and failing.sent.endswith(b"\r\n\r\nab")


def _with_headers(content: Any, headers: Any) -> MultipartWriter:
    data = MultipartWriter()
    data.append(content, headers)
    return data


# transfer encodings


@pytest.mark.parametrize("name", ["base64", "quoted-printable", "binary", "8bit", "7bit"])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 24, 25, 26, 56, 57, 58, 114, 70_000])
async def test_transfer_encodings(name: str, size: int) -> None:
    """RFC 2045, 6: lines of at most 76 characters, and the same however the content is cut."""
    content = os.urandom(size)
    headers = {"Content-Transfer-Encoding": name}
    whole = await body(made(_with_headers(content, headers)))
    step = max(size // 7, 1)
    for source in (io.BytesIO(content), agen(*[content[i : i + step] for i in range(0, size, step)], b"")):
        data = _with_headers(source, headers)
        payload = made(data)
        sent = await body(payload)
        assert [part.body for part in read_multipart(payload.content_type, sent)] == [content]
        assert sent.replace(data.boundary.encode(), b"") == whole.replace(whole[2:34], b"")
        if name in ("base64", "quoted-printable"):
            lines = sent.partition(b"\r\n\r\n")[2].split(b"\r\n")
            assert max(map(len, lines)) <= 76 and sent.isascii()
        if isinstance(source, io.BytesIO):
            assert payload.length == (None if name == "quoted-printable" else len(sent))


@pytest.mark.fault("P26")
async def test_an_encoded_stream_is_sent_once() -> None:
    """Encoding does not change whether a source can be read again, and its clean-up runs."""
    headers = {"Content-Transfer-Encoding": "base64"}
    done = []

    async def source() -> AsyncIterator[bytes]:
        try:
            yield b"a" * 100
            yield b"b" * 100
        finally:
            done.append(True)

    payload = made(_with_headers(source(), headers))
    chunks = payload.chunks()
    await anext(chunks)
    assert payload.replayable
    await anext(chunks)
    assert not payload.replayable
    await payload.aclose()
    assert done == [True]
    again = made(_with_headers(io.BytesIO(b"abc"), headers))
    assert await body(again) == await body(again)


@pytest.mark.parametrize("coding", ["x-own", "base64, base64"])
async def test_unknown_transfer_encodings(coding: str) -> None:
    with pytest.raises(InvalidInput, match="Content-Transfer-Encoding"):
        make_payload(_with_headers(b"x", {"Content-Transfer-Encoding": coding}))


async def test_content_encoding_is_a_label() -> None:
    [part] = await read(_with_headers(b"compressed", {"Content-Encoding": "gzip"}))
    assert (part.headers["content-encoding"], part.body) == ("gzip", b"compressed")


# streaming


@pytest.mark.parametrize("shape", ["small", "large", "file", "stream"])
async def test_length_and_memory(shape: str, tmp_path: Path) -> None:
    """Small bodies are one piece; large ones come in pieces, and have a length unless a part has none."""
    content = b"x" * 3_000_000
    if shape == "small":
        payload = made(writer(*[b"x" * 100] * 100))
        assert payload.body is not None and len(payload.body) == payload.length
        return
    path = tmp_path / "file"
    path.write_bytes(content)
    with path.open("rb") as file:
        source = {"large": content, "file": file, "stream": gen(content[:1_000_000], content[1_000_000:])}[shape]
        payload = made(writer("a", source, "b"))
        framing = frame_body(payload, "POST")
        sent = await pieces(payload)
        length = len(b"".join(sent))
        if shape == "stream":
            assert payload.length is None and framing.chunked
        else:
            assert framing.lines == b"Content-Length: %d\r\n" % length
            assert max(map(len, sent)) <= 262144
        assert payload.body is None and payload.started
        if shape != "stream":
            assert payload.replayable and b"".join(await pieces(payload)) == b"".join(sent)


async def test_memory_is_bounded() -> None:
    """A long stream passes through; only pieces of it are ever held."""
    piece, count = 65536, 200

    def source() -> Iterator[bytes]:
        for _ in range(count):
            yield bytes(piece)

    payload = made(writer(source(), source()))
    gc.collect()
    tracemalloc.start()
    try:
        total = 0
        async for data in payload.chunks():
            total += len(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total > 2 * count * piece and peak < 20 * piece


@pytest.mark.fault("O07")
async def test_a_length_declared_for_the_whole() -> None:
    """A multipart body is held to the Content-Length of the caller."""
    payload = made(writer(agen(b"abc")))
    frame_body(payload, "POST", encode_headers({"Content-Length": "10"}))
    failing = Failing()
    assert isinstance(await failing.drain(payload), ClientRequestError)
    assert len(failing.sent) <= 10
    with pytest.raises(InvalidInput, match="Content-Length"):
        frame_body(made(writer(b"abc")), "POST", encode_headers({"Content-Length": "10"}))


@pytest.mark.fault("P26")
async def test_replay_needs_every_part() -> None:
    """A body can be sent again until the first part is begun that cannot."""
    payload = made(writer(io.BytesIO(b"file"), agen(b"stream")))
    chunks = payload.chunks()
    sent = b""
    while b"file" not in sent:
        sent += await anext(chunks)
        assert payload.started and payload.replayable
    first = await body(payload)
    assert b"stream" in first and not payload.replayable
    with pytest.raises(ClientRequestError, match="again"):
        payload.chunks()


@pytest.mark.fault("O09")
async def test_a_source_that_fails() -> None:
    """What a part's source raises comes out as it is, and nothing after it."""

    async def source() -> AsyncIterator[bytes]:
        yield b"abc"
        raise OSError("disk gone")

    failing = Failing()
    error = await failing.drain(made(writer(b"1", source(), b"2")))
    assert type(error) is OSError and failing.sent.endswith(b"abc")
    assert isinstance(await Failing().drain(made(writer(agen("text")))), TypeError)


async def test_closing_reaches_every_part() -> None:
    """Even if the clean-up of one fails."""
    done: list[str] = []

    async def source(name: str) -> AsyncIterator[bytes]:
        try:
            yield b"x"
            yield b"y"
        finally:
            done.append(name)
            if name == "b":
                raise OSError("no")

    sources = {name: source(name) for name in "abc"}
    payload = made(writer(*sources.values(), sources["a"], agen()))
    await payload.aclose()
    assert done == [] and payload.replayable
    # Each part is begun by itself, as if requests had been cut off at different places.
    for name in "abc":
        assert await anext(made(writer(sources[name])).chunks())
    parts = [made(sources[name]) for name in "abc"]
    payload = made(writer(*parts))
    for part in parts:
        await anext(part.chunks())
    with pytest.raises(OSError, match="no"):
        await payload.aclose()
    assert sorted(done) == ["a", "b", "c"]


async def test_objects_are_small() -> None:
    data = writer(agen(b"x"))
    payload = made(data)
    things: list[object] = [data, *data, payload, payload.chunks(), Boundary()]
    assert [thing for thing in things if hasattr(thing, "__dict__")] == []
    assert "MultipartWriter" in repr(data) and isinstance(payload, Payload)
    await body(payload)
