"""What all resolvers have in common, the system's lookup, and whom the default resolver asks. Rows D01, D16."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiodns
import pytest

from keepwarm.pool import resolver as resolver_module
from keepwarm.pool.address import Address, Answer
from keepwarm.pool.cares import shared_count
from keepwarm.pool.errors import DNSError, InvalidURL, PoolClosedError
from keepwarm.pool.hosts_file import HostsFile
from keepwarm.pool.resolver import AsyncResolver, Resolver, SplitResolver, ThreadResolver
from tests.support.resolvers import V4, V6, Recording

pytestmark = pytest.mark.asyncio

# What all have in common


@pytest.mark.parametrize("kind", [AsyncResolver, ThreadResolver, SplitResolver])
async def test_ip_addresses_are_answered_without_io(
    kind: Callable[[], Resolver], loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)
    resolver = kind()
    assert (await resolver.resolve("192.0.2.1", 80)).addresses == (Address("192.0.2.1", 80, V4),)
    assert (await resolver.resolve("::1", 80, V6)).addresses == (Address("::1", 80, V6),)
    assert (await resolver.resolve("fe80::1%lo", 80)).addresses == (Address("fe80::1%lo", 80, V6),)
    with pytest.raises(DNSError, match=r"it is an IPv6 address, but only IPv4 is allowed.*`family`"):
        await resolver.resolve("::1", 80, V4)
    assert shared_count(loop) == 0
    resolver.close()


# Questions that are refused


@pytest.mark.fault("D16")
@pytest.mark.parametrize(
    "host", ["a\0.example", "a b.example", "a%.example", "a\n.example", "a" * 300, "x" * 300 + ".example", "", "."]
)
@pytest.mark.parametrize("kind", [AsyncResolver, ThreadResolver, SplitResolver])
async def test_names_that_are_none_are_never_asked_for(
    host: str, kind: Callable[[], Resolver], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name with NUL, blanks, %, or 300 characters is refused before any I/O."""
    monkeypatch.setattr(socket, "getaddrinfo", None)
    resolver = kind()
    with pytest.raises(InvalidURL) as caught:
        await resolver.resolve(host, 80)
    assert str(caught.value).isprintable()
    resolver.close()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"nameservers": "127.0.0.1"}, "nameservers"),
        ({"nameservers": []}, "nameservers"),
        ({"nameservers": ["ns.example"]}, "nameservers"),
        ({"nameservers": ["127.0.0.1:0"]}, "nameservers"),
        ({"nameservers": ["127.0.0.1:99999"]}, "nameservers"),
        ({"nameservers": ["[::1]x"]}, "nameservers"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"tries": 0}, "tries"),
        ({"tries": 1.5}, "tries"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        AsyncResolver(**options)


@pytest.mark.parametrize("server", ["192.0.2.1", "192.0.2.1:53", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:53"])
def test_all_spellings_of_a_name_server_are_taken(server: str) -> None:
    AsyncResolver([server]).close()


# The system's lookup


async def test_the_system_is_asked_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def getaddrinfo(*question: Any) -> list[tuple[Any, ...]]:
        asked.append(question)
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1%lo", 80, 0, 1)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    answer = await ThreadResolver().resolve("Printer.", 80, 0)
    assert answer == Answer((Address("fe80::1%lo", 80, V6), Address("127.0.0.1", 80, V4)), None)
    assert asked == [("printer", 80, 0, socket.SOCK_STREAM)]


async def test_the_system_knows_localhost() -> None:
    answer = await ThreadResolver().resolve("localhost", 80, V4)
    assert answer.addresses == (Address("127.0.0.1", 80, V4),)


@pytest.mark.fault("D01")
@pytest.mark.parametrize(
    ("raised", "number", "text"),
    [
        (socket.gaierror(socket.EAI_NONAME, "x"), socket.EAI_NONAME, "'printer': the system knows no such name.*hosts"),
        (socket.gaierror(socket.EAI_AGAIN, "x"), socket.EAI_AGAIN, r"failed for now.*/etc/resolv\.conf"),
        (socket.gaierror(socket.EAI_FAIL, "\x1bhm"), socket.EAI_FAIL, r"\\x1bhm"),
        (OSError(24, "Too many open files"), 24, "Too many open files"),
        (UnicodeError("label too long"), socket.EAI_FAIL, "label too long"),
        (RuntimeError("can't start new thread"), socket.EAI_FAIL, "new thread"),
    ],
)
async def test_what_the_system_reports_becomes_a_dns_error(
    raised: Exception, number: int, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever getaddrinfo fails with is a DNSError with its number, printable text and what to check."""

    def getaddrinfo(*_: Any) -> list[Any]:
        raise raised

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(DNSError, match=text) as caught:
        await ThreadResolver().resolve("printer", 80)
    assert caught.value.errno == number
    assert "Check" in str(caught.value)
    assert str(caught.value).isprintable()


async def test_a_closed_thread_resolver_refuses() -> None:
    resolver = ThreadResolver()
    resolver.close()
    with pytest.raises(PoolClosedError):
        await resolver.resolve("printer", 80)


# Who is asked


@pytest.mark.parametrize(
    ("host", "whom", "name"),
    [
        ("printer", "system", "printer"),
        ("localhost", "system", "localhost"),
        ("api.localhost", "system", "localhost"),
        ("Mac.Local", "system", "mac.local"),
        ("db.internal.example", "system", "db.internal.example"),
        ("DB.internal.example.", "system", "db.internal.example"),
        ("a.example", "dns", "a.example"),
        ("local.example", "dns", "local.example"),
        ("commented.example", "dns", "commented.example"),
        ("notlocalhost.example", "dns", "notlocalhost.example"),
    ],
)
async def test_each_name_goes_to_where_its_answer_is(host: str, whom: str, name: str, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(
        "10.0.0.5\tDB.Internal.Example. db  # commented.example\nnonsense a.example\n#10.0.0.6 x.example\n"
    )
    system, dns = Recording(), Recording()
    resolver = SplitResolver(system=system, dns=dns, hosts=str(hosts))
    await resolver.resolve(host, 80)
    assert {"system": system.asked, "dns": dns.asked} == {"system": [], "dns": []} | {whom: [name]}
    resolver.close()
    assert system.closed
    assert dns.closed


async def test_a_change_of_the_hosts_file_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    hosts = HostsFile(str(path))
    assert not await hosts.has("a.example")
    path.write_text("10.0.0.1 a.example\n")
    assert await hosts.has("a.example")
    path.write_text("10.0.0.1 b.example c.example\n")
    assert not await hosts.has("a.example")
    assert await hosts.has("c.example")
    path.unlink()
    assert not await hosts.has("c.example")


async def test_a_failure_of_dns_is_not_hidden_by_the_system(tmp_path: Path) -> None:
    system, dns = Recording(), Recording()
    dns.raises = DNSError(socket.EAI_NONAME, "no such name")
    resolver = SplitResolver(system=system, dns=dns, hosts=str(tmp_path / "none"))
    with pytest.raises(DNSError, match="no such name"):
        await resolver.resolve("a.example", 80)
    assert not system.asked
    resolver.close()


def test_old_cares_takes_two_words() -> None:
    with pytest.raises(ValueError, match="old_cares"):
        SplitResolver(old_cares="ignore")  # type: ignore[arg-type]


async def test_status_codes_are_those_of_cares() -> None:
    """The codes are written down so that the library can load late; they must stay the library's."""
    ours = {name: value for name, value in vars(resolver_module).items() if name.startswith("ARES_")}
    assert ours and ours == {name: getattr(aiodns.error, name) for name in ours}
