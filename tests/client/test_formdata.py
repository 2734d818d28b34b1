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
from keepwarm.client.payload import make_payload
from keepwarm.client.queues import DataQueue
from keepwarm.client.source import BytesPayload, Payload
from tests.support.bodies import Failing, agen, body, gen, made, pieces
from tests.support.multipart import Part, read_multipart

pytestmark = pytest.mark.asyncio

URLENCODED = "application/x-www-form-urlencoded"
OCTETS = "application/octet-stream"


async def read(payload: Payload) -> list[Part]:
    """The parts as a server reads them; the announced length must be the true one."""
    sent = await body(payload)
    assert payload.length in (None, len(sent))
    return read_multipart(payload.content_type, sent)


async def read_one(payload: Payload) -> Part:
    [part] = await read(payload)
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
    parts = await read(made([*fields, ("file", b"x")]))
    assert [(part.name, part.body) for part in parts] == [("a", b"1"), ("b", b"2"), ("a", b"3"), ("file", b"x")]


async def test_encoding_of_a_form() -> None:
    assert FormData({"a": "\u00fc"})("latin1").body == b"a=%FC"
    form = FormData([("\u00fc", "\u00fc"), ("file", b"x")])
    text = (await read(form("latin1")))[0]
    assert (text.name, text.body, text.content_type) == ("\u00fc", b"\xfc", "text/plain; charset=latin1")
    for encoding in ("utf-8", "UTF8", "utf_8"):
        text = (await read(form(encoding)))[0]
        assert (text.body, text.content_type) == ("\u00fc".encode(), None)
    for encoding in ("ascii", "no-such"):
        with pytest.raises(InvalidInput):
            form(encoding)


async def test_a_charset_in_the_content_type_is_the_encoding() -> None:
    form = FormData()
    form.add_field("a", "\u00fc", content_type='text/html; charset="latin1"')
    form.add_field("b", "\u00fc", content_type="text/html")
    first, second = await read(form())
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
    parts = await read(form())
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
            text, part = await read(payload)
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
        assert [(part.name, part.filename, part.content_type) for part in await read(form())] == [
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
            parts = await read(made(data))
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
    _, part = await read(payload)
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
        parts = await read(made({"queue": queue, "list": [b"ef", b"gh"], "pipe": pipe}))
    assert [part.body for part in parts] == [b"abcd", b"efgh", b"through a pipe"]


async def test_payloads() -> None:
    """A Payload keeps its type and gets no file name of its own."""
    form = FormData()
    form.add_field("a", made(json=[1]))
    form.add_field("b", made(json=[2]), filename="b.txt")
    form.add_field("c", BytesPayload(b"3", None))
    assert form.is_multipart
    assert [(part.filename, part.content_type, part.body) for part in await read(form())] == [
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
    assert [part.name for part in await read(form())] == list("abcdeef")
    assert [part.name for part in await read(first)] == ["a"]


@pytest.mark.parametrize("name", ["base64", "BASE64", "quoted-printable"])
async def test_transfer_encoding(name: str) -> None:
    """P-13: the content is encoded as the field says."""
    value = os.urandom(5000) + b" \r\n.\r\n--\t"
    form = FormData()
    form.add_field("bytes", value, content_transfer_encoding=name)
    form.add_field("file", io.BytesIO(value), content_transfer_encoding=name)
    form.add_field("text", "=\u20ac ", content_transfer_encoding=name)
    parts = await read(form())
    assert [part.headers["content-transfer-encoding"] for part in parts] == [name.lower()] * 3
    assert [part.body for part in parts] == [value, value, "=\u20ac ".encode()]


# what must not be sent


@pytest.mark.fault("O06")
@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ('a"b', b"a%22b"),
        ("a\r\nX-Injected: 1\r\n\r\nb", b"a%0D%0AX-Injected: 1%0D%0A%0D%0Ab"),
        ("a\rb\nc", b"a%0Db%0Ac"),
        ('a"; filename="evil.zzz', b"a%22; filename=%22evil.zzz"),
        ("a\\", b"a%5C"),
        ("a\\\\", b"a\\%5C"),
        ("C:\\b", b"C:\\b"),
        ('a\\"; filename=x', b"a\\%22; filename=x"),
        ("\u00fc\u20ac\U0001f600", "\u00fc\u20ac\U0001f600".encode()),
        ("caf\udce9", b"caf\xe9"),
        ("", b""),
        ("a%22b; c='d'", b"a%22b; c='d'"),
    ],
)
async def test_names_are_encoded(text: str, wire: bytes) -> None:
    """A name or file name is one quoted string, whatever is in it."""
    form = FormData()
    form.add_field(text, b"x", filename=text)
    head = (await body(form())).partition(b"\r\n\r\n")[0]
    boundary, disposition, kind = head.split(b"\r\n")
    assert boundary == b"--" + form.content_type.partition("=")[2].encode()
    assert disposition == b'Content-Disposition: form-data; name="%b"; filename="%b"' % (wire, wire)
    assert kind == b"Content-Type: application/octet-stream"


