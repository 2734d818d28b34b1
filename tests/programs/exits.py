"""Ends the interpreter with a pool that is open, in one of several ways.

exits LOOP URL AUTHORITY KIND HOW
"""

import asyncio
import sys

from keepwarm.client.session import ClientSession
from tests.programs.common import LOOPS, fetch, make_session

loop_name, url, authority, kind, how = sys.argv[1:]


async def work(calls: ClientSession) -> None:
    await asyncio.gather(*(fetch(calls, f"{url}/{k}") for k in range(3)))


async def in_the_middle(calls: ClientSession) -> None:
    """Exit while calls are under way."""
    tasks = [asyncio.create_task(fetch(calls, f"{url}/mute")) for _ in range(3)]
    await work(calls)
    if tasks:
        sys.exit(3)


# Module globals, on purpose: they are cleared last.
session = make_session(authority, fast=kind == "fast")
loop = LOOPS[loop_name]()
if how == "runner":
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(work(session))
elif how == "middle":
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(in_the_middle(session))
else:
    loop.run_until_complete(work(session))
    if how == "error":
        raise ValueError("the program's own")
    if how == "closed loop":
        loop.close()
