"""The options of TLS: what is refused, what is shared, what a pin is made of."""

import asyncio
import hashlib
import ssl
import threading
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keepwarm.pool import tls as tls_module
from keepwarm.pool import tls_contexts as tls_contexts_module
from keepwarm.pool.errors import TLSError, WeakFingerprintWarning
from keepwarm.pool.pins import CertificatePin, PublicKeyPin, public_key_info
from keepwarm.pool.tls import TLSOptions
from keepwarm.pool.tls_contexts import ContextStore, make_context
from tests.support.certificates import der, leaf
from tests.support.dialing import tls_dial
from tests.support.leaks import turns
from tests.support.server import ScriptedServer

pytestmark = pytest.mark.asyncio


@pytest.mark.fault("T07")
@pytest.mark.parametrize("size", [16, 20])
def test_weak_fingerprints_warn(size: int) -> None:
    """MD5 and SHA-1 are accepted with a warning that points at the caller's line."""
    options = TLSOptions(fingerprint=bytes(size))
    assert options.fingerprint == bytes(size)
    with pytest.warns(WeakFingerprintWarning, match="SHA-256") as caught:
        options.warn_if_weak(1)
    assert caught[0].filename == __file__


@pytest.mark.fault("T07")
@pytest.mark.parametrize("size", [0, 15, 31, 33, 64])
def test_fingerprints_of_another_length(size: int) -> None:
    """No digest has that length."""
    with pytest.raises(ValueError, match="fingerprint must be 32, 20, 16 bytes"):
        TLSOptions(fingerprint=bytes(size))


@pytest.mark.fault("T07")
@pytest.mark.parametrize("fingerprint", ["ab" * 32, bytearray(32), 5, ["x"]])
def test_fingerprints_that_are_no_bytes(fingerprint: Any) -> None:
    """A text in hex, above all, is not taken for a digest."""
    with pytest.raises(TypeError, match="fingerprint must be the binary digest"):
        TLSOptions(fingerprint=fingerprint)


@pytest.mark.fault("T07")
def test_pins_are_checked_like_fingerprints() -> None:
    """`pins` takes several; a single digest is a mistake, and so is any other thing."""
    good = hashlib.sha256(b"x").digest()
    options = TLSOptions(fingerprint=good, pins=[bytes(32), PublicKeyPin(good)])
    assert options.required_pins == (CertificatePin(good), CertificatePin(bytes(32)), PublicKeyPin(good))
    assert options.pins == options.required_pins[1:]
    with pytest.raises(TypeError, match="fingerprint="):
        TLSOptions(pins=good)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="pins must hold"):
        TLSOptions(pins=[5])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="PublicKeyPin must be 32 bytes"):
        PublicKeyPin(bytes(20))


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"verify_ssl": False, "ssl_context": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}, ValueError, "ssl_context"),
        ({"verify_ssl": None}, TypeError, "verify_ssl"),
        ({"ssl_context": True}, TypeError, "ssl_context"),
        ({"handshake_timeout": -1}, ValueError, "handshake_timeout"),
        ({"handshake_timeout": float("nan")}, ValueError, "handshake_timeout"),
        ({"handshake_timeout": "1"}, TypeError, "handshake_timeout"),
        ({"handshake_timeout": True}, TypeError, "handshake_timeout"),
        ({"shutdown_timeout": float("inf")}, ValueError, "shutdown_timeout"),
        ({"fast_tls": 1}, TypeError, "fast_tls"),
    ],
)
def test_bad_options(options: dict[str, Any], error: type[Exception], text: str) -> None:
    """An option that cannot be used is named."""
    with pytest.raises(error, match=text):
        TLSOptions(**options)


def test_fast_tls_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package, or with an OpenSSL that it cannot reach, the option says what is missing."""
    monkeypatch.setattr(tls_module.aiofastnet.openssl_compat, "OPENSSL_DYN_LIBS", None)
    with pytest.raises(ImportError, match="fast_tls=True needs a Python"):
        TLSOptions(fast_tls=True)
    monkeypatch.setattr(tls_module, "aiofastnet", None)
    with pytest.raises(ImportError, match=r"keepwarm\[fast\]"):
        TLSOptions(fast_tls=True)


def test_public_key_info_is_that_of_the_certificate() -> None:
    """The bytes pinned by a PublicKeyPin are the SubjectPublicKeyInfo."""
    certificate = der(leaf())
    expected = (
        x509.load_der_x509_certificate(certificate)
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    assert public_key_info(certificate) == expected


@pytest.mark.parametrize("cut", [0, 1, 2, 5, 40, 100])
def test_a_certificate_that_is_cut_short(cut: int) -> None:
    """Garbage fits no pin and raises nothing but ValueError."""
    with pytest.raises(ValueError, match="certificate"):
        public_key_info(der(leaf())[:cut])
    assert PublicKeyPin(bytes(32)).measure(b"\x30\x84") == b""


def test_the_default_goodbye_is_short() -> None:
    """A thousand mute peers at once are gone within the promised second."""
    assert 0 < TLSOptions().shutdown_limit <= 0.5


# Contexts


def test_the_contexts_we_make() -> None:
    """TLS 1.2 and up; with verification the system's authorities and the host name."""
    checked, unchecked = make_context(True), make_context(False)
    assert checked.verify_mode == ssl.CERT_REQUIRED and checked.check_hostname
    assert unchecked.verify_mode == ssl.CERT_NONE and not unchecked.check_hostname
    assert checked.minimum_version == unchecked.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.fault("T21")
async def test_a_context_is_built_once_and_off_the_loops_thread() -> None:
    """A hundred tasks that need a context at once cause one build, on another thread."""
    threads = []

    def make(verify_ssl: bool) -> ssl.SSLContext:
        threads.append(threading.get_ident())
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    store = ContextStore(make)
    tasks = [asyncio.create_task(store.get(True)) for _ in range(100)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    made = await asyncio.gather(*tasks[1:])
    assert tasks[0].cancelled()
    assert len(set(map(id, made))) == 1
    assert len(threads) == 1 and threads[0] != threading.get_ident()
    assert store.build(True) is made[0]
    assert await store.get(False) is not made[0]


@pytest.mark.fault("T21", "R05")
async def test_a_failed_build_is_not_kept() -> None:
    """The next dial tries again."""
    attempts = []

    def make(verify_ssl: bool) -> ssl.SSLContext:
        attempts.append(verify_ssl)
        if len(attempts) == 1:
            raise OSError(24, "Too many open files")
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    store = ContextStore(make)
    with pytest.raises(OSError, match="Too many"):
        await store.get(True)
    assert isinstance(await store.get(True), ssl.SSLContext)


@pytest.mark.fault("R05")
async def test_a_dial_without_a_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """Authorities that cannot be read are a TLSError, and nothing is connected."""

    def make(verify_ssl: bool) -> ssl.SSLContext:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(tls_contexts_module, "CONTEXTS", ContextStore(make))
    async with ScriptedServer() as server:
        with pytest.raises(TLSError, match="out of descriptors"):
            await tls_dial(server.port, TLSOptions())
        await turns(3)
        assert server.accepted == 0


def test_authorities_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A context that trusts nobody is never made in silence."""
    real = ssl.get_default_verify_paths()
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: real._replace(cafile="/nonexistent/ca.pem"))
    with pytest.raises(OSError):
        make_context(True)
