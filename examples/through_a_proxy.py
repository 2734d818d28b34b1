"""Call through an HTTP proxy: ``python -m examples.through_a_proxy PROXY URL [URL ...]``

PROXY is a URL such as ``http://user:password@proxy.internal:3128``; the user is optional. For an ``http://`` URL the
proxy gets the request itself, for an ``https://`` URL it is asked for a tunnel, and TLS is made with the server inside.
Each URL is called twice over a connection that is kept, and the number of dials is shown.
"""

import asyncio
import sys

import keepwarm


async def main(proxy: str, *urls: str, ca_file: str | None = None) -> None:
    """Call each URL twice, and say what came of it. `ca_file` has the authorities to trust, if not the system's."""
    connector = keepwarm.ProxyConnector(proxy, force_close=False, conn_timeout=5, ca_file=ca_file)
    async with keepwarm.ClientSession(connector=connector) as session:
        for url in urls * 2:
            try:
                async with session.get(url) as response:
                    print(f"{response.status} {url}")
            except keepwarm.HttpProxyError as exc:
                print(f"{connector.proxy} refuses {url}: {exc.status} {exc.message}")
            except keepwarm.ProxyConnectionError as exc:
                print(f"{connector.proxy} cannot be reached: {exc}")
        total = connector.stats().total
        print(f"{total.leases} calls, {total.dials} dials through {connector.proxy}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python -m examples.through_a_proxy PROXY URL [URL ...]")
    asyncio.run(main(*sys.argv[1:]))
