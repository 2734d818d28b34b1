"""HostsFile: the names that the machine's own table gives an address to."""

import asyncio
import ipaddress
import os
from typing import Final

HOSTS_PATH: Final = "/etc/hosts"


class HostsFile:
    """Which names stand in the hosts file (hosts(5)).

    The file is looked at on each call and read again, in a thread, when it has changed. A file that is missing or
    cannot be read holds no names.
    """

    __slots__ = ("_names", "_path", "_stamp")

    def __init__(self, path: str = HOSTS_PATH) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._names: frozenset[str] = frozenset()

    async def has(self, name: str) -> bool:
        """Whether `name` (lower case, no trailing dot) stands in the file. Waits only when the file has changed."""
        stamp = self._look()
        if stamp != self._stamp:
            loop = asyncio.get_running_loop()
            names = await loop.run_in_executor(None, read_names, self._path)
            # The stamp is the older of the two: a change in between is seen by the next call.
            self._stamp, self._names = stamp, names
        return name in self._names

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def read_names(path: str) -> frozenset[str]:
    """The names in the hosts file at `path`, in lower case. Lines that do not start with an address are passed over."""
    names: set[str] = set()
    try:
        with open(path, encoding="latin-1") as lines:
            for line in lines:
                fields = line.partition("#")[0].split()
                if len(fields) > 1 and _is_address(fields[0]):
                    names.update(field.lower().removesuffix(".") for field in fields[1:])
    except OSError:
        return frozenset()
    return frozenset(names)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
