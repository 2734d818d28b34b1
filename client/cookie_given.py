"""Cookies that the caller gives: checked, encoded, turned into Cookie (SURFACE B-04, FAULTS O11)."""

import re
from collections.abc import Callable, Mapping
from http.cookies import Morsel
from typing import Any, Final

from keepwarm.client.cookie import Cookie
from keepwarm.client.cookie_date import LATEST, parse_cookie_date
from keepwarm.client.cookie_morsel import CookieMorsel
from keepwarm.client.cookie_parse import CONTROL, parse_max_age
from keepwarm.client.errors import InvalidInput
from keepwarm.client.pairs import iter_pairs, text_pairs
from keepwarm.client.text import TOKEN, bad_character
from keepwarm.pool.endpoint import normalise_host
from keepwarm.pool.errors import InvalidURL, printable

# RFC 6265, 4.1.1: what a value may hold as it is, bare or between quotation marks.
_OCTETS: Final = re.compile(r"[!#-+\--:<-\[\]-~]*")
_ESCAPES: Final = {code: f"\\{code:03o}" for code in (*b",;", 0x09)} | {0x22: '\\"', 0x5C: "\\\\"}
_PATH: Final = re.compile(r"/[!-:<-~]*")

Change = Mapping[str, Any]


def encode_value(name: str, value: str) -> str:
    """A value as it goes on the wire: as it is if RFC 6265, 4.1.1 allows it, else between quotation marks.

    Blanks, commas, semicolons, quotation marks and backslashes are quoted as http.cookies does. Raises InvalidInput,
    naming `cookies`, for control characters and for text that is not ASCII, which no two servers read alike.
    """
    inner = value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
    if _OCTETS.fullmatch(inner):
        return value
    _check_text(name, value)
    return f'"{value.translate(_ESCAPES)}"'


def check_coded(name: str, coded: object) -> str:
    """The value of a Morsel, which is kept as it is. Raises InvalidInput for what would break the header."""
    if not isinstance(coded, str):
        raise TypeError(f"cookies: the value of '{printable(name)}' must be str, got {type(coded).__name__}")
    _check_text(name, coded)
    if ";" in coded:
        raise InvalidInput(f"cookies: the coded value of '{printable(name)}' has a semicolon", argument="cookies")
    return str.__str__(coded).strip(" \t")


def _check_text(name: str, value: str) -> None:
    found = CONTROL.search(value)
    if found:
        raise InvalidInput(
            f"cookies: the value of '{printable(name)}' has the control character {found[0]!r} at position "
            f"{found.start()}",
            argument="cookies",
        )
    if not value.isascii():
        raise InvalidInput(
            f"cookies: the value of '{printable(name)}' is not ASCII; percent-encode it, or use base64",
            argument="cookies",
        )


def check_name(name: object) -> str:
    """The name of a cookie: a token. Raises InvalidInput, or TypeError when it is no str."""
    if not isinstance(name, str):
        raise TypeError(f"cookies: names must be str, got {type(name).__name__}")
    if not TOKEN.fullmatch(name):
        raise InvalidInput(
            f"cookies: a name has {bad_character(name)}; it must be a token (RFC 9110, 5.6.2: letters, digits and "
            "!#$%&'*+-.^_`|~)",
            argument="cookies",
        )
    return str.__str__(name)


def coded_pairs(cookies: object) -> list[tuple[str, str, "Morsel[Any] | None"]]:
    """Name, value as on the wire, and the Morsel if there is one, of a mapping or an iterable of pairs.

    Values are str, int, float or Morsel. Raises InvalidInput or TypeError, both naming `cookies`.
    """
    found: list[tuple[str, str, Morsel[Any] | None]] = []
    for raw_name, value in iter_pairs(cookies, "cookies"):
        if isinstance(value, Morsel):
            # What a jar holds may go on as it came, even if a caller could not write it.
            if isinstance(value, CookieMorsel) and raw_name == value.key:
                found.append((value.key, value.coded_value, value))
            else:
                name = check_name(raw_name)
                found.append((name, check_coded(name, value.coded_value), value))
        else:
            name = check_name(raw_name)
            _, text = text_pairs([(name, value)], "cookies")[0]
            found.append((name, encode_value(name, text), None))
    return found


