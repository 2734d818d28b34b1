"""Opens a WebSocket, forks one child after the other, and goes on with its WebSocket after each.

    fork_websocket LOOP URL AUTHORITY KIND HOW,HOW,...

HOW is what a child does with the parent's WebSocket, and then with one of its own. Says how each child ended (its wait
status), what came back over the parent's WebSocket, and its close code.
"""

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from keepwarm.client.session import ClientSession
from keepwarm.pool.errors import PoolClosedError
from keepwarm.ws.errors import WebSocketClosedError
from keepwarm.ws.messages import MsgType
from keepwarm.ws.websocket import ClientWebSocketResponse
from tests.programs.common import LOOPS, close, make_session, say

PATIENCE = 10.0


async def ask(ws: ClientWebSocketResponse, text: str) -> str:
    await ws.send_str(text)
    return await asyncio.wait_for(ws.receive_str(), PATIENCE)


async def try_all(ws: ClientWebSocketResponse) -> None:
    """Whatever a child does with its parent's WebSocket, it is told whose it is, and nothing waits."""
    assert ws.closed
    message = await asyncio.wait_for(ws.receive(), PATIENCE)
    assert message.tp is MsgType.error and isinstance(message.data, PoolClosedError), message
    assert (await ws.receive()).tp is MsgType.closed
    for send in (ws.send_str, ws.ping):
        try:
            send("from the child")
        except WebSocketClosedError as exc:
            assert "another process" in str(exc), exc
        else:
            raise AssertionError("sent on the parent's connection")
    assert await asyncio.wait_for(ws.close(), PATIENCE)


class Program:
    def __init__(self, loop_name: str, url: str, authority: str, kind: str) -> None:
        self.new_loop: Callable[[], asyncio.AbstractEventLoop] = LOOPS[loop_name]
        self.url = url
        self.calls: ClientSession = make_session(authority, fast=kind == "fast")
        self.held: list[ClientWebSocketResponse] = []

    async def own(self) -> None:
        """A WebSocket of the child's own, over the same session."""
        async with self.calls.ws_connect(f"{self.url}/child") as ws:
            assert await ask(ws, "child") == "child"

    def child(self, how: str) -> None:
        loop = self.new_loop()
        if how == "use":
            loop.run_until_complete(try_all(self.held[0]))
        elif how == "drop":
            self.held.clear()
            gc.collect()
        loop.run_until_complete(self.own())
        if how == "close":
            loop.run_until_complete(close(self.calls))
        loop.close()

    def fork(self, how: str) -> int:
        """The child's wait status."""
        pid = os.fork()
        if pid == 0:
            self._run_and_exit(how)
        return os.waitpid(pid, 0)[1]

    def _run_and_exit(self, how: str) -> NoReturn:
        code = 1
        try:
            self.child(how)
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)

    def run(self, hows: list[str]) -> None:
        loop = self.new_loop()

        def run(call: Coroutine[Any, Any, Any]) -> Any:
            return loop.run_until_complete(call)

        async def begin() -> ClientWebSocketResponse:
            return await self.calls.ws_connect(f"{self.url}/parent", heartbeat=30)

        ws = run(begin())
        self.held.append(ws)
        echoes, statuses = [run(ask(ws, "before"))], []
        for how in hows:
            statuses.append(self.fork(how))
            echoes.append(run(ask(ws, how)))
        run(ws.close())
        run(close(self.calls))
        say({"statuses": statuses, "echoes": echoes, "close_code": ws.close_code})
        loop.close()


if __name__ == "__main__":
    Program(*sys.argv[1:5]).run(sys.argv[5].split(","))
