"""Hosts with several addresses: which of them calls go to, while all work and while one is dead."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any

import pytest

from keepwarm.client.session import ClientSession
from keepwarm.pool.dial import DialRequest
from keepwarm.pool.health import AddressHealth, AddressPolicy
from keepwarm.pool.tcp_connector import TCPConnector
from tests.support.fakes import FakeClock
from tests.support.resolvers import ScriptedResolver
from tests.support.server import Peer, ScriptedServer, ok

pytestmark = pytest.mark.asyncio


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The clock of every pool that the test makes, and a chance that is the same in each run."""
    clock = FakeClock()
    monkeypatch.setattr("keepwarm.pool.connector.Clock", lambda loop: clock)
    monkeypatch.setattr("keepwarm.pool.tcp_connector.AddressHealth", _seeded)
    return clock


def _seeded(now: Any, policy: AddressPolicy) -> AddressHealth:
    return AddressHealth(now, policy, Random(7))


class CountingConnector(TCPConnector):
    """Counts the dials that tried each host."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.tried: Counter[str] = Counter()
        self.dials = 0

    async def _create_connection(self, req: DialRequest) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        self.dials += 1
        try:
            return await super()._create_connection(req)
        finally:
            self.tried.update({address.partition(":")[0] for address, _ in req.attempts})


@asynccontextmanager
async def several(
    count: int, *scripts: Any, **options: Any
) -> AsyncIterator[tuple[ClientSession, CountingConnector, list[ScriptedServer]]]:
    """A session for the host `many.test`, which has the addresses 127.0.0.1, .2, ... with a server on each."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(ScriptedServer(*scripts))
        servers = [first]
        for n in range(2, count + 1):
            other = ScriptedServer(*scripts, host=f"127.0.0.{n}", port=first.port)
            servers.append(await stack.enter_async_context(other))
        resolver = ScriptedResolver(*(f"127.0.0.{n}" for n in range(1, count + 1)))
        resolver.says = type(resolver.says)(  # type: ignore[operator]
            tuple(a._replace(port=first.port) for a in resolver.says.addresses),  # type: ignore[union-attr]
            60.0,
        )
        connector = CountingConnector(resolver=resolver, **options)
        session = await stack.enter_async_context(
            ClientSession(connector=connector, base_url=f"http://many.test:{first.port}/", timeout=None)
        )
        yield session, connector, servers


async def call(session: ClientSession) -> int:
    async with session.get("/") as response:
        await response.read()
        return response.status


@pytest.mark.fault("D08")
async def test_one_dead_address_of_four(clock: FakeClock) -> None:
    """Each call dials. Three tries find the address dead; of the thousand calls after them, no more than one in a
    hundred tries it, and none fails."""
    async with several(4, force_close=True, use_dns_cache=True) as (session, connector, servers):
        await servers[2].close()
        calls = 0
        while connector.tried["127.0.0.3"] < 3:
            assert await call(session) == 200
            calls += 1
            assert calls < 40
        for _ in range(1000):
            assert await call(session) == 200
            clock.advance(0.1)
        assert connector.dials == calls + 1000
        assert connector.tried["127.0.0.3"] - 3 <= 10


@pytest.mark.fault("D08")
async def test_a_dead_address_that_comes_back_gets_its_share(clock: FakeClock) -> None:
    """The dial that tries it again finds it alive; from then on it is like the others."""
    async with several(4, force_close=True, use_dns_cache=True) as (session, connector, servers):
        port = servers[2].port
        await servers[2].close()
        while connector.tried["127.0.0.3"] < 3:
            await call(session)
        async with ScriptedServer(host="127.0.0.3", port=port) as back:
            for _ in range(20):
                await call(session)
            assert back.accepted == 0  # its second is not over
            clock.advance(2)
            for _ in range(80):
                await call(session)
            assert back.accepted >= 10


@pytest.mark.parametrize("cached", [True, False])
async def test_four_hundred_connections_to_eight_addresses(clock: FakeClock, cached: bool) -> None:
    """Four hundred calls at a time open as many connections: each address has 40 to 60 of them."""
    everybody = asyncio.Barrier(401)

    async def waits_for_all(peer: Peer) -> None:
        request = await peer.request()
        await everybody.wait()
        peer.send(ok(nonce=request.nonce))
        await peer.until_closed()

    async with several(8, waits_for_all, use_dns_cache=cached) as (session, connector, servers):
        calls = [asyncio.create_task(call(session)) for _ in range(400)]
        await everybody.wait()
        assert await asyncio.gather(*calls) == [200] * 400
        assert connector.dials == 400
        assert all(40 <= server.accepted <= 60 for server in servers), [server.accepted for server in servers]


async def test_a_policy_must_be_one() -> None:
    """A mistake is refused before any I/O, by the name of the argument."""
    with pytest.raises(TypeError, match="addresses"):
        TCPConnector(addresses=3)  # type: ignore[arg-type]
