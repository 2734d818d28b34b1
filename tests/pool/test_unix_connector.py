"""UnixConnector: what it takes and refuses, and the connections that it makes."""

import asyncio
import hashlib
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from keepwarm.pool.errors import (
    ConnectError,
    ConnectTimeoutError,
    FingerprintMismatch,
    TLSError,
    WeakFingerprintWarning,
)
from keepwarm.pool.unix_connector import UnixConnector
from tests.support.calling import PLAIN_AND_TLS, Conserved, fetch, numbers
from tests.support.certificates import client_context, der, leaf, server_context
from tests.support.server import Peer, ScriptedServer, Stall, response
from tests.support.unix_sockets import bound, serve_at, socket_path, unix_session

pytestmark = pytest.mark.asyncio

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract names and SO_PEERCRED")
BOTH_TLS = pytest.mark.parametrize("fast_tls", [False, True], ids=["loop", "fast"])


# What is taken and refused


@pytest.mark.parametrize("path", ["/run/app.sock", "app.sock", "@name", "/run/zażółć.sock", "/run/\udcff.sock"])
def test_path_is_what_was_given(path: str) -> None:
    """As text, whether it came as text or as a path; "@" is an ordinary character."""
    assert UnixConnector(path).path == path
    assert UnixConnector(Path(path)).path == path
    assert UnixConnector(path=path).path == path
    with pytest.raises(AttributeError):
        UnixConnector(path).path = "/other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("path", "error", "text"),
    [
        ("", ValueError, "path must not be empty"),
        ("\0", ValueError, "path must not be empty"),
        ("/run/a\0b", ValueError, "NUL inside"),
        ("/" + "x" * 107, ValueError, "108 bytes long; the system takes at most 107"),
        ("/" + "ż" * 54, ValueError, "109 bytes long"),
        ("\0" + "x" * 108, ValueError, "109 bytes long; the system takes at most 108"),
        ("/run/\ud800", ValueError, "cannot be encoded"),
        (b"/run/app.sock", TypeError, "path must be a str"),
        (None, TypeError, "path must be a str"),
        (3, TypeError, "path must be a str"),
    ],
)
@LINUX
def test_a_path_that_cannot_be_used(path: Any, error: type[Exception], text: str) -> None:
    """It is refused at construction, by name."""
    with pytest.raises(error, match=text):
        UnixConnector(path)


def test_a_path_of_bytes_behind_a_pathlike() -> None:
    """The path must be text."""

    class Odd:
        def __fspath__(self) -> bytes:
            return b"/x"

    with pytest.raises(TypeError, match="path must be a str"):
        UnixConnector(Odd())  # type: ignore[arg-type]


@LINUX
@pytest.mark.parametrize("path", ["/" + "x" * 106, "\0" + "x" * 107, "\0a\0b"])
def test_the_longest_paths(path: str) -> None:
    """107 bytes for a file and 108 for an abstract name, in which a NUL is a character like others."""
    assert UnixConnector(path).path == path


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"peer_uid": -1}, ValueError, "peer_uid"),
        ({"peer_uid": 2**32 - 1}, ValueError, "peer_uid"),
        ({"peer_uid": ()}, ValueError, "peer_uid is empty"),
        ({"peer_uid": True}, TypeError, "peer_uid"),
        ({"peer_uid": "root"}, TypeError, "peer_uid"),
        ({"peer_uid": [0, "x"]}, TypeError, "peer_uid"),
        ({"peer_uid": 1.5}, TypeError, "peer_uid"),
        ({"verify_ssl": 1}, TypeError, "verify_ssl"),
        ({"fingerprint": b"short"}, ValueError, "fingerprint"),
        ({"handshake_timeout": -1}, ValueError, "handshake_timeout"),
        ({"limit": 0}, ValueError, "limit"),
        ({"loop": "loop"}, TypeError, "loop"),
    ],
)
@LINUX
def test_bad_options(options: dict[str, Any], error: type[Exception], text: str) -> None:
    """An option that cannot be used is refused at construction, by name."""
    with pytest.raises(error, match=text):
        UnixConnector("/run/app.sock", **options)


