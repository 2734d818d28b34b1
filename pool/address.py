"""Address: one place to connect to; Answer: what a lookup found."""

import ipaddress
import math
import socket
from collections.abc import Iterable
from typing import Final, NamedTuple

from keepwarm.pool.errors import DNSError, printable

FAMILIES: Final = (0, int(socket.AF_INET), int(socket.AF_INET6))
FAMILY_NAMES: Final = {
    0: "IPv4 or IPv6",
    int(socket.AF_INET): "IPv4",
    int(socket.AF_INET6): "IPv6",
}

# A hostile or careless answer can carry thousands of addresses. Nobody tries more than a few, and each one that is
# kept costs memory in the cache and time in a dial that fails. So many of each family are kept, 64 in all.
MAX_PER_FAMILY: Final = 32


class Address(NamedTuple):
    """An IP address (numeric, with ``%zone`` where it has one), a port, and AF_INET or AF_INET6."""

    host: str
    port: int
    family: int


class Answer(NamedTuple):
    """What a lookup found: at least one address, best first, and how many seconds they hold (None: not known)."""

    addresses: tuple[Address, ...]
    ttl: float | None


def check_query(host: str, port: int, family: int) -> None:
    """Refuse what no resolver can be asked. Raises TypeError or ValueError that names the argument."""
    if not isinstance(host, str):
        raise TypeError(f"host must be a str, got {type(host).__name__}")
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port < 65536:
        raise ValueError(f"port must be a whole number from 0 to 65535, got {port!r}")
    if family not in FAMILIES:
        raise ValueError(f"family must be 0, socket.AF_INET or socket.AF_INET6, got {family!r}")


def literal_answer(host: str, port: int, family: int = 0) -> Answer | None:
    """The answer to a host that is an IP address already; None if it is a name.

    It holds for ever: nothing is asked. Raises DNSError if the address is not of the wanted family.
    """
    literal = _parse(host)
    if literal is None:
        return None
    numeric, found = literal
    if family not in (0, found):
        raise DNSError(
            socket.EAI_FAMILY,
            f"cannot use {printable(host)}: it is an {FAMILY_NAMES[found]} address, but only "
            f"{FAMILY_NAMES[family]} is allowed. Check the connector's `family`",
        )
    return Answer((Address(numeric, port, found),), float("inf"))


def name_answer(name: str, port: int, found: Iterable[tuple[str, int]], ttl: float | None) -> Answer:
    """The answer made of the (numeric host, family) pairs that a resolver found for `name`.

    The order is kept, doubles are dropped, each family is cut to MAX_PER_FAMILY, and what is not an address is
    refused. Raises DNSError if nothing is left.
    """
    kept: dict[Address, None] = {}
    room = {int(socket.AF_INET): MAX_PER_FAMILY, int(socket.AF_INET6): MAX_PER_FAMILY}
    for host, family in found:
        literal = _parse(host)
        if literal is None or literal[1] != family:
            continue
        address = Address(literal[0], port, family)
        if address not in kept and room[family]:
            room[family] -= 1
            kept[address] = None
    if not kept:
        raise DNSError(
            socket.EAI_NONAME,
            f"cannot resolve {printable(name)!r}: the answer holds no usable IP address. "
            "Check the A and AAAA records of the name and the connector's `family`",
        )
    return Answer(tuple(kept), ttl)


def check_answer(name: str, answer: object) -> Answer:
    """What any resolver, a caller's own too, returned for `name`, fit for use: IP addresses in their canonical form.

    Each family is cut to MAX_PER_FAMILY; a TTL that is no number counts as not known. Raises DNSError for an answer
    that is empty, or is something else.
    """
    if not isinstance(answer, Answer):
        raise _bad_answer(name, f"returned {type(answer).__name__}, not an Answer")
    kept: dict[Address, None] = {}
    room = {int(socket.AF_INET): MAX_PER_FAMILY, int(socket.AF_INET6): MAX_PER_FAMILY}
    for given in answer.addresses:
        address = _checked(name, given)
        if address not in kept and room[address.family]:
            room[address.family] -= 1
            kept[address] = None
    if not kept:
        raise DNSError(
            socket.EAI_NONAME,
            f"cannot resolve {printable(name)!r}: the resolver found no address. A resolver must raise DNSError "
            "instead",
        )
    ttl = answer.ttl
    is_known = isinstance(ttl, int | float) and not isinstance(ttl, bool) and not math.isnan(ttl)
    return Answer(tuple(kept), ttl if is_known else None)


def _checked(name: str, given: object) -> Address:
    if not isinstance(given, Address) or not isinstance(given.host, str):
        raise _bad_answer(name, f"gave {type(given).__name__}, not an Address, among the addresses")
    literal = _parse(given.host)
    if literal is None or literal[1] != given.family:
        raise _bad_answer(name, f"gave {printable(given.host)!r}, which is not an IP address of family {given.family}")
    if isinstance(given.port, bool) or not isinstance(given.port, int) or not 0 <= given.port < 65536:
        raise _bad_answer(name, f"gave the port {printable(str(given.port))} to {given.host}")
    return Address(literal[0], given.port, literal[1])


def _bad_answer(name: str, what: str) -> DNSError:
    return DNSError(
        socket.EAI_FAIL, f"cannot resolve {printable(name)!r}: the resolver {what}. Check the connector's `resolver`"
    )


def _parse(host: str) -> tuple[str, int] | None:
    """The address in its one canonical form, and its family; None if it is a name."""
    if ":" not in host and not host[-1:].isdigit():
        return None  # the last label of a name is never all digits
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return None
    return str(parsed), int(socket.AF_INET if parsed.version == 4 else socket.AF_INET6)
