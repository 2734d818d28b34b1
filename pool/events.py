"""Events: what happens to connections and calls, told to listeners as small values."""

import logging
from asyncio import CancelledError
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from keepwarm.pool.dial_times import DialTimes
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.observer import Observer

if TYPE_CHECKING:
    from keepwarm.pool.channel import Channel
    from keepwarm.pool.dial import Dial

logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened at `time`, in seconds of the clock that `time.monotonic` reads.

    `kind` says what, `endpoint` where. `connection` is the number of the connection among those of its connector; a
    dial has the number that its connection will have. None: there is no connection yet.
    """

    kind: str
    time: float
    endpoint: Endpoint
    connection: int | None


@dataclass(frozen=True, slots=True)
class ConnectionEvent(Event):
    """A change in the life of a connection. By `kind`:

    - "dial_started"; then "dial_ended": connected (`reason` "connected"), failed ("failed", with the `error`), or given
      up because nobody wanted it any more ("abandoned") or the connector was closed ("closed"). `dial` has the times
      of one that connected or failed.
    - "leased"; then "released", or one of those that follow.
    - "detached": a protocol other than HTTP has it from now on, such as WebSocket.
    - "retired": keepwarm lets go of it, for the `reason` that `stats().total.retired` counts.
    - "lost": its socket is closed. `reason` is what ended it.

    `uses` is how often it has been leased, `age` the seconds since it was connected.
    """

    reason: str | None = None
    error: BaseException | None = None
    dial: DialTimes | None = None
    uses: int = 0
    age: float = 0.0


Listener = Callable[[Event], object]


class Events(Observer):
    """Those who listen to one connector. While nobody does, its pool does not know of this, and nothing is made."""

    __slots__ = ("_listeners", "_switch", "_telling")

    def __init__(self) -> None:
        # An entry of its own for each subscription: one listener may come twice. It is empty once that has ended.
        self._listeners: tuple[list[Listener], ...] = ()
        self._switch: Callable[[Events | None], object] | None = None
        self._telling = 0

    @property
    def is_telling(self) -> bool:
        """Whether a listener is being called: the books are in the middle of a change, so nothing may be done now."""
        return self._telling > 0

    def attach(self, switch: "Callable[[Events | None], object]") -> None:
        """A pool was made: `switch` is given this while anybody listens, else None."""
        self._switch = switch
        if self._listeners:
            switch(self)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each event from now on; the result ends that, and may be called more than once."""
        if not callable(listener):
            raise TypeError(f"listener must be callable with one event, got {listener!r}")
        entry = [listener]
        self._listeners = (*self._listeners, entry)
        if len(self._listeners) == 1 and self._switch is not None:
            self._switch(self)
        return lambda: self._drop(entry)

    def _drop(self, entry: list[Listener]) -> None:
        entry.clear()
        before = self._listeners
        self._listeners = tuple(other for other in before if other is not entry)
        if before and not self._listeners and self._switch is not None:
            self._switch(None)

    def tell(self, event: Event) -> None:
        """Tell everybody. Whoever raises is logged and hears no more: a call must not fail over it.

        A CancelledError too: it is what ``result()`` of a cancelled task raises, and nobody cancels a listener.
        """
        self._telling += 1
        try:
            for entry in self._listeners:
                if entry:
                    self._tell_one(entry, event)
        finally:
            self._telling -= 1

    def _tell_one(self, entry: list[Listener], event: Event) -> None:
        listener = entry[0]
        try:
            listener(event)
        except (Exception, CancelledError):
            self._drop(entry)
            logger.exception("the listener %r raised on %s and was unsubscribed", listener, event.kind)

    # As an Observer

    def dial_started(self, dial: "Dial", now: float) -> None:
        self.tell(ConnectionEvent("dial_started", now, dial.home.endpoint, dial.number))

    def dial_ended(
        self, dial: "Dial", now: float, *, channel: "Channel | None" = None, error: BaseException | None = None
    ) -> None:
        reason, times = dial.cut_off or "abandoned", None
        if channel is not None:
            reason, times = "connected", channel.dial_times
        elif error is not None:
            reason, times = "failed", dial.times(now)
        self.tell(ConnectionEvent("dial_ended", now, dial.home.endpoint, dial.number, reason, error, times))

    def leased(self, channel: "Channel", now: float) -> None:
        self._tell_of(channel, "leased", None, now)

    def released(self, channel: "Channel", now: float) -> None:
        self._tell_of(channel, "released", None, now)

    def detached(self, channel: "Channel", now: float) -> None:
        self._tell_of(channel, "detached", None, now)

    def retired(self, channel: "Channel", reason: str, now: float) -> None:
        self._tell_of(channel, "retired", reason, now)

    def lost(self, channel: "Channel", reason: str, now: float) -> None:
        self._tell_of(channel, "lost", reason, now)

    def _tell_of(self, channel: "Channel", kind: str, reason: str | None, now: float) -> None:
        self.tell(
            ConnectionEvent(
                kind, now, channel.endpoint, channel.number, reason, None, None, channel.uses, channel.age(now)
            )
        )
