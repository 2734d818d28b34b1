"""Runs the whole fault matrix on both loops and prints it.

    python -m tests.matrix [--write]

Ends with 1 if a cell does not keep what it promises. With --write the table goes into docs/fault-matrix.md too.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from tests.matrix.cells import FAULTS, PHASES, WAYS, Cell, all_cells
from tests.matrix.run import run_cell

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.SelectorEventLoop,
}
PAGE = Path(__file__).resolve().parents[2] / "docs/fault-matrix.md"
INTRODUCTION = """\
# Fault matrix

What becomes of a call when the network between client and server (or proxy) fails in the given phase: it is *served*,
or ends with the error named. After each, the next call is served, and one idle connection is all that is left.

The phases: *dial* is TLS and CONNECT; *idle* is between two calls; *head* is between request and answer, on a
connection that has not answered before where the fault is no black hole; *body* is in the middle of the answer. A
fault without a phase lasts. `forward` is a plain request through a proxy, `CONNECT` a tunnel with TLS inside; `, TLS`
is TLS to that proxy, or to the server. `-`: a cell that means nothing, because a dial exchanges no byte there.

Made by `make faults ARGS=--write`, on uvloop and on asyncio, which agree in every cell.

"""


def table(outcomes: dict[tuple[str, str, str], str]) -> str:
    """In Markdown: a row for each fault and phase, a column for each way."""
    lines = ["| fault | phase | " + " | ".join(WAYS) + " |", "| --- " * (len(WAYS) + 2) + "|"]
    for fault in FAULTS:
        for phase in PHASES:
            row = [outcomes.get((fault, way, phase), "-") for way in WAYS]
            if set(row) != {"-"}:
                lines.append(f"| {fault} | {phase} | " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def outcome_of(cell: Cell) -> str:
    """On both loops."""
    found = {}
    for name, new_loop in LOOPS.items():
        with asyncio.Runner(loop_factory=new_loop) as runner:
            try:
                found[name] = runner.run(run_cell(cell))
            except Exception as exc:
                found[name] = f"FAILED: {exc}"
    several = set(found.values())
    return several.pop() if len(several) == 1 else ", ".join(f"{name}: {said}" for name, said in found.items())


def say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--write"]):
        sys.stderr.write(__doc__ or "")
        return 2
    cells, begun = all_cells(), time.perf_counter()
    outcomes = {(cell.fault, cell.way, cell.phase): outcome_of(cell) for cell in cells}
    text = table(outcomes)
    say(text)
    failed = {key: said for key, said in outcomes.items() if "FAILED" in said}
    for key, said in failed.items():
        say(f"{'/'.join(key)} {said}\n")
    seconds = time.perf_counter() - begun
    say(f"{len(cells)} cells on {len(LOOPS)} loops in {seconds:.0f} s, {len(failed)} of them not as they should be\n")
    if arguments and not failed:
        PAGE.write_text(INTRODUCTION + text)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
