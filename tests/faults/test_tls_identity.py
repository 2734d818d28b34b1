"""FAULTS T09, T10: two TLS identities never meet on one connection, one context or one session."""

import asyncio
import hashlib
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from keepwarm.client.session import ClientSession
from keepwarm.pool.dial import DialRequest
from keepwarm.pool.errors import FingerprintMismatch, TLSError
from keepwarm.pool.tcp_connector import TCPConnector
from keepwarm.pool.tls import TLSOptions
from keepwarm.pool.tls_contexts import CONTEXTS
from tests.support.bad_certificates import client_certificate
from tests.support.calling import fetch, numbers
from tests.support.certificates import authority, client_context, der, leaf, server_context
from tests.support.server import ScriptedServer

pytestmark = pytest.mark.asyncio

both = pytest.mark.parametrize("fast_tls", [False, True], ids=["loop", "fast"])

Options = dict[str, Any]


def trusted() -> Options:
    return {"ssl_context": client_context()}


def unverified() -> Options:
    return {"verify_ssl": False}


def with_client_certificate() -> Options:
    context = client_context()
    client_certificate().configure_cert(context)
    return {"ssl_context": context}


def pinned() -> Options:
    return {"ssl_context": client_context(), "fingerprint": hashlib.sha256(der(leaf())).digest()}


def strange_authority() -> Options:
    """Trusts the system's authorities, and so not the server of the tests."""
    return {"ssl_context": ssl.create_default_context()}


def wrong_pin() -> Options:
    return {"ssl_context": client_context(), "fingerprint": bytes(32)}


def asking_context() -> ssl.SSLContext:
    """A server that looks at a client's certificate if there is one."""
    context = server_context()
    context.verify_mode = ssl.CERT_OPTIONAL
    authority().configure_trust(context)
    return context


ACCEPTED = [trusted, unverified, with_client_certificate, pinned]
REFUSED = [(strange_authority, TLSError), (dict, TLSError), (wrong_pin, FingerprintMismatch)]


class NotingConnector(TCPConnector):
    """Notes for each connection whether its handshake took up an earlier session."""

    def __init__(self, reused: list[bool], **options: Any) -> None:
        super().__init__(**options)
        self._reused = reused

    async def _create_connection(self, req: DialRequest) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        transport, channel = await super()._create_connection(req)
        self._reused.append(transport.get_extra_info("ssl_object").session_reused)
        return transport, channel


def calling(options: Options, fast_tls: bool) -> ClientSession:
    return ClientSession(connector=TCPConnector(fast_tls=fast_tls, **options))


@both
@pytest.mark.fault("T09")
async def test_each_identity_has_connections_of_its_own(fast_tls: bool) -> None:
    """Connectors that differ in verification, client certificate or pin have one connection each, and keep to it."""
    async with ScriptedServer(ssl=asking_context()) as server:
        sessions = [calling(make(), fast_tls) for make in ACCEPTED]
        for path in ("/first", "/second"):
            for index, calls in enumerate(sessions):
                assert await fetch(calls, server.url(f"{path}{index}")) == f"{path}{index}"
        assert server.accepted == len(ACCEPTED)
        for index, peer in enumerate(server.connections):
            assert [request.target for request in peer.requests] == [f"/first{index}", f"/second{index}"]
            assert peer.tls is not None
            assert peer.tls.shown_certificate == (ACCEPTED[index] is with_client_certificate)
        for calls in sessions:
            assert numbers(calls).idle == 1
            await calls.close()
        await server.until_idle()


@both
@pytest.mark.fault("T09")
@pytest.mark.parametrize(("make", "error"), REFUSED, ids=["other-authority", "default", "wrong-pin"])
async def test_a_trusting_connection_serves_no_stricter_connector(
    fast_tls: bool, make: Callable[[], Options], error: type[Exception]
) -> None:
    """An idle connection without verification lies there; whoever checks dials for himself and is refused."""
    async with ScriptedServer(ssl=server_context()) as server:
        lax, strict = calling(unverified(), fast_tls), calling(make(), fast_tls)
        assert await fetch(lax, server.url("/lax")) == "/lax"
        with pytest.raises(error):
            await fetch(strict, server.url("/strict"))
        assert await fetch(lax, server.url("/again")) == "/again"
        assert server.accepted == 2 and server.connections[1].bytes_received == 0
        await strict.close()
        await lax.close()
        await server.until_idle()


