"""FAULTS X04, X05, T11, T21: what happens at a proxy while the first connection's authorities are still being read."""

import asyncio
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from keepwarm.client.session import ClientSession
from keepwarm.pool import tls_contexts as tls_contexts_module
from keepwarm.pool.errors import TLSError
from keepwarm.pool.opening import open_plain
from keepwarm.pool.securing import Securing
from keepwarm.pool.tls import TLSOptions
from keepwarm.pool.tls_contexts import ContextStore
from tests.support.calling import numbers
from tests.support.certificates import authority, client_context
from tests.support.dialing import dial_request, until
from tests.support.proxies import ESTABLISHED, ORIGIN, through
from tests.support.server import Peer, ScriptedServer

pytestmark = pytest.mark.asyncio

URL = f"https://{ORIGIN}/x"


class Reading:
    """Stands in for reading the authorities: it takes until `go` is set, on its thread."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go, self._real = threading.Event(), threading.Event(), tls_contexts_module.make_context
        monkeypatch.setattr(tls_contexts_module, "make_context", self.make)
        monkeypatch.setattr(tls_contexts_module, "CONTEXTS", ContextStore(self.make))

    def make(self, *args: Any) -> ssl.SSLContext:
        self.begun.set()
        self.go.wait(10)
        return self._real(*args)


def cold(port: int, folder: Path, scheme: str, whose: str) -> ClientSession:
    """A session whose context for the origin, or for the proxy, is still to be read."""
    if whose == "proxy":
        return through(port, scheme=scheme, proxy_ssl_context=None)
    authority().cert_pem.write_to_path(str(folder / "ca.pem"))
    return through(port, scheme=scheme, ssl_context=None, ca_file=folder / "ca.pem")


@pytest.mark.fault("X04", "T11", "T21")
@pytest.mark.parametrize(("scheme", "whose"), [("http", "origin"), ("https", "proxy"), ("https", "origin")])
async def test_nothing_is_connected_before_the_authorities_are_read(
    scheme: str, whose: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So nobody can hang up, or send without end, while nobody looks; and the call that follows does not hang."""
    reading = Reading(monkeypatch)

    async def hang_up(peer: Peer) -> None:
        if scheme == "http":
            await peer.head()
            peer.send(ESTABLISHED)
        peer.close()

    async with ScriptedServer(hang_up) as proxy, cold(proxy.port, tmp_path, scheme, whose) as calls:
        task = asyncio.ensure_future(calls.get(URL))
        await until(reading.begun.is_set)
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert proxy.accepted == 0
        reading.go.set()
        with pytest.raises(TLSError):
            await asyncio.wait_for(task, 5)
        await proxy.until_idle()
        assert (proxy.accepted, numbers(calls).open) == (1, 0)


@pytest.mark.fault("T12")
async def test_no_handshake_on_a_connection_that_is_lost() -> None:
    """It is an error at once: the transport will tell nobody any more, and the handshake would wait for ever."""
    sock, other = socket.socketpair()
    opening = await open_plain(sock)
    request = dial_request("localhost", 443, True)
    other.close()
    await until(lambda: opening.is_lost)
    securing = Securing(TLSOptions(ssl_context=client_context()))
    with pytest.raises(TLSError, match="closed the connection during the TLS handshake"):
        await asyncio.wait_for(securing.start_tls(request, opening, client_context()), 5)
