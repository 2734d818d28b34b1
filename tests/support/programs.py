"""run_program: a program of tests/programs in a process of its own, while the test's loop serves it."""

import asyncio
import json
import pathlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """How a program ended. `said` is the JSON that it wrote to stdout, None if it wrote nothing."""

    code: int | None
    said: Any
    stderr: str


async def run_program(name: str, *arguments: str, options: Sequence[str] = ()) -> Outcome:
    """Run tests/programs/`name`.py with `arguments`, Python with `options`. Cancelling it kills the process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *options,
        "-m",
        f"tests.programs.{name}",
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        stdout, stderr = await process.communicate()
    except BaseException:
        process.kill()
        raise
    return Outcome(process.returncode, json.loads(stdout) if stdout else None, stderr.decode())
