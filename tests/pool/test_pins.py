"""Pins: checked on each connection, before the first byte, in addition to the chain."""

import hashlib
import warnings
from typing import Any

import pytest

from keepwarm.pool.errors import FingerprintMismatch, TLSError, WeakFingerprintWarning
from keepwarm.pool.pins import CertificatePin, PublicKeyPin, public_key_info
from keepwarm.pool.tls import TLSOptions
from tests.support.bad_certificates import foreign
from tests.support.certificates import der, leaf, server_context
from tests.support.dialing import (
    dial_request,
    dialer,
    echo_hello,
    hang_up,
    ipv4,
    say_hello,
    tls_dial,
    trusting,
)
from tests.support.server import ScriptedServer, UntilClosed

pytestmark = pytest.mark.asyncio

both = pytest.mark.parametrize("fast_tls", [False, True], ids=["loop", "fast"])


@both
@pytest.mark.fault("T05", "T08", "G14")
@pytest.mark.parametrize("kind", ["certificate", "public key"])
async def test_wrong_pin(fast_tls: bool, kind: str) -> None:
    """The connection is aborted before a byte is sent, on each connection anew, and no other address is tried."""
    wrong = hashlib.sha256(b"another").digest()
    pins = {"fingerprint": wrong} if kind == "certificate" else {"pins": [PublicKeyPin(wrong)]}
    made: list[object] = []
    async with ScriptedServer(ssl=server_context()) as server:
        dial = dialer(ipv4(server.port), ipv4(server.port, "127.0.0.2"), tls=trusting(fast_tls, **pins))
        for count in (1, 2):
            request = dial_request("localhost", server.port, True)
            request.channel_factory = lambda: made.append(1)  # type: ignore[assignment, func-returns-value]
            with pytest.raises(FingerprintMismatch) as caught:
                await dial.open(request)
            await server.until_accepted(count)
        await server.until_idle()
        assert [peer.bytes_received for peer in server.connections] == [0, 0]
    error = caught.value
    assert (error.expected, error.host, error.port) == (wrong, "localhost", server.port)
    measure = CertificatePin(wrong) if kind == "certificate" else PublicKeyPin(wrong)
    assert error.got == measure.measure(der(leaf()))
    assert error.endpoint == request.endpoint
    assert made == []


@both
@pytest.mark.fault("T06", "T08")
@pytest.mark.parametrize("digest", ["md5", "sha1", "sha256", "spki", "one of several"])
async def test_right_pin(fast_tls: bool, digest: str) -> None:
    """The right pin connects, whichever digest it is."""
    certificate = der(leaf())
    options: dict[str, Any] = {}
    if digest == "spki":
        options["pins"] = [PublicKeyPin(hashlib.sha256(public_key_info(certificate)).digest())]
    elif digest == "one of several":
        options["pins"] = [bytes(32), hashlib.sha256(certificate).digest()]
    else:
        options["fingerprint"] = hashlib.new(digest, certificate).digest()
    async with ScriptedServer(echo_hello, ssl=server_context()) as server:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", WeakFingerprintWarning)
            tls = trusting(fast_tls, **options)
        channel = await tls_dial(server.port, tls)
        assert await say_hello(channel) == b"hello"
        await hang_up(channel)


@both
@pytest.mark.fault("T06")
async def test_a_pin_does_not_replace_verification(fast_tls: bool) -> None:
    """The right pin on a certificate that nobody vouches for: refused, unless verification is off."""
    pin = hashlib.sha256(der(foreign())).digest()
    async with ScriptedServer([UntilClosed()], ssl=server_context(certificate=foreign())) as server:
        with pytest.raises(TLSError, match="certificate verify failed"):
            await tls_dial(server.port, trusting(fast_tls, fingerprint=pin))
        channel = await tls_dial(server.port, TLSOptions(verify_ssl=False, fingerprint=pin, fast_tls=fast_tls))
        await hang_up(channel)
        await server.until_idle()


@both
async def test_tls_inside_an_open_connection(fast_tls: bool) -> None:
    """`secure` starts TLS for the endpoint over a connection to somebody else, as in a tunnel, and checks pins."""
    right = hashlib.sha256(der(leaf())).digest()
    async with ScriptedServer(echo_hello, ssl=server_context()) as server:
        for pin in (right, bytes(32)):
            request = dial_request("localhost", 443, True)
            dial = dialer(ipv4(server.port), tls=trusting(fast_tls, fingerprint=pin))
            opening = await dial.open_tcp(request, "proxy.test", server.port)
            if pin == right:
                _, channel = (await dial.secure(request, opening)).hand_over(request.channel_factory())
                assert await say_hello(channel) == b"hello"
                await hang_up(channel)
            else:
                with pytest.raises(FingerprintMismatch):
                    await dial.secure(request, opening)
        await server.until_idle()
        assert server.connections[1].bytes_received == 0
