"""Content-Length: read, and made one where several are equal (RFC 9112 6.3)."""

import re
from typing import Final

from keepwarm.client.errors import ClientProtocolError
from keepwarm.pool.errors import printable

# A length of twenty digits is beyond any body that exists.
MOST_LENGTH_DIGITS: Final = 19
_LENGTH = re.compile(rb"[0-9]+")


def parse_length(value: bytes) -> int:
    """The number. Raises ClientProtocolError for what is none."""
    if not _LENGTH.fullmatch(value) or len(value) > MOST_LENGTH_DIGITS:
        raise ClientProtocolError(f"the Content-Length '{printable(value)}' is not a number")
    return int(value)


def merge_lengths(raw: bytes, lengths: list[bytes]) -> tuple[bytes, list[bytes]]:
    """The head with one Content-Length in place of several equal ones, and that one. Raises ClientProtocolError if they
    differ."""
    values = {part.strip(b" \t") for value in lengths for part in value.split(b",")}
    if len(values) > 1:
        raise ClientProtocolError(f"the response has several lengths: '{printable(b', '.join(lengths))}'")
    kept = [line for line in raw[:-4].split(b"\r\n") if not line.lower().startswith(b"content-length:")]
    value = values.pop()
    return b"\r\n".join([*kept, b"Content-Length: " + value, b"", b""]), [value]
