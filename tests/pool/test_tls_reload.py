"""reload_tls: certificates and authorities are read again, and no call is lost over it. client_cert and ca_file."""

import asyncio
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from keepwarm.client.session import ClientSession
from keepwarm.pool import tls_contexts as tls_contexts_module
from keepwarm.pool.errors import PoolClosedError, TLSError
from keepwarm.pool.tcp_connector import TCPConnector
from keepwarm.pool.tls import TLSOptions
from keepwarm.pool.tls_contexts import ClientCertificate, ContextStore
from tests.support.bad_certificates import foreign
from tests.support.calling import fetch, numbers
from tests.support.certificates import authority, client_context, der, server_context
from tests.support.server import Peer, ScriptedServer, ok
from tests.support.tls import ServerTLS

pytestmark = pytest.mark.asyncio

both = pytest.mark.parametrize("fast_tls", [False, True], ids=["loop", "fast"])
LAST = {"Connection": "close"}


class Files:
    """A certificate, its key and the authority, as files that can be replaced."""

    def __init__(self, folder: Path) -> None:
        self.authority, self.chain, self.key = folder / "ca.pem", folder / "chain.pem", folder / "key.pem"
        self.authority.write_bytes(authority().cert_pem.bytes())

    def put(self, certificate: trustme.LeafCert, password: bytes | None = None) -> bytes:
        """Write certificate and key; the certificate as the server will see it."""
        self.chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        key = certificate.private_key_pem.bytes()
        if password is not None:
            loaded: Any = serialization.load_pem_private_key(key, None)
            secret = serialization.BestAvailableEncryption(password)
            key = loaded.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)
        self.key.write_bytes(key)
        return der(certificate)

    def connector(self, **options: Any) -> TCPConnector:
        options = {"tls_resumption": True} | options
        return TCPConnector(ca_file=self.authority, client_cert=(self.chain, str(self.key)), **options)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def asking_context() -> ssl.SSLContext:
    """A server that lets nobody in without a certificate."""
    context = server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    authority().configure_trust(context)
    return context


def shown(server: ScriptedServer) -> list[bytes | None]:
    return [None if peer.tls is None else peer.tls.client_certificate for peer in server.connections]


def client(number: int) -> trustme.LeafCert:
    return authority().issue_cert(f"client{number}@keepwarm.test")


# client_cert and ca_file


@both
@pytest.mark.parametrize("password", [None, b"secret"])
async def test_a_client_certificate(fast_tls: bool, password: bytes | None, files: Files) -> None:
    """The server sees it, and the authority of the file is trusted."""
    certificate = files.put(client(1), password)
    cert = (files.chain, files.key) if password is None else (files.chain, files.key, password)
    connector = TCPConnector(ca_file=files.authority, client_cert=cert, fast_tls=fast_tls)
    async with ScriptedServer(ssl=asking_context()) as server, ClientSession(connector=connector) as calls:
        assert await fetch(calls, server.url("/x")) == "/x"
        assert shown(server) == [certificate]


