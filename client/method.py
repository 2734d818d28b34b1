"""Request methods (RFC 9110, 9)."""

from typing import Final

from keepwarm.client.errors import InvalidInput
from keepwarm.client.text import TOKEN
from keepwarm.pool.errors import printable

# RFC 9110, 9.2.2. CONNECT is not here: a tunnel is made by ProxyConnector.
IDEMPOTENT_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})

# A request without a body says so with "Content-Length: 0" for these, and says nothing for all others (SURFACE A-26).
BODY_METHODS: Final = frozenset({"POST", "PUT", "PATCH"})

_KNOWN: Final = {m: m for m in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")}


def check_method(method: object) -> str:
    """The method in upper case (SURFACE C-02).

    Raises InvalidInput unless it is a str that is a token of RFC 9110, and for CONNECT, whose answer is not a
    response but a tunnel.
    """
    if type(method) is str:
        known = _KNOWN.get(method)
        if known is not None:
            return known
    if not isinstance(method, str):
        raise InvalidInput(f"method must be a str, got {type(method).__name__}", argument="method")
    if not TOKEN.fullmatch(method):
        raise InvalidInput(f"method must be a token (RFC 9110, 9.1), got '{printable(method)}'", argument="method")
    upper = str.upper(method)
    if upper == "CONNECT":
        raise InvalidInput("method CONNECT makes no request but a tunnel; use ProxyConnector", argument="method")
    return upper
