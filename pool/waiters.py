"""Waiter: somebody who wants a connection, told exactly once how it ended."""

import asyncio
from typing import TYPE_CHECKING, Protocol

from keepwarm.pool.clock import NEVER

if TYPE_CHECKING:
    from keepwarm.pool.channel import Channel
    from keepwarm.pool.endpoint_pool import EndpointPool


class WaiterOwner(Protocol):
    def expire_waiter(self, waiter: "Waiter", now: float) -> None: ...


class Waiter:
    """One place in one endpoint's queue.

    It is settled once: with a channel that is leased to it already, or with an error. A caller that is cancelled
    leaves a cancelled future behind; settling that fails and the pool offers the channel to the next in line. A
    caller that is cancelled *after* it was settled finds the channel here and has to give it back.
    """

    __slots__ = (
        "call_deadline",
        "channel",
        "deadline",
        "fresh",
        "future",
        "home",
        "owner",
        "pool_deadline",
        "since",
        "sweep_at",
    )

    def __init__(
        self,
        owner: WaiterOwner,
        home: "EndpointPool",
        future: "asyncio.Future[None]",
        *,
        since: float,
        pool_deadline: float = NEVER,
        call_deadline: float = NEVER,
        fresh: bool = False,
    ) -> None:
        self.owner = owner
        self.home = home
        self.future = future
        self.since = since
        self.pool_deadline = pool_deadline
        self.call_deadline = call_deadline
        self.fresh = fresh
        self.channel: Channel | None = None
        self.deadline = NEVER
        self.sweep_at = NEVER

    @property
    def is_live(self) -> bool:
        """Whether somebody still waits here."""
        return not self.future.done()

    def settle(self, channel: "Channel") -> None:
        """Give the channel, which is leased by now. Only for a live waiter."""
        self.channel = channel
        self.future.set_result(None)

    def fail(self, error: BaseException) -> None:
        """End the wait with an error. Only for a live waiter."""
        self.future.set_exception(error)

    def on_deadline(self, now: float) -> None:
        self.owner.expire_waiter(self, now)
