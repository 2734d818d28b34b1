"""ContentDisposition: the field of an answer that says whether to show or to save it, read (RFC 6266)."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from keepwarm.client.text import TOKEN

# Nothing is tried twice: blanks behind a "=" without a value took half a second for a field of 8 KiB.
_PARAMETER: Final = re.compile(r';\s*+([^\s=;"]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^\s;"]*+))\s*+(?=;|$)')
_ESCAPE: Final = re.compile(r"\\(.)")
# RFC 8187, 3.2.1: the charset that all must read, and the one that old senders use.
_CHARSETS: Final = {"utf-8": "utf-8", "iso-8859-1": "latin-1"}


class ContentDisposition(NamedTuple):
    """What Content-Disposition says.

    `type` is its first word in lower case, such as ``attachment``; `parameters` maps names in lower case to values as
    they came, without quotation marks; `filename` is ``filename*`` decoded, else ``filename``, else None. It is the
    peer's word, and may be a path to anywhere: take its last part before you open a file by it.
    """

    type: str
    parameters: Mapping[str, str]
    filename: str | None


def read_disposition(value: str) -> ContentDisposition | None:
    """The value of the field, read; None if it does not begin with a word. What is no parameter is passed over, and of
    two parameters of one name the first counts."""
    kind = value.partition(";")[0].strip()
    if not TOKEN.fullmatch(kind):
        return None
    parameters: dict[str, str] = {}
    at = value.find(";")
    while at >= 0:
        found = _PARAMETER.match(value, at)
        if found is None:
            at = value.find(";", at + 1)
            continue
        quoted, bare = found[2], found[3]
        parameters.setdefault(found[1].lower(), bare if quoted is None else _ESCAPE.sub(r"\1", quoted))
        at = found.end() if found.end() < len(value) else -1
    extended = parameters.get("filename*")
    name = None if extended is None else _decoded(extended)
    return ContentDisposition(kind.lower(), MappingProxyType(parameters), name or parameters.get("filename"))


def _decoded(extended: str) -> str | None:
    """charset'language'percent-encoded (RFC 8187, 3.2); None if it is not that."""
    charset, mark, rest = extended.partition("'")
    codec = _CHARSETS.get(charset.lower())
    _, second, text = rest.partition("'")
    if not (mark and second and codec):
        return None
    try:
        return unquote_to_bytes(text).decode(codec)
    except UnicodeDecodeError:
        return None
