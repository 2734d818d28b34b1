"""UnreadGuard: what watches over a response whose body is still on its way."""

import warnings

from keepwarm.client.exchange import Exchange
from keepwarm.pool.loop_thread import call_in_loop


class UnreadGuard:
    """If the response is forgotten, and its `content` with it, the connection must not be (FAULTS P41): it is closed,
    there is a ResourceWarning, and the loop's exception handler gets `client_response`, which is `text` (SURFACE K-25).
    Responses that came whole have none, so they pay nothing for it."""

    __slots__ = ("_exchange", "_text")

    def __init__(self, exchange: Exchange, text: str) -> None:
        self._exchange = exchange
        self._text = text

    def __del__(self) -> None:
        exchange = self._exchange
        channel = exchange.channel
        if channel is None or exchange.budget is not None:
            return
        loop = channel.loop
        call_in_loop(loop, exchange.abort)
        text = f"Unclosed response {self._text}: read it, release it or use async with"
        warnings.warn(text, ResourceWarning, stacklevel=1)
        if not loop.is_closed():
            loop.call_exception_handler({"message": "Unclosed response", "client_response": self._text})
