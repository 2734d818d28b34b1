"""The one c-ares resolver of an event loop, shared by all who ask the same name servers.

c-ares answers on a thread of its own, and it keeps answers, good and bad, for as long as the records say, up to an
hour. Two things follow.

The thread may have an answer when the loop is gone. So c-ares never sees the loop, only a gate that drops what comes
too late and that does not keep the loop alive.

How long an answer is used is for the DNS cache to decide, which has an upper bound and can be cleared. c-ares's own
cache cannot be switched off from Python. So a name is asked only once of each channel: when it comes up again a new
channel takes over, and the old one is closed as soon as its last query is answered. A new channel costs about a
quarter of a lookup. It also forgets which name server was slow, as the system's own lookup does.
"""

import asyncio
import ipaddress
import socket
import threading
import warnings
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from keepwarm.pool.errors import DNSError
from keepwarm.pool.lazy import lazy_module

if TYPE_CHECKING:
    import aiodns
    import pycares
else:
    aiodns = lazy_module("aiodns")
    pycares = lazy_module("pycares")

# The first c-ares without CVE-2026-33630.
SAFE_VERSION: Final = (1, 34, 7)
# Names asked of one channel before the next takes over; bounds the memory of c-ares's own cache.
MAX_ASKED: Final = 1024


class OldCaresWarning(RuntimeWarning):
    """The c-ares library that pycares was built with has known security faults."""


class CaresUnavailable(DNSError):
    """c-ares could not ask: no descriptor, thread or inotify watch is left. Nothing was said about the name."""


class CaresOptions(NamedTuple):
    """What tells two shared resolvers of a loop apart. None means: as /etc/resolv.conf says, or c-ares's default."""

    nameservers: tuple[str, ...] | None = None
    timeout: float | None = None
    tries: int | None = None


class VersionGate:
    """Warns once about a c-ares older than SAFE_VERSION (CVE-2026-33630)."""

    __slots__ = ("_warned",)

    def __init__(self) -> None:
        self._warned = False

    def is_old(self) -> bool:
        """Whether the library in use is older than SAFE_VERSION."""
        return cares_version() < SAFE_VERSION

    def warn(self) -> None:
        """Issue OldCaresWarning if the library is old and no warning has been given yet."""
        if self._warned or not self.is_old():
            return
        self._warned = True
        warnings.warn(
            f"c-ares {pycares.ARES_VERSION} has known security faults (CVE-2026-33630). Upgrade pycares to a release "
            f"with c-ares {'.'.join(map(str, SAFE_VERSION))} or newer, or use SplitResolver(old_cares='system')",
            OldCaresWarning,
            stacklevel=2,
        )


def cares_version() -> tuple[int, ...]:
    """The version of the c-ares library in use, such as (1, 34, 9). Text after the numbers is left out."""
    numbers = []
    for part in str(pycares.ARES_VERSION).split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)


def unavailable(cause: Exception) -> CaresUnavailable:
    """The error for a c-ares that could not ask."""
    return CaresUnavailable(
        socket.EAI_SYSTEM,
        f"the DNS resolver could not be started: {cause}. Check the limits on open files, threads and inotify "
        "instances (ulimit -n, ulimit -u, fs.inotify.max_user_instances)",
    )


def no_socket_left() -> OSError | None:
    """Why no socket can be opened now; None if one can. c-ares reports EMFILE as a name server that refuses."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except OSError as exc:
        return exc
    return None


def check_options(nameservers: Sequence[str] | None, timeout: float | None, tries: int | None) -> CaresOptions:
    """The options in one value. Raises TypeError or ValueError that names the argument."""
    if timeout is not None and not 0 < timeout <= 60:
        raise ValueError(f"timeout must be more than 0 and at most 60 seconds, or None, got {timeout!r}")
    if tries is not None and (isinstance(tries, bool) or not isinstance(tries, int) or not 1 <= tries <= 10):
        raise ValueError(f"tries must be a whole number from 1 to 10, or None, got {tries!r}")
    if nameservers is None:
        return CaresOptions(None, timeout, tries)
    if isinstance(nameservers, str) or not nameservers:
        raise ValueError(f"nameservers must be a list of at least one address, or None, got {nameservers!r}")
    return CaresOptions(tuple(_check_nameserver(server) for server in nameservers), timeout, tries)


def _check_nameserver(server: str) -> str:
    address, port = server, ""
    if server.startswith("["):
        address, _, port = server[1:].partition("]")
        port = port.removeprefix(":")
    elif server.count(":") == 1:
        address, _, port = server.partition(":")
    try:
        ipaddress.ip_address(address)
        if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError
    except ValueError:
        raise ValueError(
            f"nameservers: {server!r} is not an IP address; write 192.0.2.1, 192.0.2.1:53 or [2001:db8::1]:53"
        ) from None
    return server


class _LoopGate:
    """What aiodns gets in place of the loop. After the loop has closed or gone, calls do nothing."""

    __slots__ = ("_loop", "_thread")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._thread = threading.get_ident()

    def open_loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop, or None once it is closed or gone."""
        loop = self._loop()
        return None if loop is None or loop.is_closed() else loop

    def is_own_thread(self) -> bool:
        return threading.get_ident() == self._thread

    def create_future(self) -> "asyncio.Future[Any]":
        loop = self.open_loop()
        if loop is None:
            raise RuntimeError("the event loop is closed")
        return loop.create_future()

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        loop = self.open_loop()
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            if not loop.is_closed():  # it may close between the look and the call
                raise

    # aiodns uses the rest when c-ares has no thread of its own because inotify watches ran out.

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle | None:
        loop = self.open_loop()
        return None if loop is None else loop.call_later(delay, callback, *args)

    def add_reader(self, fd: int, callback: Callable[..., object], *args: Any) -> None:
        loop = self.open_loop()
        if loop is not None:
            loop.add_reader(fd, callback, *args)

    def add_writer(self, fd: int, callback: Callable[..., object], *args: Any) -> None:
        loop = self.open_loop()
        if loop is not None:
            loop.add_writer(fd, callback, *args)

    def remove_reader(self, fd: int) -> bool:
        loop = self.open_loop()
        return loop is not None and loop.remove_reader(fd)

    def remove_writer(self, fd: int) -> bool:
        loop = self.open_loop()
        return loop is not None and loop.remove_writer(fd)


