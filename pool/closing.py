"""Closing: what is done at call time and can be waited for, and the blocks that end with it."""

from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import Any, Self


class Closing:
    """What ``close()`` and ``release()`` return. The work has begun already; awaiting this waits until it is over:
    every socket gone, or the one connection back in its pool or closed."""

    __slots__ = ("_wait",)

    def __init__(self, wait: Callable[[], Awaitable[None]] | None = None) -> None:
        self._wait = wait

    def __await__(self) -> Generator[Any, Any, None]:
        if self._wait is not None:
            yield from self._wait().__await__()


class Closable:
    """Has `close`, and may stand in a ``with`` block, which calls it, or ``async with``, which waits for it too."""

    __slots__ = ()

    def close(self) -> Closing:
        """For subclasses: close now."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()