@LINUX
def test_attributes_say_what_was_given() -> None:
    """All are read-only."""
    context = client_context()
    connector = UnixConnector("/run/x", ssl_context=context, fingerprint=bytes(32), peer_uid=[1, 2], limit=3)
    assert (connector.ssl_context, connector.fingerprint) == (context, bytes(32))
    assert (connector.peer_uid, connector.limit, connector.verify_ssl) == (frozenset({1, 2}), 3, True)
    assert UnixConnector("/x", peer_uid=0).peer_uid == {0}
    assert UnixConnector("/x").peer_uid is None and UnixConnector("/x").tls.required_pins == ()
    assert repr(connector) == "<UnixConnector open limit=3 path='/run/x'>"
    for name in ("peer_uid", "ssl_context", "fingerprint", "verify_ssl", "tls"):
        with pytest.raises(AttributeError):
            setattr(connector, name, None)


def test_a_weak_fingerprint_warns_at_the_callers_line() -> None:
    """The warning names the place to change."""
    with pytest.warns(WeakFingerprintWarning) as caught:
        UnixConnector("/run/x", fingerprint=bytes(16))
    assert caught[0].filename == __file__


# Connections


@PLAIN_AND_TLS
@BOTH_TLS
async def test_calls_reuse_a_connection(tls: bool, fast_tls: bool) -> None:
    """One caller after the other uses one connection; the Host header is the URL's."""
    with socket_path() as path:
        async with serve_at(path, tls=tls) as server, unix_session(path, fast_tls=fast_tls) as of:
            conserved = Conserved(of, server)
            for number in range(5):
                assert await fetch(of, server.url(f"/{number}")) == f"/{number}"
                await conserved.settled(idle=1)
            assert server.accepted == 1
            assert {request.header("host") for request in server.requests} == {"localhost"}


@PLAIN_AND_TLS
async def test_many_callers_keep_to_the_limit(tls: bool) -> None:
    """Forty at once over three connections; a body that is larger than a socket's buffer arrives whole."""
    body = os.urandom(700_000)
    with socket_path() as path:
        async with serve_at(path, tls=tls) as server, unix_session(path, limit=3) as of:
            conserved = Conserved(of, server)
            got = await asyncio.gather(*(fetch(of, server.url(f"/{n}")) for n in range(40)))
            assert got == [f"/{n}" for n in range(40)]
            async with of.post(server.url("/post"), data=body) as response:
                assert response.status == 200
            assert server.requests[-1].body == body
            assert server.accepted == 3
            await conserved.settled(idle=3)


@LINUX
@PLAIN_AND_TLS
async def test_an_abstract_name(tls: bool) -> None:
    """A path that begins with a NUL needs no file."""
    name = f"\0keepwarm-test-{os.getpid()}-{os.urandom(4).hex()}"
    with bound(name, backlog=16) as listener:
        listener.setblocking(False)
        async with ScriptedServer(ssl=server_context() if tls else None) as server, unix_session(name) as of:
            relay = asyncio.create_task(_pass_one_on(listener, server.port))
            scheme = "https" if tls else "http"
            assert await fetch(of, f"{scheme}://localhost/x") == "/x"
            await of.close()
            await relay


async def _pass_one_on(listener: socket.socket, port: int) -> None:
    """Accept one connection and carry it to `port` until its client ends it."""
    loop = asyncio.get_running_loop()
    client, _ = await loop.sock_accept(listener)
    client_reader, client_writer = await asyncio.open_unix_connection(sock=client)
    server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(carry(client_reader, server_writer), carry(server_reader, client_writer))


async def test_two_hosts_are_two_keys_on_one_socket() -> None:
    """The limit counts for each host of a URL; `limit_total` for the socket."""
    with socket_path() as path:
        async with serve_at(path) as server, unix_session(path, limit=1) as of:
            assert await fetch(of, "http://a.test/1") == "/1"
            assert await fetch(of, "http://b.test:81/2") == "/2"
            assert server.accepted == 2
            assert [request.header("host") for request in server.requests] == ["a.test", "b.test:81"]
        async with serve_at(path) as server, unix_session(path, limit_total=1) as of:
            assert await fetch(of, "http://a.test/1") == "/1"
            assert await fetch(of, "http://b.test/2") == "/2"
            assert numbers(of).open == 1


async def test_force_close() -> None:
    """Each call has a connection of its own then."""
    with socket_path() as path:
        async with serve_at(path) as server, unix_session(path, force_close=True) as of:
            conserved = Conserved(of, server)
            for _ in range(3):
                await fetch(of, server.url("/x"))
                await conserved.settled(idle=0)
            assert server.accepted == 3


