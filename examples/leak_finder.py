"""Who keeps a connection? ``python -m examples.leak_finder``

The program serves itself. One of its functions forgets to release an answer; after a tenth of a second the connector
says which. The next call waits in vain for the only connection, and its error says the same.
"""

import asyncio

import uvloop

import keepwarm


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request with the beginning of a long body."""
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhello")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def forgetful(session: keepwarm.ClientSession, url: str) -> keepwarm.ClientResponse:
    """The body of the answer is neither read nor released, and somebody keeps the answer."""
    return await session.get(url)


async def find(url: str) -> None:
    found: asyncio.Queue[keepwarm.Leak] = asyncio.Queue()
    connector = keepwarm.TCPConnector(limit=1, pool_timeout=0.05, leak_after=0.1, on_leak=found.put_nowait)
    async with keepwarm.ClientSession(connector=connector) as session:
        kept = await forgetful(session, url)
        leak = await found.get()
        print(f"a connection is held too long; it was taken in {leak.stack.place.rpartition(' ')[2]}")
        try:
            await session.get(url)
        except keepwarm.PoolTimeoutError as error:
            print("and the next caller is told:", "forgetful" in str(error))
        kept.close()
        print(f"{connector.stats().total.leased} connections are held now")


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        await find(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    finally:
        server.close()
        await server.wait_closed()


if __name__ == "__main__":
    uvloop.run(main())
