"""FAULTS T09, T10: of two connectors that differ in anything that makes an identity, neither gets what the other has:
no connection, and no TLS session. Each of a list of ways to reach one server, against each other one."""

import hashlib
import itertools
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keepwarm.client.session import ClientSession
from keepwarm.pool.auth import BasicAuth
from keepwarm.pool.connector import BaseConnector
from keepwarm.pool.pins import PublicKeyPin, public_key_info
from keepwarm.pool.proxy_connector import ProxyConnector
from keepwarm.pool.tcp_connector import TCPConnector
from keepwarm.pool.unix_connector import UnixConnector
from tests.support.bad_certificates import client_certificate
from tests.support.calling import fetch, numbers
from tests.support.certificates import authority, client_context, der, leaf, server_context
from tests.support.proxies import RelayingProxy
from tests.support.server import ScriptedServer

pytestmark = pytest.mark.asyncio

LAST = {"Connection": "close"}


def fingerprint() -> bytes:
    return hashlib.sha256(der(leaf())).digest()


class Place:
    """One server, or rather two with one TLS context, over TCP and over a unix socket: what one has given out, the
    other takes up. A proxy stands before the first. `context` is for connectors that share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "ca.pem").write_bytes(authority().cert_pem.bytes())
        self.path = folder / "socket"
        tls = server_context()
        tls.verify_mode = ssl.CERT_OPTIONAL
        authority().configure_trust(tls)
        self.tcp, self.unix = ScriptedServer(ssl=tls), ScriptedServer(ssl=tls, path=self.path)
        self.proxy = RelayingProxy()
        self.context = client_context()

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Place"]:
        async with self.tcp, self.unix, self.proxy:
            yield self

    @property
    def resumed(self) -> list[bool]:
        """For each connection, whether a session was taken up."""
        peers = self.tcp.connections + self.unix.connections
        return [peer.tls is not None and peer.tls.resumed for peer in peers]

    async def until_idle(self) -> None:
        await self.tcp.until_idle()
        await self.unix.until_idle()


@dataclass(frozen=True)
class Way:
    """How a connector reaches the server. `host` is the name that the call uses."""

    make: Callable[[Place], BaseConnector]
    host: str = "localhost"


def tcp(**options: Any) -> Callable[[Place], BaseConnector]:
    """Over TCP, with the context that the others have too."""
    options = {"tls_resumption": True} | options
    return lambda place: TCPConnector(ssl_context=place.context, **options)


def with_client_certificate(place: Place) -> BaseConnector:
    file = place.folder / "client.pem"
    client_certificate().private_key_and_cert_chain_pem.write_to_path(str(file))
    return TCPConnector(ca_file=place.folder / "ca.pem", client_cert=(file, None), tls_resumption=True)


def by_proxy(place: Place, **options: Any) -> BaseConnector:
    url = f"http://127.0.0.1:{place.proxy.port}"
    return ProxyConnector(url, ssl_context=place.context, force_close=False, tls_resumption=True, **options)


WAYS = {
    "plain": Way(tcp()),
    "the-same-again": Way(tcp()),
    "no-verification": Way(lambda place: TCPConnector(verify_ssl=False, tls_resumption=True)),
    "own-context": Way(lambda place: TCPConnector(ssl_context=client_context(), tls_resumption=True)),
    "authority-file": Way(lambda place: TCPConnector(ca_file=place.folder / "ca.pem", tls_resumption=True)),
    "client-certificate": Way(with_client_certificate),
    "fingerprint": Way(tcp(fingerprint=fingerprint())),
    "public-key": Way(tcp(pins=[PublicKeyPin(hashlib.sha256(public_key_info(der(leaf()))).digest())])),
    "pins-by-host": Way(tcp(pins={"localhost": [fingerprint()]})),
    "pins-reported": Way(tcp(fingerprint=bytes(32), pin_report=lambda error: None)),
    "other-name": Way(tcp(), "127.0.0.1"),
    "no-resumption": Way(tcp(tls_resumption=False)),
    "fast-tls": Way(tcp(fast_tls=True)),
    "proxy": Way(by_proxy),
    "proxy-credentials": Way(lambda place: by_proxy(place, proxy_auth=BasicAuth("me", "secret"))),
    "unix-socket": Way(lambda place: UnixConnector(place.path, ssl_context=place.context)),
}
PAIRS = list(itertools.combinations(WAYS, 2))
# These never resume.
FULL = ("no-resumption", "fast-tls", "unix-socket")


async def call(calls: ClientSession, way: Way, place: Place, path: str, **options: Any) -> None:
    assert await fetch(calls, f"https://{way.host}:{place.tcp.port}{path}", **options) == path


@pytest.mark.fault("T09", "T10")
@pytest.mark.parametrize(("one", "other"), PAIRS, ids=["/".join(pair) for pair in PAIRS])
async def test_nothing_is_shared(one: str, other: str, tmp_path: Path) -> None:
    """With a session to take up and an idle connection on either side, the other side begins on its own."""
    async with Place(tmp_path).open() as place:
        sessions = {name: ClientSession(connector=WAYS[name].make(place)) for name in (one, other)}
        for name, calls in sessions.items():
            await call(calls, WAYS[name], place, f"/{name}/first", headers=LAST)
            await place.until_idle()
        assert place.resumed == [False, False]
        for _ in range(2):
            for name, calls in sessions.items():
                await call(calls, WAYS[name], place, f"/{name}/kept")
        for calls in sessions.values():
            assert numbers(calls).idle == 1 and numbers(calls).dials == 2
        peers = place.tcp.connections + place.unix.connections
        by_name = {
            name: [peer for peer in peers if peer.requests[0].target.startswith(f"/{name}/")] for name in sessions
        }
        for name in sessions:
            first, kept = by_name[name]
            assert [request.target for request in first.requests] == [f"/{name}/first"]
            assert [request.target for request in kept.requests] == [f"/{name}/kept"] * 2
            assert kept.tls is not None and kept.tls.resumed == (name not in FULL)
        for calls in sessions.values():
            await calls.close()
        await place.until_idle()


@pytest.mark.fault("T09")
@pytest.mark.parametrize("name", WAYS)
async def test_what_makes_an_identity_is_read_only(name: str, tmp_path: Path) -> None:
    """Nothing of it can be set on a connector, nor on its options."""
    async with Place(tmp_path).open() as place:
        connector: Any = WAYS[name].make(place)
        fixed = ["verify_ssl", "ssl_context", "fingerprint", "tls", "proxy", "proxy_auth", "path", "peer_uid"]
        for attribute in fixed:
            if hasattr(connector, attribute):
                with pytest.raises(AttributeError):
                    setattr(connector, attribute, None)
        for attribute in connector.tls.__slots__:
            with pytest.raises(AttributeError):
                setattr(connector.tls, attribute, None)
        connector.close()