async def test_the_socket_file_is_replaced() -> None:
    """A new server at the same path is found: the dead connection is replaced, and the next call is answered."""
    with socket_path() as path, unix_session(path) as of:
        for number in range(3):
            async with serve_at(path) as server:
                assert await fetch(of, server.url(f"/{number}")) == f"/{number}"
                assert server.accepted == 1


# TLS


@BOTH_TLS
async def test_the_name_must_be_in_the_certificate(fast_tls: bool) -> None:
    """https is TLS with the URL's host as the name; a wrong one is an error that names the path."""
    with socket_path() as path:
        async with serve_at(path, tls=True) as server, unix_session(path, fast_tls=fast_tls) as of:
            assert await fetch(of, "https://a.keepwarm.test/x") == "/x"
            with pytest.raises(TLSError, match="certificate verify failed") as caught:
                await of.get("https://other.example/")
            assert f"TLS with unix:{path} failed" in str(caught.value)
            assert [request.header("host") for request in server.requests] == ["a.keepwarm.test"]


@BOTH_TLS
async def test_https_is_never_plain(fast_tls: bool) -> None:
    """A server that does not speak TLS sees no request, and the call fails."""
    came = bytearray()

    async def plain(peer: Peer) -> None:
        came.extend(await peer.recv())
        peer.send(response("400 Bad Request"))

    with socket_path() as path:
        async with serve_at(path, plain) as server, unix_session(path, fast_tls=fast_tls) as of:
            with pytest.raises(TLSError, match="does not speak TLS"):
                await of.get("https://localhost/secret", headers={"Authorization": "secret"})
            await server.until_idle()
            assert came and b"secret" not in came
            assert numbers(of).open == 0


@pytest.mark.fault("T05", "T08", "G14")
@BOTH_TLS
async def test_pins(fast_tls: bool) -> None:
    """The right pin connects; with a wrong one not a byte of the request is sent."""
    right = hashlib.sha256(der(leaf())).digest()
    with socket_path() as path:
        async with serve_at(path, tls=True) as server:
            async with unix_session(path, fingerprint=right, fast_tls=fast_tls) as of:
                assert await fetch(of, server.url("/x")) == "/x"
            async with unix_session(path, fingerprint=bytes(32), fast_tls=fast_tls) as of:
                with pytest.raises(FingerprintMismatch):
                    await of.get(server.url("/secret"))
            await server.until_idle()
            assert (server.accepted, server.connections[1].bytes_received) == (2, 0)


@pytest.mark.fault("T11")
@BOTH_TLS
async def test_limits_of_time_cover_the_handshake(fast_tls: bool) -> None:
    """A server that stalls is cut off at conn_timeout, or at handshake_timeout, and the slot is free again."""
    with socket_path() as path:
        async with serve_at(path, [Stall()]) as server:
            for options in ({"conn_timeout": 0.03}, {"handshake_timeout": 0.03}):
                async with unix_session(path, limit=1, fast_tls=fast_tls, **options) as of:
                    for _ in range(2):
                        with pytest.raises(ConnectTimeoutError) as caught:
                            await of.get("https://localhost/")
                        assert caught.value.phase == "tls"
                        assert f"unix:{path}" in str(caught.value)
                    assert numbers(of).open == 0
            await server.until_idle()


# Who serves


@LINUX
@PLAIN_AND_TLS
async def test_peer_uid(tls: bool) -> None:
    """A server of an allowed user is talked to; any other is refused, and no byte reaches it."""
    me = os.geteuid()
    with socket_path() as path:
        async with serve_at(path, tls=tls) as server:
            for allowed in (me, {me, me + 1}):
                async with unix_session(path, peer_uid=allowed) as of:
                    assert await fetch(of, server.url("/x")) == "/x"
            async with unix_session(path, peer_uid=[me + 1]) as of:
                with pytest.raises(ConnectError, match=f"the server runs as uid {me}") as caught:
                    await of.get(server.url("/secret"))
                assert "peer_uid" in str(caught.value) and path in str(caught.value)
                assert numbers(of).open == 0
            await server.until_accepted(3)
            await server.until_idle()
            assert server.connections[2].bytes_received == 0
