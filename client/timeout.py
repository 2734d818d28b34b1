"""ClientTimeout: how long a call may take, and where."""

import math
from dataclasses import dataclass
from typing import Final, Never

from keepwarm.client.errors import InvalidInput


@dataclass(frozen=True, slots=True, init=False)
class ClientTimeout:
    """The time limits of one call, in seconds. 0 and None mean none, and so does infinity; all three become None.

    - `total` (default 300): from the call to the last byte of the body, redirects included.
    - `connect`: to get a connection, which is waiting for the limit and dialling.
    - `pool`: to wait for the limit alone.
    - `read`: the silence between two reads from the peer.

    All but `total` are given by name. `sock_read` is another name of `read`. `sock_connect` is taken for `connect`, and
    so bounds the waiting too: the time of dialling alone belongs to the pool, see ``TCPConnector(conn_timeout=)``.

    Raises InvalidInput, a ValueError, for a number that is negative or not a number, for anything else that is not a
    number (bool included), and for both names of one limit; TypeError for a name that there is not.
    """

    total: float | None
    pool: float | None
    connect: float | None
    read: float | None

    def __init__(
        self,
        total: float | None = 300.0,
        *,
        connect: float | None = None,
        pool: float | None = None,
        read: float | None = None,
        sock_connect: float | None = None,
        sock_read: float | None = None,
        **unknown: Never,
    ) -> None:
        if unknown:
            raise TypeError(
                f"ClientTimeout has no '{next(iter(unknown))}': its limits are total, connect, pool and read; how long "
                "dialling may take is TCPConnector(conn_timeout=...)"
            )
        connect = _one_of("connect", connect, "sock_connect", sock_connect)
        read = _one_of("read", read, "sock_read", sock_read)
        for name, value in (("total", total), ("pool", pool), ("connect", connect), ("read", read)):
            object.__setattr__(self, name, _seconds(value, f"timeout.{name}"))

    @property
    def sock_connect(self) -> float | None:
        """The same as `connect`."""
        return self.connect

    @property
    def sock_read(self) -> float | None:
        """The same as `read`."""
        return self.read


def _one_of(name: str, value: float | None, alias: str, other: float | None) -> float | None:
    if other is None:
        return value
    if value is not None:
        hint = "; the time of dialling alone is TCPConnector(conn_timeout=...)" if name == "connect" else ""
        raise InvalidInput(
            f"timeout.{name} and timeout.{alias} are one limit: give one of them{hint}", argument="timeout"
        )
    return other


def _seconds(value: object, argument: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidInput(
            f"{argument} must be a number of seconds or None, got {type(value).__name__}", argument=argument
        )
    try:
        seconds = float(value)
    except OverflowError:
        raise InvalidInput(f"{argument} is too large", argument=argument) from None
    if math.isnan(seconds) or seconds < 0:
        raise InvalidInput(f"{argument} must be a number of seconds from 0 up, got {seconds!r}", argument=argument)
    return None if seconds == 0 or seconds == math.inf else seconds


DEFAULT_TIMEOUT: Final = ClientTimeout()
NO_TIMEOUT: Final = ClientTimeout(total=None)


def coerce_timeout(value: object, argument: str = "timeout") -> ClientTimeout:
    """What the argument of that name means: a ClientTimeout as it is, a number as `total`, None as no limit at all.

    A number gives a ClientTimeout with that `total` and no other limit. Raises InvalidInput for anything else.
    """
    if isinstance(value, ClientTimeout):
        return value
    if value is None:
        return NO_TIMEOUT
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidInput(
            f"{argument} must be a ClientTimeout, a number of seconds or None, got {type(value).__name__}",
            argument=argument,
        )
    return ClientTimeout(total=_seconds(value, argument))
