"""One client in a process of its own: ``python -m benchmarks.worker CLIENT JOB``. It takes and gives JSON lines.

{"calls": n, "warm": m}  make m calls that are not measured, then n that are, `at_once` at a time
{"hold": n}              open n connections at once and say what one of them takes while it is idle
"""

import asyncio
import gc
import importlib
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import uvloop

from benchmarks.clients import BY_NAME
from benchmarks.job import Client, Job
from benchmarks.measure import Usage, percentile
from benchmarks.memory import hold
from benchmarks.optional import is_installed
from benchmarks.server import allow_descriptors


async def make_calls(client: Client, job: Job, count: int) -> list[float]:
    """`count` calls, `job.at_once` at a time; the seconds that each took."""
    took: list[float] = []
    left = iter(range(count))

    async def caller() -> None:
        clock, call, expect = time.perf_counter, client.call, job.expect
        for _ in left:
            began = clock()
            body = await call()
            took.append(clock() - began)
            if len(body) != expect:
                raise RuntimeError(f"{job.url} answered with {len(body)} bytes, expected {expect}")

    async with asyncio.TaskGroup() as group:
        for _ in range(min(job.at_once, count)):
            group.create_task(caller())
    return took


async def measured_round(client: Client, job: Job, count: int, warm: int) -> dict[str, float]:
    await make_calls(client, job, warm)
    gc.collect()
    before = Usage.now()
    took = await make_calls(client, job, count)
    used = Usage.now() - before
    took.sort()
    return {
        "cpu": used.cpu / count * 1e6,
        "system": used.system / count * 1e6,
        "rate": count / used.wall,
        "p50": percentile(took, 0.50) * 1e3,
        "p99": percentile(took, 0.99) * 1e3,
        "rss": used.rss / 2**20,
    }


async def requests() -> AsyncIterator[dict[str, Any]]:
    """The lines of standard input, without keeping the event loop from its own work."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


def reply(**message: Any) -> None:
    print(json.dumps(message), flush=True)


async def work(name: str, job: Job) -> None:
    allow_descriptors()
    spec = BY_NAME[name]
    missing = [package for package in spec.requires if not is_installed(package)]
    if missing:
        reply(skip=f"{' and '.join(missing)} not installed")
        return
    open_client = importlib.import_module(spec.module).open_client
    client: Client | None = None
    try:
        reply(ready=True)
        async for request in requests():
            if "hold" in request:
                reply(**await hold(open_client, job, request["hold"]))
                continue
            if client is None:
                client = await open_client(job)
            reply(**await measured_round(client, job, request["calls"], request["warm"]))
    finally:
        if client is not None:
            await client.close()


def main() -> None:
    name, job = sys.argv[1], Job.from_json(sys.argv[2])
    try:
        uvloop.run(work(name, job))
    except Exception as exc:  # whatever a client raises is the parent's to report
        reply(error=describe(exc))
        sys.exit(1)


def describe(exc: BaseException) -> str:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return f"{type(exc).__name__}: {exc}"


if __name__ == "__main__":
    main()
