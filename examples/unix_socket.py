"""Talk to a process on this machine over a unix socket: ``python -m examples.unix_socket [PATH [URL]]``

Without PATH the program serves itself: a small server at a socket in a temporary directory, called a hundred times over
one connection. The URL's host is only what the Host header says; nothing is looked up.
"""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

import uvloop

import keepwarm

CALLS = 100


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request on one connection with a number that counts them."""
    number = 0
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            number += 1
            body = b"answer %d on this connection" % number
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def call(path: str, url: str, calls: int) -> str:
    """Make the calls one after another; the last answer. Only a server of this user is talked to."""
    connector = keepwarm.UnixConnector(path, peer_uid=os.geteuid())
    async with keepwarm.ClientSession(connector=connector) as session:
        for _ in range(calls):
            async with session.get(url) as response:
                text = await response.text()
        print(f"{calls} calls over {connector.stats().total.dials} connection, status {response.status}")
    return text


async def main(path: str | None = None, url: str = "http://app.local/") -> None:
    if path is not None:
        print(await call(path, url, 1))
        return
    with tempfile.TemporaryDirectory(prefix="keepwarm-") as directory:
        path = str(Path(directory) / "app.sock")
        server = await asyncio.start_unix_server(serve, path)
        print(await call(path, url, CALLS))
        server.close()
        await server.wait_closed()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
