"""FAULTS D07: a resolver of which every other lookup fails."""

import socket

import pytest

from keepwarm.pool.address import Answer
from keepwarm.pool.dns_options import MAX_NEGATIVE_TTL
from keepwarm.pool.errors import DNSError
from tests.support.calling import PLAIN_AND_TLS, Conserved, fetch, numbers, serve, session
from tests.support.fakes import FakeClock
from tests.support.http1 import ok
from tests.support.resolvers import ScriptedResolver, address, make_cache
from tests.support.server import Peer, ScriptedServer

pytestmark = pytest.mark.asyncio


class Flapping(ScriptedResolver):
    """127.0.0.1 for every name, but the first lookup fails, the third, and so on."""

    async def resolve(self, host: str, port: int, family: int = 0) -> Answer:
        failure = DNSError(socket.EAI_AGAIN, f"cannot resolve {host!r}: the name server is away")
        self.says = Answer((address("127.0.0.1", port),), 1.0) if len(self.calls) % 2 else failure
        return await super().resolve(host, port, family)


@PLAIN_AND_TLS
@pytest.mark.fault("D07")
@pytest.mark.parametrize("fast_tls", [False, True], ids=["loop", "fast"])
async def test_kept_connections_serve_and_new_dials_fail_clearly(tls: bool, fast_tls: bool) -> None:
    """Without a cache a failure is for the call that met it alone; the next dial asks again; kept ones ask nobody."""
    resolver = Flapping()
    async with serve(tls=tls) as server, session(resolver=resolver, fast_tls=fast_tls) as calls:
        proof = Conserved(calls, server)
        url = server.url("/x").replace("127.0.0.1", "localhost")
        for number in (1, 2):
            with pytest.raises(DNSError, match="name server is away") as caught:
                await fetch(calls, url)
            assert (caught.value.phase, caught.value.errno) == ("resolve", socket.EAI_AGAIN)
            assert str(caught.value.endpoint).startswith(url.removesuffix("/x"))
            await proof.settled(idle=0)
            assert server.accepted == number - 1
            for _ in range(3):
                assert await fetch(calls, url) == "/x"
            # Two lookups a round: one failed, one served; what was kept asked for none.
            assert len(resolver.calls) == 2 * number and server.accepted == number
            assert numbers(calls).idle == 1
            assert await fetch(calls, url, headers={"Connection": "close"}) == "/x"
            await server.until_idle()


@pytest.mark.fault("D07")
async def test_a_call_beside_a_failing_dial_is_served() -> None:
    """One call holds the connection, a second one's dial fails: the first one and the connection do not notice."""
    resolver = Flapping()
    async with ScriptedServer(two_parts) as server, session(resolver=resolver, limit=2) as calls:
        url = server.url("/x").replace("127.0.0.1", "localhost")
        with pytest.raises(DNSError):
            await fetch(calls, url)
        async with calls.get(url) as response:  # the second lookup
            with pytest.raises(DNSError):
                await fetch(calls, url)  # the third
            server.connections[0].send(b"ok")
            assert await response.read() == b"ok"
        assert await fetch(calls, url) == "/x"
        assert len(resolver.calls) == 3 and server.accepted == 1


async def two_parts(peer: Peer) -> None:
    """The first response's body is left to the test; the others are whole."""
    request = await peer.request()
    peer.send(ok(nonce=request.nonce)[:-2])
    while True:
        request = await peer.request()
        peer.send(ok(nonce=request.nonce))


@pytest.mark.fault("D07")
@pytest.mark.parametrize("negative_ttl", [0.0, 0.5, MAX_NEGATIVE_TTL])
async def test_a_failure_is_forgotten_within_a_second(negative_ttl: float) -> None:
    """With a cache the failure holds for its time, one second at most; then the resolver is asked again."""
    clock, resolver = FakeClock(), Flapping()
    cache = make_cache(resolver, clock, True, negative_ttl=negative_ttl, stale_for=0)
    for round_ in (1, 2):
        with pytest.raises(DNSError):
            await cache.lookup("a.test", 80)
        if negative_ttl:
            clock.advance(negative_ttl * 0.9)
            with pytest.raises(DNSError):
                await cache.lookup("a.test", 80)
            assert len(resolver.calls) == 2 * round_ - 1
        clock.advance(negative_ttl * 0.2)
        for _ in range(3):  # the answer is kept like any other
            assert [found.host for found in await cache.lookup("a.test", 80)] == ["127.0.0.1"]
        assert len(resolver.calls) == 2 * round_
        clock.advance(1.5)
    cache.close()


@pytest.mark.fault("D07")
def test_no_cache_remembers_failures_for_longer() -> None:
    """More than a second cannot be asked for."""
    with pytest.raises(ValueError, match="negative_ttl"):
        make_cache(ScriptedResolver(), FakeClock(), negative_ttl=1.01)
