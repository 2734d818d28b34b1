"""Exchange: one request and its response in flight."""

import asyncio
from typing import TYPE_CHECKING

from keepwarm.client.body import StreamReader
from keepwarm.client.exchange_errors import timed_out
from keepwarm.client.head import ResponseHead
from keepwarm.client.request import ClientRequest
from keepwarm.client.request_info import describe
from keepwarm.client.upload import Upload
from keepwarm.pool.clock import Clock
from keepwarm.pool.upgraded import Upgraded

if TYPE_CHECKING:
    from keepwarm.client.attempts import Trail
    from keepwarm.client.call_record import CallRecord
    from keepwarm.client.h1_channel import H1Channel

# Draining the rest of a body that nobody wants (K4): worth it for what is on its way already, not for more.
DRAIN_BYTES = 65536
DRAIN_SECONDS = 0.1


class Exchange:
    """What the session waits on and the response reads from. Made by `H1Channel.send`.

    `head_waiter` is done when the head is there, or with the error that ended the exchange. A small body that came
    with its head is in `body`; any other goes through `stream`; `codings` is what is to be undone. After an upgrade
    the connection is `upgraded`, for whoever takes it over. `channel` is None from the moment the exchange is over,
    one way or the other: whoever holds an exchange cannot touch the connection's next one. `doubtful` is the channel
    that a coded body came over, kept to say so if the body proves bad. `trail`, what was tried before, is set only
    where something was.
    """

    __slots__ = (
        "body",
        "budget",
        "channel",
        "codings",
        "deadline",
        "doubtful",
        "ended_waiter",
        "head",
        "head_waiter",
        "is_truncated",
        "last_read",
        "read_timeout",
        "request",
        "reused",
        "stream",
        "trail",
        "trailers",
        "upgraded",
        "upload",
    )

    trail: "Trail"
    # Set and read only where there is a read timeout.
    last_read: float

    def __init__(
        self,
        channel: "H1Channel",
        request: ClientRequest,
        head_waiter: "asyncio.Future[None]",
        deadline: float,
        read_timeout: float | None,
    ) -> None:
        self.channel: H1Channel | None = channel
        self.request = request
        self.head_waiter = head_waiter
        self.deadline = deadline
        self.read_timeout = read_timeout
        # A connection that has lain idle is as likely to be dead as one that has served, if it never has.
        self.reused = channel.uses > 1 or channel.idle_since > 0.0
        self.head: ResponseHead | None = None
        self.body: bytes | None = None
        self.codings: tuple[str, ...] = ()
        self.doubtful: H1Channel | None = None
        self.stream: StreamReader | None = None
        self.trailers: tuple[tuple[bytes, bytes], ...] = ()
        self.upload: Upload | None = None
        self.upgraded: Upgraded | None = None
        self.is_truncated = False
        # Bytes that may still be thrown away; None while somebody wants the body.
        self.budget: int | None = None
        self.ended_waiter: asyncio.Future[None] | None = None

    @property
    def is_over(self) -> bool:
        return self.channel is None

    @property
    def record(self) -> "CallRecord | None":
        """The times of its phases; None where nobody wants to know."""
        return None

    def was_sent(self) -> None:
        """The request is written, body and all."""

    def wake(self) -> None:
        """The head is there."""
        # Not asked for `done` first: hardly a caller is gone by now, and each would pay 30 ns.
        try:
            self.head_waiter.set_result(None)
        except asyncio.InvalidStateError:
            pass

    def end(self, error: BaseException | None = None) -> None:
        """The connection has let go of the exchange. Tells everybody who waits; idempotent."""
        if self.channel is None:
            return
        self.channel = None
        if self.upload is not None:
            upload, self.upload = self.upload, None
            upload.stop()
        if self.ended_waiter is not None and not self.ended_waiter.done():
            self.ended_waiter.set_result(None)
        if error is None:
            if self.stream is not None:
                self.stream.feed_eof()
            return
        describe(error, self.request, self.head, ())
        if self.stream is not None:
            self.stream.set_exception(error)
        if not self.head_waiter.done():
            self.head_waiter.set_exception(error)

    def abandon(self, error: Exception) -> None:
        """Neither the connection nor the loop must be touched any more: only who reads on is told."""
        self.channel = None
        if self.stream is not None:
            try:
                self.stream.set_exception(error)
            except RuntimeError:
                pass  # who waits for the body waits on a loop that is closed

    def abort(self, error: BaseException | None = None) -> None:
        """Give up: the connection is closed now, at whatever point it is. Idempotent, synchronous."""
        waiter = self.head_waiter
        if waiter.done() and not waiter.cancelled():
            waiter.exception()  # an error that arrived in the same turn counts as retrieved
        elif error is None:
            waiter.cancel()
        if self.channel is not None:
            self.channel.abort_exchange(error)
        elif self.upgraded is not None:
            self.upgraded.close("error")

    def body_is_bad(self, error: Exception) -> None:
        """The body turned out undecodable: the connection serves nobody after this, even if it went back already."""
        describe(error, self.request, self.head, ())
        channel, self.doubtful = self.doubtful, None
        if channel is not None and channel.owner is not None:
            channel.owner.retire(channel, "protocol")
        self.abort(error)

    def overdue(self, clock: Clock) -> Exception | None:
        """The error of the total time limit once it has passed, else None; the connection is closed if it is held.

        For whoever works on a body that came whole: the clock watches the connection, which serves others by then.
        """
        if clock.now() < self.deadline:
            return None
        error = timed_out(self, of_read=False)
        self.abort(error)
        return error

    def hurry(self, seconds: float) -> None:
        """The rest of the body is to come within so many seconds, or fails with the error of the total time limit."""
        if self.channel is not None:
            self.channel.hurry_exchange(seconds)

    def release(self) -> None:
        """Nobody wants the rest: drain what is small and at hand, else close the connection (K4)."""
        channel = self.channel
        if channel is None or self.budget is not None:
            return
        self.budget = DRAIN_BYTES
        channel.drain_exchange(DRAIN_BYTES, DRAIN_SECONDS)

    async def wait_ended(self) -> None:
        """Wait until the connection is back in its pool or closed. Cancelling changes nothing."""
        channel = self.channel
        if channel is None:
            return
        if self.ended_waiter is None:
            self.ended_waiter = channel.loop.create_future()
        await asyncio.shield(self.ended_waiter)

    async def wait_released(self) -> None:
        """Wait for the end of what `release` began. Cancelling closes the connection now."""
        try:
            await self.wait_ended()
        except asyncio.CancelledError:
            self.abort()
            raise

    def next_deadline(self) -> float:
        """When the clock has to look at this exchange again."""
        if self.read_timeout is None:
            return self.deadline
        return min(self.deadline, self.last_read + self.read_timeout)
