"""BodyIterator: what `iter_any`, `iter_chunked` and `async for line` give."""

from collections.abc import Awaitable, Callable
from typing import Self


class BodyIterator:
    """Calls a reading method until it returns b''."""

    __slots__ = ("_holder", "_read")

    def __init__(self, read: Callable[[], Awaitable[bytes]]) -> None:
        self._read = read
        self._holder: object = None

    def held_by(self, holder: object) -> Self:
        """Keep `holder` alive as long as this iterator is. Returns the iterator."""
        self._holder = holder
        return self

    def __aiter__(self) -> "BodyIterator":
        return self

    async def __anext__(self) -> bytes:
        data = await self._read()
        if not data:
            raise StopAsyncIteration
        return data
