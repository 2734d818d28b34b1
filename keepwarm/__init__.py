"""keepwarm: a connection-pool engine for asyncio, with an HTTP client on top.

::

    import asyncio
    import keepwarm

    async def main():
        async with keepwarm.ClientSession() as session:
            async with session.get("http://127.0.0.1:8000/") as resp:
                print(resp.status, await resp.text())

    asyncio.run(main())
"""

from keepwarm import errors
from keepwarm.client.auth import BasicAuth
from keepwarm.client.body import StreamReader
from keepwarm.client.headers import library_version
from keepwarm.client.request import ClientRequest
from keepwarm.client.response import ClientResponse
from keepwarm.client.session import ClientSession
from keepwarm.client.timeout import ClientTimeout
from keepwarm.client.version import HttpVersion, HttpVersion10, HttpVersion11
from keepwarm.errors import *  # noqa: F403
from keepwarm.pool.connection import Connection
from keepwarm.pool.connector import BaseConnector
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.stats import EndpointStats, PoolStats
from keepwarm.pool.tcp_connector import TCPConnector

__version__ = library_version()

__all__ = sorted(
    [
        *errors.__all__,
        "BaseConnector",
        "BasicAuth",
        "ClientRequest",
        "ClientResponse",
        "ClientSession",
        "ClientTimeout",
        "Connection",
        "Endpoint",
        "EndpointStats",
        "HttpVersion",
        "HttpVersion10",
        "HttpVersion11",
        "PoolStats",
        "StreamReader",
        "TCPConnector",
        "__version__",
        "errors",
    ]
)
