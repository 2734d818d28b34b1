"""Resolvers: from a host name to addresses.

    SplitResolver     the default: each name goes to one of the two below
    AsyncResolver     asks the name servers (aiodns, c-ares); knows how long an answer holds
    ThreadResolver    asks the system (getaddrinfo) in a thread: hosts file, mDNS, whatever the machine is set up for

All take an IP address as it is, without I/O, and all report failure as DNSError.
"""

import asyncio
import logging
import re
import socket
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Final, Literal, Protocol

from keepwarm.pool.address import FAMILY_NAMES, Address, Answer, check_query, literal_answer, name_answer
from keepwarm.pool.cares import (
    CaresUnavailable,
    SharedResolver,
    VersionGate,
    check_options,
    no_socket_left,
    shared_resolver,
    unavailable,
)
from keepwarm.pool.endpoint import normalise_host
from keepwarm.pool.errors import DNSError, PoolClosedError, printable
from keepwarm.pool.hosts_file import HOSTS_PATH, HostsFile
from keepwarm.pool.lazy import lazy_module

if TYPE_CHECKING:
    import aiodns
    import pycares
else:
    aiodns = lazy_module("aiodns")

__all__ = ["Address", "Answer", "AsyncResolver", "Resolver", "SplitResolver", "ThreadResolver"]

logger = logging.getLogger(__name__)

# RFC 1123 plus the underscore, which real zones use. c-ares hands on whatever bytes an alias is made of.
_ALIAS: Final = re.compile(r"[A-Za-z0-9_.-]{1,254}", re.ASCII)

# The status codes of c-ares that are told apart: part of its ABI, written down so that the library can load late.
ARES_ENODATA: Final = 1
ARES_ESERVFAIL: Final = 3
ARES_ENOTFOUND: Final = 4
ARES_EREFUSED: Final = 6
ARES_EBADNAME: Final = 8
ARES_EBADRESP: Final = 10
ARES_ECONNREFUSED: Final = 11
ARES_ETIMEOUT: Final = 12
ARES_EDESTRUCTION: Final = 16
ARES_ECANCELLED: Final = 24

# What c-ares reports -> (code as in socket.gaierror, what was said, what to check).
_CARES_FAILURES: Final[dict[int, tuple[int, str, str]]] = {
    ARES_ENOTFOUND: (
        socket.EAI_NONAME,
        "the name does not exist (NXDOMAIN)",
        "Check the spelling and the search domains",
    ),
    ARES_ENODATA: (
        socket.EAI_NONAME,
        "the name exists but has no {family} address (no data)",
        "Check its A and AAAA records and the connector's `family`",
    ),
    ARES_ESERVFAIL: (
        socket.EAI_AGAIN,
        "the name server could not answer (SERVFAIL)",
        "Check the zone and its DNSSEC signatures, or try again later",
    ),
    ARES_EREFUSED: (
        socket.EAI_FAIL,
        "the name server refuses to answer (REFUSED)",
        "Check that it serves this client and this zone",
    ),
    ARES_ETIMEOUT: (
        socket.EAI_AGAIN,
        "no name server answered in time (timeout)",
        "Check that the name servers can be reached",
    ),
    ARES_ECONNREFUSED: (
        socket.EAI_AGAIN,
        "no name server could be contacted",
        "Check that the name servers run and can be reached",
    ),
    ARES_EBADRESP: (
        socket.EAI_FAIL,
        "the name server sent an answer that is not valid DNS",
        "Check the name server",
    ),
    ARES_EBADNAME: (socket.EAI_NONAME, "it is not a legal domain name", "Check the spelling"),
}
_CARES_CLOSED: Final = (ARES_ECANCELLED, ARES_EDESTRUCTION)

_SYSTEM_FAILURES: Final[dict[int, tuple[str, str]]] = {
    socket.EAI_NONAME: ("the system knows no such name", "Check the spelling and the hosts file"),
    socket.EAI_AGAIN: ("the system's lookup failed for now", "Check the name servers in /etc/resolv.conf"),
}


class Resolver(Protocol):
    """What the DNS cache needs of a resolver. Write your own to look names up elsewhere."""

    async def resolve(self, host: str, port: int, family: int = 0) -> Answer:
        """The addresses of `host`, best first, each with `port`, and how long they hold.

        `family` is 0 (both), AF_INET or AF_INET6. Raises DNSError (or any OSError) when there is none. May be
        cancelled at any time.
        """

    def close(self) -> None:
        """Give everything up at once; lookups in flight fail. Closing twice is harmless."""