def given_cookie(name: str, coded: str, morsel: "Morsel[Any] | None", judge: "Judge") -> Cookie:
    """The cookie that the caller means: for the first origin, unless the Morsel names a domain."""
    if isinstance(morsel, CookieMorsel):
        twin = morsel.cookie.copy()
        twin.name, twin.value = name, coded
        return twin
    cookie = Cookie(name, coded, by_caller=True)
    if morsel is not None:
        # Max-Age outdoes Expires, so it comes last.
        for attribute in sorted(morsel, key="max-age".__eq__):
            if morsel[attribute] not in ("", None, False):
                judge.apply(cookie, attribute, morsel[attribute])
    return cookie


class Judge:
    """Applies attributes as http.cookies names them to a Cookie.

    `now` is the wall clock; `is_narrow` says of a domain that a cookie may only be for exactly that host.
    """

    __slots__ = ("_is_narrow", "_now")

    def __init__(self, now: Callable[[], float], is_narrow: Callable[[str], bool]) -> None:
        self._now = now
        self._is_narrow = is_narrow

    def apply(self, cookie: Cookie, attribute: str, value: Any) -> None:
        """Set one attribute; an empty value takes it off. Raises InvalidInput, naming `cookies`.

        As in http.cookies, a number in `expires` is seconds from now. `comment` and `version` mean nothing.
        """
        if attribute == "path":
            cookie.path = self._path(value)
        elif attribute == "domain":
            self._set_domain(cookie, value)
        elif attribute == "secure":
            cookie.secure = bool(value)
        elif attribute == "httponly":
            cookie.http_only = bool(value)
        elif attribute == "samesite":
            cookie.same_site = "" if value in ("", None) else _attribute_text("samesite", value)
        elif attribute == "expires":
            cookie.expires = self._expires(value)
        elif attribute == "max-age":
            cookie.expires = self._max_age(value)

    def _path(self, value: Any) -> str:
        if value in ("", None):
            return "/"
        if not isinstance(value, str) or not _PATH.fullmatch(value):
            raise InvalidInput(
                f"cookies: path must begin with '/' and be ASCII, got {value!r:.100}", argument="cookies"
            )
        return value

    def _set_domain(self, cookie: Cookie, value: Any) -> None:
        if value in ("", None):
            cookie.host_only = True
            return
        try:
            domain = normalise_host(_attribute_text("domain", value).removeprefix("."))
        except InvalidURL as exc:
            raise InvalidInput(f"cookies: domain {printable(str(value))}: {exc}", argument="cookies") from None
        cookie.domain = domain
        cookie.origin = None
        cookie.host_only = self._is_narrow(domain)

    def _expires(self, value: Any) -> float | None:
        if value in ("", None) and value is not False:
            return None
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LATEST:
            return self._now() + value
        when = parse_cookie_date(value) if isinstance(value, str) else None
        if when is None:
            raise InvalidInput(f"cookies: expires is no date: {value!r:.100}", argument="cookies")
        return float(when)

    def _max_age(self, value: Any) -> float | None:
        if value in ("", None) and value is not False:
            return None
        seconds = None if isinstance(value, bool) else parse_max_age(str(value))
        if seconds is None:
            raise InvalidInput(f"cookies: max-age is no number of seconds: {value!r:.100}", argument="cookies")
        return self._now() + seconds


def _attribute_text(attribute: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"cookies: {attribute} must be str, got {type(value).__name__}")
    if CONTROL.search(value) or ";" in value:
        raise InvalidInput(f"cookies: {attribute} has a control character or a semicolon", argument="cookies")
    return value
