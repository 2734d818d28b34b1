"""Endpoint: what a connection leads to, and the key of the pool."""

import ipaddress
import re
from typing import Final, NamedTuple

import yarl

from keepwarm.pool.errors import InvalidURL, printable

DEFAULT_PORTS = {False: 80, True: 443}
_SECURE: Final = {"http": False, "https": True}
# Scheme, what may stand before the host, host and port; what follows does not matter here.
_URL: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*)://(?:[^@/?#\\\s]*@)?"
    r"(?P<host>\[[^\[\]@/?#\\\s]*\]|[^\[\]:@/?#\\\s]+)(?::(?P<port>[0-9]{1,5}))?(?:[/?#].*)?"
)

_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*", re.ASCII)
_LONGEST = 253
_ZONE = re.compile(r"[A-Za-z0-9._~-]{1,64}", re.ASCII)


class Endpoint(NamedTuple):
    """The triple that tells connections apart: ``(host, port, is_ssl)``.

    `host` is in lower case, without a trailing dot, and an IP address in its shortest form. Two endpoints are the same
    if and only if the three parts are equal.
    """

    host: str
    port: int
    is_ssl: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.is_ssl else 'http'}://{host}:{self.port}"


class TunnelEndpoint(Endpoint):
    """An endpoint in plain text that a proxy must not read along with: a WebSocket's (FAULTS W07).

    Through a proxy it is reached by a tunnel, so its connections are not those of the plain endpoint that has the same
    three parts, which the proxy passes requests on to. Without a proxy there is no such thing.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TunnelEndpoint) and tuple.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return ~tuple.__hash__(self)


def make_endpoint(host: str, port: int | None = None, is_ssl: bool = False) -> Endpoint:
    """The normalised endpoint: lower case, IDNA, no trailing dot, default port, canonical IP literals.

    Raises InvalidURL (a ValueError) when the host is empty or not a legal name or address, or the port is out of
    1..65535.
    """
    if port is None:
        port = DEFAULT_PORTS[is_ssl]
    elif isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
        raise InvalidURL(f"port must be a whole number from 1 to 65535, got {port!r}")
    return Endpoint(normalise_host(host), port, bool(is_ssl))


def parse_endpoint(url: object) -> Endpoint:
    """Where an ``http://`` or ``https://`` URL leads. Raises TypeError, or InvalidURL, which does not repeat the URL,
    for it may hold a password."""
    if not isinstance(url, (str, yarl.URL)):
        raise TypeError(f"url must be a URL or an Endpoint, got {type(url).__name__}")
    parts = _URL.fullmatch(str(url))
    if parts is None:
        raise InvalidURL("url must be a URL like 'https://api.example.com': it cannot be read as one")
    is_ssl = _SECURE.get(parts["scheme"].lower())
    if is_ssl is None:
        raise InvalidURL(f"url must begin with http:// or https://, not with '{printable(parts['scheme'])}://'")
    host, port = parts["host"], parts["port"]
    if not host.isascii():
        host = yarl.URL.build(scheme="http", host=host).raw_host or host
    return make_endpoint(host, None if port is None else int(port), is_ssl)


def normalise_host(host: str) -> str:
    """A host name or address as the key, SNI and the resolver use it. Raises InvalidURL.

    Legacy numeric forms (``127.1``, ``0x7f.1``) are refused: resolvers disagree on them.
    """
    if not isinstance(host, str):
        raise InvalidURL(f"host must be a str, got {type(host).__name__}")
    literal = host[1:-1] if host[:1] == "[" and host[-1:] == "]" else host
    if ":" in literal:
        return _normalise_ipv6(literal)
    try:
        return str(ipaddress.IPv4Address(literal))
    except ValueError:
        pass  # a name, then: judged below, so that its error does not have this one as its context
    return _normalise_name(host)


def _normalise_ipv6(literal: str) -> str:
    address, percent, zone = literal.partition("%")
    if percent:
        # RFC 6874 spells the percent sign of a zone as %25 inside a URL.
        zone = zone.removeprefix("25") if len(zone) > 2 else zone
        if not _ZONE.fullmatch(zone):
            raise InvalidURL(
                f"host '{printable(literal)}': the zone of an IPv6 address must be 1 to 64 letters, digits or ._~-"
            )
    try:
        canonical = str(ipaddress.IPv6Address(address))
    except ValueError as exc:
        raise InvalidURL(f"host '{printable(literal)}' is not an IPv6 address: {printable(str(exc))}") from None
    return f"{canonical}%{zone}" if percent else canonical


def _normalise_name(host: str) -> str:
    # The longest first: encoding takes time that grows with the square of the length. One more for a trailing dot.
    name = host if host.isascii() or len(host) > _LONGEST + 1 else _to_ascii(host)
    name = name.lower().removesuffix(".")
    if len(name) > _LONGEST or not _HOST_NAME.fullmatch(name):
        raise InvalidURL(
            f"host '{printable(host)}' is not a legal host name (RFC 1123: labels of at most 63 letters, digits and "
            f"hyphens, at most {_LONGEST} bytes in all)"
        )
    last = name.rpartition(".")[2]
    if last.isdigit() or (last[:2] == "0x" and all(c in "0123456789abcdef" for c in last[2:])):
        raise InvalidURL(
            f"host '{printable(host)}' looks like an address in a legacy numeric form; write all four octets"
        )
    return name


def _to_ascii(name: str) -> str:
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError as exc:
        raise InvalidURL(f"host '{printable(name)}' cannot be encoded as IDNA: {printable(str(exc))}") from None
