"""Warming: one wish for idle connections, and what has become of it."""

import asyncio

from keepwarm.pool.dials import Dials
from keepwarm.pool.endpoint_pool import EndpointPool


class Warming:
    """Brings one endpoint to `wanted` idle connections; those that are idle already count."""

    __slots__ = ("_dials", "_done", "_home", "_under_way", "error", "there")

    def __init__(self, loop: asyncio.AbstractEventLoop, dials: Dials, home: EndpointPool, wanted: int) -> None:
        self._dials = dials
        self._home = home
        self._under_way = 0
        self._done: asyncio.Future[None] = loop.create_future()
        self.there = min(wanted, len(home.idle))
        #: What the first dial that failed raised.
        self.error: BaseException | None = None
        while self.there + self._under_way < wanted and dials.start_spare(home, self._ended):
            self._under_way += 1

    async def wait(self) -> None:
        """Until every dial has ended. Whoever is cancelled here leaves no dial behind that nobody wants."""
        if self._under_way:
            try:
                await self._done
            except BaseException:
                for _ in range(self._under_way):
                    self._dials.drop_spare(self._home, self._ended)
                raise

    def _ended(self, arrived: bool, error: BaseException | None) -> None:
        self._under_way -= 1
        self.there += arrived
        self.error = self.error or error
        if not self._under_way and not self._done.done():
            self._done.set_result(None)