class AsyncResolver:
    """Asks the name servers through aiodns, without a thread for each lookup. Reports the records' TTL.

    `nameservers` are IP addresses with an optional port (``192.0.2.1``, ``192.0.2.1:53``, ``[2001:db8::1]:53``); None
    takes those of /etc/resolv.conf. `timeout` is in seconds for one try of one server, `tries` the number of tries
    for each server; None takes what /etc/resolv.conf says, or 2 s and 3 tries. `loop` defaults to the loop of the
    first lookup. c-ares looks into /etc/hosts first where /etc/nsswitch.conf says so.

    Resolvers with equal options on one loop share one c-ares channel. It is opened by the first lookup and closed
    when the last of them closes or is dropped. With an old c-ares the first lookup issues OldCaresWarning.
    """

    __slots__ = ("__weakref__", "_closed", "_loop", "_options", "_pending", "_shared")

    def __init__(
        self,
        nameservers: Sequence[str] | None = None,
        *,
        timeout: float | None = None,
        tries: int | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._shared: SharedResolver | None = None
        self._options = check_options(nameservers, timeout, tries)
        self._loop = loop
        self._pending: set[asyncio.Future[pycares.AddrInfoResult]] = set()
        self._closed = False

    async def resolve(self, host: str, port: int, family: int = 0) -> Answer:
        """See Resolver.resolve. Raises PoolClosedError after, or because of, close().

        A cancelled lookup is forgotten here; c-ares drops its answer. An alias (CNAME) that is not a host name makes
        the whole answer invalid.
        """
        check_query(host, port, family)
        literal = literal_answer(host, port, family)
        if literal is not None:
            return literal
        name = normalise_host(host)
        future = self._open(name).getaddrinfo(name, port, family)
        self._pending.add(future)
        try:
            result = await future
        except aiodns.error.DNSError as exc:
            raise self._failure(exc, name, family) from None
        finally:
            self._pending.discard(future)
            if future.done() and not future.cancelled():
                future.exception()  # read, in case this task is cancelled before it wakes
        return _cares_answer(result, name, port)

    def close(self) -> None:
        """Let go of the shared channel. Lookups in flight fail with PoolClosedError."""
        self._closed = True
        shared, self._shared = self._shared, None
        if shared is None:
            return
        loop = self._loop
        if loop is not None and not loop.is_closed():
            for future in self._pending:
                if not future.done():
                    future.set_exception(aiodns.error.DNSError(ARES_ECANCELLED, "closed"))
                    future.exception()  # read: whoever waited may be cancelled before it wakes
        shared.release()

    def __del__(self) -> None:
        shared = self._shared
        if shared is not None:
            shared.abandon()

    def _open(self, name: str) -> SharedResolver:
        if self._closed:
            raise _closed_error(name)
        shared = self._shared
        if shared is None:
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
            shared = self._shared = shared_resolver(self._loop, self._options)
        return shared

    def _failure(self, exc: "aiodns.error.DNSError", name: str, family: int) -> DNSError | PoolClosedError:
        code = exc.args[0] if exc.args else ARES_EBADRESP
        if code in _CARES_CLOSED:
            return _closed_error(name)
        shortage = no_socket_left() if code == ARES_ECONNREFUSED else None
        if shortage is not None:
            return unavailable(shortage)
        unknown = (socket.EAI_FAIL, printable(str(exc.args[-1] if exc.args else exc)), "Check the name servers")
        number, said, check = _CARES_FAILURES.get(code, unknown)
        asked = ", ".join(self._options.nameservers or ("those of /etc/resolv.conf",))
        return DNSError(
            number,
            f"cannot resolve {printable(name)!r}: {said.replace('{family}', FAMILY_NAMES[family])}. {check} "
            f"(name servers: {asked})",
        )


class ThreadResolver:
    """Asks the system's getaddrinfo in a thread of `executor` (None: the loop's own). The TTL is not known.

    A cancelled lookup leaves its thread to finish alone; its result is dropped.
    """

    __slots__ = ("_closed", "_executor")

    def __init__(self, executor: Executor | None = None) -> None:
        self._executor = executor
        self._closed = False

    async def resolve(self, host: str, port: int, family: int = 0) -> Answer:
        """See Resolver.resolve. Raises PoolClosedError after close()."""
        check_query(host, port, family)
        literal = literal_answer(host, port, family)
        if literal is not None:
            return literal
        name = normalise_host(host)
        if self._closed:
            raise _closed_error(name)
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                self._executor, socket.getaddrinfo, name, port, family, socket.SOCK_STREAM
            )
        except (OSError, UnicodeError, RuntimeError) as exc:
            raise _system_failure(exc, name) from exc
        if self._closed:
            raise _closed_error(name)
        return name_answer(name, port, [(str(info[4][0]), int(info[0])) for info in found], None)

    def close(self) -> None:
        """Refuse further lookups. The executor is not shut down: it belongs to the loop or to the caller."""
        self._closed = True


