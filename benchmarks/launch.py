"""Become another program on one core, and end when the parent does.

Run by file name: ``python launch.py CORE PROGRAM ARGUMENT...``; CORE is a number, or ``-`` for no pinning.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Ask Linux for SIGTERM when the parent dies, however it dies. Elsewhere nothing happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def command(core: int | None, program: list[str]) -> list[str]:
    """The argument list that starts `program` through this file."""
    return [sys.executable, "-I", str(Path(__file__).resolve()), "-" if core is None else str(core), *program]


def cores() -> tuple[int | None, int | None]:
    """(core for the server, core for the clients); (None, None) where there are not two or pinning is not offered."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    usable = sorted(os.sched_getaffinity(0))
    return (usable[-1], usable[0]) if len(usable) > 1 else (None, None)


def main(core: str, *program: str) -> None:
    if core != "-":
        os.sched_setaffinity(0, {int(core)})
    end_with_parent()
    os.execvp(program[0], program)


if __name__ == "__main__":
    main(*sys.argv[1:])
