"""DNSCache: one lookup for all who ask at the same time, and its answer for as long as it holds.

Callers never share anything that can break. The lookup is a task of the cache; each caller waits for a future of its
own that carries no more than the wake-up, and then reads the outcome. So a caller that is cancelled takes nobody with
it, an exception is made anew for each caller, and the lookup is cancelled when the last caller has gone.
"""

import asyncio
import copy
import socket
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from keepwarm.pool.address import Address, Answer, check_query, literal_answer
from keepwarm.pool.clock import Clock
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.errors import ClientError, DNSError, PoolClosedError, printable
from keepwarm.pool.resolver import Resolver

# Seconds that an answer of unknown age holds, such as one of the system's lookup.
UNKNOWN_TTL: Final = 30.0
# Seconds that an address which failed stays behind the others.
DEMOTED_FOR: Final = 60.0
MAX_FAILURE_TTL: Final = 1.0

Key = tuple[str, int, int]


class _Entry:
    """What is known of one (host, port, family)."""

    __slots__ = ("addresses", "demoted", "error", "expires")

    def __init__(self) -> None:
        self.addresses: tuple[Address, ...] = ()
        self.error: ClientError | None = None
        self.expires = 0.0
        # Address -> until when it stays at the end. Outlives the answer, so that a dead address of a name with a
        # short TTL is not tried first after each lookup.
        self.demoted: dict[Address, float] = {}

    def take(self, now: float) -> tuple[Address, ...]:
        """The addresses in the order to try, and the next one in front for the next caller."""
        order = self.addresses
        self.addresses = rotated(order)
        return self._demoted_last(order, now) if self.demoted else order

    def _demoted_last(self, order: tuple[Address, ...], now: float) -> tuple[Address, ...]:
        self.demoted = {address: until for address, until in self.demoted.items() if until > now}
        behind = [address for address in self.demoted if address in order]  # the one that failed first in front
        return tuple(address for address in order if address not in self.demoted) + tuple(behind)


class _Flight:
    """One lookup under way and the callers that wait for it."""

    __slots__ = ("addresses", "error", "key", "landed", "stored", "task", "waiters")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.task: asyncio.Task[Answer] | None = None
        self.waiters: set[asyncio.Future[None]] = set()
        self.addresses: tuple[Address, ...] = ()
        self.error: ClientError | None = None
        self.landed = False
        self.stored: _Entry | None = None

    def land(self) -> None:
        """Wake all callers. They find the outcome here."""
        self.landed = True
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)

    def take(self, now: float) -> tuple[Address, ...]:
        """The outcome for one caller, in its turn."""
        if self.stored is not None:
            return self.stored.take(now)
        order = self.addresses
        self.addresses = rotated(order)
        return order


