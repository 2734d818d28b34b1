"""Proxy: what the URL of an HTTP proxy and its credentials mean, checked once."""

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

import yarl

from keepwarm.pool.auth import BasicAuth
from keepwarm.pool.endpoint import Endpoint, make_endpoint
from keepwarm.pool.errors import InvalidInput, InvalidURL, printable

_SECURE: Final = {"http": False, "https": True}
_UNUSABLE: Final = re.compile(r"[^!-~\xa1-\U0010ffff]")
_PARTS: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*)://"
    r"(?:(?P<userinfo>[^@/?#\\]*)@)?"
    r"(?P<host>\[[^\[\]@]*\]|[^\[\]:@/?#\\]*)(?::(?P<port>[^@/?#\\]*))?"
    r"(?P<rest>[/?#\\].*)?"
)
_PORT: Final = re.compile(r"[0-9]{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy. `endpoint` is where it listens, with TLS if `is_ssl`; `url` is its URL without user name and
    password; `auth` are its credentials, and `credentials` the field line that they make, b"" without any."""

    endpoint: Endpoint
    url: str
    auth: BasicAuth | None = field(default=None, repr=False)
    credentials: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class ForwardProxy:
    """What a request needs that a proxy passes on: the field line `credentials`, and in `shared` the endpoint under
    which all such requests share their connections; None if each target has its own."""

    credentials: bytes = field(default=b"", repr=False)
    shared: Endpoint | None = None


def parse_proxy(proxy: object, proxy_auth: object = None) -> Proxy:
    """The proxy that the arguments `proxy` and `proxy_auth` describe.

    `proxy_auth` goes before a user name in the URL. Raises TypeError or InvalidInput, a ValueError; neither repeats
    what could be a password.
    """
    if isinstance(proxy, yarl.URL):
        proxy = str(proxy)
    if not isinstance(proxy, str):
        raise TypeError(f"proxy must be a URL as str, got {type(proxy).__name__}")
    if proxy_auth is not None and not isinstance(proxy_auth, BasicAuth):
        raise TypeError(f"proxy_auth must be a BasicAuth or None, got {type(proxy_auth).__name__}")
    if _UNUSABLE.search(proxy):
        raise _unusable("it has a blank or a control character")
    parts = _PARTS.fullmatch(proxy)
    if parts is None:
        raise _unusable("it cannot be read as a URL")
    scheme = parts["scheme"].lower()
    if scheme not in _SECURE:
        raise _unusable(f"the scheme must be http or https, got '{printable(scheme)}'")
    if parts["rest"] not in (None, "/"):
        raise _unusable("it has more than scheme, user, host and port")
    endpoint = _endpoint(parts["host"], parts["port"], _SECURE[scheme])
    auth = proxy_auth if proxy_auth is not None else _auth(parts["userinfo"])
    credentials = b"" if auth is None else b"Proxy-Authorization: " + auth.encode().encode("ascii") + b"\r\n"
    url = proxy if parts["userinfo"] is None else f"{parts['scheme']}://{proxy[parts.end('userinfo') + 1 :]}"
    return Proxy(endpoint, url, auth, credentials)


def _endpoint(host: str, port: str | None, is_ssl: bool) -> Endpoint:
    if not host:
        raise _unusable("it has no host")
    if port is not None and not _PORT.fullmatch(port):
        raise _unusable("the port must be a whole number from 1 to 65535")
    try:
        return make_endpoint(host, None if port is None else int(port), is_ssl)
    except InvalidURL as exc:
        raise _unusable(str(exc)) from None


def _auth(userinfo: str | None) -> BasicAuth | None:
    if not userinfo:
        return None
    login, _, password = userinfo.partition(":")
    try:
        login, password = unquote(login, errors="strict"), unquote(password, errors="strict")
        # Percent-encoded bytes are UTF-8 in a URL, so UTF-8 is what the URL's author meant.
        auth = BasicAuth(login, password, "latin1" if login.isascii() and password.isascii() else "utf-8")
        auth.encode()
    except ValueError:
        # The original may repeat a part of the password.
        raise _unusable("its user name or password cannot be used: see BasicAuth") from None
    return auth


def _unusable(why: str) -> InvalidInput:
    return InvalidInput(f"proxy must be a URL like 'http://127.0.0.1:3128': {why}", argument="proxy")
