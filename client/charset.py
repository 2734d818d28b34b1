"""The charset of a media type, and from bytes to text when nobody says how."""

import re
from encodings import normalize_encoding
from encodings.aliases import aliases
from typing import Final

from keepwarm.pool.lazy import lazy_module

_CHARSET: Final = re.compile(r""";\s*charset\s*=\s*["']?([^\s;"']+)""", re.IGNORECASE)
_detector: Final = lazy_module("charset_normalizer")

# Python's charsets are those that it has aliases for, and a few more. What else it calls an encoding is none: bytes to
# bytes, notations of Python, and punycode and idna, which take seconds for a body that a peer made for it.
_NO_CHARSETS: Final = frozenset(
    ("base64_codec", "bz2_codec", "hex_codec", "mbcs", "quopri_codec", "rot_13", "tactis", "uu_codec", "zlib_codec")
)
_WITHOUT_ALIAS: Final = (
    *("cp720", "cp737", "cp856", "cp874", "cp875", "cp1006", "koi8_t", "koi8_u"),
    *("mac_arabic", "mac_croatian", "mac_farsi", "mac_romanian", "utf_8_sig"),
)


def _table() -> dict[str, str]:
    codecs = {name: codec for name, codec in aliases.items() if codec not in _NO_CHARSETS}
    return codecs | {codec: codec for codec in (*codecs.values(), *_WITHOUT_ALIAS)}


# A name that is not here is never looked up: Python remembers each name that it failed to find, for ever.
_CODECS: Final = _table()


def charset_of(content_type: str) -> str | None:
    """The charset parameter of a media type, or None."""
    found = _CHARSET.search(content_type)
    return found[1] if found else None


def codec_of(charset: str | None) -> str | None:
    """Python's codec for a charset that a peer named, or None if it named none, or none that Python has.

    None, too, for what Python knows as an encoding and is no charset: hex, unicode_escape, punycode, idna and the like.
    So are codecs that the program registered: those are for the program to name.
    """
    if charset is None:
        return None
    codec = _CODECS.get(charset)
    if codec is None:
        name = normalize_encoding(charset).lower()
        codec = _CODECS.get(name) or _CODECS.get(name.replace(".", "_"))
    return codec


def decode_text(body: bytes, encoding: str | None) -> str:
    """`body` in `encoding`; without one as UTF-8 if it is that, else in the encoding that charset-normalizer detects.

    Text that decodes as UTF-8 is UTF-8 for all practical purposes, and checking is a hundred times faster than
    detecting. Raises UnicodeDecodeError, or LookupError for an unknown encoding.
    """
    if encoding is not None:
        return body.decode(encoding)
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        best = _detector.from_bytes(body).best()
        if best is None:
            raise
        return body.decode(best.encoding)