class DNSCache:
    """Looks names up through `resolver`, each at most once at a time, and keeps the answers if `enabled`.

    An answer is kept for its TTL, not less than `min_ttl` and not more than `max_ttl` seconds (1 and 60), and
    UNKNOWN_TTL within these bounds if the resolver does not know it. A failure is kept for `failure_ttl` seconds
    (0.5; at most 1; 0 for never). The `max_entries` used last are kept. With `enabled` false nothing is kept, but
    callers that ask at the same time still share one lookup. IP addresses are answered at once and never kept.

    Time comes from `clock`. The resolver is not the cache's own: close it after the cache.
    Raises ValueError that names the argument.
    """

    __slots__ = (
        "_clock",
        "_closed",
        "_enabled",
        "_entries",
        "_failure_ttl",
        "_flights",
        "_flying",
        "_max_entries",
        "_max_ttl",
        "_min_ttl",
        "_resolver",
    )

    def __init__(
        self,
        resolver: Resolver,
        clock: Clock,
        *,
        enabled: bool,
        max_entries: int = 1024,
        min_ttl: float = 1.0,
        max_ttl: float = 60.0,
        failure_ttl: float = 0.5,
    ) -> None:
        if isinstance(max_entries, bool) or not isinstance(max_entries, int) or max_entries < 1:
            raise ValueError(f"max_entries must be a whole number of at least 1, got {max_entries!r}")
        if not 0 <= min_ttl <= max_ttl:
            raise ValueError(f"min_ttl must be from 0 to max_ttl seconds, got min_ttl={min_ttl!r} max_ttl={max_ttl!r}")
        if not 0 <= failure_ttl <= MAX_FAILURE_TTL:
            raise ValueError(f"failure_ttl must be from 0 to {MAX_FAILURE_TTL} seconds, got {failure_ttl!r}")
        self._resolver = resolver
        self._clock = clock
        self._enabled = enabled
        self._max_entries = max_entries
        self._min_ttl = min_ttl
        self._max_ttl = max_ttl
        self._failure_ttl = failure_ttl
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._flights: dict[Key, _Flight] = {}  # those that a new caller may join
        self._flying: set[_Flight] = set()  # all of them, also those that clear() has cut off from new callers
        self._closed = False

    @property
    def enabled(self) -> bool:
        """Whether answers are kept. Lookups in flight are shared either way."""
        return self._enabled

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def cached_hosts(self) -> MappingProxyType[tuple[str, int], list[dict[str, Any]]]:
        """What is kept and still holds, as it is now: (host, port) -> one dict for each address (row G-21).

        The dicts have the keys hostname, host, port, family, proto and flags, as in the reference. A later change of
        the cache does not show; read the property again.
        """
        now = self._clock.now()
        found: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for (host, port, _), entry in self._entries.items():
            if entry.error is None and now < entry.expires:
                found.setdefault((host, port), []).extend(_as_dict(host, address) for address in entry.addresses)
        return MappingProxyType(found)

    async def lookup(
        self, host: str, port: int, family: int = 0, *, endpoint: Endpoint | None = None
    ) -> tuple[Address, ...]:
        """The addresses of `host`, in the order to try them.

        Each call puts the next address of each family in front; the places of the families stay. Addresses that
        failed lately (`demote`) come last. Waits only if nothing is kept. Raises DNSError if the name has no
        address, PoolClosedError if the cache is closed or closes meanwhile; both carry `endpoint` if it is given.
        A caller that is cancelled leaves the lookup to the others; with the last caller it is cancelled too.
        """
        check_query(host, port, family)
        if self._closed:
            raise _placed(_closed_error(host), endpoint)
        try:
            literal = literal_answer(host, port, family)
        except DNSError as exc:
            raise _placed(exc, endpoint) from None
        if literal is not None:
            return literal.addresses
        key = (host, port, int(family))
        entry = self._fresh(key)
        if entry is None:
            return await self._share(key, endpoint)
        if entry.error is not None:
            raise _placed(entry.error, endpoint)
        return entry.take(self._clock.now())

    def demote(self, host: str, port: int, address: Address) -> None:
        """Put an address that could not be connected to behind the others for DEMOTED_FOR seconds (D08).

        Those that failed come in the order in which they failed. Does nothing if the address is not kept.
        """
        until = self._clock.now() + DEMOTED_FOR
        for family in (0, address.family):
            entry = self._entries.get((host, port, family))
            if entry is not None and address in entry.addresses:
                entry.demoted.pop(address, None)
                entry.demoted[address] = until

    def clear(self, host: str | None = None, port: int | None = None) -> None:
        """Forget the entry of (host, port) if both are given, otherwise everything (row A-07).

        Lookups in flight serve those who wait for them, but they are not kept and nobody joins them any more.
        """
        if host is None or port is None:
            self._entries.clear()
            self._flights.clear()
            return
        for family in (0, int(socket.AF_INET), int(socket.AF_INET6)):
            self._entries.pop((host, port, family), None)
            self._flights.pop((host, port, family), None)

    def close(self) -> None:
        """Forget everything and cancel the lookups in flight: their callers get PoolClosedError."""
        self._closed = True
        self._entries.clear()
        self._flights.clear()
        flying, self._flying = self._flying, set()
        for flight in flying:
            task = flight.task
            if task is None or task.get_loop().is_closed():
                continue  # nobody can wake any more
            flight.error = _closed_error(flight.key[0])
            flight.land()
            task.cancel()

    def _fresh(self, key: Key) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is None or self._clock.now() >= entry.expires:
            return None  # an expired entry stays for its demoted addresses until it is replaced or pushed out
        self._entries.move_to_end(key)
        return entry

    async def _share(self, key: Key, endpoint: Endpoint | None) -> tuple[Address, ...]:
        flight = self._flights.get(key)
        if flight is None:
            flight = self._launch(key)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        flight.waiters.add(waiter)
        try:
            await waiter
        finally:
            flight.waiters.discard(waiter)
            if not flight.landed and not flight.waiters:
                self._abandon(flight)
        if flight.error is not None:
            raise _placed(flight.error, endpoint)
        return flight.take(self._clock.now())

    def _launch(self, key: Key) -> _Flight:
        flight = _Flight(key)
        host, port, family = key
        lookup = self._resolver.resolve(host, port, family)
        flight.task = asyncio.get_running_loop().create_task(lookup, name=f"keepwarm lookup of {host}")
        flight.task.add_done_callback(partial(self._on_done, flight))
        self._flights[key] = flight
        self._flying.add(flight)
        return flight

    def _abandon(self, flight: _Flight) -> None:
        self._take_off(flight)
        flight.landed = True
        if flight.task is not None and not flight.task.get_loop().is_closed():
            flight.task.cancel()

    def _take_off(self, flight: _Flight) -> bool:
        """Remove the flight. Whether its answer may be kept: clear() has not cut it off."""
        self._flying.discard(flight)
        current = self._flights.get(flight.key) is flight
        if current:
            del self._flights[flight.key]
        return current

    def _on_done(self, flight: _Flight, task: "asyncio.Task[Answer]") -> None:
        error = _error_of(task, flight.key[0])  # also marks the task's exception as read
        if flight.landed:
            return  # closed, or nobody waits
        keep = self._take_off(flight) and self._enabled
        flight.error = error
        if error is None:
            answer = task.result()
            flight.addresses = answer.addresses
            if keep:
                ttl = UNKNOWN_TTL if answer.ttl is None else answer.ttl
                flight.stored = self._store(flight, min(max(ttl, self._min_ttl), self._max_ttl))
        elif keep and self._failure_ttl and not task.cancelled():
            self._store(flight, self._failure_ttl)
        flight.land()

    def _store(self, flight: _Flight, ttl: float) -> _Entry:
        entries = self._entries
        entry = entries.get(flight.key)
        if entry is None:
            entry = entries[flight.key] = _Entry()
            if len(entries) > self._max_entries:
                entries.popitem(last=False)
        else:
            entries.move_to_end(flight.key)
        entry.addresses = flight.addresses
        entry.error = flight.error
        entry.expires = self._clock.now() + ttl
        return entry


