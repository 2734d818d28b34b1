"""Bodies from iterables: replay, clean-up and the count of bytes."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from keepwarm.client.body import StreamReader
from keepwarm.client.errors import ClientRequestError, InvalidInput
from keepwarm.client.payload import make_payload
from keepwarm.client.queues import DataQueue
from keepwarm.client.stream_payload import StreamPayload
from tests.support.bodies import Failing, agen, body, gen, made, pieces

pytestmark = pytest.mark.asyncio

OCTETS = "application/octet-stream"


@pytest.mark.parametrize("source", [agen, gen, lambda *parts: iter(parts), lambda *parts: map(bytes, parts)])
async def test_stream(source: Callable[..., Any]) -> None:
    """C-10: pieces come as they are asked for; bytearray and memoryview are pieces too."""
    payload = made(source(b"ab", bytearray(b"c"), memoryview(b"de"), b""))
    assert (payload.body, payload.length, payload.content_type) == (None, None, OCTETS)
    assert payload.started is False
    assert await pieces(payload) == [b"ab", b"c", b"de", b""]


@pytest.mark.fault("P26")
@pytest.mark.parametrize("source", [agen, gen])
async def test_a_generator_is_replayable_until_it_is_started(source: Callable[..., Any]) -> None:
    """A generator can be sent again only if nothing was taken from it."""
    payload = made(source(b"ab", b"cd"))
    payload.chunks()
    assert (payload.started, payload.replayable) == (False, True)
    chunks = payload.chunks()
    assert await anext(chunks) == b"ab"
    assert (payload.started, payload.replayable) == (True, False)
    with pytest.raises(ClientRequestError, match="again"):
        payload.chunks()
    assert await anext(chunks) == b"cd"


@pytest.mark.fault("P26")
async def test_a_generator_that_fails_at_once_was_started() -> None:
    """The first step counts, even if it gives nothing."""

    async def source() -> AsyncIterator[bytes]:
        raise RuntimeError("no")
        yield b""

    payload = made(source())
    with pytest.raises(RuntimeError, match="no"):
        await body(payload)
    assert (payload.started, payload.replayable) == (True, False)


@pytest.mark.parametrize("data", [[b"ab", b"cd"], (b"ab", b"cd")])
async def test_a_list_is_replayable(data: Any) -> None:
    payload = made(data)
    assert isinstance(payload, StreamPayload)
    assert await pieces(payload) == [b"ab", b"cd"]
    assert payload.replayable and await pieces(payload) == [b"ab", b"cd"]


@pytest.mark.fault("O09")
@pytest.mark.parametrize("source", [agen, gen])
async def test_other_pieces(source: Callable[..., Any]) -> None:
    """A piece that is not bytes is a TypeError that names data."""
    for piece in ("text", 5, None, [b"a"]):
        failing = Failing()
        error = await failing.drain(made(source(b"ab", piece)))
        assert isinstance(error, TypeError) and "data" in str(error)
        assert failing.sent == b"ab"


@pytest.mark.fault("O09")
async def test_a_source_that_fails() -> None:
    """What the generator raises comes out as it is, after the bytes it gave."""

    async def later() -> AsyncIterator[bytes]:
        yield b"x" * 1_000_000
        raise OSError("disk gone")

    def now() -> Iterator[bytes]:
        yield b"x" * 1_000_000
        raise OSError("disk gone")

    for source in (later(), now()):
        failing = Failing()
        error = await failing.drain(made(source))
        assert type(error) is OSError and len(failing.sent) == 1_000_000


async def test_closing_runs_the_generators_clean_up() -> None:
    done = []

    async def later() -> AsyncIterator[bytes]:
        try:
            yield b"a"
            yield b"b"
        finally:
            done.append("later")

    def now() -> Iterator[bytes]:
        try:
            yield b"a"
            yield b"b"
        finally:
            done.append("now")

    for source in (later(), now()):
        payload = made(source)
        await payload.aclose()
        assert payload.replayable
        assert await anext(payload.chunks()) == b"a"
        await payload.aclose()
        await payload.aclose()
    assert done == ["later", "now"]


async def test_closing_leaves_other_objects_alone() -> None:
    class Rows:
        closed = False

        def __iter__(self) -> Iterator[bytes]:
            return self

        def __next__(self) -> bytes:
            return b"row"

        def close(self) -> None:
            self.closed = True

    rows = Rows()
    payload = made(rows)
    assert await anext(payload.chunks()) == b"row"
    await payload.aclose()
    assert rows.closed is False


# declared length


@pytest.mark.fault("O07")
@pytest.mark.parametrize("source", [agen, gen])
async def test_declared_and_true(source: Callable[..., Any]) -> None:
    """A stream with the declared number of bytes goes through."""
    payload = made(source(b"ab", b"", b"cde", b""), content_length=5)
    assert payload.length == 5
    assert await body(payload) == b"abcde"


@pytest.mark.fault("O07")
@pytest.mark.parametrize("source", [agen, gen])
@pytest.mark.parametrize(("parts", "sent"), [((b"ab", b"cd"), b"abcd"), ((), b"")])
async def test_shorter_than_declared(source: Callable[..., Any], parts: tuple[bytes, ...], sent: bytes) -> None:
    """A stream that ends early is an error, not the end of the body."""
    failing = Failing()
    error = await failing.drain(made(source(*parts), content_length=5))
    assert isinstance(error, ClientRequestError) and error.phase == "send"
    assert str(len(sent)) in str(error) and "5" in str(error)
    assert failing.sent == sent


@pytest.mark.fault("O07")
@pytest.mark.parametrize("source", [agen, gen])
@pytest.mark.parametrize("parts", [(b"abc", b"def"), (b"abc", b"de", b"f"), (b"abcdef",)])
async def test_longer_than_declared(source: Callable[..., Any], parts: tuple[bytes, ...]) -> None:
    """Bytes beyond the declared length are an error and are never handed out."""
    failing = Failing()
    error = await failing.drain(made(source(*parts), content_length=5))
    assert isinstance(error, ClientRequestError)
    assert len(failing.sent) <= 5 and b"abcde".startswith(failing.sent)


@pytest.mark.fault("O07")
async def test_declared_length_of_a_known_body() -> None:
    """Where the length is known the declared one must agree, before any I/O."""
    assert made(b"hello", content_length=5).length == 5
    for data in (b"hello", {"a": "123"}, io.BytesIO(b"hello")):
        with pytest.raises(InvalidInput, match="Content-Length"):
            make_payload(data, content_length=6)
    with pytest.raises(InvalidInput, match="content_length"):
        make_payload(None, content_length=6)


@pytest.mark.parametrize("length", [-1, True, 1.5, "5"])
async def test_malformed_declared_length(length: Any) -> None:
    with pytest.raises(InvalidInput, match="content_length"):
        make_payload(agen(), content_length=length)


# other sources


async def test_a_stream_reader_gives_what_arrives() -> None:
    """C-10: the pieces as they come, not its lines; nothing is kept, so it can be sent once."""
    stream = StreamReader(asyncio.get_running_loop())
    payload = made(stream)
    chunks = payload.chunks()
    for piece in (b"a\nb\n", b"c"):
        stream.feed_data(piece)
        assert await anext(chunks) == piece
    assert not payload.replayable
    stream.feed_eof()
    assert [piece async for piece in chunks] == []


async def test_a_queue_that_waits_for_its_first_item_is_a_body() -> None:
    """C-10, C-11: an empty queue is not an empty body."""
    queue: DataQueue[bytes] = DataQueue()
    assert not len(queue)
    payload = made(queue)
    queue.feed_data(b"ab")
    queue.feed_data(b"cd")
    queue.feed_eof()
    assert await pieces(payload) == [b"ab", b"cd"]


async def test_a_payload_is_itself() -> None:
    payload = made(agen(b"a"))
    assert make_payload(payload) is payload


async def test_coroutines_and_functions() -> None:
    """C-10: refused before any I/O, with what to give instead."""

    async def later() -> bytes:
        return b"x"

    coroutine = later()
    with pytest.raises(TypeError, match=r"data is a coroutine; await it .* async generator"):
        make_payload(coroutine)
    coroutine.close()
    for function in (later, agen, gen):
        with pytest.raises(TypeError, match=f"data is the function {function.__name__}.*call it"):
            make_payload(function)


async def test_a_list_is_judged_at_once() -> None:
    """What can be looked at is refused before any I/O."""
    for data in ([b"a", "b"], (b"a", None), ["a"]):
        with pytest.raises(TypeError, match="data"):
            make_payload(data)
