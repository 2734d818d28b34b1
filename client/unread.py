"""UnreadGuard: what watches over a response whose body is still on its way."""

import warnings
from typing import Any

from keepwarm.client.exchange import Exchange
from keepwarm.pool.loop_thread import call_in_loop
from keepwarm.pool.stack import Stack


class UnreadGuard:
    """If the response is forgotten, and its `content` with it, the connection must not be (FAULTS P41): it is closed,
    there is a ResourceWarning, and the loop's exception handler gets `client_response`, which is `text` (SURFACE K-25).
    Both say where the response was made, if `stack` is given: where leaks are looked for, and in debug mode.
    Responses that came whole have none, so they pay nothing for it."""

    __slots__ = ("_exchange", "_stack", "_text")

    def __init__(self, exchange: Exchange, text: str, stack: Stack | None = None) -> None:
        self._exchange = exchange
        self._text = text
        self._stack = stack

    def __del__(self) -> None:
        exchange = self._exchange
        channel = exchange.channel
        if channel is None or exchange.budget is not None:
            return
        loop = channel.loop
        call_in_loop(loop, exchange.abort)
        text = f"Unclosed response {self._text}: read it, release it or use async with"
        context: dict[str, Any] = {"message": "Unclosed response", "client_response": self._text}
        if self._stack is not None:
            text += f"; it was made at {self._stack.place}"
            context["source_traceback"] = self._stack.summary
        warnings.warn(text, ResourceWarning, stacklevel=1)
        if not loop.is_closed():
            loop.call_exception_handler(context)
