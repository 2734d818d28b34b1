"""Moves one large body over a connection that has served before, and says how much memory that took.

transfers LOOP URL AUTHORITY HOW MEBIBYTES

HOW: download, download-drips, download-gzip, upload-generator, upload-file or upload-compressed. Says the resident
size in KiB before the body and the most since then, and the bytes that were moved.
"""

import os
import sys
import tempfile
from collections.abc import AsyncIterator
from typing import Any

from keepwarm.client.session import ClientSession
from tests.programs.common import LOOPS, fetch, make_session, say

MIB = 1 << 20
PIECE = 65536

loop_name, url, authority, how, mebibytes = sys.argv[1:]
size = int(mebibytes) * MIB


def resident(name: str) -> int:
    """A line of /proc/self/status: VmRSS is the size now, VmHWM the most, in KiB."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(f"{name}:"))


def forget_the_most() -> None:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


async def pieces(total: int) -> AsyncIterator[bytes]:
    # Each piece is new: memory that is kept would show.
    for k in range(total // PIECE):
        yield k.to_bytes(8, "big") * (PIECE // 8)


async def download(calls: ClientSession) -> int:
    moved = 0
    async with calls.get(f"{url}/download") as response:
        async for piece in response.content.iter_chunked(PIECE):
            moved += len(piece)
    return moved


async def upload(calls: ClientSession, data: Any) -> int:
    compress = "gzip" if how == "upload-compressed" else None
    async with calls.post(f"{url}/upload", data=data, compress=compress) as response:
        return int(await response.read())


async def move(calls: ClientSession) -> int:
    if how.startswith("download"):
        return await download(calls)
    if how != "upload-file":
        return await upload(calls, pieces(size))
    with tempfile.TemporaryFile() as file:
        os.truncate(file.fileno(), size)
        return await upload(calls, file)


async def run() -> None:
    async with make_session(authority) as calls:
        for _ in range(20):
            await fetch(calls, f"{url}/warm")
        forget_the_most()
        before = resident("VmRSS")
        moved = await move(calls)
        say({"before": before, "most": resident("VmHWM"), "moved": moved})


LOOPS[loop_name]().run_until_complete(run())
