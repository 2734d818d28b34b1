"""The opening handshake (RFC 6455, 4): the fields of the request, and the judgement on the answer. Pure functions."""

import base64
import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from multidict import CIMultiDict, CIMultiDictProxy

from keepwarm.pool.errors import printable
from keepwarm.ws.deflate import NAME as DEFLATE
from keepwarm.ws.deflate import DeflateOffer, DeflateSettings, agree
from keepwarm.ws.errors import HandshakeError

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VISIBLE: Final = re.compile(r"[!-~]+")

# RFC 6455, 9.1: name *( ";" param [ "=" ( token / quoted-string ) ] ). What is quoted must be a token too.
_SPACE: Final = re.compile(r"[ \t]*")
_VALUE: Final = re.compile(r"""[ \t]*=[ \t]*(?:([!#$%&'*+\-.^_`|~0-9A-Za-z]+)|"((?:[^"\\]|\\.)*)")""")

Extension = tuple[str, list[tuple[str, str | None]]]


class Agreement(NamedTuple):
    """What client and server agreed on."""

    protocol: str | None
    deflate: DeflateSettings | None


def new_key() -> str:
    """A value for Sec-WebSocket-Key: 16 bytes of the operating system's generator (FAULTS W22)."""
    return base64.b64encode(os.urandom(16)).decode("ascii")


