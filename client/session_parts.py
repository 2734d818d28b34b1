"""The parts that a session may be given: classes of the caller's own, and a cookie jar."""

from collections.abc import Collection
from typing import Any, TypeVar

from keepwarm.client.cookies import CookieJar

_T = TypeVar("_T")


def check_jar(jar: CookieJar | None, cookies: Any) -> CookieJar:
    if jar is None:
        return cookies if isinstance(cookies, CookieJar) else CookieJar(cookies)
    if not isinstance(jar, CookieJar):
        raise TypeError(f"cookie_jar must be a keepwarm.CookieJar, got {type(jar).__name__}")
    if isinstance(cookies, CookieJar):
        raise ValueError("cookies and cookie_jar are both a CookieJar: give one")
    if cookies is not None:
        jar.add(cookies)
    return jar


def cookies_at_hand(jar: CookieJar) -> Collection[object]:
    """Empty as long as the jar is, and asked at less than half of the cost; a jar with a word of its own is asked."""
    return jar.kept if type(jar).__bool__ is CookieJar.__bool__ else (jar,)


def check_class(name: str, given: Any, base: type[_T]) -> type[_T]:
    if not (isinstance(given, type) and issubclass(given, base)):
        raise TypeError(f"{name} must be a subclass of {base.__name__}, got {given!r}")
    return given
