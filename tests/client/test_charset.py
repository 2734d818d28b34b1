"""Which charsets of a peer count, and for which codec they stand."""

import encodings
import pkgutil
from codecs import lookup
from itertools import product

import charset_normalizer
import pytest

from keepwarm.client.charset import SAMPLE, charset_of, codec_of, decode_text

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


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        ("text/html; charset=utf-8", "utf-8"),
        ('text/html;charset="utf-8"', "utf-8"),
        ("text/html; CharSet='utf-8' ; x=y", "utf-8"),
        ("text/html; charset = latin-1", "latin-1"),
        ("text/html; x=y; charset=latin-1; charset=utf-8", "latin-1"),
        ('text/html; x="a; charset=koi8-r"; charset=utf-8', "utf-8"),
        ('text/html; x="a; charset=koi8-r"', None),
        ('text/html; x="a\\"; charset=koi8-r"', None),
        ('text/html; x="a\\"; charset=koi8-r"; charset=utf-8', "utf-8"),
        ('text/html; x="a; charset=koi8-r', None),
        ('text/html; x=""; charset=utf-8', "utf-8"),
        ("text/html; charset=; charset=utf-8", "utf-8"),
        ("text/html; mycharset=utf-8", None),
        ("text/html; x=charset=utf-8", None),
        ("charset=utf-8", None),
        ("text/html", None),
        ("", None),
    ],
)
def test_the_charset_of_a_media_type(content_type: str, charset: str | None) -> None:
    """The first parameter of that name, in quotes or not; never what stands in quotes in another one."""
    assert charset_of(content_type) == charset


@pytest.mark.parametrize("encoding", ["cp1252", "shift_jis", "utf-16", "euc_kr"])
@pytest.mark.parametrize("start", ["", "ascii " * 100_000], ids=["at once", "late"])
def test_a_large_body_is_detected_by_a_part_of_it(encoding: str, start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Detecting takes a second for some megabytes: the detector gets 64 KiB of them, from where UTF-8 ends, and no
    character is cut in two."""
    words = {"cp1252": "Größe für Maß. ", "shift_jis": "日本語の文字コード。 ", "euc_kr": "한국어 문자 코드. "}
    text = start + words.get(encoding, "Größe, 日本語 ") * 20_000
    body = text.encode(encoding)
    seen: list[int] = []
    detect = charset_normalizer.from_bytes

    def counted(sample: bytes) -> object:
        seen.append(len(sample))
        sample.decode(encoding)
        return detect(sample)

    monkeypatch.setattr(charset_normalizer, "from_bytes", counted)
    assert decode_text(body, None) == text
    assert len(seen) == 1 and 60_000 < seen[0] <= SAMPLE


@pytest.mark.parametrize("size", [4, SAMPLE])
def test_what_nobody_can_detect(size: int) -> None:
    """It is an error, or with `errors` UTF-8 as far as that goes."""
    body = bytes(range(256)) * (size // 4)
    with pytest.raises(UnicodeDecodeError):
        decode_text(body, None)
    assert decode_text(body, None, "replace") == body.decode("utf-8", "replace")
    assert decode_text(b"a\xff", "ascii", "ignore") == "a"


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
