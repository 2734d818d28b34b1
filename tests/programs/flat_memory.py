"""Makes many calls with mixed outcomes, and says how much memory the process had on the way (promise G7).

flat_memory LOOP URL AUTHORITY CALLS

Says the resident size in KiB after a tenth of the calls and after all of them, how many calls there were of each kind,
and how many objects the garbage collector found in cycles that calls with a whole answer had left behind.
"""

import asyncio
import gc
import sys
from collections import Counter
from collections.abc import Iterator

from keepwarm.client.session import ClientSession
from keepwarm.pool.errors import ClientError
from tests.programs.common import LOOPS, make_session, say

AT_ONCE = 20
CYCLE_CALLS = 500
BODY = b"x" * 1024

loop_name, url, authority, wanted = sys.argv[1:]
calls_wanted = int(wanted)


def resident() -> int:
    gc.collect()
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


async def get(calls: ClientSession) -> None:
    async with calls.get(f"{url}/json") as response:
        await response.read()


async def post(calls: ClientSession) -> None:
    async with calls.post(f"{url}/post", data=BODY) as response:
        await response.read()


async def missing(calls: ClientSession) -> None:
    async with calls.get(f"{url}/nowhere") as response:
        await response.text()


async def unread(calls: ClientSession) -> None:
    """A megabyte that nobody wants: the connection is closed over it."""
    await (await calls.get(f"{url}/mib")).release()


async def cancelled(calls: ClientSession) -> None:
    task = asyncio.ensure_future(get(calls))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def refused(calls: ClientSession) -> None:
    try:
        await calls.get(f"{url}/json", timeout=1e-6)
    except ClientError:
        return


# One in twenty is not answered in full.
KINDS = [get] * 86 + [post] * 5 + [missing] * 4 + [unread, cancelled, cancelled, refused, refused]


async def caller(calls: ClientSession, turns: Iterator[int], made: Counter[str]) -> None:
    for turn in turns:
        kind = KINDS[turn * 37 % len(KINDS)]
        made[kind.__name__] += 1
        await kind(calls)


async def make(calls: ClientSession, count: int, made: Counter[str]) -> None:
    turns = iter(range(count))
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(caller(calls, turns, made))


async def cycles(calls: ClientSession) -> int:
    await get(calls)
    gc.collect()
    gc.disable()
    for _ in range(CYCLE_CALLS):
        await get(calls)
    found = gc.collect()
    gc.enable()
    return found


async def run() -> None:
    made: Counter[str] = Counter()
    async with make_session(authority, limit=AT_ONCE) as calls:
        left_in_cycles = await cycles(calls)
        await make(calls, calls_wanted // 10, made)
        early = resident()
        await make(calls, calls_wanted - calls_wanted // 10, made)
        say({"early": early, "late": resident(), "made": made, "cycles": left_in_cycles})


with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
    runner.run(run())
