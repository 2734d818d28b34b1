"""AsyncResolver against a scripted name server: answers, failures, hostile packets. Rows D01, D06, D16, D17."""

import socket

import pytest

from keepwarm.pool.address import MAX_PER_FAMILY, Address, name_answer
from keepwarm.pool.errors import DNSError
from tests.support.nameserver import NameServer, Script, alias_of_bytes, compression_loop, counts_of_65535, question_end
from tests.support.resolvers import V4, V6, asking, hosts_of

pytestmark = pytest.mark.asyncio

# Answers


async def test_addresses_of_both_families_with_the_port() -> None:
    async with NameServer() as dns:
        dns.add("a.example", "10.0.0.1", "::1", ttl=30)
        with asking(dns) as resolver:
            answer = await resolver.resolve("a.example", 8080)
    assert set(answer.addresses) == {Address("10.0.0.1", 8080, V4), Address("::1", 8080, V6)}


@pytest.mark.parametrize(("family", "expected"), [(V4, ["10.0.0.1"]), (V6, ["::1"])])
async def test_one_family_only(family: int, expected: list[str]) -> None:
    async with NameServer() as dns:
        dns.add("a.example", "10.0.0.1", "::1")
        with asking(dns) as resolver:
            assert hosts_of(await resolver.resolve("a.example", 80, family)) == expected
        assert dns.total == 1


async def test_the_ttl_is_that_of_the_shortest_record() -> None:
    async with NameServer() as dns:
        dns.add("a.example", "10.0.0.1", ttl=30)
        dns.add("b.example", "10.0.0.1", ttl=30)
        dns.alias("b.example", "c.example", ttl=7)
        with asking(dns) as resolver:
            assert (await resolver.resolve("a.example", 80)).ttl == 30.0
            assert (await resolver.resolve("b.example", 80)).ttl == 7.0


@pytest.mark.fault("D06")
async def test_nothing_below_us_keeps_an_answer() -> None:
    """Each lookup reaches the name server: a new address shows at once, and a name that comes back is found."""
    async with NameServer() as dns:
        dns.add("a.example", "10.0.0.1", ttl=3600)
        dns.fail("b.example", "NXDOMAIN")
        with asking(dns) as resolver:
            assert hosts_of(await resolver.resolve("a.example", 80)) == ["10.0.0.1"]
            with pytest.raises(DNSError):
                await resolver.resolve("b.example", 80)
            dns.add("a.example", "10.0.0.2")
            dns.add("b.example", "10.0.0.3")
            assert hosts_of(await resolver.resolve("a.example", 80)) == ["10.0.0.2"]
            assert hosts_of(await resolver.resolve("b.example", 80)) == ["10.0.0.3"]
        assert dns.count("a.example") == 2


# Failures


@pytest.mark.fault("D01")
@pytest.mark.parametrize(
    ("rcode", "number", "said", "check"),
    [
        ("NXDOMAIN", socket.EAI_NONAME, r"does not exist \(NXDOMAIN\)", "spelling"),
        ("SERVFAIL", socket.EAI_AGAIN, r"\(SERVFAIL\)", "DNSSEC"),
        ("REFUSED", socket.EAI_FAIL, r"\(REFUSED\)", "serves this client"),
        ("NOERROR", socket.EAI_NONAME, r"no IPv4 or IPv6 address \(no data\)", "A and AAAA"),
    ],
)
async def test_failure_says_what_the_server_said(rcode: str, number: int, said: str, check: str) -> None:
    """A failed lookup is a DNSError with the name, the server's answer, the servers asked, and what to check."""
    async with NameServer() as dns:
        dns.fail("a.example", rcode)
        with asking(dns, tries=1) as resolver, pytest.raises(DNSError, match=said) as caught:
            await resolver.resolve("a.example", 80)
    assert caught.value.errno == number
    assert caught.value.phase == "resolve"
    assert "'a.example'" in str(caught.value)
    assert check in str(caught.value)
    assert dns.address in str(caught.value)


@pytest.mark.fault("D01")
async def test_silence_is_a_timeout() -> None:
    """Name servers that never answer end the lookup after timeout and tries."""
    async with NameServer() as dns:
        dns.mute("a.example")
        with asking(dns, timeout=0.05, tries=1) as resolver, pytest.raises(DNSError, match=r"\(timeout\)") as caught:
            await resolver.resolve("a.example", 80)
    assert caught.value.errno == socket.EAI_AGAIN
    assert dns.count("a.example") >= 1