def accept_for(key: str) -> str:
    """The Sec-WebSocket-Accept that proves that the server has read `key` (RFC 6455, 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode("ascii") + _GUID).digest()).decode("ascii")


def check_protocols(protocols: Iterable[str]) -> tuple[str, ...]:
    """The names to offer (SURFACE D-02). Raises TypeError, and ValueError for what is no token or a repetition."""
    if isinstance(protocols, (str, bytes)):
        raise TypeError(f"protocols: must be a sequence of str, got {type(protocols).__name__}")
    checked: list[str] = []
    for protocol in protocols:
        if not isinstance(protocol, str):
            raise TypeError(f"protocols: must be str each, got {type(protocol).__name__}")
        if not _TOKEN.fullmatch(protocol):
            raise ValueError(f"protocols: '{printable(protocol)}' is not a token (RFC 9110, 5.6.2)")
        if protocol in checked:
            raise ValueError(f"protocols: '{protocol}' is there twice")
        checked.append(protocol)
    return tuple(checked)


def check_origin(origin: str | None) -> str | None:
    """The Origin to send (SURFACE D-07), or None. Raises TypeError, and ValueError for what cannot be in a header."""
    if origin is None:
        return None
    if not isinstance(origin, str):
        raise TypeError(f"origin: must be str, got {type(origin).__name__}")
    if not _VISIBLE.fullmatch(origin):
        raise ValueError(f"origin: '{printable(origin)}' is not visible ASCII without spaces (RFC 6454, 7)")
    return origin


def upgrade_fields(
    key: str,
    *,
    protocols: Sequence[str] = (),
    origin: str | None = None,
    deflate: DeflateOffer | None = None,
) -> list[tuple[str, str]]:
    """The header fields that make a GET a request for a WebSocket (RFC 6455, 4.1). The arguments are checked ones."""
    fields = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", key),
    ]
    if protocols:
        fields.append(("Sec-WebSocket-Protocol", ", ".join(protocols)))
    if deflate is not None:
        fields.append(("Sec-WebSocket-Extensions", deflate.field_value()))
    if origin is not None:
        fields.append(("Origin", origin))
    return fields


def verify_answer(
    status: int,
    headers: "CIMultiDict[str] | CIMultiDictProxy[str]",
    *,
    key: str,
    protocols: Sequence[str] = (),
    deflate: DeflateOffer | None = None,
) -> Agreement:
    """What the server agreed to (RFC 6455, 4.1). Raises HandshakeError for whatever is not an agreement.

    Upgrade and Connection are lists of tokens and compared without regard to case; the accept key and the
    subprotocol are compared as they are.
    """
    if status != 101:
        raise HandshakeError(f"the server answered {status} where 101 was asked for")
    if _tokens(headers.getall("Upgrade", ())) != ["websocket"]:
        raise HandshakeError(f"the server's Upgrade is '{_shown(headers, 'Upgrade')}', not websocket")
    if "upgrade" not in _tokens(headers.getall("Connection", ())):
        raise HandshakeError(f"the server's Connection is '{_shown(headers, 'Connection')}', not Upgrade")
    accepts = headers.getall("Sec-WebSocket-Accept", ())
    if list(accepts) != [accept_for(key)]:
        raise HandshakeError(
            f"the server's Sec-WebSocket-Accept is '{_shown(headers, 'Sec-WebSocket-Accept')}', which does not "
            "answer our key: what replied may not be a WebSocket server"
        )
    protocol = _chosen_protocol(headers.getall("Sec-WebSocket-Protocol", ()), protocols)
    extensions = parse_extensions(headers.getall("Sec-WebSocket-Extensions", ()))
    return Agreement(protocol, _agreed_deflate(extensions, deflate))


def _tokens(values: Iterable[str]) -> list[str]:
    """The members of a list field, in lower case."""
    return [token for value in values for item in value.split(",") if (token := item.strip(" \t").lower())]


def _shown(headers: "CIMultiDict[str] | CIMultiDictProxy[str]", name: str) -> str:
    return printable(", ".join(headers.getall(name, ())))


def _chosen_protocol(values: Sequence[str], offered: Sequence[str]) -> str | None:
    if not values:
        return None
    if len(values) > 1:
        raise HandshakeError("the server chose more than one subprotocol")
    chosen = values[0].strip(" \t")
    if chosen not in offered:
        names = ", ".join(offered) or "none was"
        raise HandshakeError(f"the server chose the subprotocol '{printable(chosen)}', which was not offered ({names})")
    return chosen


def _agreed_deflate(extensions: Sequence[Extension], offer: DeflateOffer | None) -> DeflateSettings | None:
    settings = None
    for name, parameters in extensions:
        if name != DEFLATE or offer is None:
            raise HandshakeError(f"the server chose the extension '{printable(name)}', which was not offered")
        if settings is not None:
            raise HandshakeError(f"the server chose {DEFLATE} twice")
        settings = agree(offer, parameters)
    return settings


def parse_extensions(values: Iterable[str]) -> list[Extension]:
    """The members of Sec-WebSocket-Extensions (RFC 6455, 9.1). Raises HandshakeError for what is not its grammar."""
    extensions: list[Extension] = []
    for value in values:
        pos = 0
        while True:
            name, pos = _take_token(value, pos)
            parameters: list[tuple[str, str | None]] = []
            while value[pos : pos + 1] == ";":
                parameter, pos = _take_token(value, pos + 1)
                found = _VALUE.match(value, pos)
                content = None
                if found is not None:
                    content = found[1] if found[2] is None else re.sub(r"\\(.)", r"\1", found[2])
                    if not _TOKEN.fullmatch(content):
                        raise _not_extensions(value)
                    pos = _skip(value, found.end())
                parameters.append((parameter, content))
            extensions.append((name, parameters))
            if pos == len(value):
                break
            if value[pos] != ",":
                raise _not_extensions(value)
            pos += 1
    return extensions


def _take_token(value: str, pos: int) -> tuple[str, int]:
    """The token at `pos`, and where what follows it and its blanks begins."""
    found = _TOKEN.match(value, _skip(value, pos))
    if found is None:
        raise _not_extensions(value)
    return found[0], _skip(value, found.end())


def _skip(value: str, pos: int) -> int:
    found = _SPACE.match(value, pos)
    return pos if found is None else found.end()


def _not_extensions(value: str) -> HandshakeError:
    return HandshakeError(f"the server's Sec-WebSocket-Extensions cannot be read: '{printable(value)}'")
