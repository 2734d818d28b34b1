"""CallRecord: when each phase of one request was, kept only while somebody wants to know."""

from collections.abc import Callable
from itertools import count
from typing import Final

from keepwarm.client.call_events import CallEvent
from keepwarm.client.request import ClientRequest
from keepwarm.client.timings import Timings
from keepwarm.pool.channel import Channel
from keepwarm.pool.dial_times import DialTimes
from keepwarm.pool.events import Events

_numbers: Final = count(1)


class CallRecord:
    """Notes the times of one request, which become the `timings` of its response, and tells `events`, if any."""

    __slots__ = (
        "_began",
        "_connection",
        "_dial",
        "_end",
        "_events",
        "_head",
        "_leased",
        "_now",
        "_number",
        "_request",
        "_sent",
        "_waited",
        "_waiting_since",
    )

    def __init__(self, events: Events | None, now: Callable[[], float], request: ClientRequest) -> None:
        self._events = events
        self._now = now
        self._request = request
        self._number = next(_numbers)
        self._began = self._waiting_since = now()
        self._waited = False
        self._connection: int | None = None
        self._dial: DialTimes | None = None
        self._leased: float | None = None
        self._sent: float | None = None
        self._head: float | None = None
        self._end: float | None = None

    @property
    def timings(self) -> Timings:
        """As far as it has come."""
        leased, sent, head, end, dial = self._leased, self._sent, self._head, self._end, self._dial
        last = end or head or sent or leased
        return Timings(
            queued=_between(self._waiting_since, leased) if self._waited else None,
            dns=None if dial is None else dial.dns,
            connect=None if dial is None else dial.connect,
            proxy=None if dial is None else dial.proxy,
            tls=None if dial is None else dial.tls,
            sent=_between(leased, sent),
            head=_between(leased if sent is None else sent, head),
            body=_between(head, end) if head is not None else None,
            total=_between(self._began, last),
        )

    def queued(self) -> None:
        """It waits for a connection."""
        self._waited = True
        self._tell("queued", self._now())

    def leased(self, channel: Channel) -> None:
        """It has a connection."""
        self._leased = now = self._now()
        self._connection = channel.number
        self._dial = channel.dial_times if channel.uses == 1 else None
        self._tell("leased", now)

    def sent(self) -> None:
        """All of it is written."""
        if self._head is None and self._end is None:
            self._sent = now = self._now()
            self._tell("sent", now)

    def replayed(self, error: BaseException) -> None:
        """It is sent again, on another connection."""
        now = self._now()
        self._tell("replayed", now, error=error)
        self._waiting_since, self._waited = now, False
        self._connection = self._dial = self._leased = self._sent = None

    def head(self, status: int) -> None:
        """The head of the answer is there. Told once."""
        if self._head is None:
            self._head = now = self._now()
            self._tell("head", now, status=status)

    def ended(self, status: int | None, error: BaseException | None = None, *, closed: bool = False) -> None:
        """It is over: complete, given up by its caller, or failed."""
        if self._end is None:
            self._end = now = self._now()
            kind = "closed" if closed else "body_ended" if error is None else "failed"
            self._tell(kind, now, status=status, error=None if closed else error)

    def _tell(self, kind: str, now: float, *, status: int | None = None, error: BaseException | None = None) -> None:
        events, request = self._events, self._request
        if events is not None:
            target = request.target
            events.tell(
                CallEvent(
                    kind,
                    now,
                    target.endpoint,
                    self._connection,
                    self._number,
                    request.method,
                    target.url,
                    status,
                    error,
                )
            )


def _between(first: float | None, then: float | None) -> float | None:
    return None if first is None or then is None else then - first
