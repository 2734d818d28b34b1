"""What the tests of the connectors share."""

import socket

from keepwarm import BaseConnector, ClientRequest, Connection
from keepwarm.pool.address import Address, Answer
from tests.support.server import ScriptedServer


async def connect(connector: BaseConnector, server: ScriptedServer) -> Connection:
    return await connector.connect(ClientRequest("GET", server.url()))


class Listed:
    """A resolver that gives every name the same addresses, and notes what it was asked."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts
        self.asked: list[tuple[str, int, int]] = []

    async def resolve(self, host: str, port: int, family: int = 0) -> Answer:
        self.asked.append((host, port, family))
        kinds = [socket.AF_INET6 if ":" in host else socket.AF_INET for host in self.hosts]
        pairs = zip(self.hosts, kinds, strict=True)
        return Answer(tuple(Address(host, port, int(kind)) for host, kind in pairs), 60.0)
