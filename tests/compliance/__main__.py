"""Runs the client cases of the Autobahn suite, and says how it went.

    python -m tests.compliance                  every case, on both event loops; takes most of an hour
    python -m tests.compliance --cases '1.*' '2.*' --loop uvloop
    python -m tests.compliance --quick          a few cases of each compression setting instead of all; two minutes
    python -m tests.compliance --write          also write the table to docs/autobahn.md

Ends with 1 when a case failed, or when more than MOST_NON_STRICT were not strict.
"""

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import uvloop

import keepwarm

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / ".autobahn"
TABLE = ROOT / "docs" / "autobahn.md"
MOST_NON_STRICT = 7
MOST_MESSAGE = 64 * 1024 * 1024
COMPRESSED = [(12, setting) for setting in range(1, 6)] + [(13, setting) for setting in range(1, 8)]
QUICK = [
    *(f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 9, 10)),
    *(f"{group}.{setting}.{case}" for group, setting in COMPRESSED for case in (1, 4, 11, 17)),
]
GROUPS = {
    "1": "framing",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "opcodes",
    "5": "fragmentation",
    "6": "UTF-8",
    "7": "closing",
    "9": "limits and speed",
    "10": "automatic fragmentation",
    "12": "compression, different payloads",
    "13": "compression, different parameters",
}
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.SelectorEventLoop,
}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def wait_ready(port: int, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(200):
        if server.poll() is not None:
            raise SystemExit(f"the fuzzing server ended with {server.returncode}")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
    raise SystemExit("the fuzzing server does not answer")


async def run_cases(base: str, agent: str) -> int:
    """All cases, one after the other; how many there were."""
    async with keepwarm.ClientSession(timeout=None) as session:
        async with session.ws_connect(f"{base}/getCaseCount") as ws:
            count = int(await ws.receive_str())
        for case in range(1, count + 1):
            await run_case(session, f"{base}/runCase?case={case}&agent={agent}")
            if case % 25 == 0 or case == count:
                print(f"   {agent}: {case} of {count}", flush=True)
        async with session.ws_connect(f"{base}/updateReports?agent={agent}") as ws:
            async for _ in ws:
                pass
    return count


async def run_case(session: keepwarm.ClientSession, url: str) -> None:
    """Echo until the server has seen enough."""
    async with session.ws_connect(url, compress=True, max_msg_size=MOST_MESSAGE, max_fragments=None) as ws:
        async for message in ws:
            try:
                if message.tp is keepwarm.MsgType.text:
                    await ws.send_str(message.data)
                elif message.tp is keepwarm.MsgType.binary:
                    await ws.send_bytes(message.data)
            except keepwarm.ClientConnectionError:
                pass  # the case broke the connection; what it sent before counts


def run_on(name: str, cases: list[str], directory: Path) -> dict[str, dict[str, Any]]:
    """The suite's report of one run: case to behaviour."""
    port = free_port()
    spec = directory / f"{name}.json"
    reports = directory / name
    base = f"ws://127.0.0.1:{port}"
    spec.write_text(
        json.dumps(
            {
                "url": base,
                "outdir": str(reports),
                "cases": cases,
                "exclude-cases": [],
                "exclude-agent-cases": {},
            }
        )
    )
    command = [str(LIBRARY / "python2"), str(Path(__file__).with_name("fuzzing_server.py")), str(LIBRARY), str(spec)]
    with open(directory / f"{name}.log", "wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory)
    try:
        with asyncio.Runner(loop_factory=LOOPS[name]) as runner:
            runner.run(_ready_and_run(port, server, base, name))
    finally:
        server.terminate()
        server.wait()
    found: dict[str, dict[str, dict[str, Any]]] = json.loads((reports / "index.json").read_text())
    return found[name]


async def _ready_and_run(port: int, server: "subprocess.Popen[bytes]", base: str, agent: str) -> None:
    await wait_ready(port, server)
    await run_cases(base, agent)


def table(results: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    """The verdicts by group and loop, as a table."""
    lines = ["| group | about | " + " | ".join(results) + " |", "| --- | --- |" + " --- |" * len(results)]
    for group, about in GROUPS.items():
        cells = []
        for cases in results.values():
            verdicts = Counter(_verdict(case) for key, case in cases.items() if key.split(".")[0] == group)
            cells.append(", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items())) or "not run")
        lines.append(f"| {group} | {about} | " + " | ".join(cells) + " |")
    return lines


def _verdict(case: dict[str, Any]) -> str:
    return "FAILED" if "FAILED" in (case["behavior"], case["behaviorClose"]) else str(case["behavior"])


def exceptions(results: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    """Each case that is not plainly OK."""
    lines = []
    for loop, cases in results.items():
        for key, case in sorted(cases.items(), key=lambda item: [int(part) for part in item[0].split(".")]):
            if case["behavior"] not in ("OK", "INFORMATIONAL") or case["behaviorClose"] not in ("OK", "INFORMATIONAL"):
                lines.append(f"- {loop} {key}: {case['behavior']}, close {case['behaviorClose']}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.compliance", description="The client cases of Autobahn.")
    parser.add_argument("--cases", nargs="+", default=["*"], help="patterns of case numbers, such as 6.*")
    parser.add_argument("--quick", action="store_true", help="four cases of each compression setting instead of all")
    parser.add_argument("--loop", choices=[*LOOPS, "both"], default="both")
    parser.add_argument("--write", action="store_true", help="write the table to docs/autobahn.md")
    given = parser.parse_args()
    cases = QUICK if given.quick else given.cases
    loops = list(LOOPS) if given.loop == "both" else [given.loop]
    print(f"== Autobahn on {' and '.join(loops)}", flush=True)
    # At the same time: each spends most of it waiting for its server, which compresses in Python.
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(len(loops)) as threads:
        runs = {name: threads.submit(run_on, name, cases, Path(directory)) for name in loops}
        results = {name: run.result() for name, run in runs.items()}
    report = [*table(results), "", *(exceptions(results) or ["Every case is OK or informational."])]
    print("\n".join(report))
    if given.write:
        TABLE.write_text(_page(report), encoding="utf-8")
    verdicts = {loop: Counter(_verdict(case) for case in found.values()) for loop, found in results.items()}
    failed = sum(found["FAILED"] for found in verdicts.values())
    strict = all(found["NON-STRICT"] <= MOST_NON_STRICT for found in verdicts.values())
    print("passed" if not failed and strict else f"NOT passed: {failed} failed")
    return 0 if not failed and strict else 1


def _page(report: list[str]) -> str:
    return "\n".join(
        [
            "# Autobahn",
            "",
            "The client cases of the Autobahn test suite 0.8.2, run against keepwarm by "
            "`python -m tests.compliance --write`; `make compliance` runs a part of it.",
            "OK is as RFC 6455 and RFC 7692 have it; informational cases have no right answer.",
            "",
            *report,
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
