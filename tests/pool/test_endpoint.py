"""Endpoint: the key of the pool (FAULTS P38)."""

import pickle

import pytest

from keepwarm.pool.endpoint import Endpoint, make_endpoint, normalise_host
from keepwarm.pool.errors import InvalidURL

pytestmark = pytest.mark.fault("P38")


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("example.com", "example.com"),
        ("EXAMPLE.Com", "example.com"),
        ("example.com.", "example.com"),
        ("localhost", "localhost"),
        ("a", "a"),
        ("_dmarc.example.com", "_dmarc.example.com"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example.", "xn--bcher-kva.example"),
        ("bücher。example", "xn--bcher-kva.example"),  # U+3002, a full stop to IDNA
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("[2001:DB8::00A]", "2001:db8::a"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("[fe80::1%25eth0]", "fe80::1%eth0"),
        ("FE80::1%Eth0", "fe80::1%Eth0"),  # interface names know case
        ("1.example", "1.example"),
        ("0x7f.example", "0x7f.example"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
        ("www." + "a" * 63 + ".example", "www." + "a" * 63 + ".example"),
        ("www." + "a" * 63, "www." + "a" * 63),
    ],
)
def test_one_spelling(given: str, host: str) -> None:
    """Case, trailing dot, IDNA and the spelling of an address do not make two endpoints of one."""
    assert normalise_host(given) == host
    assert normalise_host(host) == host


@pytest.mark.parametrize(
    "given",
    [
        "",
        ".",
        "..",
        "example..com",
        ".example.com",
        "example.com..",
        "-example.com",
        "exa mple.com",
        "example.com:80",
        "example.com/",
        "user@example.com",
        "example.com\r\nHost: other",
        "example.com\x00",
        "example.com%00",
        "example.com\n",
        "a" * 64 + ".example",
        "www." + "a" * 64 + ".example",
        "a." * 126 + "ab",
        "ü" * 300,
        "\ud800.example",
        "[example.com]",
        "[127.0.0.1",
        "::g",
        ":::",
        "[::1",
        "::1]",
        "fe80::1%",
        "fe80::1%eth 0",
        "fe80::1%" + "x" * 65,
    ],
)
def test_no_host(given: str) -> None:
    """Refused before any I/O, by name, and with what was given escaped."""
    with pytest.raises(InvalidURL, match="host") as caught:
        make_endpoint(given, 80)
    assert "\n" not in str(caught.value)
    assert "\x00" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.0.0.01",
        "127.0.0.0x1",
        "1.2.3.4.5",
        "1.2.3.256",
        "example.0x1f",
        "example.7",
        "127.0.0.1.",
        "\uff11\uff12\uff17.0.0.1",  # full-width digits
    ],
)
def test_legacy_addresses(given: str) -> None:
    """Resolvers disagree on these, and filters have been fooled by them."""
    with pytest.raises(InvalidURL, match="legacy numeric form"):
        make_endpoint(given, 80)


def test_default_ports() -> None:
    """No port is the scheme's own, and the same endpoint as the port written out."""
    assert make_endpoint("example.com") == make_endpoint("example.com", 80) == Endpoint("example.com", 80, False)
    assert make_endpoint("example.com", None, True) == make_endpoint("example.com", 443, True)


def test_what_tells_endpoints_apart() -> None:
    """http and https on one port, two ports, two names, two zones."""
    distinct = {
        make_endpoint("example.com", 8080),
        make_endpoint("example.com", 8080, True),
        make_endpoint("example.com", 8081),
        make_endpoint("www.example.com", 8080),
        make_endpoint("fe80::1%eth0", 8080),
        make_endpoint("fe80::1%eth1", 8080),
        make_endpoint("fe80::1", 8080),
    }
    assert len(distinct) == 7


@pytest.mark.parametrize("port", [0, -1, 65536, 80.0, "80", True])
def test_no_port(port: object) -> None:
    with pytest.raises(InvalidURL, match=r"^port must be a whole number from 1 to 65535"):
        make_endpoint("example.com", port)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", [None, b"example.com", 7])
def test_no_text(host: object) -> None:
    with pytest.raises(InvalidURL, match=r"^host must be a str"):
        make_endpoint(host, 80)  # type: ignore[arg-type]


def test_a_refusal_is_a_value_error() -> None:
    """Rows M: InvalidURL is a ValueError."""
    with pytest.raises(ValueError, match="legal host name"):
        make_endpoint("a b")


@pytest.mark.parametrize(
    ("endpoint", "text"),
    [
        (make_endpoint("example.com"), "http://example.com:80"),
        (make_endpoint("::1", 8443, True), "https://[::1]:8443"),
    ],
)
def test_text(endpoint: Endpoint, text: str) -> None:
    """As it reads in messages."""
    assert str(endpoint) == text
    assert pickle.loads(pickle.dumps(endpoint)) == endpoint
