"""Connections that do not live for ever: ``python -m examples.lifetime``

The program serves itself. With ``max_uses=3`` each connection serves three calls, so nine calls need three. Then
`expire` says that the connections to a host are not to be used again, as after a new version of a service was rolled
out; `max_age` does that by itself, at a different moment for each connection.
"""

import asyncio

import keepwarm

CALLS = 9


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request."""
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main() -> None:
    """Call, and show why connections ended."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    connector = keepwarm.TCPConnector(max_age=300, max_uses=3)
    async with server, keepwarm.ClientSession(connector=connector) as session:
        for _ in range(CALLS + 1):
            async with session.get(url) as response:
                await response.read()
        total = connector.stats().total
        print(f"{total.leases} calls over {total.dials} connections, ended: {dict(total.retired)}")
        print(f"{connector.expire('127.0.0.1')} connection was expired")
        print(f"ended: {dict(connector.stats().total.retired)}")


if __name__ == "__main__":
    asyncio.run(main())
