"""What the pool says of itself: numbers, events, timings: ``python -m examples.numbers``

The program serves itself. It makes forty calls through a pool of four connections and shows where the time went, what
became of the connections, and the same for Prometheus.
"""

import asyncio
from collections import Counter

import uvloop

import keepwarm
from keepwarm.metrics import prometheus_text

CALLS = 40
LIMIT = 4


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request after a few milliseconds."""
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.002)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def call(session: keepwarm.ClientSession, url: str) -> keepwarm.Timings | None:
    async with session.get(url) as response:
        await response.read()
    return response.timings


async def make_calls(url: str) -> None:
    connector = keepwarm.TCPConnector(limit=LIMIT)
    seen: Counter[str] = Counter()

    def listen(event: keepwarm.Event) -> None:
        if isinstance(event, keepwarm.ConnectionEvent):
            seen[event.kind] += 1

    unsubscribe = connector.subscribe(listen)
    async with keepwarm.ClientSession(connector=connector, timings=True) as session:
        slowest = max(
            [timings for timings in await asyncio.gather(*(call(session, url) for _ in range(CALLS))) if timings],
            key=lambda timings: timings.total or 0,
        )
        unsubscribe()
        total = connector.stats().total
        print(f"{total.leases} calls over {total.dials} connections, {total.reuse_ratio or 0:.0%} reused")
        half = total.wait.percentile(50)
        print(f"{total.wait.count} calls waited for a connection, half of them less than {half:.3f} s")
        print(f"the slowest call: {slowest.queued:.3f} s in the queue, {slowest.head:.3f} s for the server")
        print("what became of the connections:", ", ".join(f"{kind} {number}" for kind, number in sorted(seen.items())))
        for line in prometheus_text(connector).splitlines():
            if line.startswith("keepwarm_connections{"):
                print(line)


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        await make_calls(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    finally:
        server.close()
        await server.wait_closed()


if __name__ == "__main__":
    uvloop.run(main())
