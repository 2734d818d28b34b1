"""The body stream under random feeds, reads and cancellations (rows O-01 to O-14 of the surface)."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.stream_reader import valved

pytestmark = pytest.mark.asyncio


FEEDS = st.tuples(st.just("feed"), st.lists(st.sampled_from([b"a", b"b\n", b"\n", b"cdefgh", b"xy" * 300])))
READS = st.tuples(
    st.sampled_from(["read", "readexactly", "readline", "readany", "iter_any", "iter_chunked", "nowait"]),
    st.integers(1, 40),
)
CANCEL = st.tuples(st.just("cancel"), st.none())
UNREAD = st.tuples(st.just("unread"), st.none())


class Model:
    """Does random things to a stream and keeps the book: what went in, what came out."""

    def __init__(self, low: int, high: int) -> None:
        self.stream, self.valve = valved(low, high)
        self.low, self.high = low, high
        self.fed = bytearray()
        self.got = bytearray()
        self.task: asyncio.Task[object] | None = None

    def check_valve(self) -> None:
        """Shut above the high mark, open at the low one and after the end; either in between."""
        if self.stream.buffered <= self.low or self.stream.is_eof():
            assert not self.valve.is_shut
        elif self.stream.buffered > self.high:
            assert self.valve.is_shut

    async def settle(self) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task = self.task
        if task is None:
            self.check_valve()
            return
        if not task.done():
            assert not self.valve.is_shut
            return
        self.task = None
        self.check_valve()
        try:
            data = task.result()
        except asyncio.CancelledError:
            return
        except (StopAsyncIteration, asyncio.IncompleteReadError) as error:
            assert self.stream.at_eof()
            data = error.partial if isinstance(error, asyncio.IncompleteReadError) else b""
        assert isinstance(data, bytes)
        assert data or self.stream.at_eof()
        self.got += data

    async def do(self, what: str, arg: object) -> None:
        stream = self.stream
        if what == "feed":
            assert isinstance(arg, list)
            for piece in arg:
                stream.feed_data(piece)
                self.fed += piece
        elif what == "cancel":
            if self.task is not None:
                self.task.cancel()
        elif self.task is None:
            self.start(what, arg)
        await self.settle()

    def start(self, what: str, arg: object) -> None:
        stream = self.stream
        if what == "unread":
            back = bytes(self.got[-3:])
            del self.got[len(self.got) - len(back) :]
            stream.unread_data(back)
            return
        assert isinstance(arg, int)
        if what == "nowait":
            self.got += stream.read_nowait(arg)
            return
        reads: dict[str, Callable[[], Awaitable[object]]] = {
            "read": partial(stream.read, arg),
            "readexactly": partial(stream.readexactly, arg),
            "readline": stream.readline,
            "readany": stream.readany,
            "iter_any": partial(anext, stream.iter_any()),
            "iter_chunked": partial(anext, stream.iter_chunked(arg)),
        }

        async def run() -> object:
            return await reads[what]()

        self.task = asyncio.ensure_future(run())


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    low=st.integers(0, 8),
    room=st.integers(0, 700),
    steps=st.lists(st.one_of(FEEDS, READS, CANCEL, UNREAD), max_size=30),
)
async def test_same_bytes_in_order(low: int, room: int, steps: list[tuple[str, object]]) -> None:
    """O-01 to O-14: whatever is fed, read, cancelled and put back, the bytes come out once, in order, and pause and
    resume alternate (the valve fails otherwise); no reader waits behind a shut valve."""
    model = Model(low, low + room)
    for what, arg in steps:
        await model.do(what, arg)
    model.stream.feed_eof()
    assert not model.valve.is_shut
    await model.settle()
    assert model.task is None
    model.got += await model.stream.read()
    assert model.got == model.fed
    assert model.stream.total_bytes == len(model.fed)
