"""The boundary of a multipart body, and content that holds it."""

import io
from typing import Any

import pytest

from keepwarm.client.boundary import Boundary
from keepwarm.client.errors import ClientRequestError, InvalidInput
from keepwarm.client.multipart import MultipartWriter
from keepwarm.client.payload import make_payload
from tests.support.bodies import Failing, agen, made
from tests.support.multipart import read, writer

pytestmark = pytest.mark.asyncio


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
