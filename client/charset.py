"""The charset of a media type, and from bytes to text when nobody says how."""

import re
from encodings import normalize_encoding
from encodings.aliases import aliases
from typing import Final

from keepwarm.pool.lazy import lazy_module

# A parameter: what stands up to the next semicolon that is not within quotes.
_PARAMETER: Final = re.compile(r""";([^;"]*+(?:"(?:[^"\\]|\\.)*+"?[^;"]*+)*+)""", re.DOTALL)
_CHARSET: Final = re.compile(r"""\s*charset\s*=\s*["']?([^\s;"']+)""", re.IGNORECASE)
# How many bytes of a body the detector is given.
SAMPLE: Final = 65536
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
    """The charset parameter of a media type, or None. What stands in quotes in another parameter is none."""
    for parameter in _PARAMETER.finditer(content_type):
        found = _CHARSET.match(parameter[1])
        if found:
            return found[1]
    return None


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


def decode_text(body: bytes, encoding: str | None, errors: str = "strict") -> str:
    """`body` in `encoding`; without one as UTF-8 if it is that, else in the encoding that charset-normalizer detects.

    Text that decodes as UTF-8 is UTF-8 for all practical purposes, and checking is a hundred times faster than
    detecting. `errors` is Python's. Raises UnicodeDecodeError, or LookupError for an unknown encoding.
    """
    if encoding is not None:
        return body.decode(encoding, errors)
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        detected = _detected(body, error.start)
        if detected is None and errors == "strict":
            raise
    return body.decode(detected or "utf-8", errors)


def guess_encoding(body: bytes) -> str:
    """What `decode_text` takes `body` to be when nobody names its encoding; UTF-8 if it cannot tell."""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        return _detected(body, error.start) or "utf-8"
    return "utf-8"


def _detected(body: bytes, start: int) -> str | None:
    """What the detector says. `start` is where the body stops to be UTF-8."""
    best = _detector.from_bytes(_sample(body, start)).best()
    return None if best is None else best.encoding


def _sample(body: bytes, start: int) -> bytes:
    """As much of the body as the detector is to see. It would take a second for some megabytes, and hold the loop."""
    if len(body) <= SAMPLE:
        return body
    start -= start % 4  # no character of any encoding is cut here: those before are ASCII, or all are of one width
    sample = body[start : start + SAMPLE]
    if len(sample) < SAMPLE or b"\x00" in sample:
        return sample
    # A byte below 0x30 is a character by itself in every encoding but those with NULs: nothing is cut behind it.
    end = max(sample.rfind(b"\n"), sample.rfind(b" "))
    return sample[: end + 1] or sample
