"""Many calls to several endpoints, and the pool's own numbers: ``python -m examples.many_endpoints URL...``

One session serves them all. With ``limit=4`` no endpoint gets more than four sockets, however many calls are under way;
the calls that wait are served in the order in which they came.
"""

import asyncio
import sys

import uvloop

import keepwarm

CALLS = 50


async def call(session: keepwarm.ClientSession, url: str) -> int:
    async with session.get(url) as response:
        await response.read()
        return response.status


async def main(*urls: str) -> None:
    connector = keepwarm.TCPConnector(limit=4, keepalive_timeout=20)
    async with keepwarm.ClientSession(connector=connector) as session:
        statuses = await asyncio.gather(*(call(session, url) for url in urls for _ in range(CALLS)))
        print(f"{len(statuses)} calls, {statuses.count(200)} with status 200")
        for endpoint, numbers in connector.stats().endpoints.items():
            print(f"{endpoint}: {numbers.leases} calls over {numbers.dials} sockets, {numbers.idle} still warm")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m examples.many_endpoints URL...")
    uvloop.run(main(*sys.argv[1:]))