class _Generation:
    """One c-ares channel, the names that it was asked, and how many answers somebody still waits for."""

    __slots__ = ("asked", "pending", "resolver")

    def __init__(self, resolver: "aiodns.DNSResolver") -> None:
        self.resolver = resolver
        self.asked: set[str] = set()
        self.pending = 0

    def close(self) -> None:
        """Cancel the queries and hand the channel to the thread of pycares that destroys it."""
        closing = self.resolver.close()  # a coroutine that never waits
        try:
            closing.send(None)
        except StopIteration:
            return
        closing.close()


class SharedResolver:
    """aiodns for one loop and one set of options. Get it from `shared_resolver`; `release` it once for each get.

    It does not keep the loop alive. When the last holder lets go, all queries are cancelled and the channel is closed.
    """

    __slots__ = ("__weakref__", "_current", "_gate", "_holders", "_options", "_retired")

    def __init__(self, loop: asyncio.AbstractEventLoop, options: CaresOptions) -> None:
        self._gate = _LoopGate(loop)
        self._options = options
        self._current: _Generation | None = None
        self._retired: set[_Generation] = set()
        self._holders = 0

    def hold(self) -> "SharedResolver":
        """Count one more holder."""
        self._holders += 1
        return self

    def release(self) -> None:
        """Count one holder less, and close with the last one. Call it on the loop's thread."""
        self._holders -= 1
        if self._holders > 0:
            return
        _forget(self._gate.open_loop(), self._options, self)
        current, self._current = self._current, None
        retired, self._retired = self._retired, set()
        for generation in (current, *retired):
            if generation is not None:
                generation.close()

    def abandon(self) -> None:
        """`release` for a holder that was dropped without closing. Safe on any thread, in any state of the loop."""
        if self._gate.open_loop() is not None:
            self._gate.call_soon_threadsafe(self.release)
        elif self._gate.is_own_thread():
            self.release()
        # Else a foreign thread collects garbage after the loop has closed: the queries end by their own time limit.

    def getaddrinfo(self, name: str, port: int, family: int) -> "asyncio.Future[pycares.AddrInfoResult]":
        """Ask the name servers. The future ends with aiodns's DNSError on failure. Raises CaresUnavailable."""
        generation = self._generation_for(name)
        generation.pending += 1
        future = generation.resolver.getaddrinfo(
            name, family=socket.AddressFamily(family), port=port, type=int(socket.SOCK_STREAM)
        )
        future.add_done_callback(partial(self._settled, generation))
        return future

    def _generation_for(self, name: str) -> _Generation:
        current = self._current
        if current is None or name in current.asked or len(current.asked) >= MAX_ASKED:
            fresh = _Generation(self._create())
            if current is not None:
                self._retire(current)
            self._current = current = fresh
        current.asked.add(name)
        return current

    def _create(self) -> "aiodns.DNSResolver":
        try:
            # Not lookups="b", the name servers only: pycares frees that text before c-ares has read it, and a channel
            # made of what lies there then refuses every name.
            return aiodns.DNSResolver(
                self._options.nameservers,
                cast("asyncio.AbstractEventLoop", self._gate),
                timeout=self._options.timeout,
                tries=self._options.tries,
            )
        except (pycares.AresError, OSError, RuntimeError) as exc:
            raise unavailable(exc) from exc

    def _retire(self, generation: _Generation) -> None:
        if generation.pending:
            self._retired.add(generation)
        else:
            generation.close()

    def _settled(self, generation: _Generation, _: "asyncio.Future[pycares.AddrInfoResult]") -> None:
        generation.pending -= 1
        if not generation.pending and generation in self._retired:
            self._retired.discard(generation)
            generation.close()


_shared: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[CaresOptions, SharedResolver]]"
_shared = weakref.WeakKeyDictionary()
_version_gate = VersionGate()


def shared_resolver(loop: asyncio.AbstractEventLoop, options: CaresOptions) -> SharedResolver:
    """The resolver that all holders on `loop` with the same options share; call `release()` on it when done.

    Warns once (OldCaresWarning) if the c-ares library has known faults. Nothing is opened before the first query.
    """
    _version_gate.warn()
    of_loop = _shared.setdefault(loop, {})
    found = of_loop.get(options)
    if found is None:
        found = of_loop[options] = SharedResolver(loop, options)
    return found.hold()


def shared_count(loop: asyncio.AbstractEventLoop) -> int:
    """How many shared resolvers are held on `loop`."""
    return len(_shared.get(loop, {}))


def _forget(loop: asyncio.AbstractEventLoop | None, options: CaresOptions, shared: SharedResolver) -> None:
    of_loop = None if loop is None else _shared.get(loop)
    if of_loop is not None and of_loop.get(options) is shared:
        del of_loop[options]
