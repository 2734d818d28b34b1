"""Runs the scenarios: the clients take turns in short rounds, each in a process of its own."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.children import Child, ChildError
from benchmarks.clients import BY_NAME
from benchmarks.job import Job
from benchmarks.launch import command
from benchmarks.results import ScenarioResult
from benchmarks.scenarios import Calls, Idle, Imports
from benchmarks.servers import Addresses

# A round's calls are fitted to `Plan.round_seconds`, from the rate of a first round that does not count; between these
# limits and the scenario's own.
LEAST_CALLS = 50
TRIAL_CALLS = 100
WARM_SHARE = 10

IMPORT_TIMER = (
    "import time; began = time.process_time(); import {module}; print(time.process_time() - began)"  # user + system
)
IMPORT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run is made. `only` keeps the clients of that name (empty: all); `core` is for the clients."""

    rounds: int
    round_seconds: float
    core: int | None
    only: frozenset[str]
    say: Callable[[str], None]

    def takes(self, client: str) -> bool:
        return not self.only or client in self.only


def turns(names: list[str], rounds: int) -> Iterator[str]:
    """A B C, B C A, C A B, ...: nobody always follows the same neighbour at the same place."""
    for number in range(rounds):
        shift = number % len(names) if names else 0
        yield from names[shift:] + names[:shift]


def job_of(scenario: Calls, addresses: Addresses, client: str) -> Job:
    by_proxy = client.endswith("-proxy")
    direct = addresses if by_proxy else addresses.relayed or addresses
    return Job(
        url=direct.url(scenario.path, scenario.tls),
        at_once=scenario.at_once,
        expect=scenario.expect,
        kind=scenario.kind,
        keepalive=scenario.keepalive,
        ca_file=addresses.ca_file if scenario.tls else None,
        fast_tls=client.endswith("-fast-tls"),
        resumption=not client.endswith("-full-tls"),
        unix_path=addresses.unix if scenario.unix else None,
        proxy=addresses.proxy if by_proxy else None,
        messages=scenario.messages,
    )


async def start_clients(
    names: tuple[str, ...], jobs: Callable[[str], Job], result: ScenarioResult, plan: Plan
) -> dict[str, Child]:
    """A child for each client that is installed."""
    children: dict[str, Child] = {}
    for name in filter(plan.takes, names):
        child = await Child.start("benchmarks.worker", name, jobs(name).to_json(), core=plan.core, name=name)
        try:
            hello = await child.reply()
        except ChildError as exc:
            hello = {}
            result.fail(name, str(exc))
        if "skip" in hello:
            result.skipped[name] = hello["skip"]
        if "ready" in hello:
            children[name] = child
        else:
            await child.stop()
    return children


async def drop(name: str, children: dict[str, Child], result: ScenarioResult, error: ChildError) -> None:
    result.fail(name, str(error))
    await children.pop(name).stop()


async def fit(scenario: Calls, children: dict[str, Child], result: ScenarioResult, plan: Plan) -> dict[str, int]:
    """How many calls a round has for each client: what it makes in `round_seconds`, at most `scenario.calls`."""
    most = scenario.calls
    least = min(LEAST_CALLS, most)
    counts: dict[str, int] = {}
    for name in list(children):
        try:
            trial = await children[name].ask(calls=min(TRIAL_CALLS, most), warm=scenario.at_once)
        except ChildError as exc:
            await drop(name, children, result, exc)
            continue
        counts[name] = max(least, min(most, int(trial["rate"] * plan.round_seconds)))
    return counts


def per_message(figures: dict[str, float], messages: int) -> dict[str, float]:
    """The figures of a message, from those of a call. How long one call took says nothing of each message."""
    costs = {name: figures[name] / messages for name in ("cpu", "system")}
    return {**costs, "rate": figures["rate"] * messages, "rss": figures["rss"]}


async def run_calls(scenario: Calls, addresses: Addresses, plan: Plan) -> ScenarioResult:
    result = ScenarioResult(scenario.name, scenario.title, scenario.unit)
    children = await start_clients(scenario.clients, lambda name: job_of(scenario, addresses, name), result, plan)
    try:
        counts = await fit(scenario, children, result, plan)
        for name in turns(list(children), plan.rounds):
            if name not in children:
                continue
            warm = max(scenario.at_once, counts[name] // WARM_SHARE)
            try:
                figures = await children[name].ask(calls=counts[name], warm=warm)
            except ChildError as exc:
                await drop(name, children, result, exc)
                continue
            if scenario.messages > 1:
                figures = per_message(figures, scenario.messages)
            result.add(name, figures.pop("cpu"), figures)
            plan.say(f"{scenario.name}: {name} {result.figures[name][-1]:.1f}")
    finally:
        await asyncio.gather(*(child.stop() for child in children.values()))
    return result


async def run_idle(scenario: Idle, addresses: Addresses, plan: Plan) -> ScenarioResult:
    """Each client once a round, in a new process: memory that a process has had it does not give back."""
    result = ScenarioResult(scenario.name, scenario.title, scenario.unit)
    job = Job(url=addresses.url("/", tls=False), at_once=scenario.connections, expect=0, kind=scenario.kind)
    for _ in range(min(3, plan.rounds)):
        names = tuple(name for name in scenario.clients if name not in result.failed and name not in result.skipped)
        children = await start_clients(names, lambda _: job, result, plan)
        try:
            for name in list(children):
                try:
                    figures = await children[name].ask(hold=scenario.connections)
                except ChildError as exc:
                    await drop(name, children, result, exc)
                    continue
                live = figures.pop("live")
                result.add(name, None if BY_NAME[name].native else live, figures)
                plan.say(f"{scenario.name}: {name} {live:.1f} KiB")
        finally:
            await asyncio.gather(*(child.stop() for child in children.values()))
    return result


def import_seconds(module: str, core: int | None) -> float:
    """CPU seconds of the import. ``-I``: only what is installed, nothing of this directory or the environment."""
    program = [sys.executable, "-I", "-c", IMPORT_TIMER.format(module=module)]
    done = subprocess.run(
        command(core, program), capture_output=True, text=True, timeout=IMPORT_SECONDS, cwd=os.sep, check=False
    )
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise ChildError(last or f"the interpreter ended with the status {done.returncode}")
    return float(done.stdout)


def run_imports(scenario: Imports, plan: Plan) -> ScenarioResult:
    result = ScenarioResult(scenario.name, scenario.title, scenario.unit)
    modules = {module.partition(".")[0]: module for module in scenario.clients}
    names = [name for name in modules if plan.takes(name)]
    for name in list(names):  # the first time writes the byte code and fills the page cache
        try:
            import_seconds(modules[name], plan.core)
        except ChildError as exc:
            names.remove(name)
            missing = str(exc).startswith("ModuleNotFoundError")
            (result.skipped if missing else result.failed)[name] = str(exc)
    for name in turns(names, plan.rounds):
        result.add(name, import_seconds(modules[name], plan.core) * 1e3, {})
        plan.say(f"import: {name} {result.figures[name][-1]:.1f} ms")
    return result
