"""What must hold under ``python -O``, where no assert runs: asked by `check`, which always runs.

optimised LOOP URL AUTHORITY KIND
"""

import asyncio
import sys

from keepwarm.client.errors import ClientPayloadError, ClientProtocolError, InvalidInput
from keepwarm.client.session import ClientSession
from keepwarm.pool import states
from keepwarm.pool.errors import PoolClosedError
from tests.programs.common import LOOPS, fetch, make_session, say

loop_name, url, authority, kind = sys.argv[1:]
done: list[str] = []


def check(name: str, holds: bool) -> None:
    if not holds:
        raise SystemExit(f"not so under -O: {name}")
    done.append(name)


async def raises(kind_of_error: type[BaseException], call: "asyncio.Future[object]") -> bool:
    try:
        await call
    except kind_of_error:
        return True
    return False


async def read(calls: ClientSession, path: str) -> bytes:
    async with calls.get(f"{url}{path}") as response:
        return await response.read()


async def main(calls: ClientSession) -> None:
    start = asyncio.ensure_future
    check("reuse", [await fetch(calls, f"{url}/{k}") for k in range(3)] == ["/0", "/1", "/2"])
    check("cut short", await raises(ClientPayloadError, start(read(calls, "/half"))))
    check("not HTTP", await raises(ClientProtocolError, start(read(calls, "/garbage"))))
    check("two lengths", await raises(ClientProtocolError, start(read(calls, "/lengths"))))
    check("stray bytes", await fetch(calls, f"{url}/surplus") == "/surplus")
    check("after stray bytes", await fetch(calls, f"{url}/after") == "/after")
    bad = calls.get(f"{url}/", headers={"X": "a\r\nb"})
    check("header injection", await raises((InvalidInput), start(_await(bad))))
    check("illegal transition", _illegal_transition())
    connector = calls.connector
    check("books", connector is not None and connector.stats().total.leased == 0)
    waiting = start(read(calls, "/mute"))
    await fetch(calls, f"{url}/beside")
    await calls.close()
    check("closed in flight", await raises(PoolClosedError, waiting))
    check("closed", await raises(RuntimeError, start(read(calls, "/"))))
    check("nothing open", connector is not None and connector.stats().total.open == 0)


async def _await(context: object) -> object:
    return await context  # type: ignore[misc]


def _illegal_transition() -> bool:
    try:
        states.step(states.CLOSED, states.LEASE)
    except states.IllegalTransition:
        return True
    return False


if __debug__:
    raise SystemExit("run me with -O")
loop = LOOPS[loop_name]()
loop.run_until_complete(main(make_session(authority, fast=kind == "fast")))
loop.close()
say(done)
