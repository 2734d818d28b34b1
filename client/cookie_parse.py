"""SetCookie: what one Set-Cookie field says (RFC 6265, 5.2).

The rules are those of the RFC for user agents, which take nearly anything: no quoting, no comments, no grammar. Three
limits come from its successor (RFC 6265bis, 5.6): control characters make the cookie unusable, name and value have
4096 bytes together, and an attribute of more than 1024 bytes is passed over. One pass over the text; no backtracking.
"""

import re
from typing import Final

from keepwarm.client.cookie_date import LATEST, parse_cookie_date

MAX_PAIR: Final = 4096
MAX_ATTRIBUTE: Final = 1024

CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_BLANK: Final = " \t"
_NAMED: Final = frozenset(("comment", "version"))


class SetCookie:
    """One cookie as a peer offers it; whether it may be stored is the jar's decision.

    `value` is raw: quotation marks are part of it. `expires` is in seconds since 1970, `max_age` in seconds from now;
    None where the peer did not say, or not so that it can be read. `domain` is lower case without its leading dot;
    None for none. `path` is None when the default path applies. `attributes` is the text of each known attribute that
    counts, under its lower-case name.
    """

    __slots__ = (
        "attributes",
        "domain",
        "expires",
        "http_only",
        "max_age",
        "name",
        "path",
        "same_site",
        "secure",
        "value",
    )

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self.value = value
        self.attributes: dict[str, str] = {}
        self.expires: int | None = None
        self.max_age: int | None = None
        self.domain: str | None = None
        self.path: str | None = None
        self.secure = False
        self.http_only = False
        self.same_site = ""

    def __repr__(self) -> str:
        return f"<SetCookie {self.name!r} {self.attributes}>"


def parse_set_cookie(text: str) -> SetCookie | None:
    """The cookie in the value of a Set-Cookie field, or None when it is none. Never raises.

    None is for a field without a name or without ``=``, for control characters anywhere, for text that did not come
    from bytes, and for one that is too large.
    """
    if CONTROL.search(text) or byte_length(text) is None:
        return None
    pair, _, rest = text.partition(";")
    name, equals, value = pair.partition("=")
    name = name.strip(_BLANK)
    value = value.strip(_BLANK)
    if not equals or not name or (byte_length(name) or 0) + (byte_length(value) or 0) > MAX_PAIR:
        return None
    cookie = SetCookie(name, value)
    if rest:
        for attribute in rest.split(";"):
            key, _, content = attribute.partition("=")
            content = content.strip(_BLANK)
            if (byte_length(content) or 0) <= MAX_ATTRIBUTE and key.isascii():
                _take(cookie, key.strip(_BLANK).lower(), content)
    return cookie


def byte_length(text: str) -> int | None:
    """The size of text on the wire; None if it has none."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return None


def parse_max_age(text: str) -> int | None:
    """The seconds in a Max-Age attribute (RFC 6265, 5.2.2), None if it must be ignored. Large numbers are cut."""
    digits = text.removeprefix("-")
    if not digits or not digits.isascii() or not digits.isdigit():
        return None
    if digits is not text and text[0] == "-":
        return 0
    digits = digits.lstrip("0")
    return min(int(digits), LATEST) if 0 < len(digits) <= 12 else LATEST if digits else 0


def _take(cookie: SetCookie, key: str, content: str) -> None:
    """One attribute. What cannot be read is as if it were not there; of what can, the last one counts."""
    if key == "path":
        cookie.path = content if content[:1] == "/" else None
    elif key == "domain":
        if not content:
            return
        cookie.domain = (_lower(content[1:] if content[0] == "." else content)) or None
    elif key == "secure":
        cookie.secure = True
    elif key == "httponly":
        cookie.http_only = True
    elif key == "expires":
        when = parse_cookie_date(content)
        if when is None:
            return
        cookie.expires = when
    elif key == "max-age":
        seconds = parse_max_age(content)
        if seconds is None:
            return
        cookie.max_age = seconds
    elif key == "samesite":
        cookie.same_site = content
    elif key not in _NAMED:
        return
    cookie.attributes[key] = content


def _lower(domain: str) -> str:
    """ASCII letters only: str.lower makes other letters equal to ASCII ones, and so one host to another."""
    return domain.lower() if domain.isascii() else domain
