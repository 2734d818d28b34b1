"""Content coding, for any body, any cuts and any reads."""

import asyncio
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepwarm.client.body import StreamReader
from keepwarm.client.compressing import compress_payload
from keepwarm.client.decoded_body import DecodedStream
from keepwarm.client.decoding import Decoder, decode_small, parse_codings
from keepwarm.client.decoding_error import ContentDecodingError
from keepwarm.client.stream_payload import StreamPayload
from tests.support.codings import ENCODERS, FORMS, decode_all, encode

# Runs of one byte, so that there is something to compress, between bytes of any kind.
RUNS = st.builds(lambda byte, count: bytes([byte]) * count, st.integers(0, 255), st.integers(0, 40_000))
DATA = st.lists(RUNS | st.binary(max_size=200), max_size=6).map(b"".join)
CHAINS = st.lists(st.sampled_from(sorted(ENCODERS)), min_size=1, max_size=3)
CUTS = st.lists(st.integers(1, 5000), max_size=20)


def cut(body: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(body[:size])
        body = body[size:]
    return [*pieces, body]


def decode(pieces: list[bytes], codings: list[str], n: int) -> bytes:
    decoder = Decoder(codings)
    out = []
    for piece in pieces:
        decoder.feed(piece)
        while not decoder.needs_input:
            out.append(decoder.read(n))
    decoder.finish()
    assert max(map(len, out), default=0) <= n
    return b"".join(out)


@given(data=DATA, codings=CHAINS, cuts=CUTS, n=st.integers(500, 100_000))
@settings(max_examples=150, deadline=None)
def test_what_was_encoded_comes_back(data: bytes, codings: list[str], cuts: list[int], n: int) -> None:
    """K-28: for each chain, wherever it is cut and however it is read."""
    body = encode(data, codings)
    assert decode(cut(body, cuts), codings, n) == data
    assert decode_all(body, parse_codings([", ".join(codings)]), len(data)) == data
    assert decode_small(body, codings) in (data, None)


@pytest.mark.fault("F45")
@given(form=st.sampled_from(sorted(FORMS)), data=DATA, at=st.integers(0, 1 << 20), bits=st.integers(1, 255))
@settings(max_examples=200, deadline=None)
def test_damage_never_does_worse_than_fail(form: str, data: bytes, at: int, bits: int) -> None:
    """F45: a changed byte gives an error or, without a checksum in the coding, a body; never anything else."""
    coding, encoder = FORMS[form]
    body = bytearray(encoder(data))
    body[at % len(body)] ^= bits
    try:
        decoded = decode_all(bytes(body), (coding,), 1 << 20)
    except ContentDecodingError as exc:
        assert exc.coding == coding
    else:
        assert decoded == data or form not in ("gzip", "deflate")


@pytest.mark.fault("F45")
@given(codings=CHAINS, noise=st.binary(min_size=1, max_size=300), cuts=CUTS)
@settings(max_examples=200, deadline=None)
def test_noise_is_an_error_or_a_body(codings: list[str], noise: bytes, cuts: list[int]) -> None:
    """F45: whatever a peer sends, the decoder ends, with no other error than its own."""
    try:
        decode(cut(noise, cuts), codings, 65536)
    except ContentDecodingError as exc:
        assert exc.coding in codings


@given(data=DATA, codings=CHAINS, cuts=CUTS, reads=st.lists(st.integers(1, 90_000), max_size=8))
@settings(max_examples=60, deadline=None)
def test_a_stream_reads_as_its_body(data: bytes, codings: list[str], cuts: list[int], reads: list[int]) -> None:
    """O-01, O-03: any sequence of reads sees the decoded body, in order and once."""

    async def run() -> None:
        raw = StreamReader()
        stream = DecodedStream(raw, Decoder(codings))
        loop = asyncio.get_running_loop()
        for piece in cut(encode(data, codings), cuts):
            loop.call_soon(raw.feed_data, piece)
        loop.call_soon(raw.feed_eof)
        seen = b""
        for index, n in enumerate(reads):
            if index % 2 and n <= len(data) - len(seen):
                seen += await stream.readexactly(n)
            else:
                seen += await stream.read(n)
            assert seen == data[: len(seen)]
        assert seen + await stream.read() == data
        assert stream.total_bytes == len(data)

    with asyncio.Runner() as runner:
        runner.run(run())


@given(parts=st.lists(RUNS | st.binary(max_size=200), max_size=6), coding=st.sampled_from(["gzip", "deflate"]))
@settings(max_examples=60, deadline=None)
def test_a_request_body_comes_back(parts: list[bytes], coding: str) -> None:
    """C-19: what is sent can be decoded, by zlib as by us, and a second sending gives the same bytes."""

    async def run() -> None:
        payload = compress_payload(StreamPayload(parts, None, repeatable=True), coding).payload
        assert payload is not None
        sent = b"".join([bytes(piece) async for piece in payload.chunks()])
        assert zlib.decompress(sent, wbits=31 if coding == "gzip" else 15) == b"".join(parts)
        assert decode_all(sent, (coding,)) == b"".join(parts)
        assert b"".join([bytes(piece) async for piece in payload.chunks()]) == sent

    with asyncio.Runner() as runner:
        runner.run(run())
