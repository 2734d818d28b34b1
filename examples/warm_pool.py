"""Connections that are there before the first call: ``python -m examples.warm_pool``

The program serves itself, and counts the connections that its server accepts. Three are made by `warm` before any call;
then three calls at once find one each, and nobody waits for a dial. After that `min_idle` keeps two ready.
"""

import asyncio

import keepwarm

CALLS = 3


class Server:
    """Answers every request, and counts connections and requests."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def call(session: keepwarm.ClientSession, url: str) -> int:
    async with session.get(url) as response:
        await response.read()
        return response.status


async def main() -> None:
    """Warm, call, and show what the server saw."""
    served = Server()
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    connector = keepwarm.TCPConnector(limit=10, min_idle=2, conn_timeout=5)
    async with server, keepwarm.ClientSession(connector=connector) as session:
        there = await connector.warm(url, CALLS)
        print(f"{there} connections are there, {served.requests} requests were sent")
        statuses = await asyncio.gather(*(call(session, url) for _ in range(CALLS)))
        print(f"{statuses.count(200)} calls over {connector.stats().total.dials} dials")


if __name__ == "__main__":
    asyncio.run(main())
