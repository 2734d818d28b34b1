"""SessionCache: which session is offered to whom, and for how long."""

import ssl
from typing import Any

import pytest

from keepwarm.pool.endpoint import make_endpoint
from keepwarm.pool.pins import CertificatePin
from keepwarm.pool.tls_sessions import (
    CONNECTIONS,
    IDENTITIES,
    LONGEST,
    PATIENCE,
    ContextWithSession,
    Identity,
    SessionCache,
    Ticket,
    checks_of,
)
from tests.support.certificates import client_context, server_context


class Time:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Wire:
    """Handshakes in memory, between one client context and one server."""

    def __init__(self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, tickets: int = 2) -> None:
        self.client, self.server = client_context(), server_context()
        self.server.minimum_version = self.server.maximum_version = version
        self.server.num_tickets = tickets
        if not tickets:
            self.server.options |= ssl.OP_NO_TICKET

    def connect(self, ticket: Ticket | None = None) -> ssl.SSLObject:
        """The client's end, with everything read that the server sent."""
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        context: Any = self.client if ticket is None else ContextWithSession(self.client, ticket.session)
        ours: ssl.SSLObject = context.wrap_bio(to_client, to_server, server_hostname="localhost")
        theirs = self.server.wrap_bio(to_server, to_client, server_side=True)
        for end in (ours, theirs, ours, theirs, ours):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
        theirs.write(b"x")
        assert ours.read(1) == b"x"
        return ours

    def identity(self, port: int = 443) -> Identity:
        return Identity(make_endpoint("localhost", port, True), "localhost", None, self.client, 0, None, ())


def reconnect(wire: Wire, cache: SessionCache) -> bool:
    """Make a connection as a dial does; whether it was resumed."""
    ticket = cache.take(wire.identity())
    tls = wire.connect(ticket)
    cache.keep(wire.identity(), tls, ticket)
    return bool(tls.session_reused)


both = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])


@both
@pytest.mark.fault("T10")
def test_a_chain_of_connections(version: ssl.TLSVersion) -> None:
    """Each connection takes up the one before; the certificate of the first is there in all of them (T08)."""
    wire, cache = Wire(version), SessionCache(Time())
    first = wire.connect()
    cache.keep(wire.identity(), first, None)
    for _ in range(5):
        ticket = cache.take(wire.identity())
        assert ticket is not None
        tls = wire.connect(ticket)
        assert tls.session_reused and tls.getpeercert(True) == first.getpeercert(True)
        cache.keep(wire.identity(), tls, ticket)


