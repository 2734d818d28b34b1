"""Which charsets of a peer count, and for which codec they stand."""

import encodings
import pkgutil
from codecs import lookup
from itertools import product

import pytest

from keepwarm.client.charset import charset_of, codec_of

# Encodings of Python that are no charsets: bytes to bytes, text to text, Python's own, the names of hosts, Windows'
# current code page, and Palm OS (nobody ever labelled a web page with it).
NO_CHARSETS = {
    *("base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "uu_codec", "zlib_codec", "rot_13"),
    *("raw_unicode_escape", "unicode_escape", "undefined", "charmap"),
    *("punycode", "idna", "mbcs", "oem", "palmos"),
}
NO_CODECS = {"aliases", "win32_code_pages", "_win_cp_codecs"}


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("utf-8", "utf-8"),
        ("UTF8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("ISO-8859-1", "latin-1"),
        ("iso_8859-15", "iso8859-15"),
        ("windows-1251", "cp1251"),
        ("Shift_JIS", "shift_jis"),
        ("KOI8-U", "koi8_u"),
        ("gb2312", "gb2312"),
        ("us-ascii", "ascii"),
    ],
)
def test_charsets_of_the_web(charset: str, codec: str) -> None:
    """Any spelling that Python understands leads to its codec."""
    found = codec_of(charset)
    assert found is not None
    assert lookup(found).name == lookup(codec).name == lookup(charset).name


def test_every_encoding_of_python_is_a_charset_or_known_not_to_be() -> None:
    """What the standard library has, and how it is accepted."""
    names = {module.name for module in pkgutil.iter_modules(encodings.__path__)} - NO_CODECS
    assert {name for name in names if codec_of(name) is None} == NO_CHARSETS & names


@pytest.mark.parametrize("charset", sorted(NO_CHARSETS | {"zip", "rot13", "raw-unicode-escape", "hex", "uu", "tactis"}))
def test_what_is_no_charset(charset: str) -> None:
    """None, in any spelling."""
    for name, dash in product((charset, charset.upper()), "_-. "):
        assert codec_of(name.replace("_", dash)) is None


@pytest.mark.parametrize("charset", ["", "nonsense", "aliases", "\x00", "\xff", "..", "x" * 8000, "utf-8;punycode"])
def test_unknown_names_leave_no_trace(charset: str) -> None:
    """Python keeps every name that it failed to find: a peer must not fill that memory."""
    known = len(encodings._cache)  # type: ignore[attr-defined]
    assert codec_of(charset) is None
    assert len(encodings._cache) == known  # type: ignore[attr-defined]


def test_no_charset() -> None:
    """A peer that names none."""
    assert charset_of("text/plain") is None
    assert codec_of(None) is None
