"""What tests of the dialler need: requests, a resolver that answers from a list, a port that swallows packets."""

import asyncio
import itertools
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from keepwarm.pool.address import Address
from keepwarm.pool.channel import Channel
from keepwarm.pool.dial import DialRequest
from keepwarm.pool.dialer import Dialer
from keepwarm.pool.endpoint import Endpoint, make_endpoint
from keepwarm.pool.health import AddressHealth
from keepwarm.pool.race import TCPKeepAlive
from keepwarm.pool.tls import TLSOptions
from tests.support.certificates import client_context
from tests.support.leaks import turns
from tests.support.peer import Peer


class ListedAddresses:
    """A DNS cache that gives every name the same addresses."""

    def __init__(self, *addresses: Address) -> None:
        self.addresses = addresses
        self.asked: list[tuple[str, int, int]] = []

    async def lookup(
        self, host: str, port: int, family: int, *, endpoint: Endpoint | None = None
    ) -> tuple[Address, ...]:
        self.asked.append((host, port, family))
        return self.addresses


class InOrder(Random):
    """Chance that leaves addresses with equal loads in their order, and makes every pause as long as it says."""

    def sample(self, population: Any, k: int, **options: Any) -> list[Any]:
        return list(population)[:k]

    def random(self) -> float:
        return 0.5


class WatchedHealth(AddressHealth):
    """Notes the addresses that failed, in order, and takes addresses as they come."""

    __slots__ = ("noted",)

    def __init__(self) -> None:
        super().__init__(lambda: 0.0, random=InOrder())
        self.noted: list[Address] = []

    def failed(self, address: Address) -> None:
        self.noted.append(address)
        super().failed(address)


def ipv4(port: int, host: str = "127.0.0.1") -> Address:
    return Address(host, port, int(socket.AF_INET))


def ipv6(port: int, host: str = "::1") -> Address:
    return Address(host, port, int(socket.AF_INET6))


def dial_request(host: str, port: int, ssl: bool = False) -> DialRequest:
    """A request whose channel is a plain Channel."""
    endpoint = make_endpoint(host, port, ssl)
    loop = asyncio.get_running_loop()
    return DialRequest(endpoint, lambda: Channel(endpoint, loop))


def dialer(
    *addresses: Address,
    tls: TLSOptions | None = None,
    local_addr: tuple[str, int] | None = None,
    tcp_keepalive: TCPKeepAlive | None = None,
) -> Dialer:
    """A dialer for which every name has the given addresses."""
    listed = ListedAddresses(*addresses)
    return Dialer(listed, tls, local_addr=local_addr, tcp_keepalive=tcp_keepalive, health=WatchedHealth())


async def tls_dial(port: int, options: TLSOptions, host: str = "localhost") -> Channel:
    """One TLS connection to 127.0.0.1 under the name `host`."""
    _, channel = await dialer(ipv4(port), tls=options).open(dial_request(host, port, True))
    return channel


def trusting(fast_tls: bool, **options: Any) -> TLSOptions:
    """Options that trust the tests' authority."""
    return TLSOptions(ssl_context=client_context(), fast_tls=fast_tls, **options)


async def echo_hello(peer: Peer) -> None:
    """A script: five bytes come back."""
    peer.send(await peer.recv_exactly(5))
    await peer.until_closed()


async def say_hello(channel: Channel) -> bytes:
    """Five bytes there and back."""
    channel.reader = asyncio.StreamReader()
    channel.write(b"hello")
    return await channel.reader.readexactly(5)


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until `condition()` holds, for what tells nobody."""
    for pause in itertools.chain(itertools.repeat(0.0, 20), itertools.repeat(0.002)):
        if condition():
            return
        await asyncio.sleep(pause)


async def hang_up(channel: Channel) -> None:
    """Abort the channel, and give the loop the turns it needs to close the socket."""
    channel.abort_transport()
    await turns(3)


@contextmanager
def black_hole(host: str = "127.0.0.1") -> Iterator[int]:
    """A port that answers no connection attempt: a listener whose queue is full, so that the kernel drops each SYN."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket(family) for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex((host, port))
            yield port
        finally:
            for filler in fillers:
                filler.close()


class Canaries:
    """Descriptors of ours that take the numbers others have just closed. One that is gone was closed by mistake."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[int, int]] = {}

    def add(self) -> None:
        descriptor, other = os.pipe()
        os.close(other)
        status = os.fstat(descriptor)
        self._held[descriptor] = (status.st_dev, status.st_ino)

    def release(self) -> list[int]:
        """Close all; the numbers of those that were not ours any more."""
        lost = []
        for descriptor, identity in self._held.items():
            try:
                status = os.fstat(descriptor)
            except OSError:
                lost.append(descriptor)
                continue
            if (status.st_dev, status.st_ino) == identity:
                os.close(descriptor)
            else:
                lost.append(descriptor)
        self._held.clear()
        return lost
