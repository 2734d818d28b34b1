"""Bodies that need not fit into memory, both ways: ``python -m examples.streaming URL``

Downloads the URL piece by piece, then sends a body that is made while it is sent. Either side may be slow: no more than
a few pieces are held at a time.
"""

import hashlib
import sys
from collections.abc import AsyncIterator

import uvloop

import keepwarm

PIECE = 64 * 1024


async def download(session: keepwarm.ClientSession, url: str) -> tuple[int, str]:
    """The size and the SHA-256 of what `url` serves."""
    size, digest = 0, hashlib.sha256()
    async with session.get(url) as response:
        async for piece in response.content.iter_chunked(PIECE):
            size += len(piece)
            digest.update(piece)
    return size, digest.hexdigest()


async def lines(count: int) -> AsyncIterator[bytes]:
    for number in range(count):
        yield b"line %d\n" % number


async def main(url: str) -> None:
    async with keepwarm.ClientSession() as session:
        size, digest = await download(session, url)
        print(f"downloaded {size} bytes, SHA-256 {digest}")
        async with session.post(url, data=lines(1000), headers={"Content-Type": "text/plain"}) as response:
            print(f"uploaded in chunks, status {response.status}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m examples.streaming URL")
    uvloop.run(main(sys.argv[1]))
