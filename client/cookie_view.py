"""CookieView: a jar as a SimpleCookie (SURFACE B-16)."""

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from http.cookies import Morsel, SimpleCookie
from typing import Any, Self

from keepwarm.client.cookie import Cookie
from keepwarm.client.cookie_given import encode_value
from keepwarm.client.cookie_morsel import CookieMorsel, make_morsel
from keepwarm.client.cookies import CookieJar
from keepwarm.client.pairs import iter_pairs, text_pairs


def _snapshot(cookies: list[tuple[str, str, dict[str, Any]]]) -> "SimpleCookie":
    copy: SimpleCookie = SimpleCookie()
    for name, coded, attributes in cookies:
        dict.__setitem__(copy, name, make_morsel(name, coded, attributes))
    return copy


class CookieView(SimpleCookie):
    """The cookies of a jar, by name, as a SimpleCookie. It is live both ways.

    A SimpleCookie has one cookie a name, a jar one for each domain, path and name. Of several cookies of one name the
    view shows the one that changed last. Assigning a value to a name gives a cookie of the caller: it replaces the
    value of the one that the caller gave under this name, which stays with its origin; if there is none, it adds a
    cookie, which goes to the origin of the next request (K2). What it never does is to take the scope of a cookie
    that a response set: any host may set any name. A Morsel does the same with its attributes, unless it names a
    domain: then it is a cookie of its own. Deleting a name deletes all cookies of that name. Morsels that it gives
    write their edits to the very cookie that they show, as it was at the last look through the view; that of a response
    takes none.

    Raises InvalidInput or TypeError, naming `cookies`, for names and values that cannot be sent. Copies and pickles
    are plain SimpleCookies.
    """

    def __init__(self, jar: CookieJar) -> None:
        super().__init__()
        self._jar = jar
        self._seen = -1

    def _refresh(self) -> None:
        """Bring the underlying dict in line with the jar; it keeps its order and its Morsels as far as it can."""
        changes = self._jar.changes
        if changes == self._seen:
            return
        shown: dict[str, Cookie] = {}
        for cookie in self._jar:
            other = shown.get(cookie.name)
            if other is None or other.changed < cookie.changed:
                shown[cookie.name] = cookie
        for name in [name for name in dict.keys(self) if name not in shown]:
            dict.__delitem__(self, name)
        for name, cookie in shown.items():
            morsel = dict.get(self, name)
            if isinstance(morsel, CookieMorsel) and morsel.cookie is cookie:
                morsel.sync()
            else:
                dict.__setitem__(self, name, CookieMorsel(cookie, self._jar))
        self._seen = changes

    # Reading

    def __getitem__(self, name: str) -> "Morsel[str]":
        self._refresh()
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self._refresh()
        return super().__contains__(name)

    def __iter__(self) -> Iterator[str]:
        self._refresh()
        return super().__iter__()

    def __reversed__(self) -> Iterator[str]:
        self._refresh()
        return super().__reversed__()

    def __len__(self) -> int:
        self._refresh()
        return super().__len__()

    def __eq__(self, other: object) -> bool:
        self._refresh()
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        self._refresh()
        return super().__ne__(other)

    __hash__ = None  # type: ignore[assignment]

    def __or__(self, other: Any) -> Any:
        return dict(self) | other

    def __ror__(self, other: Any) -> Any:
        return other | dict(self)

    def get(self, name: str, default: Any = None) -> Any:
        self._refresh()
        return super().get(name, default)

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        self._refresh()
        return super().keys()

    def values(self) -> "ValuesView[Morsel[str]]":  # type: ignore[override]
        self._refresh()
        return super().values()

    def items(self) -> "ItemsView[str, Morsel[str]]":  # type: ignore[override]
        self._refresh()
        return super().items()

    # Writing

    def __setitem__(self, name: str, value: Any) -> None:
        found = [cookie for cookie in self._jar.named(name) if cookie.is_given] if isinstance(name, str) else []
        if not found or (isinstance(value, Morsel) and (isinstance(value, CookieMorsel) or value["domain"])):
            self._jar.add([(name, value)])
        elif isinstance(value, Morsel):
            changes = {attribute: content for attribute, content in value.items() if content not in ("", None)}
            self._jar.edit(found[-1], {**changes, "value": value.coded_value})
        else:
            ((_, text),) = text_pairs([(name, value)], "cookies")
            self._jar.edit(found[-1], {"value": encode_value(name, text)})

    def __delitem__(self, name: str) -> None:
        if not self._jar.remove(name):
            raise KeyError(name)

    def __ior__(self, other: Any) -> Self:  # type: ignore[override]
        self.update(other)
        return self

    def update(self, other: Any = (), /, **more: Any) -> None:
        for name, value in [*iter_pairs(other, "cookies"), *more.items()]:
            self[name] = value  # type: ignore[index]

    def load(self, rawdata: Any) -> None:
        """Add cookies from the text of a Cookie header, or from a mapping."""
        self.update(SimpleCookie(rawdata) if isinstance(rawdata, str) else rawdata)

    def clear(self) -> None:
        self._jar.clear()

    def setdefault(self, name: str, default: Any = None) -> Any:
        if name not in self:
            self[name] = default
        return self[name]

    def pop(self, name: str, *default: Any) -> Any:
        if name not in self:
            return super().pop(name, *default)
        morsel = self[name].copy()
        del self[name]
        return morsel

    def popitem(self) -> Any:
        self._refresh()
        if not len(self):
            raise KeyError("there are no cookies")
        name = next(reversed(self))
        return name, self.pop(name)

    # Copies

    def _state(self) -> list[tuple[str, str, dict[str, Any]]]:
        return [(name, morsel.coded_value, dict(morsel)) for name, morsel in self.items()]

    def copy(self) -> "SimpleCookie":
        """A plain SimpleCookie with the cookies of this moment."""
        return _snapshot(self._state())

    def __copy__(self) -> "SimpleCookie":
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return _snapshot, (self._state(),)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return self.__reduce__()
