"""Header fields of a request: from what the caller gives to bytes on the wire.

Nothing reaches the wire unchecked (RFC 9110, 5.1 and 5.5): a name is a token; a value has no control character but
the tab. Text becomes UTF-8, with surrogateescape, so that values which keepwarm decoded from a response go back as
they were. Bytes are taken as they are, after the same checks. Blanks around a value are not part of it (RFC 9110,
5.5) and are dropped. The caller's spelling of names is kept (SURFACE A-25), and so are the order and repeated names.
"""

import re
import sys
from collections.abc import Iterable
from typing import Final

from multidict import CIMultiDict, CIMultiDictProxy

from keepwarm.client.errors import InvalidInput
from keepwarm.client.pairs import iter_pairs
from keepwarm.client.text import TOKEN, bad_character
from keepwarm.pool.errors import printable
from keepwarm.pool.version import __version__

_ILLEGAL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+;=%\-]+)(?::[0-9]{1,5})?", re.ASCII)

NO_NAMES: Final[frozenset[str]] = frozenset()

# What a session must not fix for all of its requests: it belongs to one body.
_PER_MESSAGE: Final = ("content-encoding", "content-length", "transfer-encoding")


USER_AGENT: Final = f"keepwarm/{__version__} Python/{sys.version_info[0]}.{sys.version_info[1]}"


def _checked(name: object, value: object) -> tuple[str, str]:
    if isinstance(name, bytes):
        name = name.decode("utf-8", "surrogateescape")
    elif not isinstance(name, str):
        raise TypeError(f"headers: a name must be str or bytes, got {type(name).__name__}")
    if not TOKEN.fullmatch(name):
        raise InvalidInput(
            f"headers: a name has {bad_character(name)}; it must be a token (RFC 9110, 5.6.2: letters, digits and "
            "!#$%&'*+-.^_`|~), and the value goes apart from it",
            argument="headers",
        )
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    elif not isinstance(value, str):
        raise TypeError(f"headers: the value of {printable(name)} must be str or bytes, got {type(value).__name__}")
    found = _ILLEGAL.search(value)
    if found:
        raise InvalidInput(
            f"headers: the value of {printable(name)} has the control character {found[0]!r} at position "
            f"{found.start()}",
            argument="headers",
        )
    return str.__str__(name), str.__str__(value).strip(" \t")


def _to_bytes(name: str, value: str) -> bytes:
    try:
        return f"{name}: {value}\r\n".encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        pass  # it holds the value, which may be a secret: it must not become the context of ours
    raise InvalidInput(f"headers: the value of {printable(name)} cannot be written as UTF-8", argument="headers")


def encode_field(name: str | bytes, value: str | bytes) -> bytes:
    """One field line with its CRLF. Raises InvalidInput for illegal text and TypeError for other types.

    Fields that keepwarm makes from arguments of their own (content type, origin, subprotocols) pass here too.
    """
    return _to_bytes(*_checked(name, value))


class HeaderBlock:
    """Checked and encoded header fields.

    `raw` is all field lines, each with its CRLF; `names` the names in lower case; `fields` the triples of lower-case
    name, value and line, in order.
    """

    __slots__ = ("fields", "names", "raw")

    def __init__(self, fields: Iterable[tuple[str, str, bytes]] = ()) -> None:
        self.fields = tuple(fields)
        self.names: frozenset[str] = frozenset([name for name, _, _ in self.fields])
        self.raw = b"".join([line for _, _, line in self.fields])

    def get(self, name: str) -> str | None:
        """The first value of a name, given in lower case, or None."""
        return next((value for key, value, _ in self.fields if key == name), None) if name in self.names else None

    def getall(self, name: str) -> list[str]:
        """All values of a name, given in lower case."""
        return [value for key, value, _ in self.fields if key == name] if name in self.names else []

    def without(self, names: Iterable[str]) -> "HeaderBlock":
        """The block less some names, given in lower case. The same object if it has none of them."""
        drop = frozenset(names)
        if self.names.isdisjoint(drop):
            return self
        return HeaderBlock([field for field in self.fields if field[0] not in drop])

    def plus(self, other: "HeaderBlock") -> "HeaderBlock":
        """The fields of both, these first."""
        return HeaderBlock(self.fields + other.fields)

    def __repr__(self) -> str:
        # Values may be credentials.
        return f"<HeaderBlock {', '.join(name for name, _, _ in self.fields)}>"


EMPTY_BLOCK: Final = HeaderBlock()


