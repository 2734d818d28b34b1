"""BodyIterator: what `iter_any`, `iter_chunked` and `async for line` give."""

from collections.abc import Awaitable, Callable


class BodyIterator:
    """Calls a reading method until it returns b''."""

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[], Awaitable[bytes]]) -> None:
        self._read = read

    def __aiter__(self) -> "BodyIterator":
        return self

    async def __anext__(self) -> bytes:
        data = await self._read()
        if not data:
            raise StopAsyncIteration
        return data
