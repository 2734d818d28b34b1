"""Forms, urlencoded and multipart."""

import io
import os
import re
from pathlib import Path
from typing import Any

import pytest
from multidict import MultiDict

from keepwarm.client.errors import ClientRequestError, InvalidInput
from keepwarm.client.formdata import FormData
from keepwarm.client.framing import frame_body
from keepwarm.client.multipart import MultipartWriter
from keepwarm.client.queues import DataQueue
from keepwarm.client.source import BytesPayload, Payload
from tests.support.bodies import Failing, agen, body, gen, made, pieces
from tests.support.multipart import Part, parts_of

pytestmark = pytest.mark.asyncio

URLENCODED = "application/x-www-form-urlencoded"
OCTETS = "application/octet-stream"


async def read_one(payload: Payload) -> Part:
    [part] = await parts_of(payload)
    return part


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    path.write_bytes(os.urandom(200_000))
    return path


# text


async def test_text_and_numbers_are_urlencoded() -> None:
    """C-07."""
    form = FormData({"a": "x y", "b": 5, "c": 1.5})
    assert (form.is_multipart, form.content_type) == (False, URLENCODED)
    form.add_field("a", "\u20ac\r\n&")
    payload = form()
    assert (payload.body, payload.content_type) == (b"a=x+y&b=5&c=1.5&a=%E2%82%AC%0D%0A%26", URLENCODED)
    assert payload.replayable and payload.length == len(payload.body or b"")


async def test_a_form_without_fields_is_a_form() -> None:
    assert (made(FormData()).body, made(FormData()).content_type) == (b"", URLENCODED)
    assert frame_body(made(FormData()), "POST").lines == b"Content-Length: 0\r\n"


async def test_repeated_names_keep_their_order() -> None:
    fields = [("a", "1"), ("b", "2"), ("a", "3")]
    assert FormData(fields)().body == b"a=1&b=2&a=3"
    assert FormData(MultiDict(fields))().body == b"a=1&b=2&a=3"
    parts = await parts_of(made([*fields, ("file", b"x")]))
    assert [(part.name, part.body) for part in parts] == [("a", b"1"), ("b", b"2"), ("a", b"3"), ("file", b"x")]


async def test_encoding_of_a_form() -> None:
    assert FormData({"a": "\u00fc"})("latin1").body == b"a=%FC"
    form = FormData([("\u00fc", "\u00fc"), ("file", b"x")])
    text = (await parts_of(form("latin1")))[0]
    assert (text.name, text.body, text.content_type) == ("\u00fc", b"\xfc", "text/plain; charset=latin1")
    for encoding in ("utf-8", "UTF8", "utf_8"):
        text = (await parts_of(form(encoding)))[0]
        assert (text.body, text.content_type) == ("\u00fc".encode(), None)
    for encoding in ("ascii", "no-such"):
        with pytest.raises(InvalidInput):
            form(encoding)


async def test_a_charset_in_the_content_type_is_the_encoding() -> None:
    form = FormData()
    form.add_field("a", "\u00fc", content_type='text/html; charset="latin1"')
    form.add_field("b", "\u00fc", content_type="text/html")
    first, second = await parts_of(form())
    assert (first.body, first.content_type) == (b"\xfc", 'text/html; charset="latin1"')
    assert (second.body, second.content_type) == ("\u00fc".encode(), "text/html")


# what makes a form multipart


@pytest.mark.parametrize(
    "options",
    [{"filename": "a.txt"}, {"content_type": "text/html"}, {"content_transfer_encoding": "8bit"}],
    ids=lambda options: next(iter(options)),
)
async def test_options_make_a_form_multipart(options: dict[str, str]) -> None:
    """C-07: a file name or content type is enough."""
    form = FormData()
    form.add_field("a", "text", **options)
    assert form.is_multipart
    payload = form()
    assert payload.content_type == form.content_type
    assert re.fullmatch(r"multipart/form-data; boundary=[0-9a-f]{32}", form.content_type)
    part = await read_one(payload)
    assert (part.disposition, part.name, part.body) == ("form-data", "a", b"text")
    assert (part.filename, part.content_type) == (options.get("filename"), options.get("content_type"))


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("entry", [FormData, dict, list])
async def test_bytes_are_a_file_named_after_the_field(wrap: Any, entry: Any) -> None:
    """P-13: a bytes value without file name gets the name of the field."""
    payload = made(entry([("a", wrap(b"\x00\xff"))]))
    part = await read_one(payload)
    assert (part.name, part.filename, part.content_type, part.body) == ("a", "a", OCTETS, b"\x00\xff")
    assert payload.replayable and payload.body is not None


async def test_bytes_with_a_file_name() -> None:
    """P-13: and the type is guessed from that name, unless it is given."""
    form = FormData()
    form.add_field("a", b"1", filename="x.png")
    form.add_field("b", b"2", filename="x.png", content_type="image/x-own")
    form.add_field("c", b"3", content_transfer_encoding="binary")
    parts = await parts_of(form())
    assert [(part.filename, part.content_type) for part in parts] == [
        ("x.png", "image/png"), ("x.png", "image/x-own"), (None, OCTETS)]  # fmt: skip


async def test_what_can_change_is_copied() -> None:
    value = bytearray(b"abc")
    form = FormData({"a": value})
    value[0] = 0
    assert (await read_one(form())).body == b"abc"


