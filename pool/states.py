"""The life of a channel, as one table.

A channel is in exactly one state, and these events move it:

    CONNECTING --connected--> LEASED or IDLE      the dial ended; the pool decides who gets it
    IDLE       --lease------> LEASED              somebody holds it: nobody else may
    LEASED     --release----> IDLE                both directions are done and the framing proves it
    LEASED     --hand over--> LEASED              released and leased to the oldest waiter in one step
    LEASED     --detach-----> DETACHED            an upgrade: ours to count, no longer ours to drive
    any        --close------> CLOSING             we let go of it; the socket is still open
    any        --lost-------> CLOSED              the transport is gone, and with it the slot

A slot is one open socket. It is taken when a dial starts and given back by `lost`, the only event that frees it,
so closing twice, or closing what the peer has closed, cannot free a slot twice. CLOSING keeps the slot: a socket in
its TLS goodbye is an open socket. What the table does not list is a fault of ours and raises at once.
"""

from typing import Final

CONNECTING: Final = 0
IDLE: Final = 1
LEASED: Final = 2
DETACHED: Final = 3
CLOSING: Final = 4
CLOSED: Final = 5

CONNECTED: Final = 0
CONNECTED_IDLE: Final = 1
LEASE: Final = 2
RELEASE: Final = 3
HAND_OVER: Final = 4
DETACH: Final = 5
CLOSE: Final = 6
LOST: Final = 7

STATE_NAMES: Final = ("connecting", "idle", "leased", "detached", "closing", "closed")
EVENT_NAMES: Final = ("connected", "connected_idle", "lease", "release", "hand_over", "detach", "close", "lost")

NO: Final = -1

TABLE: Final[tuple[tuple[int, ...], ...]] = (
    # CONNECTED  CONNECTED_IDLE  LEASE   RELEASE  HAND_OVER  DETACH    CLOSE    LOST
    (LEASED,     IDLE,           NO,     NO,      NO,        NO,       CLOSING, CLOSED),  # CONNECTING
    (NO,         NO,             LEASED, NO,      NO,        NO,       CLOSING, CLOSED),  # IDLE
    (NO,         NO,             NO,     IDLE,    LEASED,    DETACHED, CLOSING, CLOSED),  # LEASED
    (NO,         NO,             NO,     NO,      NO,        NO,       CLOSING, CLOSED),  # DETACHED
    (NO,         NO,             NO,     NO,      NO,        NO,       NO,      CLOSED),  # CLOSING
    (NO,         NO,             NO,     NO,      NO,        NO,       NO,      NO),      # CLOSED
)  # fmt: skip


def _from(event: int) -> tuple[int, ...]:
    """The column of one event, for the two transitions that every call makes: an index instead of a call. Where the
    table has no answer it holds a number that no table row exists for, so that a fault cannot go on unseen."""
    return tuple(row[event] if row[event] >= 0 else 99 for row in TABLE)


LEASE_FROM: Final = _from(LEASE)
RELEASE_FROM: Final = _from(RELEASE)


class IllegalTransition(AssertionError):
    """An event that the table does not allow: a fault of keepwarm, never of the caller or the peer."""


def step(state: int, event: int) -> int:
    """The state after `event`. Raises IllegalTransition where the table has no answer."""
    after = TABLE[state][event]
    if after < 0:
        raise IllegalTransition(f"a channel that is {STATE_NAMES[state]} cannot take the event {EVENT_NAMES[event]!r}")
    return after
