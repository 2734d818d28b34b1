"""ResponseHead: one head as it came, and what it says about the framing. The rest is parsed when somebody looks."""

import re
from typing import Final

from multidict import CIMultiDict, CIMultiDictProxy

from keepwarm.client.version import HttpVersion, HttpVersion10, HttpVersion11

# How the end of the body is found (RFC 9112 6.3).
NO_BODY: Final = 0
LENGTH: Final = 1
CHUNKED: Final = 2
UNTIL_EOF: Final = 3

_HINT: Final = re.compile(rb"\b(timeout|max)[ \t]*=[ \t]*\"?([0-9]{1,9})\b")


class ResponseHead:
    """A head whose syntax is proved. Immutable, so one object may stand for many equal heads.

    `raw` ends with the empty line. `framing` is NO_BODY, LENGTH (`length` bytes), CHUNKED or UNTIL_EOF, for any
    method but HEAD; with a length `whole` is the size of head and body together, else 0. `keep_alive` is what the peer
    said (RFC 9112 9.3); `idle_hint` (seconds) and `uses_left` come from a Keep-Alive field, None without one.
    `is_coded` and `sets_cookies`: whether there is a Content-Encoding, a Set-Cookie field.
    """

    __slots__ = (
        "_headers",
        "_raw_headers",
        "framing",
        "idle_hint",
        "is_coded",
        "keep_alive",
        "length",
        "raw",
        "sets_cookies",
        "size",
        "status",
        "uses_left",
        "version",
        "whole",
    )

    def __init__(
        self,
        raw: bytes,
        *,
        framing: int,
        length: int,
        keep_alive: bool,
        idle_hint: float | None = None,
        uses_left: int | None = None,
        is_coded: bool = False,
        sets_cookies: bool = False,
    ) -> None:
        self.raw = raw
        self.size = len(raw)
        self.whole = self.size + length if framing == LENGTH else 0
        self.version: HttpVersion = HttpVersion11 if raw[7] == 0x31 else HttpVersion10
        self.status = int(raw[9:12])
        self.framing = framing
        self.length = length
        self.keep_alive = keep_alive
        self.idle_hint = idle_hint
        self.uses_left = uses_left
        self.is_coded = is_coded
        self.sets_cookies = sets_cookies
        self._raw_headers: tuple[tuple[bytes, bytes], ...] | None = None
        self._headers: CIMultiDictProxy[str] | None = None

    @property
    def reason(self) -> str:
        """The reason phrase; empty if the peer gave none."""
        return self.raw[13 : self.raw.index(b"\r\n")].decode("utf-8", "surrogateescape")

    @property
    def raw_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The fields as they came, in order: (name, value) in bytes."""
        if self._raw_headers is None:
            lines = self.raw[:-4].split(b"\r\n")[1:]
            self._raw_headers = tuple(split_field(line) for line in lines)
        return self._raw_headers

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The fields, looked up without regard to case."""
        if self._headers is None:
            self._headers = decode_fields(self.raw_headers)
        return self._headers


def split_field(line: bytes) -> tuple[bytes, bytes]:
    """Name and value of a field line whose syntax is proved."""
    name, _, value = line.partition(b":")
    return name, value.strip(b" \t")


def decode_fields(fields: tuple[tuple[bytes, bytes], ...]) -> CIMultiDictProxy[str]:
    """Fields as text: UTF-8, with surrogates for what is none (P-03)."""
    decoded: CIMultiDict[str] = CIMultiDict()
    for name, value in fields:
        decoded.add(name.decode("ascii"), value.decode("utf-8", "surrogateescape"))
    return CIMultiDictProxy(decoded)


def field_values(lower: bytes, name: bytes) -> list[bytes]:
    """The values of one field in a lower-cased head."""
    found: list[bytes] = []
    mark = b"\r\n" + name + b":"
    at = lower.find(mark)
    while at >= 0:
        start = at + len(mark)
        end = lower.index(b"\r\n", start)
        found.append(lower[start:end].strip(b" \t"))
        at = lower.find(mark, end)
    return found


def make_head(raw: bytes, lower: bytes, framing: int, length: int) -> ResponseHead:
    """The head whose bytes are `raw`, in lower case `lower`, with what its Connection and Keep-Alive fields say."""
    tokens = {token.strip(b" \t") for value in field_values(lower, b"connection") for token in value.split(b",")}
    keep_alive = b"close" not in tokens and (raw[7] == 0x31 or b"keep-alive" in tokens)
    idle_hint: float | None = None
    uses_left: int | None = None
    for value in field_values(lower, b"keep-alive"):
        for name, number in _HINT.findall(value):
            if name == b"timeout":
                idle_hint = float(number)
            else:
                uses_left = int(number)
    return ResponseHead(
        raw,
        framing=framing,
        length=length,
        keep_alive=keep_alive,
        idle_hint=idle_hint,
        uses_left=uses_left,
        is_coded=b"\r\ncontent-encoding:" in lower,
        sets_cookies=b"\r\nset-cookie:" in lower,
    )