def rotated(addresses: tuple[Address, ...]) -> tuple[Address, ...]:
    """Each family moved on by one within the places that it holds: (6a, 4a, 6b, 4b) -> (6b, 4b, 6a, 4a)."""
    if len(addresses) < 2:
        return addresses
    members: dict[int, list[Address]] = {}
    for address in addresses:
        members.setdefault(address.family, []).append(address)
    turns = {family: iter([*same[1:], same[0]]) for family, same in members.items()}
    return tuple(next(turns[address.family]) for address in addresses)


def _as_dict(hostname: str, address: Address) -> dict[str, Any]:
    return {
        "hostname": hostname,
        "host": address.host,
        "port": address.port,
        "family": address.family,
        "proto": int(socket.IPPROTO_TCP),
        "flags": int(socket.AI_NUMERICHOST),
    }


def _error_of(task: "asyncio.Task[Answer]", host: str) -> ClientError | None:
    """What went wrong, as an error of ours. It is never raised itself: `_placed` makes a copy for each caller."""
    if task.cancelled():
        return DNSError(socket.EAI_AGAIN, f"cannot resolve {printable(host)!r}: the lookup was cancelled. Try again")
    exc = task.exception()
    if exc is None:
        return _refusal(task.result(), host)
    if isinstance(exc, ClientError):
        return exc
    number = exc.errno if isinstance(exc, OSError) and exc.errno is not None else socket.EAI_FAIL
    error = DNSError(
        number,
        f"cannot resolve {printable(host)!r}: the resolver failed with {type(exc).__name__}: {printable(str(exc))}",
    )
    error.__cause__ = exc
    return error


def _refusal(answer: Answer, host: str) -> DNSError | None:
    addresses: Sequence[Address] = answer.addresses
    if addresses:
        return None
    return DNSError(
        socket.EAI_NONAME,
        f"cannot resolve {printable(host)!r}: the resolver found no address. A resolver must raise DNSError instead",
    )


def _placed(error: ClientError, endpoint: Endpoint | None) -> ClientError:
    """A copy of the error for one caller, without the traceback of another."""
    fresh = copy.copy(error)
    fresh.__cause__ = error.__cause__
    if endpoint is not None:
        fresh.endpoint = endpoint
    return fresh


def _closed_error(host: str) -> PoolClosedError:
    return PoolClosedError(
        f"cannot resolve {printable(host)!r}: the connector is closed. Use a new one", phase="resolve"
    )
