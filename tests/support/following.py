"""A pool without sockets whose connections follow a name, with a clock moved by hand."""

import asyncio

from keepwarm.pool import states
from keepwarm.pool.address import Answer
from keepwarm.pool.channel import Channel
from keepwarm.pool.dial import DialRequest
from keepwarm.pool.dns_follow import Follower
from keepwarm.pool.endpoint import Endpoint, make_endpoint
from keepwarm.pool.keepalive import Keepalive
from keepwarm.pool.pool import Pool
from tests.support.fakes import FakeClock, FakeTransport
from tests.support.leaks import turns
from tests.support.resolvers import ScriptedResolver, address, make_cache

A = make_endpoint("a.example")


class FollowRig:
    """A pool without sockets whose connections go to what its resolver says, with a clock moved by hand."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *hosts: str, ttl: float | None = 1.0) -> None:
        self.clock = FakeClock()
        self.resolver = ScriptedResolver(*hosts, ttl=ttl)
        self.cache = make_cache(self.resolver, self.clock)
        self.follower = Follower(self.cache, self.clock)
        self.pool = Pool(loop, self.clock, self._connect, keepalive=Keepalive(None, False))

    async def _connect(self, request: DialRequest, /) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        addresses = await self.cache.lookup(request.host, request.port)
        channel = request.channel_factory()
        peer = (addresses[0].host, addresses[0].port)
        wire = FakeTransport(channel, extra={"peername": peer}, call_soon=asyncio.get_running_loop().call_soon)
        wire.connect()
        self.follower.follow(channel, 0)
        return wire, channel

    async def lease(self, count: int, endpoint: Endpoint = A) -> dict[str, Channel]:
        """That many connections at once, by the address they lead to."""
        channels = await asyncio.gather(*(self.pool.acquire(endpoint) for _ in range(count)))
        return {peer_of(channel): channel for channel in channels}

    async def connected(self, count: int, endpoint: Endpoint = A) -> dict[str, Channel]:
        """The same, idle."""
        channels = await self.lease(count, endpoint)
        for channel in channels.values():
            self.pool.release(channel)
        return channels

    async def says(self, *hosts: str, after: float, ttl: float | None = 1.0) -> None:
        """The name has these addresses from now on; time passes."""
        self.resolver.says = Answer(tuple(map(address, hosts)), ttl)
        await self.passes(after)

    async def fails(self, error: Exception, after: float) -> None:
        self.resolver.says = error
        await self.passes(after)

    async def passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await turns(5)

    @property
    def asked(self) -> int:
        return len(self.resolver.calls)

    @property
    def retired(self) -> int:
        return self.pool.stats().total.retired.get("dns_gone", 0)

    @property
    def open(self) -> list[str]:
        """Where the connections lead that are idle or leased."""
        return sorted(peer_of(c) for c in self.pool.channels if c.state in (states.IDLE, states.LEASED))

    async def close(self) -> None:
        self.pool.close()
        self.follower.close()
        self.cache.close()
        await self.pool.wait_closed()
        assert self.clock.timers == 0


def peer_of(channel: Channel) -> str:
    assert channel.transport is not None
    host: str = channel.transport.get_extra_info("peername")[0]
    return host


def hosts(count: int, first: int = 1) -> list[str]:
    return [f"10.0.0.{number}" for number in range(first, first + count)]
