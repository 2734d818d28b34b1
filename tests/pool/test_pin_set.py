"""PinSet: which pins hold for which host."""

import hashlib
from typing import Any

import pytest

from keepwarm.pool.errors import WeakFingerprintWarning
from keepwarm.pool.pin_set import PinSet
from keepwarm.pool.pins import CertificatePin, Pin, PublicKeyPin
from keepwarm.pool.tcp_connector import TCPConnector
from keepwarm.pool.tls import TLSOptions


def digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def pin(name: str) -> Pin:
    return CertificatePin(digest(name))


PATTERNS = {
    "api.example.com": [digest("api")],
    "*.example.com": [digest("any"), PublicKeyPin(digest("key"))],
    "*.deep.example.com": [digest("deep")],
    "127.0.0.1": [digest("v4")],
    "::1": [digest("v6")],
    "b\u00fccher.example": [digest("idna")],
}


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("api.example.com", [pin("api")]),
        ("www.example.com", [pin("any"), PublicKeyPin(digest("key"))]),
        ("a.b.example.com", [pin("any"), PublicKeyPin(digest("key"))]),
        ("x.api.example.com", [pin("any"), PublicKeyPin(digest("key"))]),
        ("a.deep.example.com", [pin("deep")]),
        ("a.b.deep.example.com", [pin("deep")]),
        ("deep.example.com", [pin("any"), PublicKeyPin(digest("key"))]),
        ("example.com", []),
        ("badexample.com", []),
        ("example.com.evil.org", []),
        ("127.0.0.1", [pin("v4")]),
        ("127.0.0.2", []),
        ("::1", [pin("v6")]),
        ("xn--bcher-kva.example", [pin("idna")]),
        ("com", []),
    ],
)
def test_the_most_specific_pattern_wins(host: str, expected: list[Pin]) -> None:
    """The host itself, else the longest domain above it; a wildcard stands for one label or more, never for none."""
    assert list(PinSet(PATTERNS).for_host(host)) == expected


@pytest.mark.parametrize(
    ("patterns", "error", "text"),
    [
        ({"*": [digest("x")]}, ValueError, r"'\*' is no host pattern"),
        ({"*.": [digest("x")]}, ValueError, "is no host pattern"),
        ({"a.*.example.com": [digest("x")]}, ValueError, "is no host pattern"),
        ({"*example.com": [digest("x")]}, ValueError, "is no host pattern"),
        ({"*.*.example.com": [digest("x")]}, ValueError, "is no host pattern"),
        ({"https://example.com": [digest("x")]}, ValueError, "is no host pattern"),
        ({"example.com:443": [digest("x")]}, ValueError, "is no host pattern"),
        ({"": [digest("x")]}, ValueError, "is no host pattern"),
        ({5: [digest("x")]}, TypeError, "host pattern must be a str"),
        ({"example.com": []}, ValueError, "has no pins"),
        ({"example.com": digest("x")}, TypeError, "several pins"),
        ({"example.com": [bytes(31)]}, ValueError, "32, 20, 16 bytes"),
        ({"example.com": [5]}, TypeError, "pins must hold"),
        ({"Example.com": [digest("x")], "example.com.": [digest("y")]}, ValueError, "given twice"),
    ],
)
def test_bad_patterns(patterns: Any, error: type[Exception], text: str) -> None:
    """What is no pattern, or has no pins, is refused when the connector is made."""
    with pytest.raises(error, match=text):
        PinSet(patterns)
    with pytest.raises(error, match=text):
        TCPConnector(pins=patterns)


def test_a_mapping_is_a_pin_set() -> None:
    """`pins` takes either; two that say the same are equal."""
    made = PinSet({"EXAMPLE.com": [digest("x")], "*.Example.com": [digest("y")]})
    assert TLSOptions(pins={"*.example.com": [digest("y")], "example.com": [digest("x")]}).pins == made
    assert TLSOptions(pins=made).pins is made
    assert made.patterns == {"example.com": (pin("x"),), "*.example.com": (pin("y"),)}
    assert hash(made) == hash(PinSet(made.patterns)) and made != PinSet({"example.com": [digest("x")]})
    assert made != 5 and "*.example.com" in repr(made)


def test_the_fingerprint_counts_for_every_host() -> None:
    """Beside the pins of a host's pattern, and alone where no pattern fits."""
    options = TLSOptions(fingerprint=digest("all"), pins=PATTERNS)
    assert options.pins_for("api.example.com") == (pin("all"), pin("api"))
    assert options.pins_for("elsewhere.test") == options.required_pins == (pin("all"),)


def test_weak_digests_warn() -> None:
    """In a pattern too, with the caller's line."""
    with pytest.warns(WeakFingerprintWarning, match="SHA1") as caught:
        TCPConnector(pins={"example.com": [bytes(20)]})
    assert caught[0].filename == __file__


@pytest.mark.fault("T08")
def test_the_zone_of_an_address_makes_no_difference() -> None:
    """It says by what way an address is reached, not who it is: the pins hold. A pattern with a zone goes before."""
    pins = PinSet({"fe80::1": [digest("any")], "fe80::1%eth1": [digest("one")]})
    assert pins.for_host("fe80::1%eth0") == pins.for_host("fe80::1") == (pin("any"),)
    assert pins.for_host("fe80::1%eth1") == (pin("one"),)
    assert pins.for_host("fe80::2%eth0") == ()