@pytest.mark.fault("T21")
async def test_the_files_are_read_once_and_off_the_loops_thread(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many connections are made, and never before the first."""
    files.put(client(1))
    threads, real = [], tls_contexts_module.make_context

    def make(*args: Any) -> ssl.SSLContext:
        threads.append(threading.get_ident())
        return real(*args)

    monkeypatch.setattr(tls_contexts_module, "make_context", make)
    connector = files.connector()
    assert threads == []
    async with ScriptedServer(ssl=asking_context()) as server, ClientSession(connector=connector) as calls:
        await asyncio.gather(*(fetch(calls, server.url("/x"), headers=LAST) for _ in range(5)))
        assert await fetch(calls, server.url("/x")) == "/x"
    assert len(threads) == 1 and threads[0] != threading.get_ident()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda files: (files.chain, None, None), "chain.pem"),
        (lambda files: ("/nonexistent/chain.pem", files.key), "/nonexistent/chain.pem.*No such file"),
        (lambda files: (files.chain, files.chain), "chain.pem"),
        (lambda files: (files.chain, files.key), "the key is encrypted: give its password"),
        (lambda files: (files.chain, files.key, "wrong"), "key.pem"),
    ],
    ids=["no-key", "no-file", "not-a-key", "no-password", "wrong-password"],
)
async def test_files_that_cannot_be_used(make: Any, said: str, files: Files) -> None:
    """The call fails with a TLSError that names them; nothing is connected, and nobody is asked on the terminal."""
    files.put(client(1), b"secret")
    connector = TCPConnector(client_cert=make(files))
    async with ScriptedServer(ssl=asking_context()) as server, ClientSession(connector=connector) as calls:
        with pytest.raises(TLSError, match=said) as caught:
            await fetch(calls, server.url("/x"))
        assert server.accepted == 0 and "secret" not in str(caught.value) and "wrong" not in str(caught.value)


async def test_authorities_that_cannot_be_read() -> None:
    """The call fails and names the file: a missing file is not an empty one, and not the system's."""
    async with ScriptedServer(ssl=server_context()) as server:
        async with ClientSession(connector=TCPConnector(ca_file="/nonexistent/ca.pem")) as calls:
            with pytest.raises(TLSError, match=r"certificate authorities /nonexistent/ca\.pem: No such file"):
                await fetch(calls, server.url("/x"))
        assert server.accepted == 0


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"client_cert": "cert.pem"}, TypeError, "client_cert must be"),
        ({"client_cert": ("a",)}, TypeError, "client_cert must be"),
        ({"client_cert": ("a", "b", "c", "d")}, TypeError, "client_cert must be"),
        ({"client_cert": (5, "b")}, TypeError, "client_cert: certfile"),
        ({"client_cert": ("", "b")}, TypeError, "client_cert: certfile"),
        ({"client_cert": ("a", 5)}, TypeError, "client_cert: keyfile"),
        ({"client_cert": ("a", "b", 5)}, TypeError, "client_cert: password"),
        ({"client_cert": ("a", "b"), "ssl_context": True}, TypeError, "ssl_context"),
        ({"ca_file": 5}, TypeError, "ca_file"),
        ({"ca_file": "a", "verify_ssl": False}, ValueError, "ca_file"),
        ({"tls_resumption": 1}, TypeError, "tls_resumption"),
        ({"pin_report": 1}, TypeError, "pin_report"),
    ],
)
def test_bad_options(options: dict[str, Any], error: type[Exception], text: str) -> None:
    """Refused when the connector is made; the argument is named."""
    with pytest.raises(error, match=text):
        TCPConnector(**options)


def test_files_and_a_context_exclude_each_other() -> None:
    """What a context of the caller's holds is his."""
    for options in ({"client_cert": ("a", "b")}, {"ca_file": "a"}):
        with pytest.raises(ValueError, match=f"{next(iter(options))} and ssl_context exclude each other"):
            TCPConnector(ssl_context=client_context(), **options)  # type: ignore[arg-type]


def test_the_password_is_not_shown() -> None:
    """Neither by the options nor by an error about them."""
    options = TLSOptions(client_cert=("a", "b", "secret"))
    assert "secret" not in repr(options) and "secret" not in repr(ClientCertificate("a", "b", "secret"))
    with pytest.raises(TypeError) as caught:
        TLSOptions(client_cert=["a", "b", "secret"])  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


# reload_tls


@both
async def test_new_connections_use_the_new_certificate(fast_tls: bool, files: Files) -> None:
    """An idle connection is closed at once, one in use when its call ends; both for the reason cert_reload."""
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.target == "/slow":
                await go_on.wait()
            peer.send(ok(nonce=request.nonce))

    old = files.put(client(1))
    connector = files.connector(fast_tls=fast_tls)
    async with ScriptedServer(script, ssl=asking_context()) as server, ClientSession(connector=connector) as calls:
        slow = asyncio.create_task(fetch(calls, server.url("/slow")))
        await server.until_requests(1)
        assert await fetch(calls, server.url("/idle")) == "/idle"
        new = files.put(client(2))
        await connector.reload_tls()
        await server.until(lambda: server.connections[1].closed)
        assert not server.connections[0].closed and not slow.done()
        assert await fetch(calls, server.url("/after")) == "/after"
        go_on.set()
        assert await slow == "/slow"
        await server.until(lambda: server.connections[0].closed)
        assert await fetch(calls, server.url("/later")) == "/later"
        assert shown(server) == [old, old, new] and numbers(calls).retired == {"cert_reload": 2}
        assert server.connections[2].tls is not None and not server.connections[2].tls.resumed


