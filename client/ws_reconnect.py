"""Reconnecting: one WebSocket after another, with pauses that grow."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable

from keepwarm.client.backoff import Backoff
from keepwarm.client.ws_connect import is_worth_retrying
from keepwarm.client.ws_context import WSContext
from keepwarm.pool.clock import monotonic
from keepwarm.ws.websocket import ClientWebSocketResponse


async def reconnecting(
    connect: Callable[[], WSContext],
    backoff: Backoff,
    *,
    chance: Callable[[], float] = random.random,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    now: Callable[[], float] = monotonic,
) -> AsyncGenerator[ClientWebSocketResponse, None]:
    """One WebSocket after another, each closed before the next. Raises what trying again will not mend.

    A server that takes connections only to drop them must not be stormed, not even if it says why each time. So a
    WebSocket that the server ended counts as a failure if it lasted less than the first pause, or if nothing was
    received over it in less than the longest one. `chance` gives numbers from 0 to 1, `sleep` waits, `now` is a time in
    seconds.
    """
    failures = 0
    while True:
        try:
            websocket = await connect()
        except Exception as exc:
            failures += 1
            if not is_worth_retrying(exc) or backoff.is_spent(failures):
                raise
        else:
            opened_at = now()
            try:
                yield websocket
            finally:
                lasted, has_ended = now() - opened_at, websocket.closed
                await websocket.close()
            least = backoff.first if websocket.has_received else backoff.longest
            was_of_use = lasted > least or (websocket.has_received and not has_ended)
            failures = 0 if was_of_use else failures + 1
            error = websocket.exception()
            if error is not None and backoff.is_spent(failures):
                raise error
        if failures:
            await sleep(backoff.pause(failures, chance()))