@pytest.mark.fault("D16")
@pytest.mark.parametrize(
    "labels",
    [(b"a\0b", b"example"), (b"a b", b"example"), (b"a%s",), (b"\xff\xfe",), (b"a\nb",), (b"a.b",), (b"x" * 63,) * 5],
)
async def test_an_alias_that_is_no_host_name_makes_the_answer_invalid(labels: tuple[bytes, ...]) -> None:
    """An answer whose CNAME holds NUL, blanks, %, raw bytes or 300 characters is refused, and shown escaped."""
    async with NameServer() as dns:
        dns.script("a.example", alias_of_bytes(*labels))
        with asking(dns, tries=1) as resolver, pytest.raises(DNSError) as caught:
            await resolver.resolve("a.example", 80)
    assert caught.value.errno == socket.EAI_FAIL
    assert str(caught.value).isprintable()
    assert str(caught.value).isascii()


async def test_an_alias_that_is_a_host_name_is_followed() -> None:
    async with NameServer() as dns:
        dns.script("a.example", alias_of_bytes(b"_b-1", b"Example"))
        with asking(dns) as resolver:
            assert hosts_of(await resolver.resolve("a.example", 80)) == ["10.0.0.1", "::2"]


def _other_id(query: bytes) -> list[bytes]:
    return [bytes([query[0] ^ 255]) + query[1:2] + b"\x81\x80" + query[4:]]


@pytest.mark.fault("D17")
@pytest.mark.parametrize(
    "script",
    [
        counts_of_65535,
        compression_loop,
        _other_id,
        lambda query: [b"\xff" * 512],
        lambda query: [query[:7]],
        lambda query: [query[:2] + b"\x81\x80" + query[4 : question_end(query) - 3]],
    ],
)
async def test_packets_that_are_not_dns(script: Script) -> None:
    """Impossible counts, a compression loop, a foreign id, noise and cut headers end in a DNSError."""
    async with NameServer() as dns:
        dns.script("a.example", script)
        dns.add("b.example", "10.0.0.1")
        expected = pytest.raises(DNSError, match=r"not valid DNS|\(timeout\)")
        with asking(dns, timeout=0.05, tries=1) as resolver, expected:
            await resolver.resolve("a.example", 80)
        with asking(dns) as resolver:
            assert hosts_of(await resolver.resolve("b.example", 80)) == ["10.0.0.1"]


@pytest.mark.fault("D17")
async def test_an_empty_datagram_is_passed_over() -> None:
    """A zero-length UDP packet in front of the answer does not end the lookup (CVE-2023-32067)."""
    good = alias_of_bytes(b"b", b"example")
    async with NameServer() as dns:
        dns.script("a.example", lambda query: [b"", *good(query)])
        with asking(dns) as resolver:
            assert hosts_of(await resolver.resolve("a.example", 80)) == ["10.0.0.1", "::2"]


@pytest.mark.fault("D17")
async def test_thousands_of_addresses_are_cut() -> None:
    """Of an answer that fills 64 KiB, 32 addresses of each family are kept; the rest is dropped."""
    async with NameServer(tcp=True) as dns:
        many = [f"10.0.{n // 250}.{n % 250 + 1}" for n in range(2000)] + [f"::1:{n:x}" for n in range(1, 200)]
        dns.add("a.example", *many)
        with asking(dns) as resolver:
            answer = await resolver.resolve("a.example", 80)
    families = [address.family for address in answer.addresses]
    assert (families.count(V4), families.count(V6)) == (MAX_PER_FAMILY, MAX_PER_FAMILY)
    assert {address.host for address in answer.addresses} <= set(many)


@pytest.mark.fault("D17")
def test_ten_thousand_addresses_of_any_resolver_are_cut() -> None:
    """Doubles and what is not an address are dropped, the order stays, each family is cut."""
    found = [("10.0.0.1", V4), ("10.0.0.1", V4), ("evil.example", V4), ("::1", V4), ("10.0.0.2", 99), ("a\0:", V6)]
    found += [(f"10.1.{n // 250}.{n % 250}", V4) for n in range(10_000)] + [("::1", V6)]
    addresses = name_answer("a.example", 80, found, None).addresses
    assert addresses[:2] == (Address("10.0.0.1", 80, V4), Address("10.1.0.0", 80, V4))
    assert addresses[-1] == Address("::1", 80, V6)
    assert len(addresses) == MAX_PER_FAMILY + 1
    with pytest.raises(DNSError, match="no usable IP address"):
        name_answer("a.example", 80, found[2:6], None)
