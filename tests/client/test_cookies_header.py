"""The Cookie header that the caller asks for."""

from http.cookies import Morsel, SimpleCookie
from typing import Any

import pytest

from keepwarm.client.cookie_header import cookie_header, merge_cookie_headers
from keepwarm.client.errors import InvalidInput
from keepwarm.client.headers import encode_field


@pytest.mark.parametrize(
    ("cookies", "expected"),
    [
        ({}, None),
        ([], None),
        ({"a": "1"}, "a=1"),
        ({"a": "1", "b": 2, "c": 1.5}, "a=1; b=2; c=1.5"),
        ([("a", "1"), ("b", "2")], "a=1; b=2"),
        ([("a", "1"), ("b", "2"), ("a", "3")], "a=3; b=2"),
        ({"a": ""}, "a="),
        ({"a": "x=y/z:(1)[2]{3}<4>@?&%20+'`~^|!#$*-._"}, "a=x=y/z:(1)[2]{3}<4>@?&%20+'`~^|!#$*-._"),
        ({"a": '"x"'}, 'a="x"'),
        (SimpleCookie('a="x y"'), 'a="x y"'),
    ],
)
def test_header(cookies: Any, expected: str | None) -> None:
    """B-04: what RFC 6265, 4.1.1 allows goes as it is, in one header."""
    assert cookie_header(cookies) == expected


@pytest.mark.fault("O11")
@pytest.mark.parametrize(
    ("value", "coded"),
    [
        ("a b", '"a b"'),
        ("a,b", '"a\\054b"'),
        ("a;b", '"a\\073b"'),
        ("a; Secure", '"a\\073 Secure"'),
        ('a"b', '"a\\"b"'),
        ("a\\b", '"a\\\\b"'),
        ('"', '"\\""'),
        ('"a;b"', '"\\"a\\073b\\""'),
    ],
)
def test_quoting(value: str, coded: str) -> None:
    """What would end or split a cookie is quoted as http.cookies does, and http.cookies reads it back."""
    assert cookie_header({"n": value}) == f"n={coded}"
    assert SimpleCookie(f"n={coded}")["n"].value == value


@pytest.mark.fault("O11")
@pytest.mark.parametrize("code", [*range(9), *range(0x0A, 0x20), 0x7F, 0x80, 0xE9, 0x20AC, 0x1F600, 0xD800, 0xDC80])
def test_refused_values(code: int) -> None:
    """Control characters and text beyond ASCII are refused before any I/O, in plain values and in Morsels."""
    value = f"x{chr(code)}y"
    morsel: Morsel[str] = Morsel()
    morsel.set("n", "x", "x")
    morsel.__dict__["_coded_value"] = value
    for given in (value, value + "\r\n", morsel):
        with pytest.raises(InvalidInput, match="cookies") as caught:
            cookie_header({"n": given})
        assert caught.value.argument == "cookies"


@pytest.mark.fault("O11")
@pytest.mark.parametrize("name", ["", "a b", "a;b", "a,b", "a=b", "a\r\nb", "a\x00", "\u00e9", '"a"', "a/b", "[a]"])
def test_refused_names(name: str) -> None:
    """A name is a token."""
    with pytest.raises(InvalidInput, match="cookies"):
        cookie_header({name: "1"})


@pytest.mark.fault("O11")
def test_a_morsel_cannot_smuggle() -> None:
    """A coded value with a semicolon would be a second cookie."""
    morsel: Morsel[str] = Morsel()
    morsel.set("n", "x", "x; admin=1")
    with pytest.raises(InvalidInput, match="semicolon"):
        cookie_header({"n": morsel})


@pytest.mark.parametrize(("cookies", "shape"), [({"a": None}, "NoneType"), ({"a": b"1"}, "bytes"), ({1: "a"}, "int")])
def test_types(cookies: Any, shape: str) -> None:
    with pytest.raises(TypeError, match=f"cookies.*{shape}"):
        cookie_header(cookies)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((), None),
        ((None, None), None),
        ((None, "a=1"), "a=1"),
        (("a=1", None), "a=1"),
        (("a=1", "b=2"), "a=1; b=2"),
        (("a=1;b=2", "c=3"), "a=1; b=2; c=3"),
        (("a=1", "a=2; b=3"), "a=1; b=3"),
        (("a=1", "a=2; a=3"), "a=1"),
        (("a=1; a=2", "b=3"), "a=1; a=2; b=3"),
        (("b=1", "a=2; a=3; b=4"), "b=1; a=2; a=3"),
        ((" a = 1 ;; ", "a=2"), "a = 1"),
        (("flag", "a=2"), "flag; a=2"),
        (("a=1", "A=2"), "a=1; A=2"),
        (("a=1", "b=2", "a=3; b=4; c=5"), "a=1; b=2; c=5"),
    ],
)
def test_merge(values: tuple[str | None, ...], expected: str | None) -> None:
    """P-17: one header; the caller's own cookies keep out those of the jar with the same name."""
    assert merge_cookie_headers(*values) == expected


@pytest.mark.fault("O11")
def test_one_line_on_the_wire() -> None:
    """Whatever is accepted makes one header line."""
    header = cookie_header({"a": "1; b=2,3", "c": "4"})
    assert encode_field("Cookie", header or "") == b'Cookie: a="1\\073 b=2\\0543"; c=4\r\n'
