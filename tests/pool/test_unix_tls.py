"""UnixConnector: TLS over the socket has all that TLS over TCP has: sessions, new certificates, files, pins by host."""

import asyncio
import hashlib
import ssl
from pathlib import Path
from typing import Any

import pytest

from keepwarm.client.session import ClientSession
from keepwarm.pool.errors import FingerprintMismatch, PoolClosedError, TLSError
from keepwarm.pool.tls import TLSOptions
from keepwarm.pool.unix_connector import UnixConnector
from tests.support.calling import fetch, numbers
from tests.support.certificates import authority, client_context, der, leaf, server_context
from tests.support.server import Peer, ScriptedServer, ok
from tests.support.unix_sockets import serve_at, socket_path, unix_session

pytestmark = pytest.mark.asyncio

BOTH_TLS = pytest.mark.parametrize("fast_tls", [False, True], ids=["loop", "fast"])
URL = "https://localhost/x"
LAST = {"Connection": "close"}
WRONG, RIGHT = bytes(32), hashlib.sha256(der(leaf())).digest()


def resumed(server: ScriptedServer) -> list[bool]:
    """For each connection, whether the server saw an earlier session taken up."""
    return [peer.tls is not None and peer.tls.resumed for peer in server.connections]


def asking_context() -> ssl.SSLContext:
    """A server that lets nobody in without a certificate."""
    context = server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    authority().configure_trust(context)
    return context


# Sessions


@pytest.mark.fault("T10")
@pytest.mark.parametrize("resumption", [True, False])
async def test_reconnects_are_resumed(resumption: bool) -> None:
    """As over TCP; names do not share sessions, though all lead to one socket."""
    with socket_path() as path:
        async with serve_at(path, tls=True) as server, unix_session(path, tls_resumption=resumption) as calls:
            for host in ("localhost", "localhost", "a.keepwarm.test", "a.keepwarm.test"):
                assert await fetch(calls, f"https://{host}/x", headers=LAST) == "/x"
                await server.until_idle()
            assert resumed(server) == [False, resumption, False, resumption]


@pytest.mark.fault("T10", "T12")
async def test_a_server_that_cannot_cope_with_its_sessions() -> None:
    """The call does not notice: the next try is a full handshake."""
    context = server_context()
    hellos: list[Any] = []

    def refuse_the_second(tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        hellos.append(name)
        return ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE if len(hellos) == 2 else None

    context.sni_callback = refuse_the_second
    with socket_path() as path:
        async with ScriptedServer(path=path, ssl=context) as server, unix_session(path) as calls:
            for _ in range(3):
                assert await fetch(calls, URL, headers=LAST) == "/x"
                await server.until(lambda: all(peer.closed for peer in server.connections))
            assert resumed(server) == [False, True, False, False]
            assert numbers(calls).dial_failures == 0


# New certificates


@BOTH_TLS
async def test_reload_tls(fast_tls: bool, tmp_path: Path) -> None:
    """`ca_file` and `client_cert` are read again: an idle connection goes at once, a busy one after its call,
    and sessions are forgotten."""
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.target == "/slow":
                await go_on.wait()
            peer.send(ok(nonce=request.nonce))

    ca, cert = tmp_path / "ca.pem", tmp_path / "cert.pem"
    authority().cert_pem.write_to_path(str(ca))
    certificates = [authority().issue_cert(f"client{number}@keepwarm.test") for number in range(2)]

    def put(number: int) -> None:
        cert.write_bytes(certificates[number].private_key_and_cert_chain_pem.bytes())

    put(0)
    with socket_path() as path:
        connector = UnixConnector(path, ca_file=ca, client_cert=(cert, None), fast_tls=fast_tls)
        async with (
            ScriptedServer(script, path=path, ssl=asking_context()) as server,
            ClientSession(connector=connector) as calls,
        ):
            slow = asyncio.create_task(fetch(calls, "https://localhost/slow"))
            await server.until_requests(1)
            assert await fetch(calls, URL) == "/x"
            put(1)
            await connector.reload_tls()
            await server.until(lambda: server.connections[1].closed)
            assert not server.connections[0].closed
            go_on.set()
            assert await slow == "/slow"
            assert await fetch(calls, URL) == "/x"
            shown = [peer.tls and peer.tls.client_certificate for peer in server.connections]
            assert shown == [der(certificates[0])] * 2 + [der(certificates[1])]
            assert not resumed(server)[2] and numbers(calls).retired == {"cert_reload": 2}


async def test_another_context_and_what_cannot_be_reloaded() -> None:
    """A context that is given is used from then on; errors name the argument."""
    with socket_path() as path:
        async with serve_at(path, tls=True) as server, unix_session(path) as calls:
            connector = calls.connector
            assert isinstance(connector, UnixConnector)
            await connector.reload_tls(ssl.create_default_context())
            with pytest.raises(TLSError, match="certificate verify failed"):
                await fetch(calls, URL)
            await connector.reload_tls(client_context())
            assert await fetch(calls, URL) == "/x"
            assert server.accepted == 2
            with pytest.raises(TypeError, match="ssl_context must be"):
                await connector.reload_tls(True)  # type: ignore[arg-type]
        with pytest.raises(PoolClosedError):
            await connector.reload_tls()


# Pins


@BOTH_TLS
async def test_pins_by_host(fast_tls: bool) -> None:
    """Each host has its own, although all lead to one socket."""
    pins = {"localhost": [RIGHT], "*.keepwarm.test": [WRONG]}
    with socket_path() as path:
        async with serve_at(path, tls=True) as server, unix_session(path, pins=pins, fast_tls=fast_tls) as calls:
            assert await fetch(calls, URL) == "/x"
            with pytest.raises(FingerprintMismatch):
                await fetch(calls, "https://a.keepwarm.test/x")
            assert len(server.requests) == 1


async def test_pins_that_are_only_reported() -> None:
    """`pin_report` gets the mismatch, and the call goes on."""
    seen: list[FingerprintMismatch] = []
    with socket_path() as path:
        async with serve_at(path, tls=True), unix_session(path, pins=[WRONG], pin_report=seen.append) as calls:
            assert await fetch(calls, URL) == "/x"
    assert [(error.expected, error.host) for error in seen] == [(WRONG, "localhost")]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"pin_report": 5}, "pin_report"),
        ({"ca_file": 5}, "ca_file"),
        ({"client_cert": "cert.pem"}, "client_cert"),
        ({"tls_resumption": 1}, "tls_resumption"),
        ({"pins": 0}, "."),
        ({"pins": b"x" * 32}, "pins must be several pins"),
    ],
)
def test_bad_options(options: dict[str, Any], text: str) -> None:
    """Refused at construction, by name."""
    with pytest.raises(TypeError, match=text):
        UnixConnector("/run/x", **options)


def test_the_options_are_those_of_tls() -> None:
    """All of them, as one value."""
    options: dict[str, Any] = {"ca_file": "/ca.pem", "client_cert": ("/c.pem", "/k.pem"), "pins": {"a.test": [RIGHT]}}
    connector = UnixConnector("/run/x", tls_resumption=False, handshake_timeout=3, **options)
    assert connector.tls == TLSOptions(resumption=False, handshake_timeout=3, **options)
