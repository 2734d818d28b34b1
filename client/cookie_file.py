"""The file of a jar: JSON, never pickle (FAULTS C15, C20)."""

import json
import os
import tempfile
from collections.abc import Iterable
from typing import Any, Final

from keepwarm.client.cookie import Cookie
from keepwarm.client.cookie_parse import CONTROL, byte_length
from keepwarm.client.errors import InvalidInput
from keepwarm.pool.endpoint import make_endpoint

_FORMAT: Final = "keepwarm cookies"
_VERSION: Final = 1

_TEXTS: Final = ("name", "value", "domain", "path", "same_site")
_FLAGS: Final = ("host_only", "secure", "http_only")

PathName = str | os.PathLike[str]


def save_cookies(cookies: Iterable[Cookie], path: PathName) -> None:
    """Write the cookies to `path`, which only the owner may read. The file is whole or as it was before.

    Raises OSError.
    """
    records = [_to_record(cookie) for cookie in cookies]
    text = json.dumps({"format": _FORMAT, "version": _VERSION, "cookies": records}, indent=1)
    target = os.path.abspath(path)
    handle, temporary = tempfile.mkstemp(prefix=".cookies-", dir=os.path.dirname(target))
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def load_cookies(path: PathName) -> list[Cookie]:
    """The cookies in a file that `save_cookies` wrote, in their order.

    Raises OSError, and InvalidInput (a ValueError) when the file is anything else. A pickle is never read: loading
    one runs what its author wants.
    """
    with open(path, "rb") as file:
        data = file.read()
    try:
        content = json.loads(data.decode("ascii"))
    except (ValueError, RecursionError):
        hint = " It looks like a pickle, and pickles are never loaded." if data[:1] == b"\x80" else ""
        raise _refuse(path, f"it is not JSON.{hint}") from None
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise _refuse(path, "it is JSON of another kind.")
    if content.get("version") != _VERSION:
        raise _refuse(path, f"its version is {content.get('version')!r:.20}, not {_VERSION}.")
    records = content.get("cookies")
    if not isinstance(records, list):
        raise _refuse(path, "it has no list of cookies.")
    cookies = []
    for number, record in enumerate(records):
        try:
            cookies.append(_from_record(record))
        except (ValueError, TypeError, KeyError) as exc:
            raise _refuse(path, f"cookie number {number} is damaged ({exc}).") from None
    return cookies


def _refuse(path: PathName, why: str) -> InvalidInput:
    return InvalidInput(f"path {os.fspath(path)!r} is not a cookie file that keepwarm saved: {why}", argument="path")


def _to_record(cookie: Cookie) -> dict[str, Any]:
    record: dict[str, Any] = {name: getattr(cookie, name) for name in (*_TEXTS, *_FLAGS, "expires")}
    record["origin"] = None if cookie.origin is None else list(cookie.origin)
    return record


def _from_record(record: Any) -> Cookie:
    if not isinstance(record, dict):
        raise TypeError("not an object")
    texts: dict[str, str] = {name: record[name] for name in _TEXTS}
    for name, text in texts.items():
        if not isinstance(text, str) or CONTROL.search(text) or ";" in text or byte_length(text) is None:
            raise ValueError(f"{name} is not usable text")
    flags: dict[str, bool] = {name: record[name] for name in _FLAGS}
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise TypeError(f"{name} is not true or false")
    cookie = Cookie(texts["name"], texts["value"])
    if not cookie.name or "=" in cookie.name:
        raise ValueError("the name is missing or has an equals sign")
    cookie.path, cookie.same_site = texts["path"], texts["same_site"]
    cookie.domain = texts["domain"]
    cookie.host_only, cookie.secure, cookie.http_only = [flags[name] for name in _FLAGS]
    cookie.expires = _time(record["expires"])
    if record["origin"] is not None:
        cookie.origin = make_endpoint(*record["origin"])
    if cookie.path[:1] != "/" or (cookie.origin is not None and cookie.origin.host != cookie.domain):
        raise ValueError("path or origin are not possible")
    if not cookie.domain and not cookie.host_only:
        raise ValueError("the domain is missing")
    return cookie


def _time(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise TypeError("expires is not a time")
    return float(value)
