"""Opens connections, forks one child after the other, and goes on with its connections after each.

    forks LOOP URL AUTHORITY KIND HOW,HOW,... [WAY]

HOW is what a child does. Its requests have the path /child, the parent's /before and /after. Says how each child ended
(its wait status) and the parent's numbers.
"""

import asyncio
import gc
import multiprocessing
import os
import sys
import warnings
from typing import NoReturn

from keepwarm.client.response import ClientResponse
from keepwarm.client.session import ClientSession
from tests.programs.common import LOOPS, close, fetch, make_session, say

PARALLEL = 3
PATIENCE = 10.0


class Program:
    def __init__(self, loop_name: str, url: str, authority: str, kind: str, way: str) -> None:
        self.new_loop = LOOPS[loop_name]
        self.url = url
        self.calls: ClientSession | None = make_session(authority, way=way, fast=kind == "fast", limit=PARALLEL)

    async def use(self, path: str) -> None:
        """PARALLEL requests at a time, on as many connections."""
        calls = self.calls
        if calls is None:
            raise RuntimeError("the session is gone")
        await asyncio.gather(*(fetch(calls, f"{self.url}{path}") for _ in range(PARALLEL)))

    def child(self, how: str) -> None:
        """What the child does before it exits."""
        if how in ("use", "process", "inside"):
            loop = self.new_loop()
            loop.run_until_complete(self.use("/child"))
            if self.calls is not None:
                loop.run_until_complete(close(self.calls))
            loop.close()
        elif how == "close" and self.calls is not None:
            self.calls.close()
        elif how == "drop":
            self.calls = None
        elif how == "leave":
            warnings.simplefilter("ignore", ResourceWarning)  # about what this child leaves open itself
            loop = self.new_loop()
            loop.run_until_complete(self.use("/child"))
        gc.collect()

    def fork(self, how: str) -> int:
        """The child's wait status. It exits through the interpreter's own end, which collects what is left."""
        if how == "process":
            process = multiprocessing.get_context("fork").Process(target=self.child, args=(how,))
            process.start()
            process.join()
            return process.exitcode or 0
        pid = os.fork()
        if pid == 0:
            self.child(how)
            sys.exit(0)
        return _status_of(pid)

    async def fork_inside(self) -> int:
        """Fork while the loop runs and a response is half-read. The child must not come back into the loop."""
        calls = self.calls
        if calls is None:
            raise RuntimeError("the session is gone")
        response = await calls.get(f"{self.url}/half")
        pid = os.fork()
        if pid == 0:
            held = [response]
            del response
            self._run_and_exit(held)
        status = _status_of(pid)
        response.close()
        return status

    def _run_and_exit(self, held: list[ClientResponse]) -> NoReturn:
        code = 1
        try:
            self.child("inside")
            held.pop().close()
            gc.collect()
            code = 0
        finally:
            os._exit(code)

    def run(self, hows: list[str]) -> None:
        loop = self.new_loop()
        loop.run_until_complete(self.use("/before"))
        statuses = []
        for how in hows:
            statuses.append(loop.run_until_complete(self.fork_inside()) if how == "inside" else self.fork(how))
            loop.run_until_complete(asyncio.wait_for(self.use("/after"), PATIENCE))
        calls = self.calls
        connector = None if calls is None else calls.connector
        if calls is not None and connector is not None:
            total = connector.stats().total
            loop.run_until_complete(close(calls))
            say({"statuses": statuses, "dials": total.dials, "idle": total.idle})
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
    program, hows = Program(*sys.argv[1:5], way="".join(sys.argv[6:])), sys.argv[5].split(",")
    if hows == ["stay"]:
        program.run_with_a_child_that_stays()
    else:
        program.run(hows)