@pytest.mark.fault("O06")
@pytest.mark.parametrize("character", ["\x00", "\x0b", "\x0c", "\x1c", "\x1e", "\x7f", "\ud800"])
async def test_names_with_other_control_characters_are_refused(character: str) -> None:
    """What no encoding is defined for is an error that names the argument."""
    form = FormData()
    with pytest.raises(InvalidInput) as caught:
        form.add_field("a" + character, b"x")
    assert caught.value.argument == "name" and character not in str(caught.value)
    with pytest.raises(InvalidInput) as caught:
        form.add_field("a", b"x", filename=character)
    assert caught.value.argument == "filename"
    # A name of text is judged when the form turns out to be multipart: urlencoded, anything can be written.
    form.add_field("a" + character, "x")
    form.add_field("b", b"x")
    with pytest.raises(InvalidInput):
        form()


@pytest.mark.fault("O06")
@pytest.mark.parametrize(
    "value",
    ["text/plain\r\nX: y", "text/plain;\n a=b", "text/plain\x00", "text", "", '"', 'text/plain"', "text/plain, a/b",
     "text/", " text/plain"],
)  # fmt: skip
async def test_content_types_are_checked(value: str) -> None:
    """A content type is a media type, and cannot end its line."""
    form = FormData()
    with pytest.raises(InvalidInput) as caught:
        form.add_field("a", b"x", content_type=value)
    assert caught.value.argument == "content_type"
    assert not form.is_multipart and form().body == b""


@pytest.mark.fault("O06")
@pytest.mark.parametrize("name", ["data:a/b\r\nX-Injected: 1,", "data:text/html,", "//[a.png", "http://[a.png"])
async def test_names_that_look_like_urls(name: str) -> None:
    """The type comes from the ending of a name, never from the name itself."""
    form = FormData()
    form.add_field("a", b"x", filename=name)
    part = await read_one(form())
    assert part.content_type == ("image/png" if name.endswith("png") else OCTETS)


@pytest.mark.fault("O06")
@pytest.mark.parametrize("value", ["base64\r\nX: y", "gzip", ""])
async def test_transfer_encodings_are_checked(value: str) -> None:
    """A transfer encoding is one of those that are applied."""
    with pytest.raises(InvalidInput) as caught:
        FormData().add_field("a", b"x", content_transfer_encoding=value)
    assert caught.value.argument == "content_transfer_encoding"


@pytest.mark.parametrize("option", ["content_type", "filename", "content_transfer_encoding"])
async def test_types_of_options(option: str) -> None:
    options: dict[str, Any] = {option: b"text/plain"}
    with pytest.raises(TypeError, match=option):
        FormData().add_field("a", "x", **options)


@pytest.mark.parametrize("value", [None, True, ["x", "y"], ("x",), {"b": "c"}, {b"x"}, range(3), object(), Path("x")])
@pytest.mark.parametrize("entry", [dict, FormData])
async def test_types_of_values(value: Any, entry: Any) -> None:
    """Before any I/O, with the name of the field."""
    with pytest.raises(TypeError, match="data: the value of 'field'"):
        make_payload(entry([("field", value)]))


async def test_values_that_are_functions() -> None:
    async def later() -> bytes:
        return b"x"

    coroutine = later()
    with pytest.raises(TypeError, match="'a' is a coroutine; await it"):
        FormData({"a": coroutine})
    coroutine.close()
    with pytest.raises(TypeError, match="'a' is the function agen"):
        FormData({"a": agen})


async def test_numbers_that_are_none() -> None:
    with pytest.raises(InvalidInput, match="finite"):
        FormData({"a": float("nan")})


@pytest.mark.parametrize("fields", ["ab", b"ab", 5, None, ["ab"], [("a", "b", "c")], [("a",)], [5], {1: "a"}])
async def test_types_of_fields(fields: Any) -> None:
    with pytest.raises(TypeError, match="form data"):
        FormData(fields)


async def test_text_files_and_closed_files(picture: Path) -> None:
    """C-09: the error says which field it is."""
    with picture.open() as file, pytest.raises(InvalidInput, match="'photo' is a file in text mode"):
        FormData({"photo": file})
    with picture.open("rb") as closed:
        pass
    with pytest.raises(InvalidInput, match="'photo' is a closed file"):
        make_payload({"photo": closed})


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
