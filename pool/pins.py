"""Pins: what the server's certificate, or the key in it, must be.

A pin is checked in addition to the chain of trust, never instead of it, on every new connection and before the
first byte of ours. One match is enough when there are several: the next certificate can be pinned beside the
present one.
"""

import asyncio
import hashlib
import hmac
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.errors import FingerprintMismatch, WeakFingerprintWarning

_DIGESTS = {16: "md5", 20: "sha1", 32: "sha256"}
_SEQUENCE = 0x30
_EXPLICIT_VERSION = 0xA0


@dataclass(frozen=True, slots=True)
class CertificatePin:
    """The digest of the whole certificate in DER form; its length says which: 32 bytes SHA-256, 20 SHA-1, 16 MD5.

    Raises TypeError for anything but bytes and ValueError for another length. The two short ones are accepted with a
    WeakFingerprintWarning.
    """

    digest: bytes

    def __post_init__(self) -> None:
        _check_digest("fingerprint", self.digest, _DIGESTS)

    def measure(self, certificate: bytes) -> bytes:
        """This pin's digest of a certificate."""
        return hashlib.new(_DIGESTS[len(self.digest)], certificate, usedforsecurity=False).digest()


@dataclass(frozen=True, slots=True)
class PublicKeyPin:
    """The SHA-256 digest of the certificate's public key (SubjectPublicKeyInfo, as in RFC 7469 2.4), 32 bytes.

    It stays right when the certificate is renewed with the same key. Raises TypeError or ValueError like
    CertificatePin.
    """

    digest: bytes

    def __post_init__(self) -> None:
        _check_digest("digest of a PublicKeyPin", self.digest, (32,))

    def measure(self, certificate: bytes) -> bytes:
        """This pin's digest of a certificate's key; empty when the certificate cannot be read."""
        try:
            return hashlib.sha256(public_key_info(certificate)).digest()
        except ValueError:
            return b""


Pin = CertificatePin | PublicKeyPin
PinReport = Callable[[FingerprintMismatch], object]


def _check_digest(name: str, digest: object, lengths: Iterable[int]) -> None:
    if not isinstance(digest, bytes):
        raise TypeError(f"{name} must be the binary digest as bytes, got {type(digest).__name__}; see bytes.fromhex()")
    if len(digest) not in lengths:
        allowed = ", ".join(str(length) for length in sorted(lengths, reverse=True))
        raise ValueError(f"{name} must be {allowed} bytes long, got {len(digest)}; a text in hex needs bytes.fromhex()")


def make_pins(fingerprint: bytes | None, pins: Iterable[Pin | bytes]) -> tuple[Pin, ...]:
    """All pins as one tuple, the fingerprint first."""
    given: object = pins
    if isinstance(given, (bytes, str)):
        raise TypeError("pins must be several pins, such as a list; a single digest goes into fingerprint=")
    made: list[Pin] = [] if fingerprint is None else [CertificatePin(fingerprint)]
    for pin in pins:
        if not isinstance(pin, (bytes, CertificatePin, PublicKeyPin)):
            raise TypeError(f"pins must hold bytes, CertificatePin or PublicKeyPin, got {type(pin).__name__}")
        made.append(CertificatePin(pin) if isinstance(pin, bytes) else pin)
    return tuple(made)


def warn_if_weak(pins: Iterable[Pin], stacklevel: int) -> None:
    """Warn about MD5 and SHA-1; `stacklevel` counts from the caller."""
    for name in sorted({_DIGESTS[len(pin.digest)] for pin in pins if len(pin.digest) != 32}):
        warnings.warn(
            f"the fingerprint is a digest of {name.upper()}, which can be forged; pin the SHA-256 digest (32 bytes)",
            WeakFingerprintWarning,
            stacklevel=stacklevel + 1,
        )


def check_pins(
    pins: tuple[Pin, ...],
    certificate: bytes | None,
    endpoint: Endpoint,
    host: str,
    port: int,
    report: PinReport | None = None,
) -> None:
    """Raise FingerprintMismatch unless one of the pins fits. No pins, no check; no certificate fits no pin.

    All pins are compared, in constant time each. With `report` nothing is raised: it is called with the error.
    """
    if not pins:
        return
    measured = [pin.measure(certificate) if certificate else b"" for pin in pins]
    fits = [hmac.compare_digest(pin.digest, got) for pin, got in zip(pins, measured, strict=True)]
    if any(fits):
        return
    error = FingerprintMismatch(pins[0].digest, measured[0], host, port, endpoint=endpoint, phase="tls", reused=False)
    error.allowed = tuple(pin.digest for pin in pins)
    if report is None:
        raise error
    _report(report, error)


def _report(report: PinReport, error: FingerprintMismatch) -> None:
    """Whoever only watches must not block, not even by his own faults."""
    error.blocked = False
    try:
        report(error)
    except Exception as exc:
        context = {"message": "pin_report raised an exception; the connection is used all the same", "exception": exc}
        asyncio.get_running_loop().call_exception_handler(context)


def public_key_info(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate in DER form (RFC 5280 4.1), header included.

    Raises ValueError when the bytes do not have that shape. Only the way to the key is read: the TLS library has
    parsed the certificate before.
    """
    body, _ = _element(certificate, 0, _SEQUENCE)
    position, _ = _element(certificate, body, _SEQUENCE)
    if certificate[position : position + 1] == bytes([_EXPLICIT_VERSION]):
        position = _element(certificate, position)[1]
    for _ in ("serial number", "signature", "issuer", "validity", "subject"):
        position = _element(certificate, position)[1]
    end = _element(certificate, position, _SEQUENCE)[1]
    return certificate[position:end]


def _element(data: bytes, position: int, tag: int | None = None) -> tuple[int, int]:
    """(start of the content, end of the element) of the DER element at `position`."""
    header = data[position : position + 2]
    if len(header) < 2 or (tag is not None and header[0] != tag):
        raise ValueError("not a certificate in DER form")
    start, length = position + 2, header[1]
    if length & 0x80:
        size = length & 0x7F
        length = int.from_bytes(data[start : start + size], "big")
        start += size
    if start + length > len(data):
        raise ValueError("the certificate is cut short")
    return start, start + length
