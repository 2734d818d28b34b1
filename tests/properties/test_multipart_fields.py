"""Whatever goes into a form comes out of a parser that is not ours (rows C-07 and P-13 of the surface)."""

import io
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepwarm.client.errors import ClientRequestError, InvalidInput
from keepwarm.client.formdata import FormData
from keepwarm.client.multipart import MultipartWriter
from keepwarm.client.payload import make_payload
from keepwarm.client.source import Payload
from tests.support.bodies import agen, body, gen
from tests.support.multipart import as_sent, read_multipart

pytestmark = pytest.mark.asyncio

# Everything but the control characters that are refused, with a taste for what has a meaning in headers and bodies.
NAMES = st.text(
    st.one_of(
        st.sampled_from('"\\\r\n;=%-:\t '),
        st.characters(exclude_categories=("Cs", "Cc")),
    ),
    max_size=12,
)
TEXTS = st.text(max_size=20)
CONTENTS = st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from([b"\r", b"\n", b"--", b"\r\n--", b"ab", b"a", b"=", b".", b" ", b"\x00\xff"])).map(
        b"".join
    ),
)
KINDS = st.sampled_from(["bytes", "file", "agen", "gen", "list"])
CODINGS = st.sampled_from([None, "binary", "base64", "quoted-printable"])
TYPES = st.sampled_from([None, "image/png", 'text/x; a="b;\\"c"', "text/plain; charset=utf-8"])
FIELDS = st.one_of(
    st.tuples(NAMES, st.just("text"), TEXTS, st.none(), st.none(), st.none()),
    st.tuples(NAMES, st.just("text"), TEXTS, st.none() | NAMES, TYPES, CODINGS),
    st.tuples(NAMES, KINDS, CONTENTS, st.none() | NAMES, TYPES, CODINGS),
)


def cut(content: bytes) -> list[bytes]:
    return [content[i : i + 3] for i in range(0, len(content), 3)]


def value_of(kind: str, content: Any) -> Any:
    if kind in ("text", "bytes"):
        return content
    if kind == "file":
        return io.BytesIO(content)
    pieces = cut(content)
    return agen(*pieces) if kind == "agen" else gen(*pieces) if kind == "gen" else pieces


async def drained(payload: Payload) -> bytes:
    """The body; the length that was announced must be its own."""
    sent = await body(payload)
    assert payload.length in (None, len(sent))
    return sent


@given(st.lists(FIELDS, max_size=6))
async def test_fields_come_back(fields: list[tuple[str, str, Any, str | None, str | None, str | None]]) -> None:
    form = FormData()
    for name, kind, content, filename, content_type, coding in fields:
        form.add_field(
            name,
            value_of(kind, content),
            filename=filename,
            content_type=content_type,
            content_transfer_encoding=coding,
        )
    payload = make_payload(form)
    assert payload is not None and payload.content_type == form.content_type
    sent = await drained(payload)
    if not form.is_multipart:
        assert parse_qsl(sent.decode(), keep_blank_values=True) == [(field[0], field[2]) for field in fields]
        return
    parts = read_multipart(form.content_type, sent)
    assert len(parts) == len(fields)
    for part, (name, kind, content, filename, content_type, coding) in zip(parts, fields, strict=True):
        if filename is None and (kind == "file" or (kind != "text" and coding is None)):
            filename = name
        assert (part.disposition, part.name) == ("form-data", as_sent(name))
        assert part.filename == (None if filename is None else as_sent(filename))
        assert part.body == (content.encode() if kind == "text" else content)
        if content_type is not None:
            assert part.content_type == content_type
        assert set(part.headers) <= {"content-disposition", "content-type", "content-transfer-encoding"}


@given(st.lists(st.tuples(KINDS, CONTENTS), min_size=1, max_size=4), st.integers(0, 3))
async def test_nested_bodies_come_back(parts: list[tuple[str, bytes]], depth: int) -> None:
    data = MultipartWriter()
    for kind, content in parts:
        data.append(value_of(kind, content))
    for _ in range(depth):
        outer = MultipartWriter("digest")
        outer.append(data)
        data = outer
    found = read_multipart(data.content_type, await drained(data.payload()))
    for _ in range(depth):
        [part] = found
        found = part.parts
    assert [part.body for part in found] == [content for _, content in parts]


@given(st.lists(st.tuples(KINDS, CONTENTS), min_size=1, max_size=4), st.sampled_from(["a", "ab", "-", "=", "."]))
async def test_a_boundary_in_the_content_is_never_silent(parts: list[tuple[str, bytes]], boundary: str) -> None:
    """With a boundary that may well be in the content: either the parts come back, or there is an error."""
    data = MultipartWriter(boundary=boundary)
    for kind, content in parts:
        data.append(value_of(kind, content))
    holds = any(
        line.startswith(b"--" + boundary.encode())
        for _, content in parts
        for line in content.replace(b"\r", b"\n").split(b"\n")
    )
    try:
        sent = await drained(data.payload())
    except (InvalidInput, ClientRequestError):
        assert holds
        return
    assert not holds
    assert [part.body for part in read_multipart(data.content_type, sent)] == [content for _, content in parts]
