"""Compressed request bodies (rows C-19 and C-20 of the surface)."""

import asyncio
import io
import random
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from keepwarm.client.compressing import CompressedPayload, check_compress, compress_payload
from keepwarm.client.errors import ClientRequestError, InvalidInput
from keepwarm.client.framing import frame_body
from keepwarm.client.headers import encode_headers
from keepwarm.client.version import HttpVersion10
from tests.support.bodies import Failing, body, made, pieces
from tests.support.codings import TEXT

pytestmark = pytest.mark.asyncio

WBITS = {"gzip": 31, "deflate": 15}


def compressed(data: Any, compress: object = None, *preset: str) -> CompressedPayload:
    payload = compress_payload(made(data), compress, preset).payload
    assert isinstance(payload, CompressedPayload)
    return payload


# -- what `compress` means --


@pytest.mark.parametrize(
    ("compress", "coding"),
    [(True, "deflate"), ("deflate", "deflate"), ("gzip", "gzip"), ("GZIP", "gzip")],
)
async def test_compress_names_the_coding(compress: object, coding: str) -> None:
    """C-19: True is deflate; the header is added."""
    done = compress_payload(made(TEXT), compress)
    assert done.lines == b"Content-Encoding: %b\r\n" % coding.encode()
    assert done.payload is not None
    assert zlib.decompress(await body(done.payload), wbits=WBITS[coding]) == TEXT


@pytest.mark.parametrize("compress", [None, False])
async def test_nothing_is_compressed_unasked(compress: object) -> None:
    payload = made(TEXT)
    assert compress_payload(payload, compress) == (payload, b"")


@pytest.mark.parametrize("compress", [1, 0, "", "br", "zstd", "identity", "x", b"gzip", 1.5, ["gzip"], "gzip\r\nX: y"])
async def test_any_other_compress_is_refused(compress: object) -> None:
    """C-19: before anything is sent, body or not, and naming the argument."""
    for payload in (made(TEXT), None):
        with pytest.raises(InvalidInput, match="compress must be") as caught:
            compress_payload(payload, compress)
        assert caught.value.argument == "compress"
        assert "\n" not in str(caught.value)
    with pytest.raises(InvalidInput):
        check_compress(compress)


@pytest.mark.parametrize("compress", [None, True, "deflate", "gzip"])
@pytest.mark.parametrize(("preset", "coding"), [("gzip", "gzip"), ("X-GZip", "gzip"), (" Deflate ", "deflate")])
async def test_a_preset_header_decides(preset: str, coding: str, compress: object) -> None:
    """C-20: the body is compressed with the coding that the header names, and the header is not added again."""
    done = compress_payload(made(TEXT), compress, [preset])
    assert done.lines == b""
    assert done.payload is not None
    assert zlib.decompress(await body(done.payload), wbits=WBITS[coding]) == TEXT


@pytest.mark.parametrize("preset", ["gzip", "br", "zstd, gzip", "whatever"])
async def test_false_says_that_it_is_compressed_already(preset: str) -> None:
    """C-20: then the header is the caller's word for what data is."""
    payload = made(TEXT)
    assert compress_payload(payload, False, [preset]) == (payload, b"")


@pytest.mark.parametrize("preset", [["br"], ["gzip, deflate"], ["gzip", "gzip"], ["whatever"], ["gzip\x1b"]])
@pytest.mark.parametrize("compress", [None, True])
async def test_a_preset_header_that_cannot_be_done_is_refused(preset: list[str], compress: object) -> None:
    """C-20: and the error says what to do with data that is compressed already."""
    with pytest.raises(InvalidInput, match="give compress=False") as caught:
        compress_payload(made(TEXT), compress, preset)
    assert caught.value.argument == "headers"
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("preset", [["identity"], [""], ["identity, "]])
async def test_identity_asks_for_nothing(preset: list[str]) -> None:
    payload = made(TEXT)
    assert compress_payload(payload, None, preset) == (payload, b"")
    with pytest.raises(InvalidInput):
        compress_payload(payload, True, preset)


async def test_without_a_body_there_is_nothing_to_compress() -> None:
    """C-19: no header promises a coding that no body has."""
    assert compress_payload(None, True) == (None, b"")
    assert compress_payload(None, None, ["br"]) == (None, b"")


# -- the payload --


@pytest.mark.parametrize("size", [1, 16384, 16385, 300_000])
@pytest.mark.parametrize("compress", ["gzip", "deflate"])
async def test_it_is_sent_in_chunks_whatever_its_size(compress: str, size: int) -> None:
    """C-19: the length is not told, so the framing is chunked, also for what was compressed at once."""
    data = random.Random(size).randbytes(size)
    payload = compressed(data, compress)
    assert payload.length is None
    assert (payload.body is not None) == (size <= 16384)
    framing = frame_body(payload, "POST")
    assert framing.chunked and framing.lines == b"Transfer-Encoding: chunked\r\n"
    sent = await body(payload)
    assert zlib.decompress(sent, wbits=WBITS[compress]) == data
    if payload.body is not None:
        assert bytes(payload.body) == sent


