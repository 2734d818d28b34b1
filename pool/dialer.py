"""Dialer: resolve, race, TLS, pins; then a channel.

The dial is cut off by cancelling it: at conn_timeout, or when nobody wants the connection any more. Whatever it holds
at that moment is closed before the cancellation leaves it.
"""

import asyncio
import errno
import socket
import ssl
from typing import Protocol

from keepwarm.pool.address import FAMILIES, Address
from keepwarm.pool.channel import Channel
from keepwarm.pool.clock import monotonic
from keepwarm.pool.dial import DialRequest
from keepwarm.pool.dial_errors import connect_error
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.errors import ConnectError, ConnectTimeoutError, ResumptionError
from keepwarm.pool.health import AddressHealth, Choice
from keepwarm.pool.opening import Opening
from keepwarm.pool.race import Bind, BindError, Race, TCPKeepAlive
from keepwarm.pool.securing import Securing, attach, hand_over
from keepwarm.pool.tls import TLSOptions
from keepwarm.pool.tls_sessions import SessionCache

LocalAddr = tuple[str, int]


class Lookup(Protocol):
    """What a dialer needs of the DNS cache."""

    async def lookup(
        self, host: str, port: int, family: int, *, endpoint: Endpoint | None = None
    ) -> tuple[Address, ...]: ...


class Dialer:
    """Makes connections for one connector.

    `dns` finds the addresses; `tls`, `family`, `local_addr` and `tcp_keepalive` are the connector's options, see
    TCPConnector; `sessions` are those that TLS may resume; `health` chooses among a host's addresses. Raises TypeError
    or ValueError that names the option.
    """

    __slots__ = ("_dns", "_family", "_health", "_local_addr", "_securing", "_tcp_keepalive")

    def __init__(
        self,
        dns: Lookup,
        tls: TLSOptions | None = None,
        *,
        family: int = 0,
        local_addr: LocalAddr | None = None,
        tcp_keepalive: TCPKeepAlive | None = None,
        sessions: SessionCache | None = None,
        health: AddressHealth | None = None,
    ) -> None:
        self._dns = dns
        self._health = health or AddressHealth(monotonic)
        self._securing = Securing(tls or TLSOptions(), sessions)
        self._family = check_family(family)
        self._local_addr = check_local_addr(local_addr)
        self._tcp_keepalive = tcp_keepalive

    @property
    def tls(self) -> TLSOptions:
        """How TLS is done."""
        return self._securing.tls

    async def open(self, req: DialRequest) -> tuple[asyncio.Transport, Channel]:
        """The connection that `req` asks for, ready for its first byte.

        Raises DNSError, ConnectError, TLSError, ConnectTimeoutError (handshake_timeout) or FingerprintMismatch. On
        any exception, a cancellation included, no socket is left open.
        """
        # Before anything is connected: a socket need not wait while the authorities are loaded.
        context = await self._securing.context(req) if req.ssl else None
        if context is None:
            return hand_over(req, await self._open_plain(req, req.host, req.port))
        try:
            opening = await self._open_tls(req, context)
        except ResumptionError:
            # Servers are known that give out sessions and then cannot cope with them.
            opening = await self._open_tls(req, context)
        return hand_over(req, opening)

    async def open_tcp(self, req: DialRequest, host: str, port: int) -> Opening:
        """A plain connection to `host`, which need not be the one that `req` is about: the way to a proxy.

        Raises DNSError or ConnectError.
        """
        opening = await self._open_plain(req, host, port)
        opening.route = (host, port)
        return opening

    async def prepare(self, req: DialRequest) -> None:
        """Do now what `secure` would have to wait for while a connection stands open: read the authorities.

        Raises TLSError when they cannot be read.
        """
        await self._securing.context(req)

    async def secure(self, req: DialRequest, opening: Opening) -> Opening:
        """TLS with the endpoint of `req` over an open connection: inside a proxy's tunnel. Pins are checked (A-20).

        Raises like `open`. On any exception the connection is aborted.
        """
        try:
            context = await self._securing.context(req)
            secure = await self._securing.start_tls(req, opening, context)
        except BaseException:
            opening.abort()
            raise
        if opening.on_lost is not None:
            secure.tell_also(opening.on_lost)
        return secure

    async def _open_plain(self, req: DialRequest, host: str, port: int) -> Opening:
        sock, choice = await self._reach(req, host, port)
        try:
            opening = await attach(req, sock)
        except BaseException as exc:
            choice.over(hung_up=isinstance(exc, ConnectError))
            raise
        return _kept(opening, choice)

    async def _reach(self, req: DialRequest, host: str, port: int) -> tuple[socket.socket, Choice]:
        """A connected socket, and the choice of its address. Addresses that fail, or are too slow, are left alone
        after a while (D08)."""
        req.phase = "resolve"
        addresses = await self._dns.lookup(host, port, self._family, endpoint=req.endpoint)
        req.phase = "connect"
        bind = await self._bind(req)
        choice = self._health.choose(addresses)
        race = Race(asyncio.get_running_loop(), req.attempts, self._tcp_keepalive, bind)
        try:
            sock, winner = await race.run(choice.order)
        except OSError as exc:
            choice.lost(race.in_vain())
            raise connect_error(req, race.errors or [exc]) from exc
        except BaseException:
            choice.over()
            raise
        choice.won(winner, race.in_vain(winner))
        return sock, choice

    async def _bind(self, req: DialRequest) -> Bind | None:
        """What to bind to, by family."""
        if self._local_addr is None:
            return None
        host, port = self._local_addr
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (OSError, UnicodeError) as exc:
            number, said = (exc.errno, exc.strerror) if isinstance(exc, OSError) else (errno.EINVAL, exc)
            cause = BindError(number, f"local_addr {host!r}: {said}")
            raise connect_error(req, [cause]) from exc
        bind: Bind = {}
        for family, _, _, _, target in found:
            bind.setdefault(int(family), target)
        return bind

    async def _open_tls(self, req: DialRequest, context: ssl.SSLContext) -> Opening:
        sock, choice = await self._reach(req, req.host, req.port)
        try:
            opening = await self._securing.secure_socket(req, sock, context)
        except BaseException as exc:
            # Where it is not a matter of certificates, this one machine hung up or fell silent; the next may not.
            is_failure = isinstance(exc, (ConnectError, ConnectTimeoutError)) and not isinstance(exc, ResumptionError)
            choice.over(hung_up=is_failure and isinstance(exc.__cause__, ConnectionError))
            raise
        return _kept(opening, choice)


def _kept(opening: Opening, choice: Choice) -> Opening:
    """The connection is fit for use, and a load of its address until its end."""
    choice.served()
    opening.tell_also(lambda _: choice.over())
    return opening


def check_family(family: object) -> int:
    """`family` as an int. Raises ValueError unless it is 0, AF_INET or AF_INET6."""
    if isinstance(family, bool) or not isinstance(family, int) or family not in FAMILIES:
        raise ValueError(f"family must be 0, socket.AF_INET or socket.AF_INET6, got {family!r}")
    return int(family)


def check_local_addr(local_addr: object) -> LocalAddr | None:
    """`local_addr` as it is. Raises TypeError or ValueError unless it is None or (host, port)."""
    if local_addr is None:
        return None
    if not isinstance(local_addr, tuple) or len(local_addr) != 2 or not isinstance(local_addr[0], str):
        raise TypeError(f"local_addr must be a tuple (host, port) or None, got {local_addr!r}")
    host, port = local_addr
    if not host or isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 65536:
        raise ValueError(f"local_addr must have a host and a port from 0 (any) to 65535, got {local_addr!r}")
    return host, port
