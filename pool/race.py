"""Race: which of a host's addresses connects first (RFC 8305).

The addresses are interleaved by family and started a quarter of a second apart, or as soon as the one before has
failed; the first that connects wins and the others are closed. A dead IPv6 path costs that quarter of a second.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import aiohappyeyeballs

from keepwarm.pool.address import Address

# RFC 8305 section 8 recommends 250 ms between two attempts.
RACE_DELAY = 0.25
NO_ANSWER = "no answer yet"
CONNECTED = "connected"

_KEEP_IDLE = getattr(socket, "TCP_KEEPIDLE", None) or getattr(socket, "TCP_KEEPALIVE", None)
_KEEP_INTERVAL = getattr(socket, "TCP_KEEPINTVL", None)
_KEEP_COUNT = getattr(socket, "TCP_KEEPCNT", None)

Bind = dict[int, tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class TCPKeepAlive:
    """When the kernel probes a silent peer: after `idle` seconds, every `interval` seconds, `count` times.

    The defaults notice a dead peer, and keep most NAT entries alive, within 60 + 4 x 15 seconds. All three are whole
    and at least 1, else ValueError.
    """

    idle: int = 60
    interval: int = 15
    count: int = 4

    def __post_init__(self) -> None:
        for name, most in (("idle", 32767), ("interval", 32767), ("count", 127)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise ValueError(f"TCPKeepAlive: {name} must be a whole number from 1 to {most}, got {value!r}")

    def apply(self, sock: socket.socket) -> None:
        """Turn the probes on. A system that lacks one of the three options keeps its own value for it."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((_KEEP_IDLE, self.idle), (_KEEP_INTERVAL, self.interval), (_KEEP_COUNT, self.count)):
            if option is not None:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