@both
async def test_a_dial_under_way(fast_tls: bool, files: Files) -> None:
    """A handshake that began with the old certificate makes no connection that anybody uses."""
    go_on, ends = asyncio.Event(), list[ServerTLS]()

    async def hesitant(peer: Peer) -> None:
        await peer.recv_exactly(1)
        await go_on.wait()
        ends.append(tls := ServerTLS(asking_context()))
        tls.feed(b"\x16" + await peer.recv())
        while not peer.closed:
            peer.send(tls.outgoing())
            plain = tls.feed(await peer.recv())
            if plain.endswith(b"\r\n\r\n"):
                tls.write(ok(nonce="/x"))

    old = files.put(client(1))
    connector = files.connector(fast_tls=fast_tls)
    async with ScriptedServer(hesitant) as server, ClientSession(connector=connector) as calls:
        call = asyncio.create_task(fetch(calls, f"https://127.0.0.1:{server.port}/x"))
        await server.until(lambda: server.connections and server.connections[0].bytes_received)
        new = files.put(client(2))
        await connector.reload_tls()
        go_on.set()
        assert await call == "/x"
        assert [tls.client_certificate for tls in ends] == [old, new]
        assert numbers(calls).retired == {"cert_reload": 1}


@pytest.mark.fault("T10")
async def test_the_session_of_a_dial_under_way() -> None:
    """A handshake that began before the reload leaves no session for those after it, though the context is the same."""
    go_on, theirs, ends = asyncio.Event(), asking_context(), list[ServerTLS]()
    theirs.maximum_version = ssl.TLSVersion.TLSv1_2  # its session is there as soon as the handshake is over

    async def hesitant(peer: Peer) -> None:
        await peer.recv_exactly(1)
        await go_on.wait()
        ends.append(tls := ServerTLS(theirs))
        tls.feed(b"\x16" + await peer.recv())
        while not peer.closed:
            peer.send(tls.outgoing())
            if tls.feed(await peer.recv()).endswith(b"\r\n\r\n"):
                tls.write(ok(nonce="/x"))

    context = client_context()
    client(1).configure_cert(context)
    connector = TCPConnector(ssl_context=context)
    async with ScriptedServer(hesitant) as server, ClientSession(connector=connector) as calls:
        url = f"https://127.0.0.1:{server.port}/x"
        call = asyncio.create_task(fetch(calls, url))
        await server.until(lambda: server.connections and server.connections[0].bytes_received)
        client(2).configure_cert(context)
        await connector.reload_tls()
        go_on.set()
        assert await call == "/x"
        assert [tls.resumed for tls in ends] == [False, False]


async def test_sessions_are_forgotten(files: Files) -> None:
    """Nothing that was begun with the old certificate is taken up, though nothing else has changed."""
    files.put(client(1))
    connector = files.connector()
    async with ScriptedServer(ssl=asking_context()) as server, ClientSession(connector=connector) as calls:
        for reload in (False, False, True, False):
            if reload:
                await connector.reload_tls()
            assert await fetch(calls, server.url("/x"), headers=LAST) == "/x"
            await server.until_idle()
        assert [peer.tls is not None and peer.tls.resumed for peer in server.connections] == [False, True, False, True]


async def test_files_that_cannot_be_read_change_nothing(files: Files) -> None:
    """A certificate that is only half there: the error is raised, connections and sessions stay."""
    certificate = files.put(client(1))
    connector = files.connector()
    async with ScriptedServer(ssl=asking_context()) as server, ClientSession(connector=connector) as calls:
        assert await fetch(calls, server.url("/a")) == "/a"
        files.chain.write_bytes(files.chain.read_bytes()[:100])
        with pytest.raises(OSError, match=r"client_cert .*chain\.pem"):
            await connector.reload_tls()
        assert await fetch(calls, server.url("/b"), headers=LAST) == "/b"
        await server.until_idle()
        assert await fetch(calls, server.url("/c")) == "/c"
        assert shown(server) == [certificate] * 2 and server.connections[1].tls is not None
        assert server.connections[1].tls.resumed


@both
async def test_another_context(fast_tls: bool) -> None:
    """With `ssl_context` that one is used from now on: here one that does not trust the server."""
    first, second = client_context(), ssl.create_default_context()
    connector = TCPConnector(ssl_context=first, fast_tls=fast_tls)
    async with ScriptedServer(ssl=server_context()) as server, ClientSession(connector=connector) as calls:
        assert await fetch(calls, server.url("/a")) == "/a"
        await connector.reload_tls(second)
        assert connector.ssl_context is second
        with pytest.raises(TLSError, match="certificate verify failed"):
            await fetch(calls, server.url("/b"))
        await connector.reload_tls(first)
        assert await fetch(calls, server.url("/c")) == "/c"


