"""TLS: certificates, pins, ALPN, timeouts; with the loop's own TLS and with aiofastnet's."""

import asyncio
import ssl
from typing import Any

import pytest

from keepwarm.pool import states
from keepwarm.pool.channel import Channel
from keepwarm.pool.dialer import Dialer
from keepwarm.pool.errors import (
    ConnectError,
    ConnectTimeoutError,
    TLSError,
)
from keepwarm.pool.tls import TLSOptions
from tests.support.bad_certificates import (
    client_certificate,
    common_name_only,
    expired,
    foreign,
    self_signed_context,
)
from tests.support.certificates import authority, client_context, der, leaf, server_context
from tests.support.dialing import (
    ListedAddresses,
    WatchedHealth,
    dial_request,
    dialer,
    echo_hello,
    hang_up,
    ipv4,
    ipv6,
    say_hello,
    tls_dial,
    trusting,
    until,
)
from tests.support.leaks import turns
from tests.support.server import Fin, Peer, Rst, ScriptedServer, Send, Stall, UntilClosed

pytestmark = pytest.mark.asyncio

both = pytest.mark.parametrize("fast_tls", [False, True], ids=["loop", "fast"])


@both
@pytest.mark.fault("T24")
async def test_a_good_connection(fast_tls: bool) -> None:
    """Data goes both ways; peer certificate, cipher, ALPN and socket are known on both loops."""
    async with ScriptedServer(echo_hello, ssl=server_context()) as server:
        request = dial_request("localhost", server.port, True)
        transport, channel = await dialer(ipv4(server.port), tls=trusting(fast_tls)).open(request)
        assert channel.is_tls and channel.transport is transport and request.phase == "tls"
        assert await say_hello(channel) == b"hello"
        tls = transport.get_extra_info("ssl_object")
        assert tls.getpeercert(True) == der(leaf())
        assert tls.version() == "TLSv1.3" and tls.cipher()[2] >= 128
        assert transport.get_extra_info("socket").fileno() > 0
        assert transport.get_extra_info("peername") == ("127.0.0.1", server.port)
        await hang_up(channel)


@both
async def test_sni_is_the_name_and_never_an_address(fast_tls: bool) -> None:
    """The server hears the host name; an address is checked against the certificate, but not sent (RFC 6066)."""
    heard: list[str | None] = []
    context = server_context()
    context.sni_callback = lambda _, name, __: heard.append(name)
    async with (
        ScriptedServer([UntilClosed()], ssl=context) as server,
        ScriptedServer([UntilClosed()], ssl=context, host="::1") as server6,
    ):
        for host, address in [("localhost", ipv4(server.port)), ("127.0.0.1", ipv4(server.port)), ("::1", None)]:
            address = address or ipv6(server6.port)
            _, channel = await dialer(address, tls=trusting(fast_tls)).open(dial_request(host, address.port, True))
            await hang_up(channel)
    assert heard == ["localhost", None, None]


@both
@pytest.mark.fault("T01")
@pytest.mark.parametrize(
    ("names", "host"),
    [
        (("other.keepwarm.test",), "localhost"),
        (("*.keepwarm.test",), "a.b.keepwarm.test"),
        (("*.keepwarm.test",), "keepwarm.test"),
        (("localhost",), "127.0.0.1"),
        (("127.0.0.2",), "127.0.0.1"),
        (None, "localhost"),
    ],
    ids=["other", "two-labels", "no-label", "name-for-address", "other-address", "common-name-only"],
)
async def test_wrong_name(fast_tls: bool, names: tuple[str, ...] | None, host: str) -> None:
    """A certificate for another name is a TLSError that says so, before any byte of ours."""
    context = server_context(certificate=common_name_only()) if names is None else server_context(*names)
    async with ScriptedServer(ssl=context) as server:
        with pytest.raises(TLSError, match="mismatch") as caught:
            await tls_dial(server.port, trusting(fast_tls), host)
        assert str(caught.value).startswith(f"Cannot connect to host {host}:{server.port} ssl:True [")
        assert "Use a host name that stands in the certificate" in str(caught.value)
        assert (caught.value.phase, caught.value.reused) == ("tls", False)
        await server.until_idle()
        assert server.connections[0].bytes_received == 0