class Race:
    """One race, and the event loop as aiohappyeyeballs sees it.

    That package reports only a summary. Standing in for the loop's `sock_connect`, and making the sockets, is how each
    address gets its own line in `attempts`. A Race is used once.
    """

    __slots__ = ("_addresses", "_attempts", "_begun", "_bind", "_keepalive", "_lines", "_loop", "_sockets", "errors")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        attempts: list[tuple[str, str]],
        keepalive: TCPKeepAlive | None,
        bind: Bind | None,
    ) -> None:
        self._loop = loop
        self._attempts = attempts
        self._keepalive = keepalive
        self._bind = bind
        self._addresses: dict[tuple[str, int], Address] = {}
        # Which connects were begun, in that order: True for those that failed, None while there is no answer.
        self._begun: dict[tuple[str, int], bool | None] = {}
        self._lines: dict[tuple[str, int], int] = {}
        self._sockets: dict[tuple[str, int], socket.socket] = {}
        # What each failed address said, in the order of failing.
        self.errors: list[OSError] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def run(self, addresses: Sequence[Address]) -> tuple[socket.socket, Address]:
        """(connected socket, its address). Raises OSError when no address connects; see `errors` and `in_vain`.
        Cancelling closes every socket.
        """
        by_target = self._addresses = {_target(address): address for address in addresses}
        infos = [
            (address.family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", target)
            for target, address in by_target.items()
        ]
        task = asyncio.current_task()
        cancels = task.cancelling() if task is not None else 0
        try:
            sock = await aiohappyeyeballs.start_connection(
                infos,
                happy_eyeballs_delay=RACE_DELAY,
                interleave=1,
                loop=cast(asyncio.AbstractEventLoop, self),
                socket_factory=self._open,
            )
        except (RuntimeError, IndexError) as exc:
            # IndexError: aiohappyeyeballs has no error to report when every attempt was cut off by another exception.
            raise OSError(f"no address connected: {exc!r}") from exc
        if task is not None and task.cancelling() > cancels:
            # Cancelled while aiohappyeyeballs waited for the losers to end: it swallows that.
            sock.close()
            raise asyncio.CancelledError
        # Two may have connected in one turn of the loop; the other one is closed by now.
        target = next(target for target, other in self._sockets.items() if other is sock)
        self._sockets.clear()
        return sock, by_target[target]

    def in_vain(self, winner: Address | None = None) -> list[Address]:
        """The addresses that refused or gave no answer, of those that had their time: with a winner those that were
        begun after it count only if they failed."""
        found = []
        is_later = False
        for target, failed in self._begun.items():
            address = self._addresses[target]
            is_later = is_later or address == winner
            if failed or (failed is None and not is_later):
                found.append(address)
        return found

    def _open(self, info: Any) -> socket.socket:
        """A socket for one address, with its options set and bound if it is to be."""
        family, kind, protocol, _, target = info
        self._lines[target] = len(self._attempts)
        self._attempts.append((address_text(target), NO_ANSWER))
        sock = None
        try:
            sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._keepalive is not None:
                self._keepalive.apply(sock)
            if self._bind is not None:
                _bind(sock, self._bind)
        except OSError as exc:
            if sock is not None:
                sock.close()
            self._failed(target, exc)
            raise
        self._sockets[target] = sock
        return sock

    async def sock_connect(self, sock: socket.socket, target: Any) -> None:
        """The loop's `sock_connect`, with the outcome noted."""
        self._begun[target] = None
        try:
            await connect(self._loop, sock, target)
            if sock.getsockname() == sock.getpeername():
                # The kernel drew the port that we are calling as our own, and TCP connected the socket to itself.
                raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        except Exception as exc:
            # Whatever else the loop may raise (uvloop: RuntimeError) is one failed attempt like the others.
            error = exc if isinstance(exc, OSError) else OSError(errno.EINVAL, str(exc))
            self._begun[target] = True
            self._failed(target, error)
            raise error from (None if error is exc else exc)
        self._begun[target] = False
        self._note(target, CONNECTED)

    def _failed(self, target: Any, error: OSError) -> None:
        self.errors.append(error)
        self._note(target, error_text(error))

    def _note(self, target: Any, outcome: str) -> None:
        line = self._lines[target]
        self._attempts[line] = (self._attempts[line][0], outcome)


async def connect(loop: asyncio.AbstractEventLoop, sock: socket.socket, target: Any) -> None:
    """Connect a non-blocking socket to an address in numbers. Raises OSError.

    uvloop's own `sock_connect` sends each address through the look-up threads of libuv first, where it waits behind
    every slow name server; and a process that has once used those threads cannot fork children that exit in peace.
    """
    try:
        sock.connect(target)
        return
    except (BlockingIOError, InterruptedError):
        pass  # under way: the socket is writable once it is over
    done = loop.create_future()
    descriptor = sock.fileno()
    loop.add_writer(descriptor, _settle, done)
    try:
        await done
    finally:
        loop.remove_writer(descriptor)
    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise OSError(number, os.strerror(number))


def _settle(done: "asyncio.Future[None]") -> None:
    if not done.done():
        done.set_result(None)


def error_text(error: BaseException) -> str:
    """What the system said, without numbers and addresses that the message has elsewhere."""
    if isinstance(error, BindError):
        return str(error.strerror)
    number = getattr(error, "errno", None)
    if not isinstance(number, int) or number <= 0:
        return str(error) or type(error).__name__
    return os.strerror(number)


class BindError(OSError):
    """local_addr cannot be used."""


def _bind(sock: socket.socket, bind: Bind) -> None:
    family = "IPv6" if sock.family == socket.AF_INET6 else "IPv4"
    local = bind.get(sock.family)
    if local is None:
        raise BindError(errno.EADDRNOTAVAIL, f"local_addr has no {family} address to call an {family} address from")
    try:
        sock.bind(local)
    except OSError as exc:
        text = f"local_addr {address_text(local)}: {os.strerror(exc.errno) if exc.errno else exc}"
        raise BindError(exc.errno, text) from exc


def _target(address: Address) -> tuple[str, int]:
    return address.host, address.port


def address_text(target: tuple[Any, ...]) -> str:
    """host:port, with brackets around an IPv6 host."""
    return f"[{target[0]}]:{target[1]}" if ":" in target[0] else f"{target[0]}:{target[1]}"
