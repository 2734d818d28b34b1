"""Forms: what must not be sent is encoded or refused."""

from pathlib import Path
from typing import Any

import pytest

from keepwarm.client.errors import InvalidInput
from keepwarm.client.formdata import FormData
from keepwarm.client.payload import make_payload
from tests.support.bodies import agen, body
from tests.support.multipart import parts_of

pytestmark = pytest.mark.asyncio

OCTETS = "application/octet-stream"


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
    [part] = await parts_of(form())
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


async def test_text_files_and_closed_files(tmp_path: Path) -> None:
    """C-09: the error says which field it is."""
    picture = tmp_path / "picture.png"
    picture.touch()
    with picture.open() as file, pytest.raises(InvalidInput, match="'photo' is a file in text mode"):
        FormData({"photo": file})
    with picture.open("rb") as closed:
        pass
    with pytest.raises(InvalidInput, match="'photo' is a closed file"):
        make_payload({"photo": closed})
