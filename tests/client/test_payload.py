"""Bodies in memory: what `data` and `json` mean."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from multidict import MultiDict

from keepwarm.client.errors import InvalidInput
from keepwarm.client.payload import make_payload
from keepwarm.client.source import BytesPayload
from keepwarm.client.urlencoded import encode_form
from tests.support.bodies import agen, body, made

pytestmark = pytest.mark.asyncio

OCTETS = "application/octet-stream"


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        (b"abc", b"abc"),
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abc"), b"abc"),
        (memoryview(b"abcdef")[::2], b"ace"),
        (memoryview(bytearray(b"abc")), b"abc"),
        (memoryview(b"\1\0\0\0\2\0\0\0").cast("I"), b"\1\0\0\0\2\0\0\0"),
        ("abc\u20ac", "abc\u20ac".encode()),
    ],
)
async def test_memory(data: Any, sent: bytes) -> None:
    """C-08."""
    payload = made(data)
    assert payload.body is not None and bytes(payload.body) == sent
    assert (payload.length, payload.content_type) == (len(sent), OCTETS)
    assert payload.replayable and not payload.started
    assert await body(payload) == sent
    assert payload.replayable and await body(payload) == sent


@pytest.mark.fault("O09")
@pytest.mark.parametrize("wrap", [bytearray, lambda raw: memoryview(bytearray(raw))])
async def test_what_can_change_is_copied(wrap: Callable[[bytes], Any]) -> None:
    """A body that the caller changes after the call is sent as it was."""
    data = wrap(b"abc")
    payload = made(data)
    data[0] = 0
    assert await body(payload) == b"abc"


@pytest.mark.fault("O09")
async def test_a_view_that_only_others_can_change_is_copied() -> None:
    """`toreadonly` says who may not write through the view, and nothing of the bytes."""
    data = bytearray(b"abc")
    payload = made(memoryview(data).toreadonly())
    data[0] = 0
    assert await body(payload) == b"abc"


class Short(bytes):
    """Bytes that say something else of their length."""

    def __len__(self) -> int:
        return 1


@pytest.mark.fault("O07")
async def test_a_length_is_that_of_the_bytes() -> None:
    """A class of the caller's cannot make the Content-Length another than the body's."""
    payload = made(Short(b"abc"))
    assert (payload.length, await body(payload)) == (3, b"abc")
    stream = made(piece for piece in [Short(b"abc")])
    assert [len(piece) async for piece in stream.chunks()] == [3]


@pytest.mark.parametrize(
    "data", [None, b"", "", bytearray(), memoryview(b""), memoryview(bytearray()), {}, [], (), MultiDict(), 0, False]
)
async def test_nothing(data: Any) -> None:
    """C-11."""
    assert make_payload(data) is None
    assert make_payload(data, content_length=0) is None


async def test_encoding_of_text() -> None:
    """C-17."""
    assert made("\u00fc", encoding="latin1").body == b"\xfc"
    for encoding in ("ascii", "no-such"):
        with pytest.raises(InvalidInput):
            made("\u00fc", encoding=encoding)


async def test_json() -> None:
    payload = made(json={"a": [1, "\u00fc"]})
    assert payload.body == json.dumps({"a": [1, "\u00fc"]}).encode()
    assert payload.content_type == "application/json"
    assert made(json=0).body == b"0" and made(json={}).body == b"{}" and made(json="").body == b'""'
    assert make_payload(json=None) is None


async def test_json_serialize() -> None:
    assert made(json=5, json_serialize=lambda value: f"<{value}\u20ac>").body == "<5\u20ac>".encode()
    assert made(json=5, json_serialize=lambda value: b"raw").body == b"raw"
    with pytest.raises(TypeError, match="json_serialize"):
        made(json=5, json_serialize=lambda value: 5)
    with pytest.raises(TypeError):
        made(json=object())


@pytest.mark.parametrize("data", [b"a", b"", {}])
async def test_data_and_json(data: Any) -> None:
    with pytest.raises(InvalidInput, match="json"):
        make_payload(data, {"a": 1})


# forms


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        ({"a": "1", "b c": "d&e=f"}, b"a=1&b+c=d%26e%3Df"),
        (MultiDict([("a", "1"), ("b", "2"), ("a", "3")]), b"a=1&b=2&a=3"),
        ([("a", "1"), ("a", "2")], b"a=1&a=2"),
        ((("a", 1), ("b", 1.5)), b"a=1&b=1.5"),
        ({"\u00fc": "\u20ac"}, b"%C3%BC=%E2%82%AC"),
        ({"a": "x\r\ny"}, b"a=x%0D%0Ay"),
    ],
)
async def test_form(data: Any, sent: bytes) -> None:
    """C-07."""
    payload = made(data)
    assert (payload.body, payload.content_type) == (sent, "application/x-www-form-urlencoded")
    assert payload.length == len(sent) and payload.replayable


async def test_form_encoding() -> None:
    assert made({"a": "\u00fc"}, encoding="latin1").body == b"a=%FC"
    for encoding in ("ascii", "no-such"):
        with pytest.raises(InvalidInput):
            encode_form({"a": "\u00fc"}, encoding)


@pytest.mark.parametrize(
    "data", [{"a": None}, {"a": ["x"]}, {"a": True}, {1: "a"}, [("a", "b"), "c"], [("a", "b", "c")]]
)
async def test_form_of_other_types(data: Any) -> None:
    with pytest.raises(TypeError, match="data"):
        make_payload(data)


@pytest.mark.parametrize("data", [5, 1.5, object(), True, lambda: b"a", type])
async def test_other_types(data: Any) -> None:
    with pytest.raises(TypeError, match="data"):
        make_payload(data)


async def test_objects_are_small() -> None:
    for payload in (made(b"a"), made(agen(b"a")), made(io.BytesIO(b"a"))):
        assert not hasattr(payload, "__dict__")
        assert type(payload).__name__ in repr(payload)
    assert isinstance(made(b"a"), BytesPayload)