@both
@pytest.mark.fault("T02")
@pytest.mark.parametrize(
    ("which", "said", "advice"),
    [
        ("expired", "certificate has expired", "Renew"),
        ("self-signed", "self.signed certificate", "ca_file"),
        ("unknown", "unable to get local issuer certificate", "ca_file"),
    ],
)
async def test_bad_chain(fast_tls: bool, which: str, said: str, advice: str) -> None:
    """Each fault of the chain has its own words and advice."""
    contexts = {
        "expired": lambda: server_context(certificate=expired()),
        "self-signed": self_signed_context,
        "unknown": lambda: server_context(certificate=foreign()),
    }
    async with ScriptedServer(ssl=contexts[which]()) as server:
        with pytest.raises(TLSError, match=said) as caught:
            await tls_dial(server.port, trusting(fast_tls))
        assert advice in str(caught.value)
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        await server.until_idle()


@both
@pytest.mark.fault("T02")
async def test_the_default_context_does_not_trust_the_tests(fast_tls: bool) -> None:
    """Verification is on by default."""
    async with ScriptedServer(ssl=server_context()) as server:
        with pytest.raises(TLSError, match="certificate verify failed"):
            await tls_dial(server.port, TLSOptions(fast_tls=fast_tls))
        await server.until_idle()


@both
@pytest.mark.fault("T03")
async def test_verification_switched_off(fast_tls: bool) -> None:
    """verify_ssl=False connects to anybody."""
    async with ScriptedServer(echo_hello, ssl=self_signed_context()) as server:
        channel = await tls_dial(server.port, TLSOptions(verify_ssl=False, fast_tls=fast_tls))
        assert await say_hello(channel) == b"hello"
        await hang_up(channel)


@both
async def test_client_certificate(fast_tls: bool) -> None:
    """The caller's context can show a certificate."""
    context = server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    authority().configure_trust(context)
    mine = client_context()
    client_certificate().configure_cert(mine)
    async with ScriptedServer(echo_hello, ssl=context) as server:
        channel = await tls_dial(server.port, TLSOptions(ssl_context=mine, fast_tls=fast_tls))
        assert await say_hello(channel) == b"hello"
        await hang_up(channel)


@both
@pytest.mark.fault("T12")
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ([Send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), UntilClosed()], "does not speak TLS|closed the connection"),
        ([Fin(), UntilClosed()], "closed the connection"),
        ([Rst()], "closed the connection"),
    ],
    ids=["http", "fin", "rst"],
)
async def test_not_tls(fast_tls: bool, script: list[Any], said: str) -> None:
    """HTTP, a FIN or a reset in place of a handshake: an error that says so, and nothing is left open."""
    async with ScriptedServer(script) as server:
        dns = ListedAddresses(ipv4(server.port), ipv4(server.port, "127.0.0.2"))
        health = WatchedHealth()
        dial = Dialer(dns, trusting(fast_tls), health=health)
        with pytest.raises(ConnectError, match=said) as caught:
            await dial.open(dial_request("localhost", server.port, True))
        if isinstance(caught.value.__cause__, ConnectionError):
            assert health.noted == [ipv4(server.port)]
        assert f"Cannot connect to host localhost:{server.port} ssl:True [" in str(caught.value)
        await server.until_idle()


@both
@pytest.mark.fault("T11", "P08")
@pytest.mark.parametrize("first", [b"", b"\x16\x03\x03\x00\x7a\x02"], ids=["silence", "half-record"])
async def test_stalled_handshake_has_its_own_limit(fast_tls: bool, first: bytes) -> None:
    """handshake_timeout ends it with a timeout in the phase tls."""

    async def stall(peer: Peer) -> None:
        await peer.recv_exactly(1)  # the client's hello: its handshake has begun
        if first:
            peer.send(first)
        await peer.until_closed()

    async with ScriptedServer(stall) as server:
        with pytest.raises(ConnectTimeoutError, match=r"handshake_timeout=0\.02 s") as caught:
            await tls_dial(server.port, trusting(fast_tls, handshake_timeout=0.02))
        assert caught.value.phase == "tls"
        assert str(caught.value).startswith(f"Connection timeout to host localhost:{server.port} ssl:True [")
        await server.until_idle()


