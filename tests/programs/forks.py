"""Opens connections, forks a child that behaves in one of several ways, and goes on with its connections.

    forks LOOP URL AUTHORITY FAST HOW

The child's requests have the path /child, the parent's /before and /after. Says how the child ended (its wait status)
and the parent's numbers.
"""

import asyncio
import gc
import multiprocessing
import os
import sys
from typing import NoReturn

from keepwarm.client.session import ClientSession
from tests.programs.common import LOOPS, close, fetch, make_session, say

PARALLEL = 3
PATIENCE = 10.0


class Program:
    def __init__(self, loop_name: str, url: str, authority: str, fast: str, how: str) -> None:
        self.new_loop = LOOPS[loop_name]
        self.url = url
        self.how = how
        self.calls: ClientSession | None = make_session(authority, fast=fast == "fast", limit=PARALLEL)

    async def use(self, path: str) -> None:
        """PARALLEL requests at a time, on as many connections."""
        calls = self.calls
        if calls is None:
            raise RuntimeError("the session is gone")
        await asyncio.gather(*(fetch(calls, f"{self.url}{path}") for _ in range(PARALLEL)))

    def child(self) -> None:
        """What the child does before it exits."""
        if self.how in ("use", "process", "inside"):
            loop = self.new_loop()
            loop.run_until_complete(self.use("/child"))
            if self.calls is not None:
                loop.run_until_complete(close(self.calls))
            loop.close()
        elif self.how == "close" and self.calls is not None:
            self.calls.close()
        elif self.how == "drop":
            self.calls = None
        elif self.how == "leave":
            loop = self.new_loop()
            loop.run_until_complete(self.use("/child"))
        gc.collect()

    def fork(self) -> int:
        """The child's wait status. An exit through the interpreter's own end, which collects what is left."""
        if self.how == "process":
            process = multiprocessing.get_context("fork").Process(target=self.child)
            process.start()
            process.join()
            return process.exitcode or 0
        pid = os.fork()
        if pid == 0:
            self.child()
            sys.exit(0)
        return _status_of(pid)

    async def fork_inside(self) -> int:
        """Fork while the loop runs. The child must not come back into it."""
        response = await self.calls.get(f"{self.url}/half") if self.calls is not None else None
        pid = os.fork()
        if pid == 0:
            self._run_and_exit(response)
        status = _status_of(pid)
        if response is not None:
            response.close()
        return status

    def _run_and_exit(self, response: object) -> NoReturn:
        code = 1
        try:
            self.child()
            del response  # the response of the parent, half-read
            gc.collect()
            code = 0
        finally:
            os._exit(code)

    def run(self) -> None:
        loop = self.new_loop()
        loop.run_until_complete(self.use("/before"))
        status = loop.run_until_complete(self.fork_inside()) if self.how == "inside" else self.fork()
        loop.run_until_complete(asyncio.wait_for(self.use("/after"), PATIENCE))
        connector = self.calls.connector if self.calls is not None else None
        if connector is not None and self.calls is not None:
            total = connector.stats().total
            loop.run_until_complete(close(self.calls))
            say({"status": status, "dials": total.dials, "idle": total.idle})
        loop.close()

    def run_with_a_child_that_stays(self) -> None:
        """The parent closes its session while the child, which does nothing, is alive; then it asks for /open."""
        loop = self.new_loop()
        loop.run_until_complete(self.use("/before"))
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        os.close(reading)
        if self.calls is not None:
            loop.run_until_complete(close(self.calls))
        other = make_session()
        loop.run_until_complete(fetch(other, f"{self.url}/open"))
        loop.run_until_complete(close(other))
        os.close(writing)
        say({"status": _status_of(pid)})
        loop.close()


def _status_of(pid: int) -> int:
    return os.waitpid(pid, 0)[1]


if __name__ == "__main__":
    program = Program(*sys.argv[1:])
    if program.how == "stay":
        program.run_with_a_child_that_stays()
    else:
        program.run()
