"""Cookies as http.cookies shows them: Morsels, also such that write to the jar when edited."""

from collections.abc import Mapping
from http.cookies import CookieError, Morsel
from typing import Any, Final, Protocol

from keepwarm.client.cookie import Cookie
from keepwarm.client.cookie_date import format_cookie_date
from keepwarm.client.errors import InvalidInput
from keepwarm.pool.errors import printable

_OCTAL: Final = frozenset("01234567")


def unquote(coded: str) -> str:
    """A value without its quotation marks and escapes, as http.cookies undoes them; in one pass."""
    if len(coded) < 2 or coded[0] != '"' or coded[-1] != '"':
        return coded
    pieces = []
    at, end = 1, len(coded) - 1
    while True:
        escape = coded.find("\\", at, end)
        if escape < 0 or escape + 1 >= end:
            break
        pieces.append(coded[at:escape])
        octal = coded[escape + 1 : min(escape + 4, end)]
        if len(octal) == 3 and octal[0] in "0123" and octal[1] in _OCTAL and octal[2] in _OCTAL:
            pieces.append(chr(int(octal, 8)))
            at = escape + 4
        else:
            pieces.append(coded[escape + 1])
            at = escape + 2
    pieces.append(coded[at:end])
    return "".join(pieces)


def make_morsel(name: str, coded: str, attributes: Mapping[str, Any]) -> "Morsel[str]":
    """A plain Morsel. The name may be one that Morsel.set refuses: peers use such names."""
    morsel: Morsel[str] = Morsel()
    _fill(morsel, name, coded, attributes)
    return morsel


def _fill(morsel: "Morsel[str]", name: str, coded: str, attributes: Mapping[str, Any]) -> None:
    morsel.__setstate__({"key": name, "value": unquote(coded), "coded_value": coded})  # type: ignore[attr-defined]
    for attribute, value in attributes.items():
        dict.__setitem__(morsel, attribute, value)


class Editor(Protocol):
    """What takes the edits of a Morsel: the jar."""

    def edit(self, cookie: Cookie, changes: Mapping[str, Any]) -> None:
        """Change attributes of a cookie; all of them, or none if it raises."""


class CookieMorsel(Morsel[str]):
    """A cookie of a jar as a Morsel: a picture of it, whose edits go to the jar (SURFACE B-16).

    An empty `domain` says that the cookie is for one host only, an empty `path` that the caller named none. Deleting
    an attribute resets it. The name cannot change. The Morsel of a cookie that a response set takes no edit: any host
    may set any name, so the edit may be meant for a cookie of the caller. An edit that cannot be done raises
    InvalidInput or CookieError and changes nothing. Copies and pickles are plain Morsels.
    """

    cookie: Cookie

    def __init__(self, cookie: Cookie, editor: Editor) -> None:
        super().__init__()
        self.cookie = cookie
        self._editor = editor
        self.sync()

    def sync(self) -> None:
        """Show the cookie as it is now."""
        cookie = self.cookie
        expires = "" if cookie.expires is None else format_cookie_date(cookie.expires)
        attributes: dict[str, Any] = {
            "expires": expires,
            "path": "" if cookie.is_given and cookie.path == "/" else cookie.path,
            "domain": "" if cookie.host_only else cookie.domain,
            "max-age": "",
            "secure": cookie.secure or "",
            "httponly": cookie.http_only or "",
            "samesite": cookie.same_site,
        }
        _fill(self, cookie.name, cookie.value, attributes)

    def _edit(self, changes: Mapping[str, Any]) -> None:
        cookie = self.cookie
        if not cookie.is_callers:
            name = printable(cookie.name)
            raise InvalidInput(
                f"cookies: '{name}' was set by a response from {printable(cookie.domain)} and cannot be edited; assign "
                f"cookies['{name}'] to have one of your own, or delete it",
                argument="cookies",
            )
        try:
            self._editor.edit(self.cookie, changes)
        finally:
            self.sync()

    def __setitem__(self, attribute: str, value: Any) -> None:
        self.update({attribute: value})

    def __delitem__(self, attribute: str) -> None:
        self.update({attribute: ""})

    def __ior__(self, values: Any) -> "CookieMorsel":  # type: ignore[override,misc]
        self.update(values)
        return self

    def update(self, values: Any = (), **more: Any) -> None:  # type: ignore[override]
        changes = {str(key).lower(): value for key, value in dict(values, **more).items()}
        for attribute in changes:
            if not self.isReservedKey(attribute):
                raise CookieError(f"Invalid attribute {attribute!r}")
        self._edit(changes)

    def setdefault(self, attribute: str, value: Any = None) -> Any:
        if not self.isReservedKey(attribute):
            raise CookieError(f"Invalid attribute {attribute!r}")
        return self[attribute.lower()]

    def pop(self, attribute: str, default: Any = None) -> Any:
        value = self.get(attribute, default)
        del self[attribute]
        return value

    def popitem(self) -> Any:
        raise CookieError("a cookie keeps all of its attributes; set one to '' to reset it")

    def clear(self) -> None:
        self.update(dict.fromkeys(self, ""))

    def set(self, key: str, val: str, coded_val: str) -> None:
        """Change the value. Raises CookieError for another name than the cookie's."""
        if key != self.cookie.name:
            raise CookieError(f"the cookie is named {self.cookie.name!r}: delete it and store one named {key!r}")
        self._edit({"value": coded_val})

    def copy(self) -> "Morsel[str]":
        """A plain Morsel that no jar knows."""
        return make_morsel(self.cookie.name, self.coded_value, dict(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return make_morsel, (self.cookie.name, self.coded_value, dict(self))

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return self.__reduce__()
