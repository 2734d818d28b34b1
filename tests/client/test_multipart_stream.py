"""Multipart bodies on their way: transfer encodings, lengths, memory, replay."""

import gc
import io
import os
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from keepwarm.client.errors import ClientRequestError, InvalidInput
from keepwarm.client.framing import frame_body
from keepwarm.client.headers import encode_headers
from keepwarm.client.payload import make_payload
from tests.support.bodies import Failing, agen, body, gen, made, pieces
from tests.support.multipart import one_part, read, read_multipart, writer

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("name", ["base64", "quoted-printable", "binary", "8bit", "7bit"])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 24, 25, 26, 56, 57, 58, 114, 70_000])
async def test_transfer_encodings(name: str, size: int) -> None:
    """RFC 2045, 6: lines of at most 76 characters, and the same however the content is cut."""
    content = os.urandom(size)
    headers = {"Content-Transfer-Encoding": name}
    whole = await body(made(one_part(content, headers)))
    step = max(size // 7, 1)
    for source in (io.BytesIO(content), agen(*[content[i : i + step] for i in range(0, size, step)], b"")):
        data = one_part(source, headers)
        payload = made(data)
        sent = await body(payload)
        assert [part.body for part in read_multipart(payload.content_type, sent)] == [content]
        assert sent.replace(data.boundary.encode(), b"") == whole.replace(whole[2:34], b"")
        if name in ("base64", "quoted-printable"):
            lines = sent.partition(b"\r\n\r\n")[2].split(b"\r\n")
            assert max(map(len, lines)) <= 76 and sent.isascii()
        if isinstance(source, io.BytesIO):
            assert payload.length == (None if name == "quoted-printable" else len(sent))


@pytest.mark.fault("P26")
async def test_an_encoded_stream_is_sent_once() -> None:
    """Encoding does not change whether a source can be read again, and its clean-up runs."""
    headers = {"Content-Transfer-Encoding": "base64"}
    done = []

    async def source() -> AsyncIterator[bytes]:
        try:
            yield b"a" * 100
            yield b"b" * 100
        finally:
            done.append(True)

    payload = made(one_part(source(), headers))
    chunks = payload.chunks()
    await anext(chunks)
    assert payload.replayable
    await anext(chunks)
    assert not payload.replayable
    await payload.aclose()
    assert done == [True]
    again = made(one_part(io.BytesIO(b"abc"), headers))
    assert await body(again) == await body(again)


@pytest.mark.parametrize("coding", ["x-own", "base64, base64"])
async def test_unknown_transfer_encodings(coding: str) -> None:
    with pytest.raises(InvalidInput, match="Content-Transfer-Encoding"):
        make_payload(one_part(b"x", {"Content-Transfer-Encoding": coding}))


async def test_content_encoding_is_a_label() -> None:
    [part] = await read(one_part(b"compressed", {"Content-Encoding": "gzip"}))
    assert (part.headers["content-encoding"], part.body) == ("gzip", b"compressed")


# streaming


@pytest.mark.parametrize("shape", ["small", "large", "file", "stream"])
async def test_length_and_memory(shape: str, tmp_path: Path) -> None:
    """Small bodies are one piece; large ones come in pieces, and have a length unless a part has none."""
    content = b"x" * 3_000_000
    if shape == "small":
        payload = made(writer(*[b"x" * 100] * 100))
        assert payload.body is not None and len(payload.body) == payload.length
        return
    path = tmp_path / "file"
    path.write_bytes(content)
    with path.open("rb") as file:
        source = {"large": content, "file": file, "stream": gen(content[:1_000_000], content[1_000_000:])}[shape]
        payload = made(writer("a", source, "b"))
        framing = frame_body(payload, "POST")
        sent = await pieces(payload)
        length = len(b"".join(sent))
        if shape == "stream":
            assert payload.length is None and framing.chunked
        else:
            assert framing.lines == b"Content-Length: %d\r\n" % length
            assert max(map(len, sent)) <= 262144
        assert payload.body is None and payload.started
        if shape != "stream":
            assert payload.replayable and b"".join(await pieces(payload)) == b"".join(sent)


async def test_memory_is_bounded() -> None:
    """A long stream passes through; only pieces of it are ever held."""
    piece, count = 65536, 200

    def source() -> Iterator[bytes]:
        for _ in range(count):
            yield bytes(piece)

    payload = made(writer(source(), source()))
    gc.collect()
    tracemalloc.start()
    try:
        total = 0
        async for data in payload.chunks():
            total += len(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total > 2 * count * piece and peak < 20 * piece


@pytest.mark.fault("O07")
async def test_a_length_declared_for_the_whole() -> None:
    """A multipart body is held to the Content-Length of the caller."""
    payload = made(writer(agen(b"abc")))
    frame_body(payload, "POST", encode_headers({"Content-Length": "10"}))
    failing = Failing()
    assert isinstance(await failing.drain(payload), ClientRequestError)
    assert len(failing.sent) <= 10
    with pytest.raises(InvalidInput, match="Content-Length"):
        frame_body(made(writer(b"abc")), "POST", encode_headers({"Content-Length": "10"}))


@pytest.mark.fault("P26")
async def test_replay_needs_every_part() -> None:
    """A body can be sent again until the first part is begun that cannot."""
    payload = made(writer(io.BytesIO(b"file"), agen(b"stream")))
    chunks = payload.chunks()
    sent = b""
    while b"file" not in sent:
        sent += await anext(chunks)
        assert payload.started and payload.replayable
    first = await body(payload)
    assert b"stream" in first and not payload.replayable
    with pytest.raises(ClientRequestError, match="again"):
        payload.chunks()


@pytest.mark.fault("O09")
async def test_a_source_that_fails() -> None:
    """What a part's source raises comes out as it is, and nothing after it."""

    async def source() -> AsyncIterator[bytes]:
        yield b"abc"
        raise OSError("disk gone")

    failing = Failing()
    error = await failing.drain(made(writer(b"1", source(), b"2")))
    assert type(error) is OSError and failing.sent.endswith(b"abc")
    assert isinstance(await Failing().drain(made(writer(agen("text")))), TypeError)


async def test_closing_reaches_every_part() -> None:
    """Even if the clean-up of one fails."""
    done: list[str] = []

    async def source(name: str) -> AsyncIterator[bytes]:
        try:
            yield b"x"
            yield b"y"
        finally:
            done.append(name)
            if name == "b":
                raise OSError("no")

    sources = {name: source(name) for name in "abc"}
    payload = made(writer(*sources.values(), sources["a"], agen()))
    await payload.aclose()
    assert done == [] and payload.replayable
    # Each part is begun by itself, as if requests had been cut off at different places.
    for name in "abc":
        assert await anext(made(writer(sources[name])).chunks())
    parts = [made(sources[name]) for name in "abc"]
    payload = made(writer(*parts))
    for part in parts:
        await anext(part.chunks())
    with pytest.raises(OSError, match="no"):
        await payload.aclose()
    assert sorted(done) == ["a", "b", "c"]
