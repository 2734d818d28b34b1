"""FAULTS T10, X10, X14: TLS sessions with an https:// proxy, and new certificates for it."""

import asyncio
import ssl
from types import SimpleNamespace
from typing import Any

import pytest
import trustme

from keepwarm.client.session import ClientSession
from keepwarm.pool import tls_contexts as tls_contexts_module
from keepwarm.pool.endpoint import TunnelEndpoint
from keepwarm.pool.errors import TLSError
from keepwarm.pool.proxy_connector import ProxyConnector
from keepwarm.pool.tls_contexts import ContextStore
from tests.support.calling import fetch, numbers
from tests.support.certificates import client_context, server_context
from tests.support.dialing import until
from tests.support.proxies import ESTABLISHED, ORIGIN, PROXY, RelayingProxy, through
from tests.support.relay import Relay
from tests.support.server import Peer, ScriptedServer

pytestmark = pytest.mark.asyncio

PLAIN = f"http://{ORIGIN}/x"
LAST = {"Connection": "close"}


def resumed(server: ScriptedServer) -> list[bool]:
    """For each connection, whether the server saw an earlier session taken up."""
    return [peer.tls is not None and peer.tls.resumed for peer in server.connections]


def of(calls: ClientSession) -> ProxyConnector:
    connector = calls.connector
    assert isinstance(connector, ProxyConnector)
    return connector


# Sessions


@pytest.mark.fault("T10")
@pytest.mark.parametrize("resumption", [True, False])
async def test_the_handshake_with_the_proxy_is_resumed(resumption: bool) -> None:
    """Like any other, unless it is turned off."""
    async with (
        ScriptedServer(ssl=server_context(PROXY)) as proxy,
        through(proxy.port, scheme="https", tls_resumption=resumption) as calls,
    ):
        for _ in range(3):
            assert await fetch(calls, PLAIN, headers=LAST) == f"http://{ORIGIN}/x"
            await proxy.until_idle()
        assert resumed(proxy) == [False, resumption, resumption]


@pytest.mark.fault("T10")
async def test_each_tls_has_sessions_of_its_own() -> None:
    """Proxy and origin have one name, port and certificate authority here: neither gets a session of the other's, and
    both are resumed."""
    async with ScriptedServer(ssl=server_context(PROXY)) as origin, RelayingProxy(server_context(PROXY)) as proxy:
        async with through(proxy.port, scheme="https", force_close=True) as calls:
            for _ in range(3):
                assert await fetch(calls, f"https://{PROXY}:{origin.port}/x") == "/x"
                await origin.until_idle()
        assert resumed(origin) == proxy.resumed == [False, True, True]


