"""The cells of the fault matrix: eight faults, eight ways to a server, and the phase in which a fault strikes.

Each has one documented outcome. A cell is left out where it means nothing: a fault that lasts has no phase, and where
a dial exchanges no byte there is nothing to cut.
"""

from dataclasses import dataclass
from typing import Final

from keepwarm.client.errors import ClientPayloadError, ServerDisconnectedError
from keepwarm.pool.errors import (
    ClientError,
    ClientTimeoutError,
    ConnectTimeoutError,
    ProxyConnectionError,
    TLSError,
)

# Which a proxy is spoken to, or a socket connected to, with TLS: the second of each pair. A tunnel has TLS inside
# either way.
WAYS: Final = ("TCP", "TCP, TLS", "forward", "forward, TLS", "CONNECT", "CONNECT, TLS", "unix", "unix, TLS")
LASTING: Final = ("latency", "bandwidth", "slicing", "slow close")
STRIKING: Final = ("down", "black hole", "reset", "data limit")
FAULTS: Final = LASTING + STRIKING
PHASES: Final = ("always", "dial", "idle", "head", "body")

Outcome = type[Exception] | None


@dataclass(frozen=True, slots=True)
class Cell:
    """One fault on one way in one phase. `outcome` is the error of the call, None if it is served."""

    fault: str
    way: str
    phase: str
    outcome: Outcome

    @property
    def name(self) -> str:
        return f"{self.fault}/{self.way}/{self.phase}"


def all_cells() -> list[Cell]:
    """Every cell that means something."""
    found = [Cell(fault, way, "always", None) for fault in LASTING for way in WAYS]
    for way in WAYS:
        # The connection is accepted, and reset at once: it depends on the moment what is under way by then.
        found += [Cell("down", way, phase, ClientError) for phase in ("dial", "idle")]
        for fault in STRIKING[1:]:
            if says_something_in_a_dial(way):
                found.append(Cell(fault, way, "dial", ConnectTimeoutError if fault == "black hole" else _cut(way)))
            for phase in ("idle", "head", "body"):
                found.append(Cell(fault, way, phase, _in_use(fault, phase)))
    return found


def says_something_in_a_dial(way: str) -> bool:
    """Whether the other side speaks before the request is sent."""
    return way.endswith("TLS") or way == "CONNECT"


def _cut(way: str) -> Outcome:
    """The connection ends in the middle of what a dial exchanges."""
    return ProxyConnectionError if way == "CONNECT" else TLSError


def _in_use(fault: str, phase: str) -> Outcome:
    if fault == "black hole":
        return ClientTimeoutError
    # A connection that dies idle is replaced without an error; before its first answer it is not known to have died.
    return {"idle": None, "head": ServerDisconnectedError, "body": ClientPayloadError}[phase]
