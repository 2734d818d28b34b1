"""TLS sessions: a connection that is made again takes up an earlier one, if it is the same in all that matters.

A handshake that resumes a session (RFC 8446 2.2, RFC 5077) sends no certificates and checks none: the peer proves that
it is whom we checked before, and the certificate of that time counts as its certificate. So a session belongs to an
`Identity`, which is everything that the first handshake depended on, and is offered for no other (T10). One connector
has one cache: nothing leaves it.

The tickets of TLS 1.3 come after the handshake, whenever the server likes. Nothing tells us, and to read a session is
not cheap (0.15 ms), so none is read before a dial needs it: the cache holds the TLS objects of the last
connections, open or closed, and asks the newest for its session. Each is asked once and each session is offered once
(RFC 8446 C.4): the connection that comes of it has tickets of its own.
"""

import ssl
from collections.abc import Callable, Hashable
from typing import Any, Final, NamedTuple

from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.pins import Pin

# A chain of resumed sessions goes back to one check of the certificate, and must not live on it for ever
# (RFC 8446 4.6.1). Servers mostly grant a few hours.
LONGEST: Final = 3600.0
# How many connections are remembered for one identity, and how many identities by one connector.
CONNECTIONS: Final = 4
IDENTITIES: Final = 128
# How often in a row a server may have no ticket, or turn one down, until nobody tries any more, for an hour: a session
# that comes to nothing costs more than it could have saved.
PATIENCE: Final = 8


class Identity(NamedTuple):
    """Everything that the handshake depends on. `route` is by what way the peer is reached, such as a proxy's address;
    `checks` what can be read of the context's settings, for the caller may change his own."""

    endpoint: Endpoint
    server_name: str
    route: Hashable
    context: ssl.SSLContext
    generation: int
    checks: Hashable
    pins: tuple[Pin, ...]


class Ticket(NamedTuple):
    """A session to offer, and when the certificate in it was checked."""

    session: ssl.SSLSession
    checked_at: float


class _Connection:
    """A connection that may have a session to give."""

    __slots__ = ("checked_at", "tls")

    def __init__(self, tls: ssl.SSLObject, checked_at: float) -> None:
        self.tls: ssl.SSLObject | None = tls
        self.checked_at = checked_at

    def lost(self, error: BaseException | None) -> None:
        """What broke is not taken up again (RFC 5246 7.2.2)."""
        if error is not None:
            self.tls = None


class _Record:
    """What is known of one identity: its last connections, the newest last, and how often that was of no use."""

    __slots__ = ("connections", "failures", "paused_until")

    def __init__(self) -> None:
        self.connections: list[_Connection] = []
        self.failures = 0
        self.paused_until = 0.0


class SessionCache:
    """The sessions of one connector. `now` is the time, in seconds.

    Bounded by counts: PATIENCE, CONNECTIONS and IDENTITIES. Least recently used identities are forgotten.
    """

    __slots__ = ("_closed", "_now", "_records")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._records: dict[Identity, _Record] = {}
        self._closed = False

    def take(self, identity: Identity) -> Ticket | None:
        """A session of this very identity, which nobody gets a second time; None if there is none."""
        record = self._records.get(identity)
        while record is not None and record.connections:
            connection = record.connections.pop()
            if connection.tls is None or self._now() - connection.checked_at >= LONGEST:
                continue
            session = connection.tls.session
            # Without an id there is nothing to take up yet; the server may have sent no ticket.
            if session is not None and session.id:
                return Ticket(session, connection.checked_at)
            self._failed(record)
        return None

    def keep(
        self, identity: Identity, tls: ssl.SSLObject, offered: Ticket | None
    ) -> Callable[[BaseException | None], None] | None:
        """Remember a connection whose peer has passed all checks. What it returns is to be called with the exception,
        or None, that ended the connection."""
        if self._closed:
            return None
        record = self._records.pop(identity, None) or _Record()
        self._records[identity] = record
        if len(self._records) > IDENTITIES:
            del self._records[next(iter(self._records))]
        resumed = offered is not None and tls.session_reused
        if resumed:
            record.failures = 0
        elif offered is not None:
            self._failed(record)
        if self._now() < record.paused_until:
            return None
        connection = _Connection(tls, offered.checked_at if offered is not None and resumed else self._now())
        record.connections.append(connection)
        del record.connections[:-CONNECTIONS]
        return connection.lost

    def refuse(self, identity: Identity) -> None:
        """The handshake failed over a session: this server gets none for an hour."""
        record = self._records.setdefault(identity, _Record())
        self._pause(record)

    def _failed(self, record: _Record) -> None:
        record.failures += 1
        if record.failures >= PATIENCE:
            self._pause(record)

    def _pause(self, record: _Record) -> None:
        record.failures = 0
        record.connections.clear()
        record.paused_until = self._now() + LONGEST

    def clear(self) -> None:
        """Forget all sessions."""
        self._records.clear()

    def close(self) -> None:
        """Forget all sessions, and keep none from now on."""
        self._closed = True
        self.clear()

    def __len__(self) -> int:
        """How many connections are remembered."""
        return sum(len(record.connections) for record in self._records.values())


def checks_of(context: ssl.SSLContext) -> Hashable:
    """What can be read of how a context decides about trust."""
    return (
        context.verify_mode,
        context.check_hostname,
        context.verify_flags,
        context.minimum_version,
        context.options,
        context.cert_store_stats()["x509"],
    )


class ContextWithSession:
    """A context whose next connection offers a session.

    Both loops make their TLS objects themselves, with ``context.wrap_bio()``, and have no parameter for a session.
    They insist on an ssl.SSLContext; making a real one, which nobody would use, costs more than is saved.
    """

    __slots__ = ("_context", "_session")

    def __init__(self, context: ssl.SSLContext, session: ssl.SSLSession) -> None:
        self._context = context
        self._session = session

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return ssl.SSLContext

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
    ) -> ssl.SSLObject:
        return self._context.wrap_bio(incoming, outgoing, server_side, server_hostname, self._session)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)
