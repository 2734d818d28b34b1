"""The cookies of one response, as `resp.cookies` shows them (SURFACE K-11)."""

import logging
from collections.abc import Iterable
from http.cookies import SimpleCookie
from typing import Any, Final

from keepwarm.client.cookie_morsel import make_morsel
from keepwarm.client.cookie_parse import SetCookie, parse_set_cookie
from keepwarm.pool.errors import printable

logger: Final = logging.getLogger(__name__)


def response_cookies(values: Iterable[str], source: str = "a response") -> "SimpleCookie":
    """The cookies in the Set-Cookie fields of one response, whether or not a jar would store them.

    `source` names the response in the log. A later cookie replaces an earlier one of the same name. Fields that are
    no cookie are left out; one warning tells how many, however many there are (FAULTS C18, R13). Never raises.
    """
    cookies: SimpleCookie = SimpleCookie()
    count = bad = size = 0
    for value in values:
        count += 1
        parsed = parse_set_cookie(value)
        if parsed is None:
            bad += 1
            size += len(value)
        else:
            morsel = make_morsel(parsed.name, parsed.value, _attributes(parsed))
            dict.__setitem__(cookies, parsed.name, morsel)
    if bad:
        # Not a byte of them: what was to be a cookie is a secret as often as a cookie.
        logger.warning(
            "%s: %d of %d Set-Cookie fields, %d characters in all, are no cookies and were left out",
            printable(source),
            bad,
            count,
            size,
        )
    return cookies


def _attributes(parsed: SetCookie) -> dict[str, Any]:
    attributes: dict[str, Any] = dict(parsed.attributes)
    for flag in ("secure", "httponly"):
        if flag in attributes:
            attributes[flag] = True
    return attributes
