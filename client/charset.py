"""The charset of a media type, and from bytes to text when nobody says how."""

import re
from typing import Final

from keepwarm.pool.lazy import lazy_module

_CHARSET: Final = re.compile(r""";\s*charset\s*=\s*["']?([^\s;"']+)""", re.IGNORECASE)
_detector: Final = lazy_module("charset_normalizer")


def charset_of(content_type: str) -> str | None:
    """The charset parameter of a media type, or None."""
    found = _CHARSET.search(content_type)
    return found[1] if found else None


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
