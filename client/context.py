"""RequestContext: what a request call returns, to be awaited or entered."""

from collections.abc import Coroutine, Generator
from typing import Any

from keepwarm.client.response import ClientResponse


class RequestContext:
    """``resp = await session.get(url)`` or ``async with session.get(url) as resp`` (A-31).

    Leaving the block releases the response; leaving it with an exception closes the connection.
    """

    __slots__ = ("_coroutine", "_response")

    def __init__(self, coroutine: Coroutine[Any, Any, ClientResponse]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, ClientResponse]:
        return self._coroutine.__await__()

    async def __aenter__(self) -> ClientResponse:
        self._response = response = await self._coroutine
        return response

    async def __aexit__(self, exc_type: object, exc: object, tb: object) -> None:
        response = self._response
        if response.closed:
            return
        if exc_type is None:
            await response.release()
        else:
            response.close()

    def close(self) -> None:
        """Drop the call without running it."""
        self._coroutine.close()
