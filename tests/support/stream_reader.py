"""What the tests of the body stream share: every waiting read by name, a valve that watches flow control."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from keepwarm.client.body import StreamReader

Read = Callable[[StreamReader], Awaitable[object]]

# Every method that waits, by the name it goes by in errors. Each needs more than the two bytes b"ab" and no end.
WAITING: dict[str, tuple[str, Read]] = {
    "read-all": ("read", lambda s: s.read()),
    "read-n": ("read", lambda s: s.read(5)),
    "readany": ("readany", lambda s: s.readany()),
    "readexactly": ("readexactly", lambda s: s.readexactly(5)),
    "readline": ("readline", lambda s: s.readline()),
    "readuntil": ("readuntil", lambda s: s.readuntil(b"e\n")),
    "iter_chunked": ("read", lambda s: anext(s.iter_chunked(5))),
    "iter_any": ("iter_any", lambda s: anext(s.iter_any())),
    "lines": ("readline", lambda s: anext(aiter(s))),
}
# Those among them that wait on although something is buffered.
PATIENT = ("read-all", "readexactly", "readline", "readuntil", "lines")


class Valve:
    """Counts pauses and resumes, and fails when two of a kind follow each other."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause(self) -> None:
        assert not self.is_shut, "paused twice"
        self.calls.append("pause")

    def resume(self) -> None:
        assert self.is_shut, "resumed without a pause"
        self.calls.append("resume")

    @property
    def is_shut(self) -> bool:
        return self.calls[-1:] == ["pause"]


def whole(*pieces: bytes) -> StreamReader:
    """A body that has arrived."""
    stream = StreamReader()
    for piece in pieces:
        stream.feed_data(piece)
    stream.feed_eof()
    return stream


def valved(low: int = 4, high: int = 8) -> tuple[StreamReader, Valve]:
    valve = Valve()
    return StreamReader(low=low, high=high, pause=valve.pause, resume=valve.resume), valve


async def begin(awaitable: Awaitable[object]) -> "asyncio.Task[object]":
    """A task that has come to its wait."""

    async def run() -> object:
        return await awaitable

    task = asyncio.ensure_future(run())
    await asyncio.sleep(0)
    return task


async def cancelled(task: "asyncio.Task[object]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
