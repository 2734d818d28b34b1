"""wind_down(): a connector that is closed while calls in flight go on to their end."""

import gc
from types import SimpleNamespace

import pytest

from keepwarm.pool.connection import Connection
from keepwarm.pool.endpoint import make_endpoint
from keepwarm.pool.errors import PoolClosedError
from keepwarm.pool.tcp_connector import TCPConnector
from tests.support.server import ScriptedServer, UntilClosed

pytestmark = pytest.mark.asyncio


async def connect(connector: TCPConnector, server: ScriptedServer) -> Connection:
    return await connector.connect(SimpleNamespace(endpoint=make_endpoint("127.0.0.1", server.port, False)))


async def test_a_lease_outlives_its_connector() -> None:
    """Idle connections are closed at once, a leased one when it is released, even if the connector is forgotten."""
    async with ScriptedServer([UntilClosed()]) as server:
        connector = TCPConnector()
        used, unused = await connect(connector, server), await connect(connector, server)
        unused.release()
        connector.wind_down()
        connector.wind_down()
        assert connector.closed
        await server.until(lambda: server.connections[1].closed)
        del connector
        gc.collect()
        assert not used.closed and server.connections[0].closed == ""
        used.release()
        await server.until_idle()


async def test_it_takes_no_more_callers() -> None:
    """What `close` says of new calls holds here too."""
    async with ScriptedServer([UntilClosed()]) as server:
        connector = TCPConnector()
        (await connect(connector, server)).release()
        connector.wind_down()
        with pytest.raises(PoolClosedError, match="closed"):
            await connect(connector, server)
        await connector.close()
        await server.until_idle()
        assert connector.stats().total.open == 0
