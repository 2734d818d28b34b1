"""``python -m benchmarks [--quick] [scenario ...]``"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.arena import Plan, run_calls, run_idle, run_imports
from benchmarks.clients import CLIENTS
from benchmarks.launch import cores
from benchmarks.report import machine, promise_lines, scenario_lines, write_json
from benchmarks.results import ScenarioResult
from benchmarks.scenarios import BY_NAME, SCENARIOS, Calls, Idle, Imports, Scenario
from benchmarks.servers import SERVERS, choose, relaying_proxy

RESULTS = Path(__file__).resolve().parent.parent / "results"
ROUNDS, QUICK_ROUNDS = 7, 3
ROUND_SECONDS, QUICK_ROUND_SECONDS = 0.5, 0.2


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="CPU time, rate and latency of a call, next to a bare floor and to other clients, on loopback.",
        epilog="scenarios: " + "; ".join(f"{scenario.name} ({scenario.title})" for scenario in SCENARIOS),
    )
    parser.add_argument("scenario", nargs="*", help="which to run (default: all)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} short rounds: a first look, not a result")
    parser.add_argument("--rounds", type=int, help=f"rounds of each client (default {ROUNDS})")
    parser.add_argument("--client", action="append", default=[], help="only this client; may be given several times")
    parser.add_argument("--server", choices=["auto", *SERVERS], default="auto", help="default: nginx if installed")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory for the JSON (default: results/)")
    parser.add_argument("--no-pin", action="store_true", help="let the system place server and clients")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a promised figure is missed")
    options = parser.parse_args(arguments)
    known = {"scenario": (options.scenario, BY_NAME), "client": (options.client, {spec.name for spec in CLIENTS})}
    for what, (given, names) in known.items():
        for name in given:
            if name not in names:
                parser.error(f"unknown {what} {name!r}; there are: {', '.join(names)}")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def progress(text: str) -> None:
    """One line that changes, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def needs_bundled(scenario: Calls | Idle) -> bool:
    """Only the bundled server can hold callers, and speak WebSocket."""
    return isinstance(scenario, Idle) or scenario.kind.startswith("ws-")


def run(scenario: Scenario, plan: Plan, server: str, server_core: int | None) -> ScenarioResult:
    """One scenario with a server of its own."""
    if isinstance(scenario, Imports):
        return run_imports(scenario, plan)
    kind = "bundled" if needs_bundled(scenario) else server
    with (
        tempfile.TemporaryDirectory(prefix="keepwarm-bench-") as directory,
        SERVERS[kind](Path(directory), server_core) as addresses,
    ):
        if isinstance(scenario, Idle):
            return asyncio.run(run_idle(scenario, addresses, plan))
        if scenario.proxy:
            with relaying_proxy(addresses, server_core) as proxied:
                return asyncio.run(run_calls(scenario, proxied, plan))
        return asyncio.run(run_calls(scenario, addresses, plan))


def heading(server: str, pins: tuple[int | None, int | None]) -> list[str]:
    about = machine()
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    pinned = "not pinned" if pins[0] is None else f"server on core {pins[0]}, clients on core {pins[1]}"
    return [
        f"Python {about['python']}, {about['system']}, {about['processor']}, {about['cores']} cores",
        packages,
        f"server: {server}; {pinned}; all traffic on loopback",
    ]


def main() -> int:
    options = parse(sys.argv[1:])
    began = time.monotonic()
    server = choose(options.server)
    pins = (None, None) if options.no_pin else cores()
    plan = Plan(
        rounds=options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS),
        round_seconds=QUICK_ROUND_SECONDS if options.quick else ROUND_SECONDS,
        core=pins[1],
        only=frozenset(options.client),
        say=progress,
    )
    print("\n".join(heading(server, pins)))
    results: dict[str, ScenarioResult] = {}
    wanted = [scenario for scenario in SCENARIOS if not options.scenario or scenario.name in options.scenario]
    for scenario in wanted:
        results[scenario.name] = run(scenario, plan, server, pins[0])
        progress("")
        print("\n".join(scenario_lines(results[scenario.name])), flush=True)
    lines, missed = promise_lines(results)
    print("\n".join(lines))
    settings = {"rounds": plan.rounds, "round_seconds": plan.round_seconds, "server": server, "pins": pins}
    path = write_json(options.results, settings, results)
    print(f"\n{time.monotonic() - began:.0f} s; every round is in {path}")
    failed = any(result.failed for result in results.values())
    return 1 if failed or (missed and options.strict) else 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
