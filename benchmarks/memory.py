"""What one idle connection takes in the client's process."""

import asyncio
import ctypes
import gc
import tracemalloc
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.job import Client, Job
from benchmarks.measure import resident_bytes

WARM_CONNECTIONS = 50
DESCRIPTORS = Path("/proc/self/fd")

OpenClient = Callable[[Job], Awaitable[Client]]


def held_job(job: Job, count: int) -> Job:
    """The job with the address at which the bundled server holds its answers until `count` callers wait."""
    parts = urlsplit(job.url)
    return replace(job, url=f"{parts.scheme}://{parts.netloc}/hold/{count}", at_once=count)


async def open_idle(open_client: OpenClient, job: Job, count: int) -> Client:
    """A client with `count` idle connections. Raises RuntimeError when it has not kept them all."""
    before = open_sockets()
    client = await open_client(held_job(job, count))
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(client.call())
    await settle()
    check_kept(open_sockets() - before, count)
    return client


def check_kept(kept: int, count: int) -> None:
    """Raise RuntimeError unless all connections are open still."""
    if DESCRIPTORS.exists() and kept < count:
        raise RuntimeError(f"the client kept {kept} of {count} connections open, so their memory cannot be told")


def open_sockets() -> int:
    """How many descriptors of this process are sockets; 0 where there is no /proc."""
    return sum(1 for entry in DESCRIPTORS.glob("*") if is_socket(entry))


def is_socket(entry: Path) -> bool:
    try:
        return str(entry.readlink()).startswith("socket:")
    except OSError:
        return False  # the descriptor of this very listing


async def settle() -> None:
    """Let transports finish, then give back what nobody holds."""
    for _ in range(5):
        await asyncio.sleep(0.02)
        gc.collect()
    if hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)


async def hold(open_client: OpenClient, job: Job, count: int) -> dict[str, float]:
    """KiB an idle connection: live (handed out by Python's allocators and not given back) and resident.

    The two are taken one after the other with connections of their own, since tracing takes memory itself. A few
    connections are opened and closed first, so that code and tables loaded on first use do not count.
    """
    await (await open_idle(open_client, job, WARM_CONNECTIONS)).close()
    await settle()
    before = resident_bytes()
    client = await open_idle(open_client, job, count)
    resident = resident_bytes() - before
    await client.close()
    await settle()
    live = await live_bytes(open_client, job, count)
    return {"resident": resident / count / 1024, "live": live / count / 1024}


async def live_bytes(open_client: OpenClient, job: Job, count: int) -> int:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        client = await open_idle(open_client, job, count)
        after, _ = tracemalloc.get_traced_memory()
        await client.close()
    finally:
        tracemalloc.stop()
    return after - before
