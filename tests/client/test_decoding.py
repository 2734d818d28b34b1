"""Content codings undone: each coding, broken bodies, chains, the packages that may be missing."""

import gzip
import pickle
import subprocess
import sys
import zlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import brotli
import brotlicffi
import pytest

from keepwarm.client.codec_packages import brotli_package, zstd_package
from keepwarm.client.decoding import (
    Decoder,
    accept_encoding,
    decode_small,
    known_codings,
    parse_codings,
)
from keepwarm.client.decoding_error import ContentDecodingError
from keepwarm.client.errors import ClientPayloadError, ClientProtocolError, ContentEncodingError
from keepwarm.pool.endpoint import Endpoint
from tests.support.codings import ENCODERS, FORMS, TEXT, decode_all, encode, raw_deflate, zeros, zstd


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Lets a test say which packages are installed."""
    caches = (brotli_package, zstd_package, known_codings)
    for cached in caches:
        cached.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    for cached in caches:
        cached.cache_clear()


def decode_pieces(pieces: list[bytes], *codings: str, n: int = 65536) -> bytes:
    """As a connection feeds them: read what there is after each piece."""
    decoder = Decoder(codings)
    out = []
    for piece in pieces:
        decoder.feed(piece)
        while not decoder.needs_input:
            out.append(decoder.read(n))
    decoder.finish()
    return b"".join(out)


# -- each coding --


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("data", [b"", b"a", TEXT, bytes(300_000), bytes(range(256)) * 600])
def test_every_coding(form: str, data: bytes) -> None:
    """K-28: what was encoded comes back."""
    coding, encoder = FORMS[form]
    assert decode_all(encoder(data), (coding,)) == data


@pytest.mark.parametrize("form", FORMS)
def test_cut_at_every_offset(form: str) -> None:
    """K-28: where the network cuts a body makes no difference."""
    coding, encoder = FORMS[form]
    body = encoder(TEXT)
    for at in range(len(body) + 1):
        assert decode_pieces([body[:at], body[at:]], coding) == TEXT


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [1, 7, 65536])
def test_byte_by_byte(form: str, n: int) -> None:
    """K-28: single bytes in, and few bytes out at a time."""
    coding, encoder = FORMS[form]
    assert decode_pieces([bytes([byte]) for byte in encoder(TEXT)], coding, n=n) == TEXT


@pytest.mark.parametrize("form", FORMS)
def test_read_gives_no_more_than_it_is_asked_for(form: str) -> None:
    coding, encoder = FORMS[form]
    decoder = Decoder((coding,))
    decoder.feed(encoder(bytes(100_000)))
    sizes = []
    while not decoder.needs_input:
        sizes.append(len(decoder.read(999)))
    decoder.finish()
    assert max(sizes) == 999
    assert sum(sizes) == decoder.total == 100_000


@pytest.mark.parametrize("coding", ENCODERS)
def test_a_flushed_piece_can_be_read_at_once(coding: str) -> None:
    """K-28: an event stream is not held back until its end."""
    compress: Any
    if coding == "br":
        compress = brotli.Compressor()
        flushed = compress.process(b"event") + compress.flush()
    elif coding == "zstd":
        compress = zstd.ZstdCompressor()
        flushed = compress.compress(b"event", compress.FLUSH_BLOCK)
    else:
        compress = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
        flushed = compress.compress(b"event") + compress.flush(zlib.Z_SYNC_FLUSH)
    decoder = Decoder((coding,))
    decoder.feed(flushed)
    assert decoder.read() == b"event"
    assert decoder.needs_input


@pytest.mark.parametrize("form", FORMS)
def test_small_reads_hold_nothing_back(form: str) -> None:
    """K-28: wherever the body was cut, small reads give all that large ones give, before more arrives."""
    coding, encoder = FORMS[form]
    body = encoder(b"a" * 900 + TEXT[:100] + b"b" * 900)
    for size in range(len(body)):
        totals = []
        for n in (1, 65536):
            decoder = Decoder((coding,))
            decoder.feed(body[:size])
            while not decoder.needs_input:
                decoder.read(n)
            totals.append(decoder.total)
        assert totals[0] == totals[1]


def test_feeding_decodes_nothing() -> None:
    """F47, F48: work is done by reads alone, broken bytes included."""
    decoder = Decoder(("gzip",))
    decoder.feed(b"this is not gzip")
    decoder.feed(zeros(1 << 20, "gzip"))
    assert decoder.total == 0
    assert not decoder.needs_input
    with pytest.raises(ContentDecodingError):
        decoder.read()


def test_both_kinds_of_deflate_are_told_apart() -> None:
    """K-28: deflate with and without the zlib format, whatever its window and level, stored blocks included."""
    for level in range(10):
        for wbits in range(9, 16):
            for data in (b"", b"x", TEXT, bytes(70_000)):
                assert decode_all(zlib.compress(data, level, wbits=wbits), ("deflate",)) == data
                assert decode_all(zlib.compress(data, level, wbits=-wbits), ("deflate",)) == data


def test_deflate_that_only_looks_like_zlib() -> None:
    """K-28: a bare stored block may have any padding; the check in a zlib header tells it apart."""
    for size in range(1, 100):
        block = b"\x78" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + bytes(size)
        if (0x7800 + size) % 31:
            assert decode_pieces([block[:1], block[1:] + raw_deflate(b"end")], "deflate") == bytes(size) + b"end"


# -- broken bodies (F45) --


@pytest.mark.fault("F45")
@pytest.mark.parametrize("form", FORMS)
def test_a_body_cut_short_is_refused(form: str) -> None:
    """F45: at whatever byte it was cut, and with what came before that readable."""
    coding, encoder = FORMS[form]
    body = encoder(TEXT)
    for size in range(1, len(body)):
        with pytest.raises(ContentDecodingError, match="cut short") as caught:
            decode_all(body[:size], (coding,))
        assert (caught.value.coding, caught.value.offset) == (coding, size)


@pytest.mark.fault("F45")
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("garbage", [b"\0", b"\0" * 512, b"garbage", b"\x1f\x8cgarbage", b"x" * 100_000])
@pytest.mark.parametrize("form", FORMS)
def test_garbage_behind_the_end_is_refused(form: str, garbage: bytes, apart: bool) -> None:
    """F45: in the same piece or in one of its own."""
    coding, encoder = FORMS[form]
    body = encoder(TEXT)
    with pytest.raises(ContentDecodingError) as caught:
        decode_pieces([body, garbage] if apart else [body + garbage], coding)
    assert caught.value.coding == coding


@pytest.mark.fault("F45")
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
def test_the_error_says_that_it_is_garbage(coding: str) -> None:
    """F45: and where it begins."""
    body = ENCODERS[coding](TEXT)
    with pytest.raises(ContentDecodingError, match="something follows the end of the data") as caught:
        decode_pieces([body, b"garbage"], coding)
    assert caught.value.offset == len(body)


@pytest.mark.fault("F45")
@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_several_members_are_joined(coding: str) -> None:
    """F45: members of gzip and frames of zstd, empty ones among them, wherever the network cuts them."""
    encoder = ENCODERS[coding]
    body = encoder(b"one") + encoder(b"") + encoder(b"two") + encoder(b"")
    for at in range(len(body) + 1):
        assert decode_pieces([body[:at], body[at:]], coding) == b"onetwo"
    many = encoder(b"") * 5000 + encoder(b"end")
    assert decode_all(many, (coding,)) == b"end"


def test_a_zstd_frame_to_be_skipped_is_skipped() -> None:
    skipped = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"aside"
    assert decode_all(skipped + zstd.compress(b"a") + skipped + zstd.compress(b"b"), ("zstd",)) == b"ab"


@pytest.mark.fault("F45")
@pytest.mark.parametrize("said", ENCODERS)
@pytest.mark.parametrize("sent", [*FORMS, "plain"])
def test_another_coding_than_the_header_says(said: str, sent: str) -> None:
    """F45: a wrong Content-Encoding is an error, never a wrong body."""
    coding, encoder = FORMS.get(sent, ("identity", bytes))
    if coding == said:
        return
    with pytest.raises(ContentDecodingError):
        decode_all(encoder(TEXT), (said,))


@pytest.mark.fault("F45")
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_damaged_body_never_passes_for_another(coding: str) -> None:
    """F45: whichever bit is changed, what comes out is the body or an error."""
    body = ENCODERS[coding](b"a body")
    refused = 0
    for bit in range(len(body) * 8):
        damaged = bytearray(body)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            assert decode_all(bytes(damaged), (coding,)) == b"a body"
        except ContentDecodingError:
            refused += 1
    # The rest are the padding of the last block, and in gzip a name, a time and a system that nobody looks at.
    assert refused >= (len(body) - (10 if coding == "gzip" else 1)) * 8


@pytest.mark.fault("F45")
@pytest.mark.parametrize("coding", ENCODERS)
def test_no_body_at_all_is_fine(coding: str) -> None:
    """F45: HEAD, 204, 304 and a length of 0 name a coding and have nothing coded."""
    assert decode_all(b"", (coding,)) == b""
    assert decode_all(b"", (coding, "gzip")) == b""
    assert decode_small(b"", (coding,)) == b""


def test_a_preset_dictionary_is_refused() -> None:
    compress = zlib.compressobj(zdict=b"a body")
    with pytest.raises(ContentDecodingError, match="as deflate"):
        decode_all(compress.compress(b"a body") + compress.flush(), ("deflate",))


def test_a_zstd_window_above_8_mib_is_refused() -> None:
    """RFC 9659: a larger window is nothing that a peer may ask for, and would cost memory."""
    parameter = zstd.CompressionParameter
    for window_log, fits in ((23, True), (24, False)):
        compress = zstd.ZstdCompressor(options={parameter.window_log: window_log})
        body = compress.compress(bytes(1 << 20)) + compress.flush()
        if fits:
            assert decode_all(body, ("zstd",)) == bytes(1 << 20)
        else:
            with pytest.raises(ContentDecodingError, match="as zstd"):
                decode_all(body, ("zstd",))


def test_the_error_tells_all_and_can_be_caught_by_both_names() -> None:
    """M-15, M-22: coding, offset, endpoint, phase; it survives pickling."""
    endpoint = Endpoint("example.com", 80, False)
    with pytest.raises(ContentDecodingError) as caught:
        decode_all(b"plain text", ("gzip",), endpoint=endpoint, reused=True)
    error = caught.value
    assert isinstance(error, ClientPayloadError) and isinstance(error, ContentEncodingError)
    assert str(error).startswith("the body cannot be decoded as gzip: ")
    assert (error.coding, error.offset, error.endpoint, error.reused, error.phase) == (
        "gzip",
        0,
        endpoint,
        True,
        "body",
    )
    assert (error.code, error.message) == (400, str(error))
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is ContentDecodingError
    assert (str(again), again.__dict__) == (str(error), error.__dict__)


# -- chains --


@pytest.mark.parametrize("chain", [("gzip", "br"), ("zstd", "deflate", "gzip"), ("br", "br"), ("gzip",) * 5])
def test_a_chain_is_undone_from_its_end(chain: tuple[str, ...]) -> None:
    """RFC 9110 8.4: codings are listed in the order in which they were applied."""
    body = encode(TEXT * 50, chain)
    assert decode_all(body, chain) == TEXT * 50
    assert decode_pieces([bytes([byte]) for byte in body], *chain, n=100) == TEXT * 50


@pytest.mark.fault("F45")
def test_a_chain_cut_short_names_the_coding() -> None:
    """F45: the inner coding may be the one that was cut."""
    with pytest.raises(ContentDecodingError) as caught:
        decode_all(gzip.compress(zlib.compress(TEXT)[:-1]), ("deflate", "gzip"))
    assert caught.value.coding == "deflate"
    with pytest.raises(ContentDecodingError) as caught:
        decode_all(gzip.compress(zlib.compress(TEXT))[:-1], ("deflate", "gzip"))
    assert caught.value.coding == "gzip"


@pytest.mark.fault("F46")
@pytest.mark.parametrize(
    "values", [["gzip, " * 5 + "gzip"], ["gzip"] * 6, ["gzip, br", "x-gzip,identity", "zstd,unknown"], ["identity"] * 6]
)
def test_a_chain_of_more_than_five_is_refused(values: list[str]) -> None:
    """F46: in one header or in several."""
    with pytest.raises(ClientProtocolError, match="6 content codings, at most 5"):
        parse_codings(values)


@pytest.mark.fault("F46", "F49")
def test_a_flood_of_codings_is_cut_in_the_error() -> None:
    with pytest.raises(ClientProtocolError) as caught:
        parse_codings(["\x1b[31m," * 10_000])
    assert len(str(caught.value)) < 250
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "codings"),
    [
        ([], ()),
        ([""], ()),
        (["identity"], ()),
        (["gzip"], ("gzip",)),
        (["X-GZip"], ("gzip",)),
        (["BR"], ("br",)),
        ([" gzip\t,, deflate ,"], ("gzip", "deflate")),
        (["gzip", "zstd"], ("gzip", "zstd")),
        (["gzip, identity, br", "deflate", "gzip"], ("gzip", "br", "deflate", "gzip")),
        (["snappy"], ()),
        (["gzip, snappy"], ()),
        (["snappy", "gzip"], ()),
        (["gzip\udcff"], ()),
    ],
)
def test_content_encoding_is_parsed(values: list[str], codings: tuple[str, ...]) -> None:
    """K-28: aliases and identity; a body with an unknown coding stays as it came, all its codings on it."""
    assert parse_codings(values) == codings
    assert not codings or Decoder(codings).codings == codings


# -- limits --


@pytest.mark.fault("F47")
@pytest.mark.parametrize("coding", ENCODERS)
def test_a_cap_on_the_decoded_size(coding: str) -> None:
    """F47: up to `max_size` bytes are fine, one more is an error."""
    body = ENCODERS[coding](bytes(200_000))
    assert decode_all(body, (coding,), 200_000) == bytes(200_000)
    with pytest.raises(ContentDecodingError, match="larger than the limit of 199999 bytes") as caught:
        decode_all(body, (coding,), 199_999)
    assert caught.value.coding == coding


@pytest.mark.parametrize("coding", ENCODERS)
def test_decode_small_leaves_large_bodies_to_the_stream(coding: str) -> None:
    """F47: it decodes what is small, and gives up on the rest after a little work."""
    assert decode_small(ENCODERS[coding](TEXT), (coding,)) == TEXT
    assert decode_small(zeros(4 << 20, coding), (coding,)) is None
    with pytest.raises(ContentDecodingError, match="limit"):
        decode_small(ENCODERS[coding](TEXT), (coding,), len(TEXT) - 1)
    with pytest.raises(ContentDecodingError, match="cut short"):
        decode_small(ENCODERS[coding](TEXT)[:-1], (coding,))


def test_a_decoder_needs_codings_that_it_knows() -> None:
    for codings in ((), ("snappy",), ("gzip", "identity"), ("GZIP",)):
        with pytest.raises(ValueError, match="gzip, deflate"):
            Decoder(codings)


# -- packages --


def test_everything_is_offered_here() -> None:
    """P-16: the development environment has both optional packages."""
    assert accept_encoding() == "gzip, deflate, br, zstd"


@pytest.mark.parametrize(
    ("missing", "offered"),
    [
        (("brotli", "brotlicffi"), "gzip, deflate, zstd"),
        (("compression.zstd", "backports.zstd"), "gzip, deflate, br"),
        (("brotli", "brotlicffi", "compression.zstd", "backports.zstd"), "gzip, deflate"),
        (("brotli",), "gzip, deflate, br, zstd"),
    ],
)
def test_missing_packages(packages: pytest.MonkeyPatch, missing: tuple[str, ...], offered: str) -> None:
    """P-16: what cannot be undone is not asked for, and left alone when it comes all the same."""
    for name in missing:
        packages.setitem(sys.modules, name, None)
    assert accept_encoding() == offered
    for coding in ENCODERS:
        known = coding in offered.split(", ")
        assert parse_codings([coding]) == ((coding,) if known else ())
        if known:
            assert decode_all(ENCODERS[coding](TEXT), (coding,)) == TEXT
        else:
            with pytest.raises(ValueError, match="codings must be some of"):
                Decoder((coding,))


def test_brotlicffi_does_as_well(packages: pytest.MonkeyPatch) -> None:
    packages.setitem(sys.modules, "brotli", None)
    assert brotli_package() is brotlicffi
    test_cut_at_every_offset("br")
    test_byte_by_byte("br", 7)
    test_a_body_cut_short_is_refused("br")
    for garbage in (b"\0", b"x" * 100_000):
        for apart in (False, True):
            test_garbage_behind_the_end_is_refused("br", garbage, apart)
    assert len(decode_all(zeros(4 << 20, "br"), ("br",))) == 4 << 20


def test_a_brotli_that_cannot_limit_its_output_is_not_used(packages: pytest.MonkeyPatch) -> None:
    """F47: before 1.2 one call could fill the memory."""
    old = SimpleNamespace(Decompressor=SimpleNamespace(process=None, is_finished=None))
    packages.setitem(sys.modules, "brotli", old)
    assert brotli_package() is brotlicffi
    brotli_package.cache_clear()
    packages.setitem(sys.modules, "brotlicffi", None)
    assert brotli_package() is None


def test_importing_keepwarm_loads_no_codec() -> None:
    code = (
        "import sys, keepwarm; print([n for n in ('brotli', 'backports.zstd', 'compression.zstd') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=30, text=True)
    assert done.stdout.strip() == "[]"


def test_raw_deflate_is_what_its_name_says() -> None:
    """The forms above are two different ones indeed."""
    assert zlib.compress(TEXT)[2:-4] == raw_deflate(TEXT)
