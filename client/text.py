"""Text of the caller: what a token is, and from text to bytes, with errors that name the argument."""

import re
from typing import Final

from keepwarm.client.errors import InvalidInput
from keepwarm.pool.errors import printable

# RFC 9110, 5.6.2: what methods, field names, cookie names and the like are made of.
TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def encode_text(text: str, encoding: str, argument: str) -> bytes:
    """`text` in `encoding`. Raises InvalidInput for an unknown encoding and for text that it cannot express."""
    try:
        return text.encode(encoding)
    except LookupError:
        is_known = False
    except UnicodeError:
        is_known = True
    # Python's error holds the text, which may be a secret; raised out here, ours does not have it as its context.
    raise not_encodable(encoding, argument, is_known=is_known)


def not_encodable(encoding: str, argument: str, *, is_known: bool) -> InvalidInput:
    """The error for text of `argument` that `encoding` cannot express, or for one that is not known."""
    if is_known:
        return InvalidInput(f"{argument} cannot be written in {encoding!r}", argument=argument)
    return InvalidInput(f"encoding is unknown: {encoding!r}", argument="encoding")


def bad_character(text: str) -> str:
    """Which character keeps `text` from being a token, and where: without the text, which may be a secret."""
    for position, character in enumerate(text):
        if not TOKEN.fullmatch(character):
            return f"the character {printable(repr(character))} at position {position}"
    return "no character"
