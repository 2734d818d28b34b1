"""Wait for a connection, but not in vain: ``python -m examples.queueing``

A server that takes a twentieth of a second for each answer is called more often than its four connections allow. First
a call has little time to wait (`pool_timeout`), then the queue has few places (`max_waiting`), and at last calls come
twice as fast as they can be answered, for two seconds: without `shed` most are late, with it the server is as busy, and
whoever cannot be served in time is told at once.
"""

import asyncio
from collections import Counter

import uvloop

import keepwarm

SECONDS = 0.05
CONNECTIONS = 4
TIMEOUT = keepwarm.ClientTimeout(0.5)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer slowly."""
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(SECONDS)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def call(session: keepwarm.ClientSession, url: str) -> str:
    """What became of one call."""
    try:
        async with session.get(url, timeout=TIMEOUT) as response:
            await response.read()
            return "answered"
    except (keepwarm.PoolTimeoutError, keepwarm.PoolFullError) as error:
        short = error.shortage
        text = f"{type(error).__name__}: "
        if short is not None:
            text += f"{short.leased} of {short.limit} connections leased, {short.waiting} calls waiting"
            text += "".join(f"; {holder.purpose} has one" for holder in short.holders[:1])
        return text
    except keepwarm.ClientTimeoutError:
        return "late"


async def too_many(connector: keepwarm.TCPConnector, url: str, more: int) -> None:
    """Every connection serves a call when so many more come; what became of the last one."""
    async with keepwarm.ClientSession(connector=connector) as session:
        calls = [asyncio.ensure_future(call(session, url)) for _ in range(CONNECTIONS)]
        await asyncio.sleep(SECONDS / 2)
        calls += [asyncio.ensure_future(call(session, url)) for _ in range(more)]
        print((await asyncio.gather(*calls))[-1])


async def overload(connector: keepwarm.TCPConnector, url: str, seconds: float) -> Counter[str]:
    """Twice as many calls as can be answered, for so long; how many had which outcome."""
    async with keepwarm.ClientSession(connector=connector) as session:
        pause = SECONDS / CONNECTIONS / 2
        calls = []
        for _ in range(int(seconds / pause)):
            calls.append(asyncio.ensure_future(call(session, url)))
            await asyncio.sleep(pause)
        outcomes = await asyncio.gather(*calls)
    return Counter(outcome.partition(":")[0] for outcome in outcomes)


async def main(seconds: float = 2.0) -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/report"
    await too_many(keepwarm.TCPConnector(limit=CONNECTIONS, pool_timeout=SECONDS / 5), url, 1)
    await too_many(keepwarm.TCPConnector(limit=CONNECTIONS, max_waiting=2), url, 3)
    for shed in (False, True):
        connector = keepwarm.TCPConnector(limit_per_host={"127.0.0.1": CONNECTIONS}, shed=shed)
        outcomes = await overload(connector, url, seconds)
        print(f"shed={shed}:", ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())))
    server.close()
    await server.wait_closed()


if __name__ == "__main__":
    uvloop.run(main())
