"""Look names up your own way, and keep the answers: ``python -m examples.dns_cache PORT ADDRESS [ADDRESS ...]``

Gives ``orders.internal`` the given IP addresses, as a table or a service registry of yours would, and makes 40 calls
to it, each on a connection of its own. One lookup serves them all, and the addresses take turns.
"""

import asyncio
import ipaddress
import socket
import sys

import uvloop

import keepwarm

NAME = "orders.internal"
CALLS, AT_ONCE = 40, 8


class Table:
    """A resolver: names and their addresses, from wherever you keep them. An answer holds for 30 seconds."""

    def __init__(self, names: dict[str, list[str]]) -> None:
        self._names = names

    async def resolve(self, host: str, port: int, family: int = 0) -> keepwarm.Answer:
        if host not in self._names:
            raise keepwarm.DNSError(socket.EAI_NONAME, f"cannot resolve {host!r}: it is not in the table")
        found = []
        for text in self._names[host]:
            version = ipaddress.ip_address(text).version
            found.append(keepwarm.Address(text, port, int(socket.AF_INET if version == 4 else socket.AF_INET6)))
        return keepwarm.Answer(tuple(found), 30.0)

    def close(self) -> None:
        """Nothing to give back."""


async def main(port: int, *addresses: str) -> None:
    """Make the calls, and show what the lookups came to."""
    connector = keepwarm.TCPConnector(
        resolver=Table({NAME: list(addresses)}),
        dns=keepwarm.DNSOptions(max_ttl=30, stale_for=120),
        force_close=True,
    )
    async with keepwarm.ClientSession(connector=connector) as session:

        async def caller() -> None:
            for _ in range(CALLS // AT_ONCE):
                async with session.get(f"http://{NAME}:{port}/") as response:
                    await response.read()

        await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
        dns = connector.stats().dns
        print(f"{CALLS} dials, {dns.lookups} lookup; {dns.hits} answers from the cache, {dns.misses} waited for it")
        try:
            await session.get(f"http://other.internal:{port}/")
        except keepwarm.DNSError as exc:
            print(exc)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python -m examples.dns_cache PORT ADDRESS [ADDRESS ...]")
    uvloop.run(main(int(sys.argv[1]), *sys.argv[2:]))
