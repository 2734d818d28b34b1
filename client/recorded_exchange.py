"""RecordedExchange: an exchange whose phases somebody wants to know."""

import asyncio
from typing import TYPE_CHECKING

from keepwarm.client.call_record import CallRecord
from keepwarm.client.exchange import Exchange
from keepwarm.client.request import ClientRequest

if TYPE_CHECKING:
    from keepwarm.client.h1_channel import H1Channel


class RecordedExchange(Exchange):
    """An exchange whose phases are noted."""

    __slots__ = ("_is_given_up", "_record")

    def __init__(
        self,
        channel: "H1Channel",
        request: ClientRequest,
        head_waiter: "asyncio.Future[None]",
        deadline: float,
        read_timeout: float | None,
        record: CallRecord,
    ) -> None:
        super().__init__(channel, request, head_waiter, deadline, read_timeout)
        self._record = record
        self._is_given_up = False
        record.leased(channel)

    @property
    def record(self) -> CallRecord | None:
        return self._record

    def was_sent(self) -> None:
        self._record.sent()

    def wake(self) -> None:
        if self.head is not None:
            self._record.head(self.head.status)
        super().wake()

    def end(self, error: BaseException | None = None) -> None:
        was_over = self.is_over
        super().end(error)
        # Without a head it is `send` that knows whether this was the end.
        if not was_over and self.head is not None:
            self._over(error)

    def abandon(self, error: Exception) -> None:
        super().abandon(error)
        if self.head is not None:
            self._over(error)

    def _over(self, error: BaseException | None) -> None:
        status = None
        if self.head is not None:
            status = self.head.status
            self._record.head(status)
        self._record.ended(status, error, closed=self._is_given_up and error is not None)

    def abort(self, error: BaseException | None = None) -> None:
        self._is_given_up = error is None
        super().abort(error)

    def release(self) -> None:
        self._is_given_up = True
        super().release()
