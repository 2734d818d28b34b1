"""Child processes that speak JSON lines, and that never outlive us."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, Self

from benchmarks.launch import command

ROOT = Path(__file__).resolve().parent.parent
REPLY_SECONDS = 120.0
STOP_SECONDS = 10.0
LINE_LIMIT = 1 << 20


class ChildError(Exception):
    """A child process ended, said that it failed, or did not answer in time."""


class Child:
    """``python -m module arguments...`` on one core. Closing its standard input asks it to end."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self._process = process
        self._name = name

    @classmethod
    async def start(cls, module: str, *arguments: str, core: int | None, name: str) -> Self:
        process = await asyncio.create_subprocess_exec(
            *command(core, [sys.executable, "-m", module, *arguments]),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
            start_new_session=True,  # Ctrl-C is for the parent to handle
        )
        return cls(process, name)

    async def reply(self, seconds: float = REPLY_SECONDS) -> dict[str, Any]:
        """The next line that the child says. Raises ChildError when that is an error, or nothing."""
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), seconds)
        except TimeoutError:
            raise ChildError(f"{self._name} said nothing for {seconds:.0f} s") from None
        if not line:
            raise ChildError(f"{self._name} ended with the status {await self._process.wait()}")
        message: dict[str, Any] = json.loads(line)
        if "error" in message:
            raise ChildError(f"{self._name}: {message['error']}")
        return message

    async def ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        return await self.reply()

    async def stop(self) -> None:
        """Ask the child to end; after STOP_SECONDS, kill it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
