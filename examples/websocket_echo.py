"""Send lines over a WebSocket and print what comes back: ``python -m examples.websocket_echo [OPTIONS] URL LINE ...``

``--proxy URL`` goes through an HTTP proxy, ``--unix PATH`` over a unix socket; the host of the URL is a name there. The
WebSocket is the same whatever the way: it takes a connection from the pool, and its slot is free when it is closed.
"""

import argparse
import asyncio

import keepwarm


def connector_for(proxy: str | None, path: str | None) -> keepwarm.BaseConnector:
    """The way out."""
    if proxy is not None:
        return keepwarm.ProxyConnector(proxy, force_close=False)
    if path is not None:
        return keepwarm.UnixConnector(path)
    return keepwarm.TCPConnector()


async def main(url: str, *lines: str, proxy: str | None = None, path: str | None = None) -> None:
    connector = connector_for(proxy, path)
    async with keepwarm.ClientSession(connector=connector) as session:
        async with session.ws_connect(url, compress=True) as ws:
            for line in lines:
                await ws.send_str(line)
                print(await ws.receive_str(timeout=5))
            print(f"compressed: {ws.compressed}; open sockets: {connector.stats().total.open}")
        print(f"closed with {ws.close_code}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.websocket_echo", description="Echo over a WebSocket.")
    parser.add_argument("url", metavar="URL", help="ws:// or wss://")
    parser.add_argument("lines", metavar="LINE", nargs="+")
    parser.add_argument("--proxy", metavar="URL", help="http://[user:password@]host:port")
    parser.add_argument("--unix", metavar="PATH", help="the path of a socket")
    given = parser.parse_args()
    asyncio.run(main(given.url, *given.lines, proxy=given.proxy, path=given.unix))
