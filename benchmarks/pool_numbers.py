"""Counted: a pool that has something to count, for the cost of `stats()`."""

import asyncio
import time

from keepwarm.pool.clock import Clock
from keepwarm.pool.dial import Connect
from keepwarm.pool.endpoint import make_endpoint
from keepwarm.pool.limits import Limits
from keepwarm.pool.pool import Pool


class Counted:
    """The numbers of a pool with so many endpoints, all of which have dialled, queued, reused and let go."""

    def __init__(self, loop: asyncio.AbstractEventLoop, endpoints: int, connect: Connect) -> None:
        self.pool = Pool(loop, Clock(loop), connect, limits=Limits(per_endpoint=1))
        self._loop = loop
        self.endpoints = [make_endpoint(f"host-{number}.example") for number in range(endpoints)]
        loop.run_until_complete(self._fill())

    async def _fill(self) -> None:
        for endpoint in self.endpoints:
            for _ in range(2):
                channel = await self.pool.acquire(endpoint)
                self.pool.close_channel(channel, "idle", politely=False)
                channel.connection_lost(None)
            self.pool.release(await self.pool.acquire(endpoint))
        await self._wait()

    async def _wait(self) -> None:
        for endpoint in self.endpoints:
            channel = await self.pool.acquire(endpoint)
            waiting = asyncio.ensure_future(self.pool.acquire(endpoint))
            await asyncio.sleep(0)
            self.pool.release(channel)
            self.pool.release(await waiting)

    def stats(self) -> float:
        """CPU seconds of one look at all the numbers, somebody having waited at each endpoint since the last."""
        self._loop.run_until_complete(self._wait())
        began = time.process_time()
        self.pool.stats()
        return time.process_time() - began
