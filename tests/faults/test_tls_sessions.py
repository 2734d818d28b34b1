"""FAULTS T08, T10: a connection takes up an earlier TLS session, and nothing is trusted for it that was not checked."""

import asyncio
import hashlib
import ssl
from typing import Any

import pytest

from keepwarm.client.session import ClientSession
from keepwarm.pool.connector import BaseConnector
from keepwarm.pool.dialer import Dialer
from keepwarm.pool.errors import FingerprintMismatch, TLSError
from keepwarm.pool.tcp_connector import TCPConnector
from keepwarm.pool.tls import TLSOptions
from keepwarm.pool.tls_sessions import SessionCache
from tests.support.calling import WatchedConnector, fetch, numbers, session
from tests.support.certificates import client_context, der, leaf, server_context
from tests.support.dialing import ListedAddresses, dial_request, echo_hello, hang_up, ipv4, say_hello, until
from tests.support.leaks import turns
from tests.support.server import Peer, ScriptedServer, ok

pytestmark = pytest.mark.asyncio


def resuming(connector: BaseConnector | None = None, **options: Any) -> ClientSession:
    """A session that takes up TLS sessions, unless `options` say otherwise."""
    return session(connector) if connector is not None else session(**({"tls_resumption": True} | options))


versions = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
LAST = {"Connection": "close"}


def resumed(server: ScriptedServer) -> list[bool]:
    """For each connection, whether the server saw an earlier session taken up."""
    return [peer.tls is not None and peer.tls.resumed for peer in server.connections]