@pytest.mark.fault("T10", "T12")
async def test_a_proxy_that_cannot_cope_with_its_sessions() -> None:
    """The call does not notice: the next try is a full handshake."""
    context = server_context(PROXY)
    hellos: list[Any] = []

    def refuse_the_second(tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        hellos.append(name)
        return ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE if len(hellos) == 2 else None

    context.sni_callback = refuse_the_second
    async with ScriptedServer(ssl=context) as proxy, through(proxy.port, scheme="https") as calls:
        for _ in range(3):
            assert await fetch(calls, PLAIN, headers=LAST) == PLAIN
            await proxy.until(lambda: all(peer.closed for peer in proxy.connections))
        assert resumed(proxy) == [False, True, False, False]
        assert numbers(calls).dial_failures == 0


@pytest.mark.fault("T10", "T12")
async def test_proxy_and_origin_that_both_fail_over_a_session() -> None:
    """One after the other: the call is served all the same."""
    contexts, hellos = [server_context(PROXY), server_context(ORIGIN)], [0, 0]

    def refuse_the_second(which: int) -> Any:
        def callback(tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
            hellos[which] += 1
            return ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE if hellos[which] == 2 else None

        return callback

    for which, context in enumerate(contexts):
        context.sni_callback = refuse_the_second(which)
    async with ScriptedServer(ssl=contexts[1]) as origin, RelayingProxy(contexts[0]) as proxy:
        async with through(proxy.port, scheme="https", force_close=True) as calls:
            for _ in range(2):
                assert await fetch(calls, f"https://{ORIGIN}:{origin.port}/x") == "/x"
                await until(lambda: all(peer.closed for peer in origin.connections))
        assert hellos == [4, 3]


@pytest.mark.fault("T10")
async def test_what_broke_is_not_taken_up() -> None:
    """A tunnel that was reset leaves no session, neither of the origin nor of the proxy that it led through."""
    async with (
        ScriptedServer(ssl=server_context()) as origin,
        RelayingProxy(server_context()) as proxy,
        Relay(proxy.port) as relay,
        through(relay.port, scheme="https") as calls,
    ):
        url = f"https://{ORIGIN}:{origin.port}/x"
        assert await fetch(calls, url) == "/x"
        relay.links[0].strike("reset")
        await until(lambda: numbers(calls).open == 0)
        assert await fetch(calls, url) == "/x"
        assert resumed(origin) == proxy.resumed == [False, False]


# reload_tls


@pytest.mark.fault("X10")
async def test_the_proxys_authorities_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the origin's. Connections through the proxy are closed, to plain targets too, and sessions forgotten."""
    made: list[ssl.SSLContext] = []

    def make(verify_ssl: bool) -> ssl.SSLContext:
        made.append(client_context())
        return made[-1]

    monkeypatch.setattr(tls_contexts_module, "CONTEXTS", ContextStore(make))
    async with (
        ScriptedServer(ssl=server_context(PROXY)) as proxy,
        through(proxy.port, scheme="https", proxy_ssl_context=None) as calls,
    ):
        assert await fetch(calls, PLAIN) == PLAIN
        assert len(made) == 1
        await of(calls).reload_tls()
        await proxy.until_idle()
        assert numbers(calls).retired == {"cert_reload": 1}
        assert await fetch(calls, PLAIN) == PLAIN
        assert (len(made), resumed(proxy)) == (2, [False, False])


@pytest.mark.fault("X10")
async def test_another_context_for_the_proxy() -> None:
    """It is used from then on, for the proxy alone."""
    authority = trustme.CA()
    other = ssl.create_default_context()
    authority.configure_trust(other)
    strange = server_context(certificate=authority.issue_cert(PROXY))
    async with (
        ScriptedServer(ssl=server_context()) as origin,
        RelayingProxy(strange) as proxy,
        through(proxy.port, scheme="https") as calls,
    ):
        with pytest.raises(TLSError, match="TLS with the proxy"):
            await fetch(calls, f"https://{ORIGIN}:{origin.port}/x")
        await of(calls).reload_tls(proxy_ssl_context=other)
        assert await fetch(calls, f"https://{ORIGIN}:{origin.port}/x") == "/x"


@pytest.mark.fault("X14")
async def test_a_reload_while_the_proxy_is_asked() -> None:
    """TLS with the proxy was done with the old context, so that connection serves nobody."""
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await go_on.wait()
        peer.send(ESTABLISHED)
        await peer.until_closed()

    async with (
        ScriptedServer(script, ssl=server_context(PROXY)) as proxy,
        through(proxy.port, scheme="https") as calls,
    ):
        connector = of(calls)
        wanted = SimpleNamespace(endpoint=TunnelEndpoint(ORIGIN, 80, False))
        task = asyncio.ensure_future(connector.connect(wanted))
        await proxy.until(lambda: proxy.connections and proxy.connections[0].bytes_received)
        await connector.reload_tls()
        go_on.set()
        connection = await task
        await proxy.until(lambda: proxy.connections[0].closed)
        assert (proxy.accepted, proxy.connections[1].closed) == (2, "")
        assert connector.stats().total.retired == {"cert_reload": 1}
        connection.close()
        await proxy.until_idle()


async def test_one_context_that_cannot_be_read_changes_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are read before either is used."""
    context = client_context()
    broken = [False]

    def make(verify_ssl: bool) -> ssl.SSLContext:
        if broken[0]:
            raise OSError("no authorities")
        return client_context()

    monkeypatch.setattr(tls_contexts_module, "CONTEXTS", ContextStore(make))
    async with (
        ScriptedServer(ssl=server_context(PROXY)) as proxy,
        through(proxy.port, scheme="https", ssl_context=context, proxy_ssl_context=None) as calls,
    ):
        assert await fetch(calls, PLAIN) == PLAIN
        broken[0] = True
        with pytest.raises(OSError, match="no authorities"):
            await of(calls).reload_tls(client_context())
        assert of(calls).ssl_context is context
        assert await fetch(calls, PLAIN) == PLAIN
        assert (proxy.accepted, numbers(calls).retired) == (1, {})


async def test_a_context_for_a_proxy_that_is_spoken_to_in_clear_text() -> None:
    """It would do nothing, and whoever gives it believes that it does."""
    with pytest.raises(ValueError, match="proxy_ssl_context is for an https:// proxy"):
        ProxyConnector(f"http://{PROXY}", proxy_ssl_context=client_context())
    connector = ProxyConnector(f"http://{PROXY}")
    with pytest.raises(ValueError, match="proxy_ssl_context is for an https:// proxy"):
        await connector.reload_tls(proxy_ssl_context=client_context())
    with pytest.raises(TypeError, match="proxy_ssl_context must be"):
        await connector.reload_tls(proxy_ssl_context=True)  # type: ignore[arg-type]
    await connector.reload_tls(client_context())
    connector.close()