@both
@pytest.mark.fault("T11", "P08")
async def test_cancel_a_stalled_handshake(fast_tls: bool) -> None:
    """What conn_timeout does: the dial ends, the server sees the connection go."""
    async with ScriptedServer([Stall()]) as server:
        task = asyncio.create_task(tls_dial(server.port, trusting(fast_tls)))
        await server.until(lambda: server.connections and server.connections[0].bytes_received)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.until_idle()


@both
@pytest.mark.fault("T23")
async def test_alpn_h2(fast_tls: bool) -> None:
    """A context of the caller's that talks the server into h2 is refused; ours offers http/1.1 only."""
    context = server_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    offering = client_context()
    offering.set_alpn_protocols(["h2", "http/1.1"])
    async with ScriptedServer([UntilClosed()], ssl=context) as server:
        with pytest.raises(TLSError, match=r"'h2'.*set_alpn_protocols"):
            await tls_dial(server.port, TLSOptions(ssl_context=offering, fast_tls=fast_tls))
        await server.until_idle()
        assert server.connections[0].bytes_received == 0
        channel = await tls_dial(server.port, TLSOptions(verify_ssl=False, fast_tls=fast_tls))
        assert channel.transport is not None
        assert channel.transport.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        await hang_up(channel)


@both
@pytest.mark.fault("T25")
@pytest.mark.parametrize("seconds", [0, None, 0.0, 86400])
async def test_odd_timeouts(fast_tls: bool, seconds: float | None) -> None:
    """0 and None mean no limit for the handshake and no wait at the end; the loop is never given them."""
    options = trusting(fast_tls, handshake_timeout=seconds, shutdown_timeout=seconds)
    async with ScriptedServer(echo_hello, ssl=server_context()) as server:
        channel = await tls_dial(server.port, options)
        assert await say_hello(channel) == b"hello"
        channel.close_transport()
        await server.until_idle()


@both
@pytest.mark.fault("T25")
async def test_a_tiny_timeout(fast_tls: bool) -> None:
    """A limit that nobody can keep is an orderly timeout."""
    async with ScriptedServer([Stall()]) as server:
        with pytest.raises(ConnectTimeoutError, match="handshake_timeout=1e-09 s"):
            await tls_dial(server.port, trusting(fast_tls, handshake_timeout=1e-9))


@both
async def test_a_context_for_servers(fast_tls: bool) -> None:
    """A context that cannot be used for a client is a TLSError, and the socket is closed."""
    async with ScriptedServer([UntilClosed()]) as server:
        with pytest.raises(TLSError):
            await tls_dial(server.port, TLSOptions(ssl_context=server_context(), fast_tls=fast_tls))
        await server.until_idle()


@both
async def test_a_channel_that_cannot_be_made(fast_tls: bool) -> None:
    """When the factory fails, the connection is closed and the error goes on."""

    def broken() -> Channel:
        raise LookupError("no channel today")

    async with ScriptedServer([UntilClosed()], ssl=server_context()) as server:
        request = dial_request("localhost", server.port, True)
        request.channel_factory = broken
        with pytest.raises(LookupError):
            await dialer(ipv4(server.port), tls=trusting(fast_tls)).open(request)
        await server.until_idle()


@both
@pytest.mark.fault("T15", "T17")
async def test_a_mute_peer_does_not_keep_the_socket(fast_tls: bool) -> None:
    """close() says close_notify; a peer that never answers costs shutdown_timeout, not the loop's 30 s."""
    release = asyncio.Event()

    async def mute(peer: Peer) -> None:
        peer.pause()
        await release.wait()

    async with ScriptedServer(mute, ssl=server_context()) as server:
        channel = await tls_dial(server.port, trusting(fast_tls, shutdown_timeout=0.02))
        await server.until(lambda: server.connections[0].secure)
        await turns(3)
        channel.close_transport()
        await until(lambda: channel.state == states.CLOSED)
        release.set()


@both
@pytest.mark.fault("T20")
async def test_failed_handshakes_leave_nothing(fast_tls: bool) -> None:
    """Fifty refused certificates leave no descriptor, timer or task (the baseline looks)."""
    async with ScriptedServer(ssl=server_context(certificate=foreign())) as server:
        options = trusting(fast_tls)
        for _ in range(50):
            with pytest.raises(TLSError):
                await tls_dial(server.port, options)
        await server.until_idle()
