"""decode_text: from bytes to text when nobody says how."""

from typing import Final

from keepwarm.pool.lazy import lazy_module

_detector: Final = lazy_module("charset_normalizer")


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
