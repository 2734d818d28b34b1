"""FAULTS X05, X10, T11: a dial through a proxy that takes too long, or fails in TLS, names the proxy and the target."""

import asyncio
from typing import Any

import pytest

from keepwarm.pool.address import Answer
from keepwarm.pool.errors import ClientConnectionError, ConnectTimeoutError, TLSError
from tests.support.proxies import ESTABLISHED, ORIGIN, PROXY, through
from tests.support.server import Peer, ScriptedServer

pytestmark = pytest.mark.asyncio

SECRET = "s3cret"


class Silent:
    """A resolver that does not answer."""

    async def resolve(self, host: str, port: int, family: int = 0) -> Answer:
        return await asyncio.get_running_loop().create_future()

    def close(self) -> None:
        pass


async def mute(peer: Peer) -> None:
    await peer.until_closed()


async def open_and_mute(peer: Peer) -> None:
    await peer.head()
    peer.send(ESTABLISHED)
    await peer.until_closed()


async def open_and_leave(peer: Peer) -> None:
    await peer.head()
    peer.send(ESTABLISHED)
    await peer.recv_exactly(1)
    peer.close()


@pytest.mark.fault("X05", "T11")
@pytest.mark.parametrize(
    ("script", "scheme", "options", "kind", "said"),
    [
        (mute, "http", {"conn_timeout": 0.05, "resolver": Silent()}, ConnectTimeoutError, "no address was tried"),
        (mute, "http", {"conn_timeout": 0.05}, ConnectTimeoutError, "tried 127.0.0.1"),
        (mute, "https", {"conn_timeout": 0.05}, ConnectTimeoutError, "tried 127.0.0.1"),
        (mute, "https", {"handshake_timeout": 0.05}, ConnectTimeoutError, "longer than handshake_timeout"),
        (open_and_mute, "http", {"conn_timeout": 0.05}, ConnectTimeoutError, "the phase 'tls'"),
        (open_and_mute, "http", {"handshake_timeout": 0.05}, ConnectTimeoutError, f"handshake with {ORIGIN} through"),
        (open_and_leave, "http", {}, TLSError, f"TLS with {ORIGIN} through"),
    ],
    ids=["lookup", "connect", "tls-proxy", "tls-proxy-handshake", "tunnel", "tunnel-handshake", "tunnel-closed"],
)
async def test_both_are_named(
    script: Any, scheme: str, options: dict[str, Any], kind: type[ClientConnectionError], said: str
) -> None:
    """And the login is not."""
    async with ScriptedServer(script) as proxy:
        login = f"me:{SECRET}@"
        async with through(proxy.port, scheme=scheme, userinfo=login, **options) as calls:
            with pytest.raises(kind) as caught:
                await calls.get(f"https://{ORIGIN}/x")
            text = str(caught.value)
            assert f"the proxy {scheme}://{PROXY}:{proxy.port}" in text and f"host {ORIGIN}:443" in text
            assert said in text and SECRET not in text
        await proxy.until_idle()