@pytest.mark.parametrize("buffering", [-1, 0])
async def test_file(picture: Path, buffering: int) -> None:
    """C-07, C-09: a file has its own name, its type by that name, and its length from its position on."""
    with picture.open("rb", buffering=buffering) as file:
        content = file.read()
        file.seek(1000)
        payload = made({"name": "value", "file": file})
        assert payload.length is not None
        assert frame_body(payload, "POST").lines == b"Content-Length: %d\r\n" % payload.length
        for _ in range(2):
            text, part = await parts_of(payload)
            assert (text.name, text.filename, text.content_type, text.body) == ("name", None, None, b"value")
            assert (part.name, part.filename, part.content_type) == ("file", "picture.png", "image/png")
            assert part.body == content[1000:]
            assert payload.replayable
        assert max(map(len, await pieces(payload))) <= 65536
        assert not file.closed


async def test_name_and_type_of_files(picture: Path) -> None:
    with picture.open("rb") as file:
        form = FormData()
        form.add_field("a", file, filename="other.txt")
        form.add_field("b", file, content_type="image/x-own")
        form.add_field("c", io.BytesIO(b"x"))
        form.add_field("d", io.BytesIO(b"x"), filename="data.json")
        assert [(part.name, part.filename, part.content_type) for part in await parts_of(form())] == [
            ("a", "other.txt", "text/plain"),
            ("b", "picture.png", "image/x-own"),
            ("c", "c", OCTETS),
            ("d", "data.json", "application/json"),
        ]


@pytest.mark.parametrize("name", [5, "<stdin>", "", "dir/"])
async def test_files_without_a_proper_name(name: object) -> None:
    file = io.BytesIO(b"x")
    file.name = name
    assert (await read_one(made({"a": file}))).filename == "a"
    assert (await read_one(made([file]))).name == "unknown"


async def test_files_alone(picture: Path) -> None:
    """P-13: `add_fields` takes files, which are named after their file name."""
    with picture.open("rb") as first, picture.open("rb") as second:
        for data in ([first, second], FormData([first, second])):
            parts = await parts_of(made(data))
            assert [(part.name, part.filename) for part in parts] == [("picture.png", "picture.png")] * 2
        assert (await read_one(made(FormData(first)))).name == "picture.png"


@pytest.mark.parametrize("source", [agen, gen])
@pytest.mark.fault("P26")
async def test_streams(source: Any) -> None:
    """A form with a stream has no length, and can be sent again only while nothing was taken from the stream."""
    payload = made({"a": "1", "b": source(b"ab", b"cd")})
    assert payload.length is None and frame_body(payload, "POST").chunked
    chunks = payload.chunks()
    await anext(chunks)
    assert payload.started and payload.replayable
    _, part = await parts_of(payload)
    assert (part.filename, part.content_type, part.body) == ("b", OCTETS, b"abcd")
    assert not payload.replayable
    with pytest.raises(ClientRequestError, match="again"):
        payload.chunks()


async def test_queue_pieces_and_pipe() -> None:
    queue: DataQueue[bytes] = DataQueue()
    queue.feed_data(b"ab")
    queue.feed_data(b"cd")
    queue.feed_eof()
    reading, writing = os.pipe()
    os.write(writing, b"through a pipe")
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        parts = await parts_of(made({"queue": queue, "list": [b"ef", b"gh"], "pipe": pipe}))
    assert [part.body for part in parts] == [b"abcd", b"efgh", b"through a pipe"]


async def test_payloads() -> None:
    """A Payload keeps its type and gets no file name of its own."""
    form = FormData()
    form.add_field("a", made(json=[1]))
    form.add_field("b", made(json=[2]), filename="b.txt")
    form.add_field("c", BytesPayload(b"3", None))
    assert form.is_multipart
    assert [(part.filename, part.content_type, part.body) for part in await parts_of(form())] == [
        (None, "application/json", b"[1]"), ("b.txt", "application/json", b"[2]"), (None, None, b"3")]  # fmt: skip


async def test_nested_multipart() -> None:
    inner = MultipartWriter("mixed")
    inner.append(b"1")
    outer = await read_one(made({"files": inner}))
    assert (outer.name, outer.filename, outer.content_type) == ("files", None, inner.content_type)
    assert [part.body for part in outer.parts] == [b"1"]


async def test_a_form_can_be_sent_twice_and_grow() -> None:
    form = FormData({"a": b"1"})
    first = form()
    assert await body(first) == await body(form())
    form.add_fields(("b", "2"), {"c": "3", "d": 4}, MultiDict([("e", "5"), ("e", "6")]), ["f", b"7"])
    assert [part.name for part in await parts_of(form())] == list("abcdeef")
    assert [part.name for part in await parts_of(first)] == ["a"]


@pytest.mark.parametrize("name", ["base64", "BASE64", "quoted-printable"])
async def test_transfer_encoding(name: str) -> None:
    """P-13: the content is encoded as the field says."""
    value = os.urandom(5000) + b" \r\n.\r\n--\t"
    form = FormData()
    form.add_field("bytes", value, content_transfer_encoding=name)
    form.add_field("file", io.BytesIO(value), content_transfer_encoding=name)
    form.add_field("text", "=\u20ac ", content_transfer_encoding=name)
    parts = await parts_of(form())
    assert [part.headers["content-transfer-encoding"] for part in parts] == [name.lower()] * 3
    assert [part.body for part in parts] == [value, value, "=\u20ac ".encode()]


@pytest.mark.fault("O09")
async def test_a_file_that_grows(picture: Path) -> None:
    """No byte beyond the announced length is handed out, and the form does not look complete."""
    with picture.open("rb", buffering=0) as file:
        payload = made({"file": file})
        with picture.open("ab") as other:
            other.write(b"more")
        failing = Failing()
        assert isinstance(await failing.drain(payload), ClientRequestError)
    assert payload.length is not None and len(failing.sent) < payload.length


async def test_nothing_is_told_by_repr() -> None:
    form = FormData({"password": "secret", "key": b"secret"})
    assert "secret" not in repr(form) and "password" not in repr(form)
    assert not hasattr(form, "__dict__")
