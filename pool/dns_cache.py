"""DNSCache: one lookup for all who ask at the same time, and its answer for as long as it holds.

Callers never share anything that can break. The lookup is a task of the cache; each caller waits for a future of its
own that carries no more than the wake-up, and then reads the outcome. So a caller that is cancelled takes nobody with
it, an exception is made anew for each caller, and the lookup is cancelled when the last caller has gone.

An answer that is over is never used while the resolver works. It is lent to callers whom the resolver leaves waiting,
or fails (RFC 8767), for a bounded time; and never once the resolver says that the name does not exist.
"""

import asyncio
import socket
from collections import Counter, OrderedDict
from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Any

from keepwarm.pool.address import FAMILIES, Address, Answer, check_answer, check_query, literal_answer
from keepwarm.pool.clock import Clock
from keepwarm.pool.dns_entry import Entry
from keepwarm.pool.dns_flight import (
    LONGEST,
    PATIENCE,
    Flight,
    Key,
    closed_error,
    error_of,
    is_final,
    lost_error,
    placed,
)
from keepwarm.pool.dns_options import DNSOptions
from keepwarm.pool.dns_stats import DNSStats
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.errors import ClientError, DNSError
from keepwarm.pool.resolver import Resolver


class DNSCache:
    """Looks names up through `resolver`, each at most once at a time, and keeps the answers if `enabled`.

    `options` say for how long (DNSOptions). With `enabled` false nothing is kept, but callers that ask at the same
    time still share one lookup. IP addresses are answered at once and never kept.

    `on_answer(key, answer)` is called after an answer was stored. Time comes from `clock`. The resolver is not the
    cache's own: close it after the cache.
    """

    __slots__ = (
        "_clock",
        "_closed",
        "_counted",
        "_enabled",
        "_entries",
        "_flights",
        "_flying",
        "_options",
        "_resolver",
        "on_answer",
    )

    def __init__(self, resolver: Resolver, clock: Clock, *, enabled: bool, options: DNSOptions | None = None) -> None:
        self._resolver = resolver
        self._clock = clock
        self._enabled = enabled
        self._options = options or DNSOptions()
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._flights: dict[Key, Flight] = {}  # those that a new caller may join
        self._flying: set[Flight] = set()  # all of them, also those that clear() has cut off from new callers
        self._counted: Counter[str] = Counter()
        self._closed = False
        self.on_answer: Callable[[Key, Answer], object] | None = None

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def refreshing(self) -> int:
        """How many lookups are under way that go on when nobody waits for them."""
        return sum(flight.is_kept for flight in self._flying)

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

    def stats(self) -> DNSStats:
        """The numbers of this moment."""
        return DNSStats(entries=len(self._entries), refreshing=self.refreshing, **self._counted)

    def expires_at(self, key: Key) -> float:
        """When the answer ends, as a time of the clock; now, if none is kept."""
        entry = self._entries.get(key)
        return self._clock.now() if entry is None else entry.expires

    async def lookup(
        self, host: str, port: int, family: int = 0, *, endpoint: Endpoint | None = None
    ) -> tuple[Address, ...]:
        """The addresses of `host`, in the order to try them.

        Each call puts the next address of each family in front; the places of the families stay. Waits only if nothing
        is kept. Raises DNSError if the name has no address, PoolClosedError if the cache is closed or closes meanwhile;
        both carry `endpoint` if it is given. A caller that is cancelled leaves the lookup to the others; with the last
        caller it is cancelled too.
        """
        check_query(host, port, family)
        if self._closed:
            raise placed(closed_error(host), endpoint)
        try:
            literal = literal_answer(host, port, family)
        except DNSError as exc:
            raise placed(exc, endpoint) from None
        if literal is not None:
            return literal.addresses
        key = (host, port, int(family))
        entry = self._entries.get(key)
        kept = None if entry is None else self._kept(key, entry, endpoint)
        return await self._share(key, endpoint) if kept is None else kept

    def refresh(self, key: Key) -> None:
        """Look the name up again with nobody waiting. One that is under way already will do."""
        if self._closed or not self._enabled:
            return
        flight = self._flights.get(key)
        if flight is None:
            flight = self._launch(key)
            self._counted["refreshes"] += 1
        flight.is_kept = True

    def clear(self, host: str | None = None, port: int | None = None) -> None:
        """Forget the entry of (host, port) if both are given, otherwise everything (row A-07).

        Lookups in flight serve those who wait for them, but they are not kept and nobody joins them any more.
        """
        if host is None or port is None:
            self._entries.clear()
            self._flights.clear()
            return
        for family in FAMILIES:
            self._entries.pop((host, port, family), None)
            self._flights.pop((host, port, family), None)

    def close(self) -> None:
        """Forget everything and cancel the lookups in flight: their callers get PoolClosedError."""
        self._closed = True
        self._entries.clear()
        self._flights.clear()
        flying, self._flying = self._flying, set()
        for flight in flying:
            self._clock.forget(flight)
            task = flight.task
            if task is None or task.get_loop().is_closed():
                continue  # nobody can wake any more
            flight.error = closed_error(flight.key[0])
            flight.land()
            task.cancel()

    # Out of what is kept

    def _kept(self, key: Key, entry: Entry, endpoint: Endpoint | None) -> tuple[Address, ...] | None:
        """The answer for one caller, if it need not wait. Raises the failure that is remembered."""
        now = self._clock.now()
        if now >= entry.expires:
            return self._lent(key, entry, now)
        self._entries.move_to_end(key)
        if entry.error is not None:
            self._counted["negative_hits"] += 1
            raise placed(entry.error, endpoint)
        self._counted["hits"] += 1
        entry.uses += 1
        if entry.is_hot(now, self._options.prefetch):
            self.refresh(key)
        return entry.take()

    def _lent(self, key: Key, entry: Entry, now: float) -> tuple[Address, ...] | None:
        """An answer that is over, if the resolver is known to be slow or to fail. Who finds out first waits for it."""
        if not entry.can_lend(now):
            return None
        flight = self._flights.get(key)
        if not entry.failing and (flight is None or not flight.is_stale):
            return None
        if flight is None and now >= entry.retry_at:
            self.refresh(key)
        self._entries.move_to_end(key)
        self._counted["stale"] += 1
        return entry.take()

    # Lookups

    async def _share(self, key: Key, endpoint: Endpoint | None) -> tuple[Address, ...]:
        self._counted["misses"] += 1
        flight = self._flights.get(key)
        if flight is None:
            flight = self._launch(key)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        flight.waiters.add(waiter)
        try:
            await waiter
        finally:
            flight.waiters.discard(waiter)
            if not (flight.landed or flight.waiters or flight.is_kept):
                self._abandon(flight)
        if flight.error is not None:
            raise placed(flight.error, endpoint)
        if flight.is_stale:
            self._counted["stale"] += 1
        return flight.take()

    def _launch(self, key: Key) -> Flight:
        host, port, family = key
        now = self._clock.now()
        entry = self._entries.get(key)
        old = entry if entry is not None and entry.can_lend(now) else None
        flight = Flight(key, old, now + LONGEST, self._overdue)
        lookup = self._resolver.resolve(host, port, family)
        flight.task = asyncio.get_running_loop().create_task(lookup, name=f"keepwarm lookup of {host}")
        flight.task.add_done_callback(partial(self._on_done, flight))
        self._flights[key] = flight
        self._flying.add(flight)
        self._counted["lookups"] += 1
        self._clock.watch(flight, flight.ends if old is None else now + PATIENCE)
        return flight

    def _overdue(self, flight: Flight, now: float) -> None:
        if flight.landed:
            return
        if now < flight.ends:
            flight.lend_meanwhile(now)
            self._clock.watch(flight, flight.ends)
            return
        error = lost_error(flight.key[0])
        self._counted["failures"] += 1
        flight.error, flight.stored, flight.is_stale = error, None, False
        if self._take_off(flight) and self._enabled:
            self._store_failure(flight, error)
        flight.land()
        if flight.task is not None:
            flight.task.cancel()

    def _abandon(self, flight: Flight) -> None:
        self._take_off(flight)
        flight.landed = True
        if flight.task is not None and not flight.task.get_loop().is_closed():
            flight.task.cancel()

    def _take_off(self, flight: Flight) -> bool:
        """Remove the flight. Whether its answer may be kept: clear() has not cut it off."""
        self._clock.forget(flight)
        self._flying.discard(flight)
        current = self._flights.get(flight.key) is flight
        if current:
            del self._flights[flight.key]
        return current

    def _on_done(self, flight: Flight, task: "asyncio.Task[Answer]") -> None:
        answer, error = _outcome(task, flight.key[0])  # also marks the task's exception as read
        if flight.landed:
            return  # closed, or nobody waits
        keep = self._take_off(flight) and self._enabled
        flight.error, flight.stored, flight.is_stale = error, None, False
        if answer is not None:
            flight.addresses = answer.addresses
            if keep:
                flight.stored = self._store(flight.key, answer)
        elif error is not None:
            self._counted["failures"] += 1
            if keep:
                self._store_failure(flight, error)
        flight.land()
        if answer is not None and keep and self.on_answer is not None:
            self.on_answer(flight.key, answer)

    def _store(self, key: Key, answer: Answer) -> Entry:
        entry = self._entry(key)
        options = self._options
        entry.renew(answer.addresses, self._clock.now(), options.hold(answer.ttl), options.stale_for)
        return entry

    def _store_failure(self, flight: Flight, error: ClientError) -> None:
        now = self._clock.now()
        was_cancelled = flight.task is not None and flight.task.cancelled()
        until = now if was_cancelled else now + self._options.negative_ttl
        entry = self._entries.get(flight.key)
        if entry is not None and entry.can_lend(now) and not is_final(error):
            entry.put_off(until)
            flight.lend(entry)
        elif entry is not None or until > now:
            self._entry(flight.key).refuse(error, until)

    def _entry(self, key: Key) -> Entry:
        """The entry to write to, used last by now; the one that was used longest ago makes room."""
        entries = self._entries
        entry = entries.get(key)
        if entry is None:
            entry = entries[key] = Entry()
            if len(entries) > self._options.max_entries:
                entries.popitem(last=False)
        else:
            entries.move_to_end(key)
        return entry


def _outcome(task: "asyncio.Task[Answer]", host: str) -> tuple[Answer, None] | tuple[None, ClientError]:
    error = error_of(task, host)
    if error is not None:
        return None, error
    try:
        return check_answer(host, task.result()), None
    except DNSError as exc:
        return None, exc


def _as_dict(hostname: str, address: Address) -> dict[str, Any]:
    return {
        "hostname": hostname,
        "host": address.host,
        "port": address.port,
        "family": address.family,
        "proto": int(socket.IPPROTO_TCP),
        "flags": int(socket.AI_NUMERICHOST),
    }
