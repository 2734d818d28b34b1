"""Warm pools, draining and shared connectors over real sockets (FAULTS L05, L07, L19)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from keepwarm.client.session import ClientSession
from keepwarm.pool.errors import ClientConnectionError, ConnectError, PoolClosedError
from keepwarm.pool.tcp_connector import TCPConnector
from tests.support.certificates import client_context, server_context
from tests.support.proxies import ORIGIN, OTHER, through, tunnelling
from tests.support.server import Peer, ScriptedServer, ok
from tests.support.unix_sockets import serve_at, socket_path, unix_session

pytestmark = pytest.mark.asyncio


class Gate:
    """Answers each request once it is open."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.requests = 0

    async def __call__(self, peer: Peer) -> None:
        while True:
            request = await peer.request()
            self.requests += 1
            await self.open.wait()
            peer.send(ok(nonce=request.nonce))


@asynccontextmanager
async def calling(session: ClientSession, server: ScriptedServer, gate: Gate) -> "AsyncIterator[asyncio.Task[int]]":
    """A call that the server has, and not answered."""

    async def call() -> int:
        async with session.get(server.url("/")) as response:
            await response.read()
            return response.status

    task = asyncio.ensure_future(call())
    await server.until(lambda: gate.requests == 1)
    yield task
    await asyncio.wait([task])


@pytest.mark.fault("L07")
async def test_a_call_in_flight_ends_within_the_drain() -> None:
    """It has its answer; a new one is refused; close() returns when all is over."""
    gate = Gate()
    async with ScriptedServer(gate) as server:
        connector = TCPConnector()
        session = ClientSession(connector=connector)
        async with calling(session, server, gate) as task:
            closing = session.close(drain=30)
            with pytest.raises(RuntimeError, match="Session is closed"):
                await session.get(server.url("/"))
            with pytest.raises(PoolClosedError):
                await connector.warm(server.url("/"))
            gate.open.set()
            await closing
            assert await task == 200
            assert connector.stats().total.open == 0


@pytest.mark.fault("L05", "L07")
@pytest.mark.parametrize("again", [True, False])
async def test_a_call_that_takes_too_long_is_cut(again: bool) -> None:
    """After the drain, or by closing again: it hears that the connector was closed, and nothing hangs."""
    gate = Gate()
    async with ScriptedServer(gate) as server:
        session = ClientSession()
        async with calling(session, server, gate) as task:
            closing = session.close(drain=30 if again else 0.05)
            if again:
                await session.close()
            await closing
            with pytest.raises(ClientConnectionError, match="closed"):
                await task


@pytest.mark.fault("L19")
async def test_the_owner_closes_a_shared_connector() -> None:
    """A session with connector_owner=False leaves it open, with its warm connections and the calls in flight, however
    it ends; the session that owns it closes it for all."""
    gate = Gate()
    gate.open.set()
    async with ScriptedServer(gate) as server:
        connector = TCPConnector()
        owner = ClientSession(connector=connector)
        guest = ClientSession(connector=connector, connector_owner=False)
        async with guest, guest.get(server.url("/")) as response:
            await response.read()
        dropped = ClientSession(connector=connector, connector_owner=False)
        del dropped
        assert (guest.closed, connector.closed, connector.stats().total.idle) == (True, False, 1)
        async with owner.get(server.url("/")) as response:
            await response.read()
        assert connector.stats().total.dials == 1
        await owner.close()
        assert connector.closed


@pytest.mark.fault("L19")
async def test_a_connector_of_its_own_is_closed_anyway() -> None:
    """connector_owner speaks of one that was given."""
    session = ClientSession(connector_owner=False)
    connector = session.connector
    await session.close()
    assert connector is not None and connector.closed


@pytest.mark.parametrize("secure", [False, True])
async def test_the_first_call_after_warm_makes_no_dial(secure: bool) -> None:
    """TLS is done as well: the request goes out on a connection that is there, and no request went before."""
    gate = Gate()
    gate.open.set()
    tls = server_context("127.0.0.1") if secure else None
    async with ScriptedServer(gate, ssl=tls) as server:
        connector = TCPConnector(ssl_context=client_context() if secure else None)
        async with ClientSession(connector=connector) as session:
            url = server.url("/")
            assert await connector.warm(url, 2) == 2
            await server.until(lambda: server.accepted == 2)
            assert gate.requests == 0
            async with session.get(url) as response:
                assert response.status == 200
            assert (server.accepted, gate.requests, connector.stats().total.dials) == (2, 1, 2)


async def test_warm_raises_what_the_dial_raised() -> None:
    """Nobody listens there."""
    async with ScriptedServer(Gate()) as server:
        url = server.url("/")
    async with TCPConnector() as connector:
        with pytest.raises(ConnectError, match=r"127\.0\.0\.1"):
            await connector.warm(url, 3)
        assert connector.stats().total.open == 0


async def test_warm_through_a_proxy() -> None:
    """The tunnel and TLS inside it are made; the first call is one request on it."""
    gate = Gate()
    gate.open.set()
    async with ScriptedServer(tunnelling(gate)) as proxy, through(proxy.port) as session:
        connector = session.connector
        assert connector is not None
        assert await connector.warm(f"https://{ORIGIN}/", 2) == 2
        assert gate.requests == 0
        async with session.get(f"https://{ORIGIN}/") as response:
            assert response.status == 200
        assert (proxy.accepted, gate.requests, connector.stats().total.dials) == (2, 1, 2)


async def test_warm_for_all_plain_targets_of_a_proxy() -> None:
    """With share_forward what is warmed for one target serves any."""
    gate = Gate()
    gate.open.set()
    async with ScriptedServer(gate) as proxy, through(proxy.port, share_forward=True) as session:
        connector = session.connector
        assert connector is not None
        assert await connector.warm(f"http://{ORIGIN}/") == 1
        async with session.get(f"http://{OTHER}/") as response:
            assert response.status == 200
        assert (proxy.accepted, connector.stats().total.dials) == (1, 1)


@pytest.mark.parametrize("tls", [False, True])
async def test_warm_over_a_unix_socket(tls: bool) -> None:
    """As over TCP."""
    gate = Gate()
    gate.open.set()
    with socket_path() as path:
        async with serve_at(path, gate, tls=tls) as server, unix_session(path) as session:
            connector = session.connector
            assert connector is not None
            url = f"{'https' if tls else 'http'}://{ORIGIN}/"
            assert await connector.warm(url) == 1
            await server.until(lambda: server.accepted == 1)
            assert gate.requests == 0
            async with session.get(url) as response:
                assert response.status == 200
            assert (server.accepted, connector.stats().total.dials) == (1, 1)