async def test_deflate_has_the_zlib_format() -> None:
    """C-19 (deviation): RFC 9110 8.4.1.2 asks for the zlib format; the reference sent the bare stream."""
    for data in (TEXT, TEXT * 100):
        sent = await body(compressed(data, True))
        assert sent[0] & 0x0F == 8 and int.from_bytes(sent[:2], "big") % 31 == 0
        assert int.from_bytes(sent[-4:], "big") == zlib.adler32(data)


async def test_a_declared_length_is_refused() -> None:
    """O07: the caller's Content-Length is that of the plain body, or a guess."""
    with pytest.raises(InvalidInput, match="Content-Length 9 cannot be declared") as caught:
        frame_body(compressed(TEXT, True), "POST", encode_headers({"Content-Length": "9"}))
    assert caught.value.argument == "headers"


async def test_http_10_has_no_chunks() -> None:
    with pytest.raises(InvalidInput, match=r"HTTP/1\.0"):
        frame_body(compressed(TEXT, True), "POST", version=HttpVersion10)


async def test_the_content_type_stays_that_of_the_data() -> None:
    assert compressed({"a": "b"}, True).content_type == "application/x-www-form-urlencoded"
    payload = compress_payload(made(json=[1]), "gzip").payload
    assert payload is not None and payload.content_type == "application/json"
    assert zlib.decompress(await body(payload), wbits=31) == b"[1]"


async def generated() -> AsyncIterator[bytes]:
    for at in range(0, len(TEXT), 100):
        yield TEXT[at : at + 100]
        yield b""


@pytest.mark.parametrize("kind", ["file", "list", "generator", "async generator", "large bytes"])
async def test_every_kind_of_source(kind: str) -> None:
    """C-07 to C-10: whatever data may be."""
    sources: dict[str, Any] = {
        "file": io.BytesIO(TEXT),
        "list": [TEXT[:100], bytearray(TEXT[100:])],
        "generator": (bytes([byte]) for byte in TEXT),
        "async generator": generated(),
        "large bytes": TEXT * 100,
    }
    payload = compressed(sources[kind], "gzip")
    assert not payload.started
    assert zlib.decompress(await body(payload), wbits=31) == TEXT * (100 if kind == "large bytes" else 1)
    assert payload.started


async def test_it_can_be_sent_again_if_its_source_can() -> None:
    """P26: the second sending begins anew and gives the same bytes."""
    for data in (TEXT, TEXT * 100, io.BytesIO(TEXT * 100), [TEXT] * 100):
        payload = compressed(data, "gzip")
        first = await anext(aiter(payload.chunks()))
        assert payload.replayable
        whole = await body(payload)
        assert whole.startswith(first)
        assert await body(payload) == whole
    payload = compressed(generated(), "gzip")
    assert payload.replayable
    await body(payload)
    assert not payload.replayable
    with pytest.raises(ClientRequestError, match="cannot be read again"):
        payload.chunks()


async def test_a_source_that_fails_fails_the_body() -> None:
    """O09: no end is made up: what was sent is no complete stream."""

    def broken() -> Iterator[bytes]:
        yield random.Random(1).randbytes(200_000)
        raise OSError("disk")

    failing = Failing()
    assert isinstance(await failing.drain(compressed(broken(), "gzip")), OSError)
    decompress = zlib.decompressobj(wbits=31)
    assert decompress.decompress(failing.sent)
    assert not decompress.eof


async def test_the_length_of_the_source_is_still_checked(tmp_path: Any) -> None:
    """O07, O09: a file that shrinks while it is sent is noticed, although the compressed body has no length."""
    path = tmp_path / "data.bin"
    path.write_bytes(TEXT * 100)
    with path.open("rb") as file:
        payload = compressed(file, "gzip")
        path.write_bytes(TEXT)
        assert isinstance(await Failing().drain(payload), ClientRequestError)


async def test_closing_closes_the_source() -> None:
    """A generator that was left in the middle is finished when the request ends."""
    finished = []

    async def source() -> AsyncIterator[bytes]:
        try:
            while True:
                yield random.Random(2).randbytes(100_000)
        finally:
            finished.append(True)

    payload = compressed(source(), "gzip")
    assert await anext(aiter(payload.chunks()))
    await payload.aclose()
    assert finished == [True]


async def test_memory_is_bounded() -> None:
    """C-19: a large body is compressed as it is sent, not before."""
    data = random.Random(3).randbytes(1 << 20) * 8
    tracemalloc.start()
    try:
        payload = compressed(data, "gzip")
        base = tracemalloc.get_traced_memory()[0]
        async for piece in payload.chunks():
            assert len(piece) < 100_000
        assert tracemalloc.get_traced_memory()[1] - base < 500_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("split", [1 << 20, 1000])
async def test_the_loop_goes_on_while_a_body_in_memory_is_compressed(split: int) -> None:
    """After each 16 KiB everybody else has a turn, although the source never waits and little comes out."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    data = bytes(1 << 20)
    counter = asyncio.ensure_future(count())
    source = data if split == len(data) else [data[at : at + split] for at in range(0, len(data), split)]
    assert zlib.decompress(b"".join(await pieces(compressed(source, True)))) == data
    counter.cancel()
    assert turns >= (1 << 20) // 17000
