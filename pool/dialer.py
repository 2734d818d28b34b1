"""Dialer: resolve, race, TLS, pins; then a channel.

The dial is cut off by cancelling it: at conn_timeout, or when nobody wants the connection any more. Whatever it holds
at that moment is closed before the cancellation leaves it.
"""

import asyncio
import errno
import ipaddress
import socket
import ssl
from typing import Any, Protocol

from keepwarm.pool.address import Address
from keepwarm.pool.channel import Channel
from keepwarm.pool.dial import DialRequest
from keepwarm.pool.dial_errors import WrongALPN, connect_error, handshake_timeout_error, tls_error
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.errors import ConnectError, ConnectTimeoutError, TLSError, printable
from keepwarm.pool.opening import Opening, open_fast_tls, open_plain, start_tls
from keepwarm.pool.pins import check_pins
from keepwarm.pool.race import Bind, BindError, Race, TCPKeepAlive, address_text
from keepwarm.pool.tls import ALPN_PROTOCOLS, TLSOptions

FAMILIES = (0, int(socket.AF_INET), int(socket.AF_INET6))
LocalAddr = tuple[str, int]


class Lookup(Protocol):
    """What a dialer needs of the DNS cache."""

    async def lookup(
        self, host: str, port: int, family: int, *, endpoint: Endpoint | None = None
    ) -> tuple[Address, ...]: ...

    def demote(self, host: str, port: int, address: Address) -> None: ...


