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

    A WebSocket over which nothing was received, and which did not last longer than the longest pause, counts as a
    failure, for a server that takes connections only to drop them must not be stormed. `chance` gives numbers from 0
    to 1, `sleep` waits, `now` is a time in seconds.
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
                await websocket.close()
            was_of_use = websocket.has_received or now() - opened_at > backoff.longest
            failures = 0 if was_of_use else failures + 1
            error = websocket.exception()
            if error is not None and backoff.is_spent(failures):
                raise error
        if failures:
            await sleep(backoff.pause(failures, chance()))
