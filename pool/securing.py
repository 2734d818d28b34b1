"""Securing: what stands between a connected socket and a channel: the handshake, pins, ALPN.

How the socket was reached (over which addresses, through a proxy's tunnel, over a unix socket) makes no difference
here: the checks are the same on every path (T08).
"""

import asyncio
import ipaddress
import socket
import ssl
from typing import Any

from keepwarm.pool.channel import Channel
from keepwarm.pool.dial import DialRequest
from keepwarm.pool.dial_errors import WrongALPN, connect_error, handshake_timeout_error, tls_error
from keepwarm.pool.errors import ConnectTimeoutError, ResumptionError, TLSError, printable
from keepwarm.pool.opening import Opening, open_fast_tls, open_plain, start_tls
from keepwarm.pool.pins import check_pins
from keepwarm.pool.race import address_text
from keepwarm.pool.tls import TLSOptions
from keepwarm.pool.tls_contexts import ALPN_PROTOCOLS
from keepwarm.pool.tls_sessions import Identity, SessionCache, Ticket, checks_of


class Securing:
    """Does TLS for one connector, by its options. Every method that is given a socket or an Opening owns it from then
    on: on any exception, a cancellation included, it is closed.

    With `sessions`, connections resume those of earlier ones that were the same in all that matters.
    """

    __slots__ = ("_sessions", "tls")

    def __init__(self, tls: TLSOptions, sessions: SessionCache | None = None) -> None:
        self.tls = tls
        self._sessions = sessions

    async def context(self, req: DialRequest) -> ssl.SSLContext:
        """The context. Raises TLSError when the authorities cannot be read.

        Ask for it before anything is connected: a socket need not wait while they are loaded.
        """
        req.phase = "tls"
        try:
            return await self.tls.context()
        except OSError as exc:
            raise tls_error(req, exc, None) from exc

    async def secure_socket(
        self, req: DialRequest, sock: socket.socket, context: ssl.SSLContext, peer: str | None = None
    ) -> Opening:
        """TLS with the endpoint of `req` over a connected socket. `peer` names the other end in errors.

        Raises ConnectError, TLSError, ConnectTimeoutError (handshake_timeout) or FingerprintMismatch. Of TLSError there
        is a special kind, ResumptionError: try again with a new connection, and it will be a full handshake.
        """
        if self.tls.fast_tls:
            return await self._fast_tls(req, sock, context, peer or _peer_text(_peer_name(sock)))
        return await self.start_tls(req, await attach(req, sock), context, peer)

    async def start_tls(
        self, req: DialRequest, opening: Opening, context: ssl.SSLContext, peer: str | None = None
    ) -> Opening:
        """TLS with the endpoint of `req` over an open connection. Raises like `secure_socket`."""
        req.phase = "tls"
        raw = opening.transport
        if raw is None:
            raise RuntimeError("start_tls() before the connection was made")
        if req.via:
            peer = f"{req.host} through {req.via}"
        if opening.is_lost:
            # Nobody would ever tell the handshake, nor can the transport say who that was.
            opening.abort()
            lost = ConnectionResetError("the connection was closed before TLS began")
            raise tls_error(req, lost, peer or "the peer")
        peer = peer or _peer_text(raw.get_extra_info("peername"))
        if opening.has_early_bytes:
            opening.abort()
            raise tls_error(req, ConnectionError("the server spoke first"), peer)
        contexts = self.tls.contexts
        context, generation = contexts.latest(context), contexts.generation
        identity, ticket = self._ticket(req, context, opening)
        session = None if ticket is None else ticket.session
        try:
            secure = await start_tls(raw, context, tls_name(req.host), self.tls, session)
        except (OSError, ValueError) as exc:
            raise self._handshake_error(req, exc, peer, identity if ticket is not None else None) from exc
        secure.route = opening.route
        self._check(req, secure, peer, generation)
        self._remember(identity, secure, ticket)
        return secure

    async def _fast_tls(self, req: DialRequest, sock: socket.socket, context: ssl.SSLContext, peer: str) -> Opening:
        req.phase = "tls"
        contexts = self.tls.contexts
        context, generation = contexts.latest(context), contexts.generation
        try:
            opening = await open_fast_tls(sock, context, tls_name(req.host), self.tls)
        except (OSError, ValueError) as exc:
            raise self._handshake_error(req, exc, peer, None) from exc
        self._check(req, opening, peer, generation)
        return opening

    def _handshake_error(
        self, req: DialRequest, cause: Exception, peer: str, offered_for: Identity | None
    ) -> TLSError | ConnectTimeoutError:
        # The transports say "aborted" when their limit is over; from the kernel that error would have a number.
        if self.tls.handshake_timeout and isinstance(cause, ConnectionAbortedError) and cause.errno is None:
            return handshake_timeout_error(req, self.tls, peer)
        if offered_for is None or self._sessions is None or isinstance(cause, ssl.SSLCertVerificationError):
            return tls_error(req, cause, peer)
        self._sessions.refuse(offered_for)
        return tls_error(req, cause, peer, ResumptionError)

    def _check(self, req: DialRequest, opening: Opening, peer: str, generation: int) -> None:
        """Pins and ALPN, before the first byte of ours (G14). A mismatch is final: no other address is tried (G-04).

        A resumed session brings the certificate of its first handshake: it is checked like any other (T08).
        """
        try:
            ssl_object: Any = opening.transport and opening.transport.get_extra_info("ssl_object")
            certificate = ssl_object.getpeercert(True)
            pins = self.tls.pins_for(req.host)
            check_pins(pins, certificate, req.endpoint, req.host, req.port, self.tls.pin_report)
            protocol = ssl_object.selected_alpn_protocol()
            if protocol is not None and protocol not in ALPN_PROTOCOLS:
                cause = WrongALPN(f"the server chose the protocol {printable(protocol)!r} (ALPN)")
                raise tls_error(req, cause, peer)
        except BaseException:
            opening.abort()
            raise
        if generation != self.tls.contexts.generation:
            opening.retiring = "cert_reload"

    # Sessions

    def _ticket(
        self, req: DialRequest, context: ssl.SSLContext, opening: Opening
    ) -> tuple[Identity | None, Ticket | None]:
        """Who this connection is, and the session that it may offer."""
        if self._sessions is None:
            return None, None
        identity = self._identity(req, context, opening)
        return identity, self._sessions.take(identity)

    def _identity(self, req: DialRequest, context: ssl.SSLContext, opening: Opening) -> Identity:
        contexts = self.tls.contexts
        # Nobody changes a context of ours.
        checks = None if contexts.given is None else checks_of(context)
        pins = self.tls.pins_for(req.host)
        name = tls_name(req.host)
        return Identity(req.endpoint, name, opening.route, context, contexts.generation, checks, pins)

    def _remember(self, identity: Identity | None, opening: Opening, ticket: Ticket | None) -> None:
        if self._sessions is None or identity is None or opening.transport is None:
            return
        tls = opening.transport.get_extra_info("ssl_object")
        if isinstance(tls, ssl.SSLObject):
            opening.on_lost = self._sessions.keep(identity, tls, ticket)


async def attach(req: DialRequest, sock: socket.socket) -> Opening:
    """A plain transport over a connected socket. Raises ConnectError; the socket is closed then."""
    try:
        return await open_plain(sock)
    except OSError as exc:
        raise connect_error(req, [exc]) from exc


def hand_over(req: DialRequest, opening: Opening) -> tuple[asyncio.Transport, Channel]:
    """The opening's transport, with a channel for its protocol. On any exception the connection is aborted."""
    try:
        transport, channel = opening.hand_over(req.channel_factory())
        channel.on_lost = opening.on_lost
        channel.retiring = channel.retiring or opening.retiring
        if opening.count_unsent is not None:
            channel.count_unsent = opening.count_unsent
        return transport, channel
    except BaseException:
        opening.abort()
        raise


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
