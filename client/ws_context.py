"""WSContext: what `ws_connect` returns, to be awaited, entered, or made a task of."""

from keepwarm.client.call import Call
from keepwarm.ws.websocket import ClientWebSocketResponse


class WSContext(Call[ClientWebSocketResponse]):
    """``ws = await session.ws_connect(url)`` or ``async with session.ws_connect(url) as ws``. Leaving the block
    closes the WebSocket."""

    __slots__ = ("_websocket",)

    async def __aenter__(self) -> ClientWebSocketResponse:
        self._websocket = await self._coroutine
        return self._websocket

    async def __aexit__(self, exc_type: object, exc: object, tb: object) -> None:
        await self._websocket.__aexit__(exc_type, exc, tb)
