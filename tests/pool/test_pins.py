"""Pins: checked on each connection, before the first byte, in addition to the chain."""

import hashlib
import pickle
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
from tests.support.leaks import Baseline
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


@both
@pytest.mark.fault("T05")
async def test_pins_that_are_only_reported(fast_tls: bool) -> None:
    """The connection is used; whoever watches hears what was expected and what came, for each connection."""
    reported: list[FingerprintMismatch] = []
    expected = (hashlib.sha256(b"one").digest(), hashlib.sha256(b"two").digest())
    async with ScriptedServer(echo_hello, ssl=server_context()) as server:
        tls = trusting(fast_tls, pins=expected, pin_report=reported.append)
        for _ in range(2):
            channel = await tls_dial(server.port, tls)
            assert await say_hello(channel) == b"hello"
            await hang_up(channel)
    assert [error.allowed for error in reported] == [expected] * 2
    got = hashlib.sha256(der(leaf())).digest()
    for error in reported:
        assert (error.host, error.port, error.got) == ("localhost", server.port, got)
        for part in (expected[0].hex(), expected[1].hex(), got.hex(), "the connection is used"):
            assert part in str(error)


@both
async def test_a_report_that_fails(fast_tls: bool, baseline: Baseline) -> None:
    """It cannot block either: the loop's exception handler hears of it."""

    def fail(error: FingerprintMismatch) -> None:
        raise RuntimeError("the log is full")

    async with ScriptedServer(echo_hello, ssl=server_context()) as server:
        channel = await tls_dial(server.port, trusting(fast_tls, fingerprint=bytes(32), pin_report=fail))
        assert await say_hello(channel) == b"hello"
        await hang_up(channel)
    assert len(baseline.errors) == 1 and "pin_report raised" in baseline.errors[0]
    baseline.errors.clear()


@both
async def test_right_pins_are_not_reported(fast_tls: bool) -> None:
    """Nor is a host without pins."""
    reported: list[FingerprintMismatch] = []
    right = hashlib.sha256(der(leaf())).digest()
    async with ScriptedServer(echo_hello, ssl=server_context()) as server:
        for pins in ({"localhost": [bytes(32), right]}, {"elsewhere.test": [bytes(32)]}):
            channel = await tls_dial(server.port, trusting(fast_tls, pins=pins, pin_report=reported.append))
            await hang_up(channel)
    assert reported == []


@both
@pytest.mark.fault("T05", "T08")
async def test_pins_by_host(fast_tls: bool) -> None:
    """Each host is held to its own pins, on one connector; one that no pattern names is not pinned."""
    right = hashlib.sha256(der(leaf())).digest()
    tls = trusting(fast_tls, pins={"*.keepwarm.test": [right], "bad.keepwarm.test": [bytes(32)]})
    async with ScriptedServer(echo_hello, ssl=server_context()) as server:
        for host in ("good.keepwarm.test", "localhost"):
            channel = await tls_dial(server.port, tls, host)
            assert await say_hello(channel) == b"hello"
            await hang_up(channel)
        with pytest.raises(FingerprintMismatch) as caught:
            await tls_dial(server.port, tls, "bad.keepwarm.test")
        await server.until_idle()
        assert server.connections[2].bytes_received == 0
    assert caught.value.host == "bad.keepwarm.test" and caught.value.allowed == (bytes(32),)


def test_a_mismatch_survives_pickling() -> None:
    """With all it says."""
    error = FingerprintMismatch(bytes(32), b"got", "a.test", 443)
    error.allowed = (bytes(32), b"x" * 32)
    error.blocked = False
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) and again.allowed == error.allowed and not again.blocked