@pytest.mark.fault("T09")
def test_a_connector_cannot_change_its_identity() -> None:
    """What decides about trust can be read only, on the connector and on its options."""
    connector = TCPConnector(verify_ssl=False, fingerprint=bytes(32))
    for name in ("verify_ssl", "ssl_context", "fingerprint", "tls"):
        with pytest.raises(AttributeError):
            setattr(connector, name, None)
    for name in ("verify_ssl", "ssl_context", "fingerprint", "pins", "required_pins"):
        with pytest.raises(AttributeError):
            setattr(connector.tls, name, None)


@pytest.mark.fault("T09")
async def test_the_shared_contexts_never_mix() -> None:
    """Whichever is asked for first, and in whichever way, verification is on where it was asked for only."""
    for verify_ssl in (False, True, True, False):
        for context in (CONTEXTS.build(verify_ssl), await CONTEXTS.get(verify_ssl)):
            assert context.check_hostname is verify_ssl
            assert context.verify_mode == (ssl.CERT_REQUIRED if verify_ssl else ssl.CERT_NONE)
        options = TLSOptions(verify_ssl=verify_ssl)
        assert await options.context() is options.build_context() is CONTEXTS.build(verify_ssl)
    assert CONTEXTS.build(True) is not CONTEXTS.build(False)


def settings_of(context: ssl.SSLContext) -> dict[str, Any]:
    """All that can be read from a context."""
    names = ["check_hostname", "verify_mode", "verify_flags", "options", "minimum_version", "maximum_version"]
    names += ["post_handshake_auth", "security_level", "hostname_checks_common_name", "sslobject_class"]
    found = {name: getattr(context, name) for name in names}
    found["authorities"] = sorted(context.get_ca_certs(binary_form=True))
    found["counts"] = context.cert_store_stats()
    found["ciphers"] = [cipher["name"] for cipher in context.get_ciphers()]
    return found


@both
@pytest.mark.fault("T09")
@pytest.mark.parametrize("verified", [True, False])
async def test_the_callers_context_stays_as_it_is(fast_tls: bool, verified: bool) -> None:
    """A context that is given is used as it is: nothing in it changes, and no other connector gets it."""
    context = client_context()
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    before = settings_of(context)
    shared = {verify: settings_of(CONTEXTS.build(verify)) for verify in (True, False)}
    async with ScriptedServer(ssl=server_context()) as server:
        async with calling({"ssl_context": context, "fingerprint": pinned()["fingerprint"]}, fast_tls) as calls:
            assert await fetch(calls, server.url("/a")) == "/a"
            assert isinstance(calls.connector, TCPConnector) and calls.connector.ssl_context is context
        await server.until_idle()
    assert settings_of(context) == before
    for verify, settings in shared.items():
        assert CONTEXTS.build(verify) is not context and settings_of(CONTEXTS.build(verify)) == settings


@both
@pytest.mark.fault("T10")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_sessions_stay_within_a_connector(fast_tls: bool, version: ssl.TLSVersion) -> None:
    """The second connection of a connector takes up the session of its first; that of another one with the same
    context does not. The engine of fast_tls cannot do it at all."""
    context = server_context()
    context.minimum_version = context.maximum_version = version
    mine, reused = trusted(), list[bool]()
    async with ScriptedServer(ssl=context) as server:
        for _ in range(2):
            connector = NotingConnector(reused, fast_tls=fast_tls, tls_resumption=True, **mine)
            async with ClientSession(connector=connector) as calls:
                for path in ("/a", "/b"):
                    # Whatever tickets there are have come with the answer; the next call must dial again.
                    assert await fetch(calls, server.url(path), headers={"Connection": "close"}) == path
                    await server.until_idle()
        assert server.accepted == 4 and reused == [False, not fast_tls] * 2
        assert [peer.tls is not None and peer.tls.resumed for peer in server.connections] == reused


@pytest.mark.fault("T10")
async def test_the_server_would_resume() -> None:
    """The contexts of the test above resume whatever session a client offers, so not to offer it is what helps."""
    server, client = server_context(), client_context()
    for context in (server, client):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    session: ssl.SSLSession | None = None
    for expected in (False, True):
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        ours = client.wrap_bio(to_client, to_server, server_hostname="localhost", session=session)
        theirs = server.wrap_bio(to_server, to_client, server_side=True)
        for end in (ours, theirs, ours, theirs, ours):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
        assert ours.session_reused is expected
        session = ours.session
