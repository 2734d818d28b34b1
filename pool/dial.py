"""DialRequest: one connection that is wanted, and how far it has got. Dial: the pool's hold on the making of it."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from keepwarm.pool.clock import NEVER, monotonic
from keepwarm.pool.dial_times import DialTimes
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.endpoint_pool import EndpointPool
from keepwarm.pool.errors import ConnectTimeoutError

if TYPE_CHECKING:
    from keepwarm.pool.channel import Channel


class DialRequest:
    """What a connector's ``_create_connection`` is given.

    `host`, `port` and `ssl` say where to (reference: the *req* argument). Whoever dials keeps `phase` ("resolve",
    "connect", "proxy" or "tls") up to date and appends (address, outcome) to `attempts`, so that a dial that is cut off
    by conn_timeout can say where it was. `channel_factory()` makes the protocol object to hand to the transport.
    `marks` is when each phase began, by `now`. `via` names what the way leads through, such as a proxy, for errors.
    """

    __slots__ = ("_now", "attempts", "channel_factory", "endpoint", "marks", "via")

    def __init__(
        self, endpoint: Endpoint, channel_factory: "Callable[[], Channel]", now: Callable[[], float] = monotonic
    ) -> None:
        self.endpoint = endpoint
        self.channel_factory = channel_factory
        self._now = now
        self.marks: list[tuple[str, float]] = []
        self.attempts: list[tuple[str, str]] = []
        self.via = ""

    @property
    def phase(self) -> str:
        """How far it has got."""
        return self.marks[-1][0] if self.marks else "resolve"

    @phase.setter
    def phase(self, phase: str) -> None:
        self.marks.append((phase, self._now()))

    @property
    def host(self) -> str:
        return self.endpoint.host

    @property
    def port(self) -> int:
        return self.endpoint.port

    @property
    def ssl(self) -> bool:
        return self.endpoint.is_ssl

    def __repr__(self) -> str:
        return f"<DialRequest {self.endpoint} in {self.phase}>"


# Why a dial is cancelled. For the first two nobody is to hear of it; after the third the oldest waiter is.
ABANDONED: Final = "abandoned"
CLOSED: Final = "closed"
TIMEOUT: Final = "timeout"


class Dial:
    """A dial under way holds a slot from its first moment until it `is_over`. `cut_off` is why it was cancelled.
    `number` tells it from the other dials of its pool, and its connection from the other connections."""

    __slots__ = (
        "cut_off",
        "deadline",
        "home",
        "is_over",
        "number",
        "request",
        "retiring",
        "started",
        "sweep_at",
        "task",
    )

    def __init__(self, home: EndpointPool, request: DialRequest, started: float, number: int = 0) -> None:
        self.home = home
        self.number = number
        self.request = request
        self.started = started
        self.task: asyncio.Task[None] | None = None
        self.cut_off: str | None = None
        # Why what it brings is not to serve anybody.
        self.retiring: str | None = None
        self.is_over = False
        self.deadline = NEVER
        self.sweep_at = NEVER

    def cancel(self, why: str) -> None:
        """Stop the dial: its task closes its sockets and then gives the slot back."""
        if self.cut_off is None and self.task is not None:
            self.cut_off = why
            self.task.cancel()

    def on_deadline(self, now: float) -> None:
        self.cancel(TIMEOUT)

    def times(self, now: float) -> DialTimes:
        """How long each phase has taken, up to now."""
        return DialTimes.of(self.started, self.request.marks, now)

    def timeout_error(self, seconds: float) -> ConnectTimeoutError:
        request = self.request
        endpoint = request.endpoint
        tried = "; ".join(f"{address}: {outcome}" for address, outcome in request.attempts)
        return ConnectTimeoutError(
            f"Connection timeout to host {endpoint.host}:{endpoint.port} ssl:{endpoint.is_ssl} [still in the phase "
            f"{request.phase!r} after conn_timeout={seconds:g} s]"
            + (f" through {request.via}," if request.via else "")
            + (f" tried {tried}." if tried else " no address was tried.")
            + f" Check that {'it and the host are' if request.via else 'the host is'} reachable, or raise conn_timeout",
            endpoint=endpoint,
            phase=request.phase,
            reused=False,
        )


class Connect(Protocol):
    """Makes one connection: a connector's ``_create_connection``."""

    async def __call__(self, request: DialRequest, /) -> tuple[asyncio.Transport, asyncio.BaseProtocol]: ...