class Dialer:
    """Makes connections for one connector.

    `dns` finds the addresses; `tls`, `family`, `local_addr` and `tcp_keepalive` are the connector's options, see
    TCPConnector. Raises TypeError or ValueError that names the option.
    """

    __slots__ = ("_dns", "_family", "_local_addr", "_tcp_keepalive", "tls")

    def __init__(
        self,
        dns: Lookup,
        tls: TLSOptions | None = None,
        *,
        family: int = 0,
        local_addr: LocalAddr | None = None,
        tcp_keepalive: TCPKeepAlive | None = None,
    ) -> None:
        self._dns = dns
        self.tls = tls or TLSOptions()
        self._family = check_family(family)
        self._local_addr = check_local_addr(local_addr)
        self._tcp_keepalive = tcp_keepalive

    async def open(self, req: DialRequest) -> tuple[asyncio.Transport, Channel]:
        """The connection that `req` asks for, ready for its first byte.

        Raises DNSError, ConnectError, TLSError, ConnectTimeoutError (handshake_timeout) or FingerprintMismatch. On
        any exception, a cancellation included, no socket is left open.
        """
        # Before anything is connected: a socket need not wait while the authorities are loaded.
        context = await self._context(req) if req.ssl else None
        sock, address = await self._reach(req, req.host, req.port)
        if context is None:
            opening = await self._attach(req, sock)
        else:
            opening = await self._secure_socket(req, sock, context, address)
        try:
            transport, channel = opening.hand_over(req.channel_factory())
            channel.on_lost = opening.on_lost
            if opening.count_unsent is not None:
                channel.count_unsent = opening.count_unsent
            return transport, channel
        except BaseException:
            opening.abort()
            raise

    async def open_tcp(self, req: DialRequest, host: str, port: int) -> Opening:
        """A plain connection to `host`, which need not be the one that `req` is about: the way to a proxy.

        Raises DNSError or ConnectError.
        """
        sock, _ = await self._reach(req, host, port)
        return await self._attach(req, sock)

    async def secure(self, req: DialRequest, opening: Opening) -> Opening:
        """TLS with the endpoint of `req` over an open connection: inside a proxy's tunnel. Pins are checked (A-20).

        Raises like `open`. On any exception the connection is aborted.
        """
        try:
            context = await self._context(req)
        except BaseException:
            opening.abort()
            raise
        return await self._start_tls(req, opening, context)

    async def _context(self, req: DialRequest) -> ssl.SSLContext:
        req.phase = "tls"
        try:
            return await self.tls.context()
        except OSError as exc:
            raise tls_error(req, exc, "nobody yet") from exc

    async def _attach(self, req: DialRequest, sock: socket.socket) -> Opening:
        try:
            return await open_plain(sock)
        except OSError as exc:
            raise connect_error(req, [exc]) from exc

    # Resolve and connect

    async def _reach(self, req: DialRequest, host: str, port: int) -> tuple[socket.socket, Address]:
        """A connected socket and its address. Addresses that failed, or were too slow, go to the back (D08)."""
        req.phase = "resolve"
        addresses = await self._dns.lookup(host, port, self._family, endpoint=req.endpoint)
        req.phase = "connect"
        bind = await self._bind(req)
        race = Race(asyncio.get_running_loop(), req.attempts, self._tcp_keepalive, bind)
        try:
            sock, winner, tried = await race.run(addresses)
        except OSError as exc:
            raise connect_error(req, race.errors or [exc]) from exc
        for address in tried:
            self._dns.demote(host, port, address)
        return sock, winner

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

    # TLS

    async def _secure_socket(
        self, req: DialRequest, sock: socket.socket, context: ssl.SSLContext, address: Address
    ) -> Opening:
        try:
            if self.tls.fast_tls:
                return await self._fast_tls(req, sock, context)
            return await self._start_tls(req, await self._attach(req, sock), context)
        except (ConnectError, ConnectTimeoutError) as exc:
            if isinstance(exc.__cause__, ConnectionError):
                # Not a matter of certificates: this one machine hung up or fell silent, the next may not.
                self._dns.demote(req.host, req.port, address)
            raise

    async def _fast_tls(self, req: DialRequest, sock: socket.socket, context: ssl.SSLContext) -> Opening:
        req.phase = "tls"
        peer = _peer_text(_peer_name(sock))
        try:
            opening = await open_fast_tls(sock, context, tls_name(req.host), self.tls)
        except (OSError, ValueError) as exc:
            raise self._handshake_error(req, exc, peer) from exc
        return self._checked(req, opening, peer)

    async def _start_tls(self, req: DialRequest, opening: Opening, context: ssl.SSLContext) -> Opening:
        req.phase = "tls"
        raw = opening.transport
        if raw is None:
            raise RuntimeError("start_tls() before the connection was made")
        peer = _peer_text(raw.get_extra_info("peername"))
        if opening.has_early_bytes:
            opening.abort()
            raise tls_error(req, ConnectionError("the server spoke first"), peer)
        try:
            secure = await start_tls(raw, context, tls_name(req.host), self.tls)
        except (OSError, ValueError) as exc:
            raise self._handshake_error(req, exc, peer) from exc
        return self._checked(req, secure, peer)

    def _handshake_error(self, req: DialRequest, cause: Exception, peer: str) -> TLSError | ConnectTimeoutError:
        # The transports say "aborted" when their limit is over; from the kernel that error would have a number.
        if self.tls.handshake_timeout and isinstance(cause, ConnectionAbortedError) and cause.errno is None:
            return handshake_timeout_error(req, self.tls, peer)
        return tls_error(req, cause, peer)

    def _checked(self, req: DialRequest, opening: Opening, peer: str) -> Opening:
        """Pins and ALPN, before the first byte of ours (G14). A mismatch is final: no other address is tried (G-04)."""
        try:
            ssl_object: Any = opening.transport and opening.transport.get_extra_info("ssl_object")
            certificate = ssl_object.getpeercert(True)
            check_pins(self.tls.required_pins, certificate, req.endpoint, req.host, req.port)
            protocol = ssl_object.selected_alpn_protocol()
            if protocol is not None and protocol not in ALPN_PROTOCOLS:
                cause = WrongALPN(f"the server chose the protocol {printable(protocol)!r} (ALPN)")
                raise tls_error(req, cause, peer)
        except BaseException:
            opening.abort()
            raise
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


def tls_name(host: str) -> str:
    """What the certificate must be for. The TLS library sends a name as SNI, and an address not (RFC 6066 3)."""
    address = host.partition("%")[0]
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return host


def _peer_text(peer: object) -> str:
    return address_text(peer) if isinstance(peer, tuple) else "the peer"


def _peer_name(sock: socket.socket) -> object:
    try:
        return sock.getpeername()
    except OSError:  # reset by now
        return None
