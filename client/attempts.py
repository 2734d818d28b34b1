"""Attempts: how often a request was sent, and what became of each time."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from keepwarm.client.errors import ResponseDisconnected
from keepwarm.pool.channel import Channel
from keepwarm.pool.errors import ClientError
from keepwarm.pool.race import address_text

if TYPE_CHECKING:
    from keepwarm.client.exchange import Exchange

# How much of a request had gone out.
NONE: Final = "none"
PART: Final = "part"
ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One time that a request was sent, or was to be.

    `number` counts from 1. `connection` is the number of the connection (that of the connector's events), `address`
    the peer's; None where there was none, and for an answer whose connection serves others by now. `reused`: the
    connection had served or lain idle before. Then either `status`, of the answer, or `error`, the kind and the text
    of what went wrong. `written` is how much of the request was given to the connection: "none", "part" or "all";
    whether the peer read it nobody knows. `waited`: the seconds of pause before it.
    """

    number: int
    connection: int | None = None
    address: str | None = None
    reused: bool | None = None
    status: int | None = None
    error: str | None = None
    written: str = NONE
    waited: float = 0.0


class Trail(NamedTuple):
    """What came before the answer that the caller gets, and how that one was come by."""

    earlier: tuple[Attempt, ...] = ()
    waited: float = 0.0
    connection: int | None = None
    address: str | None = None


_NO_TRAIL: Final = Trail()


def attempts_of(exchange: "Exchange") -> tuple[Attempt, ...]:
    """All attempts of an exchange that got its answer; made when it is looked at, as there is mostly one."""
    trail: Trail = getattr(exchange, "trail", _NO_TRAIL)
    return (*trail.earlier, answered(exchange, trail))


def answered(exchange: "Exchange", trail: Trail = _NO_TRAIL) -> Attempt:
    """The attempt that the exchange is, now that it has its answer."""
    channel, head, upload = exchange.channel, exchange.head, exchange.upload
    connection, address = trail.connection, trail.address
    if connection is None and channel is not None:
        connection, address = channel.number, peer_of(channel)
    return Attempt(
        len(trail.earlier) + 1,
        connection,
        address,
        exchange.reused,
        status=None if head is None else head.status,
        written=ALL if upload is None or upload.is_sent else PART,
        waited=trail.waited,
    )


def failed(number: int, error: ClientError, waited: float = 0.0) -> Attempt:
    """The attempt that ended with this error."""
    text = f"{type(error).__name__}: {error}"
    if not isinstance(error, ResponseDisconnected):
        return Attempt(number, reused=error.reused, error=text, waited=waited)
    return Attempt(
        number, error.connection, error.address, error.reused, error=text, written=error.written or ALL, waited=waited
    )


def peer_of(channel: Channel) -> str | None:
    """The address that the channel is, or was, connected to."""
    peer = channel.transport_info("peername")
    if isinstance(peer, tuple):
        return address_text(peer)
    return peer or None if isinstance(peer, str) else None
