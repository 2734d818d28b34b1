"""Keeps connections warm, forks, and goes on with them: forks_warm LOOP URL

The child looks at its copy of the connector, makes one call on a loop of its own and exits. The parent has a call under
way and drains after that. Says how the child ended, and the parent's numbers before the fork and after.
"""

import asyncio
import os
import sys

from keepwarm.client.session import ClientSession
from keepwarm.pool.tcp_connector import TCPConnector
from tests.programs.common import LOOPS, fetch, say


def child(loop_name: str, session: ClientSession, connector: TCPConnector, url: str) -> int:
    """0 if nothing of the parent's is here, and a call makes a connection of its own."""
    if connector.stats().total.open:
        return 2
    loop = LOOPS[loop_name]()

    async def use() -> int:
        await fetch(session, f"{url}/child")
        dials = connector.stats().total.dials
        await session.close(drain=5)
        return 0 if dials == 1 else 3

    return loop.run_until_complete(use())


def main(loop_name: str, url: str) -> None:
    loop = LOOPS[loop_name]()
    connector = TCPConnector(min_idle=2, max_age=600)
    session = ClientSession(connector=connector)
    loop.run_until_complete(connector.warm(url, 3))
    before = connector.stats().total.idle
    pid = os.fork()
    if pid == 0:
        os._exit(child(loop_name, session, connector, url))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    async def go_on() -> int:
        call = asyncio.ensure_future(fetch(session, f"{url}/parent"))
        await asyncio.sleep(0)  # it has its connection and is under way
        closing = session.close(drain=10)
        await call
        await closing
        return connector.stats().total.dials

    dials = loop.run_until_complete(go_on())
    loop.close()
    say({"child": code, "idle": before, "dials": dials, "open": connector.stats().total.open})


if __name__ == "__main__":
    main(*sys.argv[1:])
