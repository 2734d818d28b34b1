"""Flight: one lookup under way, who waits for it, and what it came to."""

import asyncio
import copy
import socket
from collections.abc import Callable
from typing import Final

from keepwarm.pool.address import Address, Answer
from keepwarm.pool.clock import NEVER
from keepwarm.pool.dns_entry import Entry, rotated
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.errors import ClientError, DNSError, PoolClosedError, printable

# Seconds that a caller waits for a lookup when an old answer could be had instead.
PATIENCE: Final = 0.25

# Seconds after which a lookup is given up, whatever the resolver's own limits are. It would be joined by everybody who
# asks for the name, and a resolver that has lost it would never be asked again.
LONGEST: Final = 120.0

# The resolver's last word: the name, or an address of the wanted family, does not exist.
_FINAL: Final = frozenset(
    getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY") if hasattr(socket, name)
)

Key = tuple[str, int, int]


class Flight:
    """One lookup and the callers that wait for it.

    `is_kept`: it goes on when nobody waits any more. `old` is the entry that it is to renew, if that may be lent;
    `is_stale` says that the callers get the old addresses. `stored` is the entry that they take their turns from.
    Watched by the clock: for PATIENCE, where there is something to lend, and in any case until `ends`.
    """

    __slots__ = (
        "addresses",
        "deadline",
        "ends",
        "error",
        "is_kept",
        "is_stale",
        "key",
        "landed",
        "old",
        "overdue",
        "stored",
        "sweep_at",
        "task",
        "waiters",
    )

    def __init__(self, key: Key, old: Entry | None, ends: float, overdue: "Callable[[Flight, float], None]") -> None:
        self.key = key
        self.old = old
        self.ends = ends
        self.overdue = overdue
        self.task: asyncio.Task[Answer] | None = None
        self.waiters: set[asyncio.Future[None]] = set()
        self.addresses: tuple[Address, ...] = ()
        self.error: ClientError | None = None
        self.stored: Entry | None = None
        self.is_kept = False
        self.is_stale = False
        self.landed = False
        self.deadline = NEVER
        self.sweep_at = NEVER

    def on_deadline(self, now: float) -> None:
        """The lookup is slow."""
        self.overdue(self, now)

    def lend_meanwhile(self, now: float) -> None:
        """Whoever waits gets the old answer; the lookup goes on for those who come later."""
        if self.landed or self.old is None or not self.old.can_lend(now):
            return
        self.is_kept = True
        self.lend(self.old)
        self._wake()

    def lend(self, old: Entry) -> None:
        """The outcome is the old answer."""
        self.error = None
        self.stored = old
        self.is_stale = True

    def land(self) -> None:
        """Wake all callers. They find the outcome here."""
        self.landed = True
        self._wake()

    def _wake(self) -> None:
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)

    def take(self) -> tuple[Address, ...]:
        """The outcome for one caller, in its turn."""
        if self.stored is not None:
            return self.stored.take()
        order = self.addresses
        self.addresses = rotated(order)
        return order


def error_of(task: "asyncio.Task[Answer]", host: str) -> ClientError | None:
    """What went wrong, as an error of ours. It is never raised itself: `placed` makes a copy for each caller."""
    if task.cancelled():
        return DNSError(socket.EAI_AGAIN, f"cannot resolve {printable(host)!r}: the lookup was cancelled. Try again")
    exc = task.exception()
    if exc is None:
        return None
    if isinstance(exc, ClientError):
        return exc
    number = exc.errno if isinstance(exc, OSError) and exc.errno is not None else socket.EAI_FAIL
    error = DNSError(
        number,
        f"cannot resolve {printable(host)!r}: the resolver failed with {type(exc).__name__}: {printable(str(exc))}",
    )
    error.__cause__ = exc
    return error


def is_final(error: ClientError) -> bool:
    """Whether the resolver knows that there is no answer. Anything else is a resolver that could not tell."""
    return not isinstance(error, DNSError) or error.errno in _FINAL


def placed(error: ClientError, endpoint: Endpoint | None) -> ClientError:
    """A copy of the error for one caller, without the traceback of another."""
    fresh = copy.copy(error)
    fresh.__cause__ = error.__cause__
    if endpoint is not None:
        fresh.endpoint = endpoint
    return fresh


def lost_error(host: str) -> DNSError:
    return DNSError(
        socket.EAI_AGAIN,
        f"cannot resolve {printable(host)!r}: the resolver has not answered for {LONGEST:g} s. Check the connector's "
        "`resolver`, or the name service of this system",
    )


def closed_error(host: str) -> PoolClosedError:
    return PoolClosedError(
        f"cannot resolve {printable(host)!r}: the connector is closed. Use a new one", phase="resolve"
    )
