"""Resolvers that tests script, and short names for what tests of name resolving write often."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from keepwarm.pool.address import Address, Answer
from keepwarm.pool.dns_cache import DNSCache
from keepwarm.pool.dns_options import DNSOptions
from keepwarm.pool.resolver import AsyncResolver
from tests.support.fakes import FakeClock
from tests.support.nameserver import NameServer

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)


def address(host: str, port: int = 80) -> Address:
    return Address(host, port, V6 if ":" in host else V4)


class ScriptedResolver:
    """Answers what `says` holds; calls `on_call` and waits for `gate` first, where there is one."""

    def __init__(self, *hosts: str, ttl: float | None = 60.0) -> None:
        self.says: Answer | BaseException = Answer(tuple(map(address, hosts)), ttl)
        self.calls: list[tuple[str, int, int]] = []
        self.gate: asyncio.Event | None = None
        self.on_call: Callable[[], object] | None = None
        self.cancelled = 0

    async def resolve(self, host: str, port: int, family: int = 0) -> Answer:
        self.calls.append((host, port, family))
        if self.on_call is not None:
            self.on_call()
        if self.gate is not None:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if isinstance(self.says, BaseException):
            raise self.says
        return self.says

    def close(self) -> None:
        """Nothing to give up."""


class Recording:
    """A resolver that answers everything with one address, or fails, and notes what it was asked."""

    def __init__(self, host: str = "10.9.9.9") -> None:
        self.asked: list[str] = []
        self.closed = False
        self.raises: Exception | None = None
        self._host = host

    async def resolve(self, host: str, port: int, family: int = 0) -> Answer:
        self.asked.append(host)
        if self.raises is not None:
            raise self.raises
        return Answer((Address(self._host, port, V4),), None)

    def close(self) -> None:
        self.closed = True


def make_cache(resolver: Any, clock: FakeClock, enabled: bool = True, **options: Any) -> DNSCache:
    return DNSCache(resolver, clock, enabled=enabled, options=DNSOptions(**options))


@contextmanager
def asking(dns: NameServer, **options: Any) -> Iterator[AsyncResolver]:
    resolver = AsyncResolver([dns.address], **options)
    try:
        yield resolver
    finally:
        resolver.close()


def hosts_of(answer: Answer) -> list[str]:
    return sorted(address.host for address in answer.addresses)
