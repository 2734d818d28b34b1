"""`resp.cookies`, and the time that parsing takes."""

import logging
from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any, ClassVar

import pytest

from keepwarm.client.cookie_morsel import unquote
from keepwarm.client.cookie_parse import SetCookie, parse_set_cookie
from keepwarm.client.cookie_response import response_cookies


def test_cookies_and_attributes() -> None:
    """K-11: a SimpleCookie with the attributes as the peer wrote them."""
    cookies = response_cookies(
        [
            'a="x y"; Path=/p; Domain=.Example.org; Secure; HttpOnly; Max-Age=5; SameSite=Lax; Comment=c; Version=1',
            "b=2; expires=Fri, 07 Aug 2099 08:04:19 GMT",
            "c=1; Max-Age=junk; unknown=1",
        ]
    )
    assert type(cookies) is SimpleCookie
    a, b, c = cookies.values()
    assert (a.key, a.value, a.coded_value) == ("a", "x y", '"x y"')
    assert (a["path"], a["domain"], a["secure"], a["httponly"]) == ("/p", ".Example.org", True, True)
    assert (a["max-age"], a["samesite"], a["comment"], a["version"]) == ("5", "Lax", "c", "1")
    assert b["expires"] == "Fri, 07 Aug 2099 08:04:19 GMT" and b["secure"] == ""
    assert not any(c.values())
    assert "Set-Cookie: b=2; expires=Fri, 07 Aug 2099 08:04:19 GMT" in cookies.output()


def test_names_that_http_cookies_refuses() -> None:
    """Peers use names that SimpleCookie would not set; they are cookies all the same."""
    cookies = response_cookies(["a b=1", "path=2", "x/y=3", "\u00fc=4"])
    assert {name: morsel.value for name, morsel in cookies.items()} == {
        "a b": "1",
        "path": "2",
        "x/y": "3",
        "\u00fc": "4",
    }


def test_the_last_of_a_name_counts() -> None:
    assert response_cookies(["a=1; Path=/x", "a=2"])["a"].OutputString() == "a=2"


@pytest.mark.fault("C17", "C18", "R13")
def test_bad_ones_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """K-11: thousands of bad cookies cost one line, harm no good one, and write no control byte into the log."""
    bad = ["x\r\ninjected: secret", "=", "nothing", "a=\x00", "b=1; Path=/\x1b[31m", "c=" + "v" * 5000] * 1000
    with caplog.at_level(logging.DEBUG):
        cookies = response_cookies(["first=1", *bad, "last=2"], "GET http://h/\n")
    assert list(cookies) == ["first", "last"]
    assert len(caplog.records) == 1
    assert caplog.records[0].levelname == "WARNING"
    message = caplog.records[0].getMessage()
    assert "6000 of 6002" in message
    assert message.isprintable() and message.isascii()
    assert f"{sum(map(len, bad))} characters" in message and "secret" not in message


def test_good_ones_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert len(response_cookies(["a=1", "b=2; Domain=elsewhere.example"])) == 2
        assert len(response_cookies([])) == 0
    assert not caplog.records


@pytest.mark.parametrize(
    "coded",
    ["", '"', "a", '""', '"a"', '"a', 'a"', r'"\""', r'"\\"', r'"a\054b"', r'"\0"', r'"\05"', r'"\777"', r'"\400"',
     r'"\377"', r'"\a"', r'"a\"', r'"\\\054"', r'"\1234"'],
)  # fmt: skip
def test_unquote_is_that_of_http_cookies(coded: str) -> None:
    value, _ = SimpleCookie().value_decode(coded)
    assert unquote(coded) == value


class Counted(str):
    """Text that counts the characters which its methods look at or copy."""

    looked_at: ClassVar[int] = 0

    @classmethod
    def wrap(cls, value: Any) -> Any:
        if type(value) is str:
            return cls(value)
        if type(value) in (tuple, list):
            return type(value)(cls.wrap(item) for item in value)
        return value


def _counting(name: str) -> Callable[..., Any]:
    plain = getattr(str, name)

    def method(self: Counted, *args: Any) -> Any:
        result = plain(self, *args)
        if name == "find":
            start = args[1] if len(args) > 1 else 0
            Counted.looked_at += (result if result >= 0 else len(self)) - start
        elif name == "__getitem__" or name == "startswith":
            Counted.looked_at += len(result) if isinstance(result, str) else 1
        else:
            Counted.looked_at += len(self)
        return Counted.wrap(result)

    return method


for _name in ("partition", "rpartition", "split", "strip", "lstrip", "rstrip", "lower", "translate", "find",
              "removeprefix", "isascii", "isdigit", "encode", "__getitem__", "startswith"):  # fmt: skip
    setattr(Counted, _name, _counting(_name))


def cost(work: Callable[[str], object], text: str) -> int:
    Counted.looked_at = 0
    work(Counted(text))
    return Counted.looked_at


HOSTILE = {
    "backslashes": 'a="' + "\\" * 1000 + '"',
    "octal": 'a="' + "\\101" * 1000 + '"',
    "semicolons": "a=b" + ";" * 1000,
    "attributes": "a=b" + "; Max-Age=1" * 1000,
    "equals": "a" + "=" * 1000,
    "blanks": " " * 1000 + "a = b" + " \t" * 1000,
    "quotes": 'a="' + '"' * 1000,
    "dates": "a=b; Expires=" + "1:1:1 " * 150,
    "long": "a=b; Expires=" + "1" * 5000,
    "paths": "a=b" + "; Path=/x" * 1000,
    "domains": "a=b; Domain=" + "." * 1000,
    "numbers": "a=b; Max-Age=" + "0" * 1000,
}


def test_the_count_counts() -> None:
    """The measure sees a quadratic scan."""

    def quadratic(text: str) -> None:
        while text:
            text = text[1:]

    assert cost(quadratic, "x" * 200) > 3.5 * cost(quadratic, "x" * 100)
    assert cost(parse_set_cookie, "a=b; Path=/") > 11


@pytest.mark.fault("C18")
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_parsing_is_linear(text: str) -> None:
    """Twice the text is at most about twice the work, and no text is read more than a few times."""
    middle = text.find("=") + 1 or 1
    twice = text + text[middle:]
    once_cost, twice_cost = cost(parse_set_cookie, text), cost(parse_set_cookie, twice)
    assert twice_cost <= 2.2 * once_cost + 100
    assert twice_cost <= 12 * len(twice) + 100


@pytest.mark.fault("C18")
@pytest.mark.parametrize("piece", ["\\", "\\1", "\\10", "\\101", '\\"', "a\\", '"'])
def test_unquoting_is_linear(piece: str) -> None:
    """Runs of backslashes are read once, where http.cookies of some versions read them again and again."""
    small, large = f'"{piece * 500}"', f'"{piece * 1000}"'
    assert cost(unquote, large) <= 2.1 * cost(unquote, small) + 100
    assert cost(unquote, large) <= 6 * len(large) + 100


def test_repr_has_no_value() -> None:
    parsed = parse_set_cookie("a=geheim; Path=/")
    assert isinstance(parsed, SetCookie) and "geheim" not in repr(parsed)
