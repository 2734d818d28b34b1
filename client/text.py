"""Text of the caller: what a token is, and from text to bytes, with errors that name the argument."""

import re
from typing import Final

from keepwarm.client.errors import InvalidInput

# RFC 9110, 5.6.2: what methods, field names, cookie names and the like are made of.
TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def encode_text(text: str, encoding: str, argument: str) -> bytes:
    """`text` in `encoding`. Raises InvalidInput for an unknown encoding and for text that it cannot express."""
    try:
        return text.encode(encoding)
    except (LookupError, UnicodeError) as exc:
        raise not_encodable(encoding, argument, exc) from None


def not_encodable(encoding: str, argument: str, exc: Exception) -> InvalidInput:
    """The error for what encoding the text of `argument` raised."""
    if isinstance(exc, UnicodeError):
        return InvalidInput(f"{argument} cannot be written in {encoding!r}", argument=argument)
    return InvalidInput(f"encoding is unknown: {encoding!r}", argument="encoding")
