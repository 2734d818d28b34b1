"""Never meet a connection that the server is about to close: ``python -m examples.safe_reuse``

The program serves itself: a server that ends idle connections after 1.2 seconds, and tells nobody. Three of them are
left alone until that happens; from then on the pool knows, and retires idle connections before the server does.
"""

import asyncio

import uvloop

import keepwarm

# How long the server keeps an idle connection, in seconds.
PATIENCE = 1.2
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer until the client has been silent for too long."""
    try:
        while True:
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
            writer.write(ANSWER)
    except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main(patience: float = PATIENCE) -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    connector = keepwarm.TCPConnector()
    async with keepwarm.ClientSession(connector=connector) as session:
        for number in range(1, 5):
            async with session.get(url) as response:
                await response.read()
            while True:
                await asyncio.sleep(patience / 50)
                if not connector.stats().total.idle:
                    break
            reason = ", ".join(f"{reason} {times}" for reason, times in connector.stats().total.retired.items())
            print(f"call {number}: status {response.status}; retired so far: {reason}")
    server.close()
    await server.wait_closed()


if __name__ == "__main__":
    uvloop.run(main())
