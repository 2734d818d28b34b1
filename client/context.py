"""RequestContext: what a request call returns, to be awaited, entered, or made a task of."""

from keepwarm.client.call import Call
from keepwarm.client.response import ClientResponse


class RequestContext(Call[ClientResponse]):
    """``resp = await session.get(url)`` or ``async with session.get(url) as resp``.

    Leaving the block releases the response; leaving it with an exception closes the connection.
    """

    __slots__ = ("_response",)

    async def __aenter__(self) -> ClientResponse:
        self._response = response = await self._coroutine
        response.in_block = True
        return response

    async def __aexit__(self, exc_type: object, exc: object, tb: object) -> None:
        response = self._response
        if response.exchange.channel is not None:  # which is `closed`, but that property would cost 60 ns
            await response.__aexit__(exc_type, exc, tb)
