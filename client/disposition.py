"""content_disposition: the value of the field that names a part and its file (RFC 2183, RFC 7578 4.2)."""

import re
from typing import Final
from urllib.parse import quote

from keepwarm.client.errors import InvalidInput
from keepwarm.client.text import TOKEN
from keepwarm.pool.errors import printable

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# RFC 8187, 3.2.1, less what quote() never touches.
_ATTRIBUTE: Final = "!#$&+-.^_`|~"
# CR, LF and quotes as browsers write them (the form-data encoding of the HTML standard), which leave the rest alone.
_ESCAPES: Final = str.maketrans({"\r": "%0D", "\n": "%0A", '"': "%22"})


def content_disposition(
    disposition: str, *, name: str | None = None, filename: str | None = None, extended: bool = False
) -> str:
    """The value of Content-Disposition with these parameters, safe for the wire whatever they hold (FAULTS O06).

    CR, LF and quotes are percent-encoded, and so is a backslash at the end, which would hide the closing quote from
    readers of quoted strings (RFC 9110, 5.6.4). Other characters stay, and are UTF-8 on the wire.
    `extended` adds ``filename*`` (RFC 8187), which form-data must not have (RFC 7578, 4.2).

    Raises InvalidInput for other control characters, for text that UTF-8 cannot express, for a `disposition` that is
    no token and for `extended` with form-data; TypeError for what is not a str. Each names its argument.
    """
    if not isinstance(disposition, str) or not TOKEN.fullmatch(disposition):
        raise InvalidInput(f"disposition must be a token, got {disposition!r}", argument="disposition")
    value = disposition
    if name is not None:
        value += f'; name="{_quoted(name, "name")}"'
    if filename is not None:
        value += f'; filename="{_quoted(filename, "filename")}"'
        if extended:
            if disposition.lower() == "form-data":
                raise InvalidInput("extended: form-data must not have filename* (RFC 7578, 4.2)", argument="extended")
            value += f"; filename*=UTF-8''{quote(filename, safe=_ATTRIBUTE, errors='surrogateescape')}"
    return value


def _quoted(text: str, argument: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{argument} must be str, got {type(text).__name__}")
    found = _CONTROL.search(text)
    if found:
        raise InvalidInput(
            f"{argument} '{printable(text)}' has the control character {found[0]!r} at position {found.start()}",
            argument=argument,
        )
    try:
        # File names that the system could not decode come as surrogates, and go back as the bytes they were.
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InvalidInput(f"{argument} '{printable(text)}' cannot be written as UTF-8", argument=argument) from None
    escaped = text.translate(_ESCAPES)
    # Doubled it would be right, but some readers take the quote after any backslash for a part of the text.
    return f"{escaped[:-1]}%5C" if escaped.endswith("\\") else escaped
