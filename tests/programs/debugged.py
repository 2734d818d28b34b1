"""A small workload with everything switched on that Python and the loop have for debugging.

    debugged LOOP URL AUTHORITY KIND

Says which callbacks the loop found slow, and which warnings and errors were logged.
"""

import asyncio
import logging
import sys

from keepwarm.client.session import ClientSession
from tests.programs.common import LOOPS, fetch, make_session, say

SLOW = 0.01
ROUNDS = 20
PARALLEL = 4

loop_name, url, authority, kind = sys.argv[1:]


class Heard(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


async def upload(calls: ClientSession) -> None:
    async with calls.post(f"{url}/upload", data=bytes(100_000)) as response:
        await response.read()


async def workload(calls: ClientSession) -> None:
    for k in range(ROUNDS):
        await asyncio.gather(*(fetch(calls, f"{url}/{k}") for _ in range(PARALLEL)))
        await upload(calls)
    cut = asyncio.create_task(fetch(calls, f"{url}/mute"))
    await asyncio.sleep(0)
    cut.cancel()
    await asyncio.gather(cut, return_exceptions=True)
    await calls.close()


loop = LOOPS[loop_name]()
loop.set_debug(True)
loop.slow_callback_duration = SLOW
heard = Heard()
logging.getLogger().addHandler(heard)
loop.run_until_complete(workload(make_session(authority, fast=kind == "fast")))
loop.close()
slow = [text for text in heard.texts if text.startswith("Executing ")]
say({"slow": slow, "logged": [text for text in heard.texts if text not in slow]})