@pytest.mark.fault("T10")
@pytest.mark.parametrize(
    "changed",
    [
        {"endpoint": make_endpoint("localhost", 444, True)},
        {"endpoint": make_endpoint("localhost.test", 443, True)},
        {"server_name": "other.test"},
        {"route": ("proxy.test", 3128)},
        {"context": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)},
        {"generation": 1},
        {"checks": (ssl.CERT_NONE,)},
        {"pins": (CertificatePin(bytes(32)),)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_no_session_for_another_identity(changed: dict[str, Any]) -> None:
    """Whatever differs, nothing is offered; to the same identity it is."""
    wire, cache = Wire(), SessionCache(Time())
    cache.keep(wire.identity(), wire.connect(), None)
    assert cache.take(wire.identity()._replace(**changed)) is None
    assert cache.take(wire.identity()) is not None


@both
@pytest.mark.fault("T10")
def test_a_session_is_offered_once(version: ssl.TLSVersion) -> None:
    """Nobody gets it a second time (RFC 8446 C.4), not even when it came to nothing."""
    wire, cache = Wire(version), SessionCache(Time())
    for _ in range(2):
        cache.keep(wire.identity(), wire.connect(), None)
    first, second = cache.take(wire.identity()), cache.take(wire.identity())
    assert first is not None and second is not None and first.session.id != second.session.id
    assert cache.take(wire.identity()) is None


@pytest.mark.fault("T10")
def test_a_chain_ends_an_hour_after_the_certificate_was_checked() -> None:
    """However often it was taken up meanwhile (RFC 8446 4.6.1)."""
    time = Time()
    wire, cache = Wire(), SessionCache(time)
    assert not reconnect(wire, cache)
    for _ in range(3):
        time.seconds += LONGEST / 4
        assert reconnect(wire, cache)
    time.seconds += LONGEST / 4
    assert not reconnect(wire, cache)
    time.seconds += LONGEST / 4
    assert reconnect(wire, cache)


@pytest.mark.fault("T10")
def test_what_broke_is_not_taken_up() -> None:
    """A connection that ended with an error has no session to give; one that ended well has (RFC 5246 7.2.2)."""
    wire, cache = Wire(), SessionCache(Time())
    for error in (None, ConnectionResetError("gone"), ssl.SSLError("bad record mac")):
        lost = cache.keep(wire.identity(), wire.connect(), None)
        assert lost is not None
        lost(error)
        assert (cache.take(wire.identity()) is None) == (error is not None)


def test_the_cache_is_bounded() -> None:
    """By connections for one identity, and by identities; what was used last stays."""
    wire, cache = Wire(), SessionCache(Time())
    tls = wire.connect()
    for _ in range(CONNECTIONS + 3):
        cache.keep(wire.identity(), tls, None)
    assert len(cache) == CONNECTIONS
    for port in range(1, IDENTITIES + 1):
        cache.keep(wire.identity(port), tls, None)
    assert len(cache) == IDENTITIES
    assert cache.take(wire.identity()) is None and cache.take(wire.identity(IDENTITIES)) is not None


@both
def test_a_server_without_sessions_is_left_alone(version: ssl.TLSVersion) -> None:
    """After a few connections that had none to give nobody looks any more, for an hour."""
    time = Time()
    wire, cache = Wire(version, tickets=0), SessionCache(time)
    for _ in range(PATIENCE + 1):
        assert not reconnect(wire, cache)
    assert len(cache) == 0
    assert not reconnect(wire, cache) and len(cache) == 0
    time.seconds += LONGEST
    assert not reconnect(wire, cache) and len(cache) == 1


def test_sessions_that_are_turned_down() -> None:
    """A server that was restarted does not know its old sessions: the next ones count again."""
    wire, cache = Wire(), SessionCache(Time())
    for _ in range(PATIENCE - 1):
        cache.keep(wire.identity(), wire.connect(), None)
        wire.server = server_context()
        assert not reconnect(wire, cache)
    assert reconnect(wire, cache)
    for _ in range(PATIENCE - 1):
        wire.server = server_context()
        assert not reconnect(wire, cache)
    assert reconnect(wire, cache)


def test_a_server_that_fails_over_a_session() -> None:
    """It gets none for an hour."""
    time = Time()
    wire, cache = Wire(), SessionCache(time)
    cache.keep(wire.identity(), wire.connect(), None)
    cache.refuse(wire.identity())
    assert len(cache) == 0 and cache.keep(wire.identity(), wire.connect(), None) is None
    time.seconds += LONGEST
    assert not reconnect(wire, cache) and reconnect(wire, cache)


def test_clear_and_close() -> None:
    """Cleared it begins anew; closed it keeps nothing."""
    wire, cache = Wire(), SessionCache(Time())
    cache.keep(wire.identity(), wire.connect(), None)
    cache.clear()
    assert cache.take(wire.identity()) is None
    cache.keep(wire.identity(), wire.connect(), None)
    cache.close()
    assert len(cache) == 0 and cache.keep(wire.identity(), wire.connect(), None) is None and len(cache) == 0


@pytest.mark.fault("T10")
def test_what_is_read_of_a_context() -> None:
    """Whoever changes his own context, in whatever way decides about trust, gets no session from before."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    seen = [checks_of(context)]
    context.check_hostname = False
    seen.append(checks_of(context))
    context.verify_mode = ssl.CERT_OPTIONAL
    seen.append(checks_of(context))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    seen.append(checks_of(context))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    seen.append(checks_of(context))
    context.options |= ssl.OP_NO_TICKET
    seen.append(checks_of(context))
    context.load_verify_locations(cadata=server_authority())
    seen.append(checks_of(context))
    assert len(set(seen)) == len(seen) and checks_of(context) == seen[-1]


def server_authority() -> str:
    from_file: list[bytes] = client_context().get_ca_certs(binary_form=True)[-1:]
    return ssl.DER_cert_to_PEM_cert(from_file[0])


def test_the_context_with_a_session_passes_for_one() -> None:
    """The loops insist on an ssl.SSLContext; what they read of it is the real one's."""
    wire = Wire()
    session = wire.connect().session
    assert session is not None
    standing_in: Any = ContextWithSession(wire.client, session)
    assert isinstance(standing_in, ssl.SSLContext) and standing_in.verify_mode == wire.client.verify_mode
    with pytest.raises(AttributeError):
        standing_in.verify_mode = ssl.CERT_NONE
    assert wire.client.verify_mode == ssl.CERT_REQUIRED