async def test_a_context_that_was_changed_in_place() -> None:
    """A new client certificate in the caller's own context counts from the reload on."""
    context = client_context()
    client(1).configure_cert(context)
    connector = TCPConnector(ssl_context=context)
    async with ScriptedServer(ssl=asking_context()) as server, ClientSession(connector=connector) as calls:
        assert await fetch(calls, server.url("/a")) == "/a"
        certificate = client(2)
        certificate.configure_cert(context)
        await connector.reload_tls()
        assert await fetch(calls, server.url("/b")) == "/b"
        assert shown(server)[1] == der(certificate) and server.connections[1].tls is not None
        assert not server.connections[1].tls.resumed


async def test_the_shared_context_is_renewed_for_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The system's authorities are read again, once and on another thread; connections of plain HTTP stay."""
    made: list[ssl.SSLContext] = []

    def make(verify_ssl: bool) -> ssl.SSLContext:
        assert threading.current_thread() is not threading.main_thread()
        made.append(client_context())
        return made[-1]

    monkeypatch.setattr(tls_contexts_module, "CONTEXTS", ContextStore(make))
    one, other = TCPConnector(), TCPConnector()
    async with (
        ScriptedServer(ssl=server_context()) as server,
        ScriptedServer() as plain,
        ClientSession(connector=one) as calls,
        ClientSession(connector=other) as others,
    ):
        for each in (calls, others):
            assert await fetch(each, server.url("/a")) == "/a"
            assert await fetch(each, plain.url("/a")) == "/a"
        assert len(made) == 1
        await one.reload_tls()
        for each in (calls, others):
            assert await fetch(each, server.url("/b")) == "/b"
            assert await fetch(each, plain.url("/b")) == "/b"
        assert len(made) == 2 and one.ssl_context is other.ssl_context is made[1]
        # The other connector has not asked for it: its connection stays.
        assert server.accepted == 3 and plain.accepted == 2


async def test_what_cannot_be_reloaded(files: Files) -> None:
    """The argument is named, and a closed connector says so."""
    connector = files.connector()
    with pytest.raises(TypeError, match="ssl_context must be"):
        await connector.reload_tls(True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ca_file and ssl_context"):
        await connector.reload_tls(client_context())
    unverified = TCPConnector(verify_ssl=False)
    with pytest.raises(ValueError, match="verify_ssl=False and ssl_context"):
        await unverified.reload_tls(client_context())
    await unverified.reload_tls()
    for each in (connector, unverified):
        each.close()
        with pytest.raises(PoolClosedError, match="closed"):
            await each.reload_tls()


async def test_a_reload_that_is_cancelled(files: Files) -> None:
    """Nothing has changed."""
    files.put(client(1))
    connector = files.connector()
    async with ScriptedServer(ssl=asking_context()) as server, ClientSession(connector=connector) as calls:
        assert await fetch(calls, server.url("/a")) == "/a"
        before = connector.ssl_context
        task = asyncio.create_task(connector.reload_tls())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert connector.ssl_context is before and numbers(calls).retired == {}
        assert await fetch(calls, server.url("/b")) == "/b"
        assert server.accepted == 1


async def test_another_loop(files: Files) -> None:
    """A connector is reloaded where it is used."""
    files.put(client(1))
    connector = files.connector()
    async with ScriptedServer(ssl=asking_context()) as server, ClientSession(connector=connector) as calls:
        assert await fetch(calls, server.url("/a")) == "/a"
        with pytest.raises(RuntimeError, match="belongs to"):
            await asyncio.to_thread(asyncio.run, connector.reload_tls())


async def test_a_strangers_certificate_after_the_reload(files: Files) -> None:
    """`ca_file` is read again too: whom it does not vouch for any more is refused."""
    files.put(client(1))
    connector = files.connector()
    async with ScriptedServer(ssl=asking_context()) as server, ClientSession(connector=connector) as calls:
        assert await fetch(calls, server.url("/a")) == "/a"
        files.authority.write_bytes(foreign().cert_chain_pems[0].bytes())
        await connector.reload_tls()
        with pytest.raises(TLSError, match="certificate verify failed"):
            await fetch(calls, server.url("/b"))
