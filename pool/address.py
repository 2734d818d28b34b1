"""Address: one place to connect to; Answer: what a lookup found."""

import ipaddress
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


def _parse(host: str) -> tuple[str, int] | None:
    """The address in its one canonical form, and its family; None if it is a name."""
    if ":" not in host and not host[-1:].isdigit():
        return None  # the last label of a name is never all digits
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return None
    return str(parsed), int(socket.AF_INET if parsed.version == 4 else socket.AF_INET6)
