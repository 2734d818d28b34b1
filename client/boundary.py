"""Boundary: what parts a multipart body, and the watch that it stands between parts only (RFC 2046, 5.1.1)."""

import re
import secrets
from typing import Final

from keepwarm.client.errors import ClientRequestError, InvalidInput
from keepwarm.client.source import Bytes
from keepwarm.pool.errors import printable

_LEGAL: Final = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_TOKEN: Final = re.compile(r"[0-9A-Za-z'+_\-.]+")


class Boundary:
    """A boundary: 32 random hexadecimal digits unless `text` is given.

    `delimiter` is the text with its two dashes, `parameter` as it stands in a Content-Type, quoted only where that is
    needed: some readers do not know quotes. Raises InvalidInput, a ValueError, unless `text` has 1 to 70 of the
    characters that RFC 2046 allows, with no space at the end; TypeError unless it is a str.
    """

    __slots__ = ("_pattern", "delimiter", "parameter", "text")

    def __init__(self, text: str | None = None) -> None:
        if text is None:
            text = secrets.token_hex(16)
        elif not isinstance(text, str):
            raise TypeError(f"boundary must be str, got {type(text).__name__}")
        elif not _LEGAL.fullmatch(text):
            raise InvalidInput(
                f"boundary must be 1 to 70 letters, digits, spaces or '()+_,-./:=? with no space at the end (RFC 2046, "
                f"5.1.1), got '{printable(text)}'",
                argument="boundary",
            )
        self.text = text
        self.parameter = text if _TOKEN.fullmatch(text) else f'"{text}"'
        self.delimiter = b"--" + text.encode("ascii")
        literal = re.escape(self.delimiter)
        # At the start of a line; lone CR and LF count, since some readers let them. The literal first: it is fast.
        self._pattern = re.compile(literal + rb"(?<![^\r\n]" + literal + rb")")

    def is_in(self, data: Bytes, start: int = 0) -> bool:
        """Whether a reader could take a line of `data`, which begins a line, for the delimiter."""
        return self._pattern.search(data, start) is not None


class BoundaryWatch:
    """Looks for a boundary in the pieces of one part, across their edges too."""

    __slots__ = ("_boundary", "_tail")

    def __init__(self, boundary: Boundary) -> None:
        self._boundary = boundary
        self._tail = b"\n"

    def check(self, piece: Bytes) -> None:
        """Raises ClientRequestError when the delimiter is complete with this piece, which must not be sent then."""
        window = b"".join((self._tail, piece))
        # The first byte only tells whether the second one begins a line.
        if self._boundary.is_in(window, 1):
            raise ClientRequestError(
                f"a part of the multipart body contains its boundary '{self._boundary.text}'; leave the boundary out, "
                "so that a random one is made"
            )
        self._tail = window[-len(self._boundary.delimiter) :]
