"""Shut down without cutting a call: ``python -m examples.graceful_shutdown``

The program serves itself. Ten calls are under way when the session is closed with ``drain=5``: they end, a new call is
refused, and `close` returns when the last socket is gone. In a service, do this when SIGTERM comes, after you have
stopped to take requests yourself.
"""

import asyncio

import keepwarm

CALLS = 10


class Server:
    """Answers when `answer` is set."""

    def __init__(self) -> None:
        self.requests = 0
        self.all_there = asyncio.Event()
        self.answer = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                if self.requests == CALLS:
                    self.all_there.set()
                await self.answer.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def call(session: keepwarm.ClientSession, url: str) -> int:
    async with session.get(url) as response:
        await response.read()
        return response.status


async def main() -> None:
    """Begin the calls, close the session in the middle of them, and see all of them end."""
    served = Server()
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    connector = keepwarm.TCPConnector()
    session = keepwarm.ClientSession(connector=connector)
    async with server:
        calls = [asyncio.create_task(call(session, url)) for _ in range(CALLS)]
        await served.all_there.wait()
        closing = session.close(drain=5)
        try:
            await connector.warm(url)
        except keepwarm.PoolClosedError as exc:
            print(f"a newcomer is told: {exc}")
        served.answer.set()
        await closing
        statuses = [await one for one in calls]
        print(f"{statuses.count(200)} of {CALLS} calls ended well, {connector.stats().total.open} sockets are left")


if __name__ == "__main__":
    asyncio.run(main())
