"""ClientTimeout: how long a call may take, and where."""

import math
from dataclasses import dataclass, fields
from typing import Final

from keepwarm.client.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class ClientTimeout:
    """The time limits of one call, in seconds. 0 and None mean none, and so does infinity; all three become None.

    - `total` (default 300): from the call to the last byte of the body, redirects included.
    - `connect`: to get a connection, which is waiting for the limit and dialling.
    - `pool`: to wait for the limit alone.
    - `read`: the silence between two reads from the peer.

    Raises InvalidInput, a ValueError, for a number that is negative or not a number, and for anything else that is
    not a number (bool included).
    """

    total: float | None = 300.0
    pool: float | None = None
    connect: float | None = None
    read: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = _seconds(getattr(self, field.name), f"timeout.{field.name}")
            object.__setattr__(self, field.name, value)


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


def coerce_timeout(value: object) -> ClientTimeout:
    """What the `timeout` argument means: a ClientTimeout as it is, a number as `total`, None as no limit at all.

    A number gives a ClientTimeout with that `total` and no other limit. Raises InvalidInput for anything else.
    """
    if isinstance(value, ClientTimeout):
        return value
    if value is None:
        return NO_TIMEOUT
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidInput(
            f"timeout must be a ClientTimeout, a number of seconds or None, got {type(value).__name__}",
            argument="timeout",
        )
    return ClientTimeout(total=_seconds(value, "timeout"))
