"""Redirects: from a request and its answer to the next request, or to none. Pure (SURFACE A-15 to A-17, C-33, C-34)."""

from typing import Final, NamedTuple
from urllib.parse import urldefrag, urlsplit

from keepwarm.client.errors import InvalidInput, InvalidRedirect
from keepwarm.client.head import ResponseHead
from keepwarm.client.url import Target, joined_url, parse_target, shown_url
from keepwarm.pool.errors import InvalidURL, printable

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

# What describes a body that is not sent on (RFC 9110 15.4), in lower case.
BODY_FIELDS: Final = frozenset(
    {
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-type",
        "digest",
        "expect",
        "last-modified",
        "transfer-encoding",
    }
)
# What another origin must never see, in lower case.
CREDENTIAL_FIELDS: Final = frozenset({"authorization", "cookie", "cookie2", "proxy-authorization", "www-authenticate"})

_SCHEMES: Final = frozenset({"http", "https"})


class Redirect(NamedTuple):
    """Where to go next, and what to take along.

    `keeps_body`: the body, and the fields that describe it, go along. `same_origin`: scheme, host and port are those
    of the request; only then do credentials go along.
    """

    method: str
    target: Target
    keeps_body: bool
    same_origin: bool


def follow(method: str, target: Target, head: ResponseHead) -> Redirect | None:
    """The redirect that an answer asks for; None if it asks for none.

    303 turns every method but HEAD into GET; 301 and 302 turn POST into GET; 307 and 308 keep method and body. The
    new URL is relative to the old one and inherits its fragment. Raises InvalidRedirect, a ClientResponseError and a
    ValueError, when there is no Location, or one that cannot be used: another scheme than http and https, an illegal
    URL.
    """
    if head.status not in REDIRECTS:
        return None
    location = head.headers.get("Location")
    if location is None:
        location = head.headers.get("URI")
    if location is None:
        raise InvalidRedirect(
            f"{method} {target.url} answered {head.status} without a Location; use allow_redirects=False to get the "
            "response itself",
            endpoint=target.endpoint,
        )
    following = _next_target(method, target, location)
    keeps_body = head.status in (307, 308) or (head.status in (301, 302) and method != "POST")
    if not keeps_body and method != "HEAD":
        method = "GET"
    return Redirect(method, following, keeps_body, following.endpoint == target.endpoint)


def _next_target(method: str, target: Target, location: str) -> Target:
    joined = joined_url(target.url, location.strip())
    if joined is None:
        raise _unusable(method, target, location, "it cannot be read as a URL")
    url, fragment = urldefrag(joined)
    try:
        fragment = fragment or urldefrag(target.url).fragment
        scheme = urlsplit(url).scheme.lower()
        if scheme not in _SCHEMES:
            raise InvalidURL(f"the scheme must be http or https, got '{printable(scheme)}'")
        return parse_target(f"{url}#{fragment}" if fragment else url)
    except InvalidURL as exc:
        raise _unusable(method, target, location, str(exc)) from None


def _unusable(method: str, target: Target, location: str, reason: str) -> InvalidRedirect:
    return InvalidRedirect(
        f"{method} {target.url} was redirected to '{shown_url(location)}', which cannot be followed: {reason}",
        endpoint=target.endpoint,
    )


def check_redirects(most: object) -> int:
    """The argument `max_redirects`: how many to follow; 0 and None follow none (A-15). Raises InvalidInput."""
    if most is None:
        return 0
    if isinstance(most, bool) or not isinstance(most, int) or most < 0:
        raise InvalidInput(
            f"max_redirects must be a whole number from 0 up, or None, got {most!r}", argument="max_redirects"
        )
    return most
