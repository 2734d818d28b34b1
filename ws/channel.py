"""WSChannel: an upgraded connection that carries WebSocket messages.

It feeds what arrives to the protocol, keeps the messages until somebody takes them, stops reading when there are too
many, and sees the end through: the closing handshake, a lost connection, a peer that is silent. There is no timer and
no task for a WebSocket.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from keepwarm.pool.channel import Channel
from keepwarm.pool.clock import NEVER
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.errors import ClientError
from keepwarm.pool.upgraded import Upgraded
from keepwarm.ws.channel_errors import (
    belongs_elsewhere,
    close_overdue,
    connector_closed,
    lost,
    nothing_came,
    nothing_said,
    pings_unread,
    sending_is_over,
)
from keepwarm.ws.errors import WebSocketError
from keepwarm.ws.messages import CLOSE_ABNORMAL, Message, MsgType
from keepwarm.ws.protocol import MAX_BATCH, WSProtocol
from keepwarm.ws.replies import MOST_UNANSWERED, Replies
from keepwarm.ws.times import Times

# Reading stops when more than this has arrived, or come out of the compression, since the queue of messages was last
# empty.
HIGH_WATER: Final = 262144
# After the closing handshake the server closes the connection (RFC 6455 7.1.1). One that does not is not waited for.
LINGER_SECONDS: Final = 1.0
# When the peer breaks the protocol, messages that came before are still the reader's to answer, for this long.
ANSWER_SECONDS: Final = 1.0


class WSChannel:
    """One WebSocket connection. Made after the handshake was verified; `start` takes the connection over.

    `queue` holds the messages that nobody has taken. `error` is what ended the connection abnormally, `close_code` the
    peer's code, or 1006 when there was none.
    """

    __slots__ = (
        "_discards",
        "_end_waiter",
        "_is_dying",
        "_loss",
        "_pulse",
        "_reads_on",
        "_replies",
        "_size",
        "_times",
        "_upgraded",
        "close_code",
        "error",
        "has_received",
        "is_held_up",
        "is_over",
        "loop",
        "protocol",
        "queue",
        "waiter",
    )

    def __init__(self, upgraded: Upgraded, protocol: WSProtocol, *, heartbeat: float | None = None) -> None:
        self._upgraded = upgraded
        self._times = Times(upgraded, protocol, heartbeat)
        self._pulse = self._times.pulse
        self._replies = Replies(upgraded, protocol)
        self._end_waiter: asyncio.Future[None] | None = None
        self._size = 0
        self._loss: ClientError | None = None  # told once what came before it has been read
        self._reads_on = False  # the next turn of the loop reads what a full batch has left over
        self._is_dying = False  # the peer broke the protocol, and what came before may still be answered
        self._discards = False
        #: Reading is paused: `taken` has something to do once the queue is empty.
        self.is_held_up = False
        self.loop = upgraded.loop
        self.protocol = protocol
        self.queue: deque[Message] = deque()
        #: What somebody waits for who receives; None if nobody does.
        self.waiter: asyncio.Future[None] | None = None
        self.error: BaseException | None = None
        self.close_code: int | None = None
        #: At least one message came that is more than a goodbye.
        self.has_received = False
        #: No message will arrive any more.
        self.is_over = False

    def start(self) -> None:
        """Take the connection over; what came behind the handshake is read now."""
        self._upgraded.take_over(self)
        self._times.rearm()

    @property
    def endpoint(self) -> Endpoint:
        return self._upgraded.channel.endpoint

    def transport_info(self, name: str) -> Any:
        """What the transport tells of itself; None if it cannot any more."""
        return self._upgraded.channel.transport_info(name)

    @property
    def round_trip(self) -> float | None:
        """Seconds that the last answered ping of the heartbeat took; None without one."""
        return None if self._pulse is None else self._pulse.round_trip

    # From the connection

    def data_received(self, data: bytes) -> None:
        queue, protocol = self.queue, self.protocol
        if not queue:
            self._size = 0
        inflated = protocol.inflated
        has_news = protocol.feed(data, queue)
        if self._pulse is not None:
            self._pulse.heard()
        if has_news:
            self._hear(protocol)
        if self._discards:
            self._discard()
        elif queue:
            waiter = self.waiter
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
            if not self.has_received:
                self.has_received = queue[0].tp < MsgType.close or queue[0].tp in (MsgType.ping, MsgType.pong)
            self._size += len(data) + protocol.inflated - inflated
            if self._size > HIGH_WATER or protocol.has_more or len(queue) >= MAX_BATCH:
                self._pause()
        elif protocol.has_more:
            self._read_on_soon()

    def _hear(self, protocol: WSProtocol) -> None:
        """More came than whole messages, or less."""
        if protocol.failed is not None:
            if not (self.is_over or self._is_dying):
                self._peer_failed(protocol.failed)
            return
        if protocol.has_output:
            self._reply()
        if protocol.close_received and not self.is_over:
            self._peer_finished()
        if protocol.has_room:
            self._upgraded.fill()

    def room(self) -> memoryview | None:
        """Where the rest of a large message goes."""
        return self.protocol.room()

    def filled(self, size: int) -> None:
        """So much of it came."""
        self.protocol.filled(size)
        self._size += size
        if self._pulse is not None:
            self._pulse.heard()

    def eof_received(self) -> None:
        """The transport closes itself after this; what there is to say is said in `connection_lost`."""

    def connection_lost(self, exc: BaseException | None) -> None:
        protocol = self.protocol
        if protocol.close_received:
            self.is_over = True  # the answer was still the caller's to give
        elif protocol.failed is not None:
            self.is_over = True
            self.error = protocol.failed
            self.close_code = protocol.failed.code
        elif not self.is_over:
            self._loss = lost(self.endpoint, exc)
            if protocol.has_more:
                return  # what came before is told first
            self._fail(self._loss)
        self._wake()

    def writing_resumed(self) -> None:
        if self.protocol.has_output and not (self._upgraded.is_lost or self._is_dying):
            self._reply()

    def pool_closed(self) -> None:
        if not self.is_over:
            self._fail(connector_closed(self.endpoint))
        self._wake()

    def abandoned(self) -> None:
        if not self.is_over:
            self._fail(belongs_elsewhere(self.endpoint))

    def on_deadline(self, now: float) -> None:
        times = self._times
        if times.is_end_due(now):
            self._end_overdue()
        if times.is_message_due(now):
            self._message_overdue(times.patience)
        interval = times.dead_for(now, is_paused=self.is_held_up)
        if interval is not None and not self.is_over:
            self._fail(nothing_said(self.endpoint, interval))
            self.abort()
        times.rearm()

    # Reading

    def begin_to_wait(self, seconds: float | None) -> asyncio.Future[None]:
        """Somebody waits until there is a message, or nothing more to wait for: it is done then. After `seconds` it
        raises ClientTimeoutError. `end_to_wait` must follow; messages stay where they are."""
        if seconds:
            self._times.limit_receiving(seconds)
        waiter = self.waiter = self.loop.create_future()
        return waiter

    def end_to_wait(self) -> None:
        """Nobody waits any more."""
        self.waiter = None
        self._times.receive_at = NEVER

    def taken(self) -> None:
        """The queue has been emptied: read on."""
        self._size = 0
        protocol = self.protocol
        if self.is_over:
            return
        if protocol.failed is not None:
            self._peer_failed(protocol.failed)
        elif protocol.has_more:
            self._read_on_soon()
        elif self._loss is not None:
            self._fail(self._loss)
            self._wake()
        else:
            self._resume()

    def _read_on_soon(self) -> None:
        """More than a batch of frames waits a turn: no flood keeps the loop, whether somebody takes it or not."""
        self._pause()
        if not self._reads_on:
            self._reads_on = True
            self.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        self._reads_on = False
        if self.protocol.has_more and not self.queue:
            self.data_received(b"")
        if not self.queue:
            self.taken()

    def _pause(self) -> None:
        if not (self.is_held_up or self.is_over):  # what is over reads on, to see the end of the connection
            self.is_held_up = True
            self._upgraded.pause_reading()

    def _resume(self) -> None:
        if self.is_held_up:
            self.is_held_up = False
            self._upgraded.resume_reading()

    def _discard(self) -> None:
        """Nobody reads any more: only the peer's close frame counts."""
        self.queue.clear()
        if self.protocol.has_more:
            self._read_on_soon()
        elif self.protocol.finished and not self.is_over:
            self._peer_finished()

    # Writing

    def write(self, frame: bytes) -> None:
        """Write a frame, whole, now. Raises WebSocketClosedError once no frame may follow."""
        transport = self._upgraded.channel.transport
        if self.is_over or self.protocol.close_sent or transport is None or transport.is_closing():
            raise sending_is_over(self.endpoint, self.error or self._loss, self.protocol.close_code)
        transport.write(frame)
        if self._pulse is not None:
            self._pulse.written += len(frame)

    def drained(self) -> Iterator[Any]:
        """To be awaited: it ends when the transport takes more, which mostly is now."""
        channel = self._upgraded.channel
        return self._drain(channel) if channel.is_write_paused else iter(())

    def _drain(self, channel: Channel) -> Iterator[Any]:
        try:
            yield from channel.drain().__await__()
        except OSError as exc:
            raise sending_is_over(self.endpoint, self.error or exc, self.protocol.close_code) from exc

    def _reply(self) -> None:
        """Send what the protocol itself has to say."""
        if not self._replies.send():
            self._fail(pings_unread(self.endpoint, MOST_UNANSWERED))
            self._wake()
            self._upgraded.close("protocol")

    # The end

    async def close(self, code: int, reason: str | bytes, seconds: float | None) -> None:
        """Do the closing handshake. It takes `seconds` at most, then the connection is aborted (FAULTS W24).

        Raises ValueError or TypeError, with nothing done, for a code or a reason that may not be sent. Cancelling it
        aborts the connection at once.
        """
        protocol = self.protocol
        if not (protocol.close_sent or protocol.failed is not None or self.is_over):
            frame, transport = protocol.close_frame(code, reason), self._upgraded.channel.transport
            if transport is not None and not transport.is_closing():
                transport.write(frame)
        self._discards = True
        self._discard()
        if not protocol.has_more:
            self.taken()
        if self.is_over:
            return
        if seconds:
            self._times.limit_end(seconds)
        waiter = self._end_waiter = self.loop.create_future()
        try:
            await waiter
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            self._end_waiter = None

    def abort(self, error: ClientError | None = None) -> None:
        """Drop the connection now. Idempotent."""
        if not self.is_over:
            self.is_over = True
            self.error = self.error or error
            self.close_code = CLOSE_ABNORMAL
        self._wake()
        self._upgraded.close("error")

    def _peer_finished(self) -> None:
        """The peer's last frame was read, or what it sent cannot be."""
        protocol = self.protocol
        if protocol.failed is not None:
            self._peer_failed(protocol.failed)
            return
        if self.close_code is None:
            self.close_code = protocol.close_code
        if not protocol.close_sent:
            self._wake()  # autoclose is off: the answer is the caller's
            return
        self.is_over = True
        self._resume()  # to see the end of the connection
        self._wake()
        self._times.limit_end(LINGER_SECONDS)

    def _peer_failed(self, error: WebSocketError) -> None:
        """The peer broke the protocol. What came before that may still be answered, if somebody takes it soon."""
        if len(self.queue) > 1 and not (self._is_dying or self._discards or self._upgraded.is_lost):
            self._is_dying = True
            self._pause()
            self._times.limit_end(ANSWER_SECONDS)
            self._wake()
            return
        self.is_over = True
        self.error = error
        self.close_code = error.code
        if self.protocol.has_output:
            self._reply()
        self._resume()  # to see the end of the connection
        self._wake()
        self._upgraded.close("protocol", politely=True)

    def _fail(self, error: ClientError) -> None:
        """The connection is gone, or useless."""
        self.is_over = True
        self.error = error
        self.close_code = CLOSE_ABNORMAL
        if not self._discards:
            self.queue.append(Message(MsgType.error, error, None))

    def _wake(self) -> None:
        for waiter in (self.waiter, self._end_waiter):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    # Time

    def _end_overdue(self) -> None:
        if self.is_over:
            self._upgraded.close("drain", politely=True)
        elif self.protocol.failed is not None:
            self._peer_failed(self.protocol.failed)
        else:
            self.abort(close_overdue(self.endpoint))

    def _message_overdue(self, seconds: float) -> None:
        waiter = self.waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(nothing_came(self.endpoint, seconds))
