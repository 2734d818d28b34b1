"""UnreadGuard: what watches over a response whose body is still on its way."""

import warnings

from keepwarm.client.exchange import Exchange


class UnreadGuard:
    """If the response is forgotten, the connection must not be (FAULTS P41). Responses that came whole have none, so
    they pay nothing for it."""

    __slots__ = ("_exchange", "_text")

    def __init__(self, exchange: Exchange, text: str) -> None:
        self._exchange = exchange
        self._text = text

    def __del__(self) -> None:
        exchange = self._exchange
        if exchange.is_over or exchange.budget is not None:
            return
        exchange.abort()
        warnings.warn(
            f"Unclosed response {self._text}: read it, release it or use async with", ResourceWarning, stacklevel=1
        )