class SplitResolver:
    """The default resolver: sends each name to where its answer is.

    To the system: names without a dot, ``localhost`` and all below it, names under ``.local`` (mDNS), and names that
    stand in the hosts file. ``x.localhost`` is looked up as ``localhost`` and never reaches a name server (RFC 6761,
    section 6.3). To the name servers: everything else. When c-ares cannot be started, for want of descriptors say,
    the system is asked for these too, until it can.

    `nameservers`, `timeout`, `tries`, `loop`: see AsyncResolver. `hosts` is the path of the hosts file. `old_cares`
    says what to do with a c-ares library that has known faults: "warn" once, or use the "system" for all names.
    `dns` and `system` replace the two resolvers; closing closes them.
    """

    __slots__ = ("_degraded", "_dns", "_hosts", "_system", "_system_only")

    def __init__(
        self,
        nameservers: Sequence[str] | None = None,
        *,
        timeout: float | None = None,
        tries: int | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        hosts: str = HOSTS_PATH,
        old_cares: Literal["warn", "system"] = "warn",
        dns: Resolver | None = None,
        system: Resolver | None = None,
    ) -> None:
        if old_cares not in ("warn", "system"):
            raise ValueError(f"old_cares must be 'warn' or 'system', got {old_cares!r}")
        if dns is None:
            dns = AsyncResolver(nameservers, timeout=timeout, tries=tries, loop=loop)
        self._dns: Resolver = dns
        self._system: Resolver = ThreadResolver() if system is None else system
        self._hosts = HostsFile(hosts)
        self._system_only = old_cares == "system" and VersionGate().is_old()
        self._degraded = False

    async def resolve(self, host: str, port: int, family: int = 0) -> Answer:
        """See Resolver.resolve."""
        check_query(host, port, family)
        literal = literal_answer(host, port, family)
        if literal is not None:
            return literal
        name = normalise_host(host)
        if name.endswith(".localhost"):
            name = "localhost"
        if self._system_only or "." not in name or name.endswith(".local") or await self._hosts.has(name):
            return await self._system.resolve(name, port, family)
        try:
            answer = await self._dns.resolve(name, port, family)
        except CaresUnavailable as exc:
            if not self._degraded:
                self._degraded = True
                logger.warning("%s. Names are looked up by the system until it can be", exc)
            return await self._system.resolve(name, port, family)
        self._degraded = False
        return answer

    def close(self) -> None:
        """Close both resolvers. Lookups in flight fail with PoolClosedError."""
        self._dns.close()
        self._system.close()


def _cares_answer(result: "pycares.AddrInfoResult", name: str, port: int) -> Answer:
    for alias in result.cnames:
        if not isinstance(alias.name, str) or not _ALIAS.fullmatch(alias.name):
            raise DNSError(
                socket.EAI_FAIL,
                f"cannot resolve {printable(name)!r}: the answer names an alias that is not a host name "
                f"({printable(alias.name)!r}). Check the CNAME records of the name",
            )
    found, ttls = [], [float(alias.ttl) for alias in result.cnames]
    for node in result.nodes:
        numeric = node.addr[0].decode("ascii") if isinstance(node.addr[0], bytes) else str(node.addr[0])
        if len(node.addr) == 4 and node.addr[3]:
            numeric += f"%{node.addr[3]}"
        found.append((numeric, int(node.family)))
        ttls.append(float(node.ttl))
    return name_answer(name, port, found, max(0.0, min(ttls)) if ttls else None)


def _system_failure(exc: Exception, name: str) -> DNSError:
    number = exc.errno if isinstance(exc, OSError) and exc.errno is not None else socket.EAI_FAIL
    said, check = f"the system's lookup failed: {printable(str(exc))}", "Check the system's name service"
    if isinstance(exc, socket.gaierror):
        said, check = _SYSTEM_FAILURES.get(number, (said, check))
    return DNSError(number, f"cannot resolve {printable(name)!r}: {said}. {check}")


def _closed_error(name: str) -> PoolClosedError:
    return PoolClosedError(f"cannot resolve {printable(name)!r}: the resolver is closed", phase="resolve")