def encode_headers(headers: object) -> HeaderBlock:
    """The caller's headers, checked: a mapping (a multidict keeps repeated names) or an iterable of pairs.

    None and nothing give an empty block. Raises InvalidInput, naming `headers`, for a name or a value that must not
    be sent, for two Host fields and for a Host that is no host; TypeError for other types. It is all or nothing: no
    part of a bad set of headers is ever encoded for the wire.
    """
    if headers is None:
        return EMPTY_BLOCK
    if isinstance(headers, HeaderBlock):
        return headers
    fields = []
    for item in iter_pairs(headers, "headers"):
        name, value = _checked(*item)
        fields.append((name.lower(), value, _to_bytes(name, value)))
    if not fields:
        return EMPTY_BLOCK
    block = HeaderBlock(fields)
    if "host" in block.names:
        _check_host(block)
    return block


def _check_host(block: HeaderBlock) -> None:
    hosts = block.getall("host")
    if len(hosts) > 1:
        raise InvalidInput("headers: Host must be given once (RFC 9112, 3.2)", argument="headers")
    if not _HOST.fullmatch(hosts[0]):
        raise InvalidInput(
            "headers: the value of Host is not a host with an optional port (RFC 9110, 7.2)", argument="headers"
        )


def check_skip(names: object) -> frozenset[str]:
    """The argument `skip_auto_headers` as names in lower case (SURFACE B-06, C-13).

    Raises TypeError unless it is None or an iterable of str; a single str is refused, since it would be taken for
    its letters. Names that are never generated, Content-Length (B-07) among them, have no effect.
    """
    if names is None:
        return NO_NAMES
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise TypeError(f"skip_auto_headers must be an iterable of str, got {type(names).__name__}")
    lowered = []
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"skip_auto_headers must hold str, got {type(name).__name__}")
        lowered.append(name.lower())
    return frozenset(lowered)


class DefaultHeaders:
    """What a session sends with each request: its own headers, and the automatic ones that they do not replace.

    The automatic ones are User-Agent, Accept and, when `accept_encoding` is given, Accept-Encoding (SURFACE B-05,
    B-06, P-16). Host and Content-Type differ from request to request and are the request's. Everything is encoded
    once, so a request without headers of its own adds one block.

    Raises as :func:`encode_headers` does, and InvalidInput for Content-Encoding, Content-Length and
    Transfer-Encoding: they describe one message.
    """

    __slots__ = ("auto", "block")

    def __init__(
        self,
        headers: object = None,
        *,
        skip: frozenset[str] = NO_NAMES,
        accept_encoding: str | None = None,
        user_agent: str = USER_AGENT,
    ) -> None:
        own = encode_headers(headers)
        for name in _PER_MESSAGE:
            if name in own.names:
                raise InvalidInput(
                    f"headers: {name} describes one message and cannot be a session's default", argument="headers"
                )
        generated = [("User-Agent", user_agent), ("Accept", "*/*")]
        if accept_encoding is not None:
            generated.append(("Accept-Encoding", accept_encoding))
        made = encode_headers(generated).without(own.names | skip)
        self.auto = made.names
        self.block = HeaderBlock(made.fields + own.fields) if own.fields else made

    @property
    def raw(self) -> bytes:
        """All defaults as one run of field lines."""
        return self.block.raw

    @property
    def names(self) -> frozenset[str]:
        """The names among the defaults, in lower case."""
        return self.block.names

    def get(self, name: str) -> str | None:
        """The first default value of a name, given in lower case, or None."""
        return self.block.get(name)

    def given(self) -> CIMultiDictProxy[str]:
        """What the session was given, without the automatic ones."""
        fields = [
            (line.partition(b":")[0].decode("ascii"), value)
            for key, value, line in self.block.fields
            if key not in self.auto
        ]
        return CIMultiDictProxy(CIMultiDict(fields))

    def merge(self, own: HeaderBlock = EMPTY_BLOCK, skip: frozenset[str] = NO_NAMES) -> bytes:
        """The field lines of a request: the defaults it does not replace, then its own (SURFACE C-12).

        A name in `own` replaces every default of that name. `skip` takes away automatic headers only, never what
        the session was given.
        """
        if own is EMPTY_BLOCK and not skip:
            return self.block.raw
        return self.block.without(own.names | (skip & self.auto)).raw + own.raw

    def without(self, names: Iterable[str]) -> "DefaultHeaders":
        """The defaults less some names, given in lower case. The same object if it has none of them."""
        block = self.block.without(names)
        if block is self.block:
            return self
        other = object.__new__(type(self))
        other.block = block
        other.auto = self.auto & other.block.names
        return other