def speaking(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = server_context()
    context.minimum_version = context.maximum_version = version
    return context


@versions
@pytest.mark.fault("T10")
async def test_reconnects_are_resumed(version: ssl.TLSVersion) -> None:
    """All connections of one connector to one endpoint but the first, however they ended."""
    async with ScriptedServer(ssl=speaking(version)) as server, resuming() as calls:
        for index in range(4):
            assert await fetch(calls, server.url(f"/{index}"), headers=LAST) == f"/{index}"
            await server.until_idle()
        assert resumed(server) == [False, True, True, True]


@versions
@pytest.mark.fault("T10")
async def test_a_second_connection_beside_the_first(version: ssl.TLSVersion) -> None:
    """A connection that is in use gives its session too."""
    busy = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.target == "/slow":
                await busy.wait()
            peer.send(ok(nonce=request.nonce))

    async with ScriptedServer(script, ssl=speaking(version)) as server, resuming() as calls:
        assert await fetch(calls, server.url("/first")) == "/first"
        slow = asyncio.create_task(fetch(calls, server.url("/slow")))
        await server.until_requests(2)
        assert await fetch(calls, server.url("/beside")) == "/beside"
        busy.set()
        assert await slow == "/slow"
        assert resumed(server) == [False, True]


@pytest.mark.fault("T10")
@pytest.mark.parametrize("options", [{"tls_resumption": False}, {"fast_tls": True}], ids=["off", "fast"])
async def test_full_handshakes(options: dict[str, Any]) -> None:
    """Turned off, and with the engine that cannot do it, each connection has a handshake of its own."""
    async with ScriptedServer(ssl=server_context()) as server, resuming(**options) as calls:
        for _ in range(3):
            assert await fetch(calls, server.url("/x"), headers=LAST) == "/x"
            await server.until_idle()
        assert resumed(server) == [False] * 3


@versions
@pytest.mark.fault("T08", "G14")
async def test_pins_are_compared_on_a_resumed_session(version: ssl.TLSVersion) -> None:
    """With the certificate of its first handshake, for the server sends none; only reported, so that one can see it."""
    reported: list[FingerprintMismatch] = []
    connector = WatchedConnector(fingerprint=bytes(32), pin_report=reported.append, tls_resumption=True)
    async with ScriptedServer(ssl=speaking(version)) as server, resuming(connector) as calls:
        for _ in range(3):
            assert await fetch(calls, server.url("/x"), headers=LAST) == "/x"
            await server.until_idle()
        assert resumed(server) == [False, True, True]
    assert [error.got for error in reported] == [hashlib.sha256(der(leaf())).digest()] * 3


@versions
@pytest.mark.fault("T08", "T10")
async def test_other_pins_do_not_resume(version: ssl.TLSVersion) -> None:
    """Even were two sets of options to share their sessions: another set of pins means a full handshake."""
    right = hashlib.sha256(der(leaf())).digest()
    sessions, context = SessionCache(lambda: 0.0), client_context()
    async with ScriptedServer(echo_hello, ssl=speaking(version)) as server:
        several: list[dict[str, Any]] = [
            {},
            {"fingerprint": right},
            {"fingerprint": right},
            {"pins": [right, bytes(32)]},
            {},
        ]
        for options in several:
            dns = ListedAddresses(ipv4(server.port))
            dialer = Dialer(dns, TLSOptions(ssl_context=context, **options), sessions=sessions)
            _, channel = await dialer.open(dial_request("localhost", server.port, True))
            assert await say_hello(channel) == b"hello"
            await hang_up(channel)
        await server.until_idle()
        assert resumed(server) == [False, False, True, False, True]


@pytest.mark.fault("T10")
async def test_a_changed_context_does_not_resume() -> None:
    """What was let in without a check is not let in again once the caller's context checks."""
    context = client_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with ScriptedServer(ssl=server_context("elsewhere.keepwarm.test")) as server:
        async with ClientSession(connector=TCPConnector(ssl_context=context, tls_resumption=True)) as calls:
            for _ in range(2):
                assert await fetch(calls, server.url("/lax"), headers=LAST) == "/lax"
                await server.until_idle()
            context.verify_mode = ssl.CERT_REQUIRED
            context.check_hostname = True
            with pytest.raises(TLSError, match="certificate verify failed"):
                await fetch(calls, server.url("/strict"))
            await server.until_idle()
        assert resumed(server) == [False, True, False]
        assert server.connections[2].bytes_received == 0


@pytest.mark.fault("T10")
async def test_two_connectors_with_one_context() -> None:
    """They share no session, whether their pins are equal or not."""
    context = client_context()
    pins: list[dict[str, Any]] = [{}, {"fingerprint": hashlib.sha256(der(leaf())).digest()}, {}]
    async with ScriptedServer(ssl=server_context()) as server:
        several = [
            ClientSession(connector=TCPConnector(ssl_context=context, tls_resumption=True, **options))
            for options in pins
        ]
        for _ in range(2):
            for calls in several:
                assert await fetch(calls, server.url("/x"), headers=LAST) == "/x"
                await server.until_idle()
        for calls in several:
            await calls.close()
        assert resumed(server) == [False] * 3 + [True] * 3


@pytest.mark.fault("T10")
async def test_names_do_not_share_sessions() -> None:
    """Two names of one server, on one port and one address."""
    async with ScriptedServer(ssl=server_context()) as server, resuming() as calls:
        for host in ("localhost", "127.0.0.1", "localhost", "127.0.0.1"):
            url = f"https://{host}:{server.port}/x"
            assert await fetch(calls, url, headers=LAST) == "/x"
            await server.until_idle()
        assert resumed(server) == [False, False, True, True]


@pytest.mark.fault("T10", "T12")
@pytest.mark.parametrize("how", ["alert", "hang-up"])
async def test_a_server_that_cannot_cope_with_its_sessions(how: str) -> None:
    """The call does not notice: it is tried again with a full handshake, and no session is offered to it any more."""
    context = server_context()
    hellos = []

    def refuse_the_second(tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        hellos.append(name)
        if len(hellos) != 2:
            return None
        if how == "hang-up":
            server.connections[1].abort()
        return ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE

    context.sni_callback = refuse_the_second
    async with ScriptedServer(ssl=context) as server, resuming() as calls:
        for _ in range(3):
            assert await fetch(calls, server.url("/x").replace("127.0.0.1", "localhost"), headers=LAST) == "/x"
            await until(lambda: all(peer.closed for peer in server.connections))
        # The second had taken the session up when it failed.
        assert resumed(server) == [False, True, False, False]
        assert numbers(calls).dial_failures == 0


@pytest.mark.fault("T10")
async def test_a_stranger_in_the_servers_place() -> None:
    """Who does not know the session has to show a certificate, and that is checked as ever."""
    async with ScriptedServer(ssl=server_context()) as server, resuming(keepalive_timeout=None) as calls:
        assert await fetch(calls, server.url("/x"), headers=LAST) == "/x"
        await server.until_idle()
        port = server.port
        await server.close()
        async with ScriptedServer(ssl=server_context("elsewhere.keepwarm.test"), port=port) as stranger:
            with pytest.raises(TLSError, match="certificate verify failed"):
                await fetch(calls, stranger.url("/y"))
            await stranger.until_idle()
            assert all(peer.bytes_received == 0 for peer in stranger.connections)


@pytest.mark.fault("T10", "T18")
async def test_an_aborted_connection_is_taken_up_too() -> None:
    """An idle time-out, a limit: what we end ourselves ended well."""
    async with ScriptedServer(ssl=server_context()) as server, resuming(force_close=True) as calls:
        for _ in range(2):
            assert await fetch(calls, server.url("/x")) == "/x"
            await server.until_idle()
            await turns(3)
        assert resumed(server) == [False, True]
