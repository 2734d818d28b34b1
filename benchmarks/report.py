"""Tables for people, and the same as JSON."""

import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.measure import Spread
from benchmarks.promises import PROMISES
from benchmarks.results import ScenarioResult, judge

PEERS = ("floor", "floor-fast-tls", "aiohttp", "httpx", "pyreqwest", "websockets", "picows")
EXTRAS = {"rate": "per s", "p50": "p50 ms", "p99": "p99 ms", "rss": "RSS MiB", "resident": "resident KiB"}
PACKAGES = ("keepwarm", "uvloop", "httptools", "aiofastnet", "aiohttp", "httpx", "pyreqwest", "websockets", "picows")


def number(value: float) -> str:
    """Three figures that mean something, no exponent."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread_text(spread: Spread) -> str:
    return f"{number(spread.median)} ({number(spread.low)}-{number(spread.high)})"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left, the others to the right; the first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells[1:]]).rstrip())
    return lines


def scenario_lines(result: ScenarioResult) -> list[str]:
    lines = ["", f"{result.name}: {result.title}"]
    if result.figures:
        rounds = max(len(values) for values in result.figures.values())
        lines.append(f"  {result.unit}: median of {rounds} rounds (lowest-highest)")
        lines += ["  " + line for line in table(figure_rows(result))]
        lines += ["  " + line for line in ratio_lines(result)]
    lines += [f"  skipped: {name}: {why}" for name, why in result.skipped.items()]
    lines += [f"  FAILED: {name}: {why}" for name, why in result.failed.items()]
    return lines


def figure_rows(result: ScenarioResult) -> list[list[str]]:
    extras = [name for name in EXTRAS if any(name in values for values in result.extras.values())]
    base = "floor" if "floor" in result.figures else "aiohttp"
    rows = [["client", result.unit, f"x {base}", *(EXTRAS[name] for name in extras)]]
    for client in result.extras:
        against = result.ratio(client, base)
        figure = spread_text(result.spread(client)) if client in result.figures else "-"
        shown = [number(Spread.of(result.extras[client][name]).median) for name in extras]
        rows.append([client, figure, f"{against.median:.2f}" if against else "-", *shown])
    return rows


def ratio_lines(result: ScenarioResult) -> list[str]:
    """keepwarm against everybody, from ratios taken round by round."""
    lines = []
    for client in ("keepwarm", "keepwarm-fast-tls"):
        ratios = {peer: result.ratio(client, peer) for peer in PEERS}
        shown = [f"{spread.median:.2f} x {peer}" for peer, spread in ratios.items() if spread is not None]
        if shown:
            lines.append(f"{client} = {', '.join(shown)}")
    return lines


def promise_lines(results: dict[str, ScenarioResult]) -> tuple[list[str], bool]:
    """A line for each promise, and whether one was missed."""
    rows = [["promise", "measured", "verdict"]]
    missed = False
    for promise in PROMISES:
        verdict, figure = judge(promise, results.get(promise.scenario))
        missed = missed or verdict == "missed"
        rows.append([str(promise), figure or "-", verdict])
    return ["", *table(rows)], missed


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """The processor's name where Linux tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def machine() -> dict[str, Any]:
    return {
        "python": sys.version.split()[0],
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "packages": versions(),
    }


def write_json(directory: Path, settings: dict[str, Any], results: dict[str, ScenarioResult]) -> Path:
    directory.mkdir(exist_ok=True)
    path = directory / time.strftime("bench-%Y%m%d-%H%M%S.json")
    report = {
        "machine": machine(),
        "settings": settings,
        "scenarios": {name: asdict(result) for name, result in results.items()},
        "promises": [
            {"promise": str(promise), "verdict": judge(promise, results.get(promise.scenario))[0]}
            for promise in PROMISES
        ],
    }
    path.write_text(json.dumps(report, indent=1) + "\n")
    return path
