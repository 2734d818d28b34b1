"""WSChannel: an upgraded connection that carries WebSocket messages.

It feeds what arrives to the protocol, keeps the messages until somebody takes them, stops reading when there are too
many, and sees the end through: the closing handshake, a lost connection, a peer that is silent. All its times are one
deadline of the pool's clock: there is no timer and no task for a WebSocket.
"""

import asyncio
from collections import deque
from collections.abc import Generator
from typing import Any, Final

from keepwarm.pool.clock import NEVER
from keepwarm.pool.errors import ClientConnectionError, ClientError, ClientTimeoutError, PoolClosedError
from keepwarm.pool.upgraded import Upgraded
from keepwarm.ws.errors import WebSocketClosedError, WebSocketError
from keepwarm.ws.heartbeat import DEAD, PING, Heartbeat
from keepwarm.ws.messages import CLOSE_ABNORMAL, CLOSE_POLICY_VIOLATION, Message, MsgType
from keepwarm.ws.protocol import MAX_BATCH, WSProtocol

# Reading stops when more than this has arrived since the queue of messages was last empty.
HIGH_WATER: Final = 262144
# After the closing handshake the server closes the connection (RFC 6455 7.1.1). One that does not is not waited for.
LINGER_SECONDS: Final = 1.0
# When the peer breaks the protocol, messages that came before are still the reader's to answer, for this long.
ANSWER_SECONDS: Final = 1.0
# Only the last of several pings needs an answer (RFC 6455 5.5.3), so answers do not pile up. A peer that sends this
# many and does not read the answer to one of them is not going to.
MOST_UNANSWERED: Final = 10_000


class WSChannel:
    """One WebSocket connection. Made after the handshake was verified; `start` takes the connection over.

    `queue` holds the messages that nobody has taken. `error` is what ended the connection abnormally, `close_code` the
    peer's code, or 1006 when there was none.
    """

    __slots__ = (
        "_close_at",
        "_discards",
        "_end_waiter",
        "_heartbeat",
        "_is_paused",
        "_receive_at",
        "_size",
        "_unanswered_from",
        "_upgraded",
        "_waiter",
        "close_code",
        "error",
        "has_received",
        "is_over",
        "protocol",
        "queue",
    )

    def __init__(self, upgraded: Upgraded, protocol: WSProtocol, *, heartbeat: float | None = None) -> None:
        clock = upgraded.clock
        self._upgraded = upgraded
        self._heartbeat = Heartbeat(heartbeat, clock.now()) if heartbeat and clock is not None else None
        self._waiter: asyncio.Future[None] | None = None
        self._end_waiter: asyncio.Future[None] | None = None
        self._receive_at = NEVER
        self._close_at = NEVER
        self._size = 0
        self._unanswered_from = 0
        self._is_paused = False
        self._discards = False
        self.protocol = protocol
        self.queue: deque[Message] = deque()
        self.error: BaseException | None = None
        self.close_code: int | None = None
        #: At least one message came that is more than a goodbye.
        self.has_received = False
        #: No message will arrive any more.
        self.is_over = False

    def start(self) -> None:
        """Take the connection over; what came behind the handshake is read now."""
        self._upgraded.take_over(self)
        self._rearm()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._upgraded.loop

    @property
    def transport(self) -> asyncio.Transport | None:
        """The transport; None once the connection has been abandoned."""
        return self._upgraded.channel.transport

    @property
    def round_trip(self) -> float | None:
        """Seconds that the last answered ping of the heartbeat took; None without one."""
        return None if self._heartbeat is None else self._heartbeat.round_trip

    # From the connection

    def data_received(self, data: bytes) -> None:
        queue, protocol = self.queue, self.protocol
        if not queue:
            self._size = 0
        protocol.feed(data, queue)
        heartbeat = self._heartbeat
        if heartbeat is not None:
            self._heard(heartbeat)
        if protocol.failed is not None:
            if not self.is_over:
                self._peer_failed(protocol.failed)
        elif protocol.has_output:
            self._flush()
            if protocol.close_received and not self.is_over:
                self._peer_finished()
        elif protocol.close_received and not self.is_over:
            self._peer_finished()
        if self._discards:
            self._discard()
        elif queue:
            waiter = self._waiter
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
            if not self.has_received:
                self.has_received = queue[0].tp < MsgType.close or queue[0].tp in (MsgType.ping, MsgType.pong)
            self._size += len(data)
            if self._size > HIGH_WATER or protocol.has_more or len(queue) >= MAX_BATCH:
                self._pause()

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
            error = ClientConnectionError(
                f"the WebSocket connection to {self._upgraded.channel.endpoint} was lost without a close frame"
                + (f": {exc}" if exc is not None else ""),
                endpoint=self._upgraded.channel.endpoint,
                phase="body",
            )
            error.__cause__ = exc
            self._fail(error)
        self._wake()

    def writing_resumed(self) -> None:
        if self.protocol.has_output and not self._upgraded.is_lost:
            self._flush()

    def pool_closed(self) -> None:
        if not self.is_over:
            endpoint = self._upgraded.channel.endpoint
            self._fail(
                PoolClosedError(f"the connector was closed while a WebSocket to {endpoint} was open", endpoint=endpoint)
            )
        self._wake()

    def on_deadline(self, now: float) -> None:
        if now >= self._close_at:
            self._close_at = NEVER
            self._close_overdue()
        if now >= self._receive_at:
            self._receive_at = NEVER
            self._receive_overdue()
        if self._heartbeat is not None and not self.is_over:
            self._beat(self._heartbeat, now)
        self._rearm()

    # Reading

    async def wait_message(self, seconds: float | None) -> None:
        """Wait until there is a message, or nothing more to wait for. Raises ClientTimeoutError after `seconds`.

        Cancelling leaves no trace: messages stay where they are.
        """
        if self.queue or self.is_over:
            return
        waiter = self._waiter = self.loop.create_future()
        clock = self._upgraded.clock
        if seconds and clock is not None:
            self._receive_at = clock.now() + seconds
            self._rearm()
        try:
            await waiter
        finally:
            self._waiter = None
            self._receive_at = NEVER

    def taken(self) -> None:
        """The queue has been emptied: read on."""
        self._size = 0
        protocol = self.protocol
        if protocol.failed is not None:
            if not self.is_over:
                self._peer_failed(protocol.failed)
            return
        if protocol.has_more:
            self.data_received(b"")
            if self.queue:
                return
        if self._is_paused:
            self._is_paused = False
            self._upgraded.resume_reading()

    @property
    def is_held_up(self) -> bool:
        """Whether `taken` has something to do once the queue is empty."""
        return self._is_paused

    def _pause(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self._upgraded.pause_reading()

    def _discard(self) -> None:
        """Nobody reads any more: only the peer's close frame counts."""
        self.queue.clear()
        while self.protocol.has_more:
            self.protocol.feed(b"", self.queue)
            self.queue.clear()
        if self.protocol.finished and not self.is_over:
            self._peer_finished()

    # Writing

    def write(self, frame: bytes) -> None:
        """Write a frame, whole, now. Raises WebSocketClosedError once no frame may follow."""
        transport = self._upgraded.channel.transport
        if self.is_over or self.protocol.close_sent or transport is None or transport.is_closing():
            raise self._closed_error()
        transport.write(frame)

    def _closed_error(self) -> WebSocketClosedError:
        """Why nothing can be sent."""
        endpoint = self._upgraded.channel.endpoint
        if self.error is not None:
            why = f"it ended with {type(self.error).__name__}: {self.error}"
        elif self.protocol.close_received:
            why = f"the peer closed it with code {self.protocol.close_code}"
        else:
            why = "it was closed"
        error = WebSocketClosedError(
            f"cannot send on the WebSocket to {endpoint}: {why}", endpoint=endpoint, phase="send"
        )
        error.__cause__ = self.error
        return error

    def drained(self) -> Generator[Any, None, None]:
        """For ``yield from``: wait until the transport takes more, if it does not at present."""
        channel = self._upgraded.channel
        if channel.is_write_paused:
            yield from channel.drain().__await__()

    def _flush(self) -> None:
        """Send what the protocol itself has to say. While the peer does not read it waits, and later answers replace
        earlier ones (FAULTS W20)."""
        protocol, channel = self.protocol, self._upgraded.channel
        transport = channel.transport
        if transport is None or transport.is_closing():
            return
        if not channel.is_write_paused:
            transport.write(protocol.take_output())
            self._unanswered_from = 0
        elif not self._unanswered_from:
            self._unanswered_from = protocol.pings
        elif protocol.pings - self._unanswered_from > MOST_UNANSWERED:
            self._fail(
                WebSocketError(
                    CLOSE_POLICY_VIOLATION, f"the peer sent {MOST_UNANSWERED} pings and read the answer to none"
                )
            )
            self._wake()
            self._upgraded.close("protocol")

    # The end

    async def close(self, code: int, reason: str | bytes, seconds: float | None) -> None:
        """Do the closing handshake. It takes `seconds` at most, then the connection is aborted (FAULTS W24).

        Raises ValueError or TypeError, with nothing done, for a code or a reason that may not be sent. Cancelling it
        aborts the connection at once.
        """
        protocol = self.protocol
        if not protocol.close_sent and not self.is_over:
            frame, transport = protocol.close_frame(code, reason), self.transport
            if transport is not None and not transport.is_closing():
                transport.write(frame)
        self._discards = True
        self._discard()
        if self._is_paused:
            self._is_paused = False
            self._upgraded.resume_reading()
        if self.is_over or protocol.close_received:
            self._peer_finished()
            return
        clock = self._upgraded.clock
        if seconds and clock is not None:
            self._close_at = clock.now() + seconds
            self._rearm()
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
        self._wake()
        clock = self._upgraded.clock
        if clock is not None and not self._upgraded.is_lost:
            self._close_at = clock.now() + LINGER_SECONDS
            self._rearm()

    def _peer_failed(self, error: WebSocketError) -> None:
        """The peer broke the protocol. What came before that may still be answered, if somebody takes it soon."""
        if len(self.queue) > 1 and self._close_at == NEVER and not self._discards:
            clock = self._upgraded.clock
            if clock is not None and not self._upgraded.is_lost:
                self._pause()
                self._close_at = clock.now() + ANSWER_SECONDS
                self._rearm()
                self._wake()
                return
        self.is_over = True
        self.error = error
        self.close_code = error.code
        if self.protocol.has_output:
            self._flush()
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
        for waiter in (self._waiter, self._end_waiter):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    # Time

    def _rearm(self) -> None:
        when = min(self._close_at, self._receive_at)
        if self._heartbeat is not None and not self.is_over:
            when = min(when, self._heartbeat.next_look())
        self._upgraded.watch(when)

    def _close_overdue(self) -> None:
        if self.is_over:
            self._upgraded.close("drain", politely=True)
            return
        if self.protocol.failed is not None:
            self._close_at = 0.0  # no second chance
            self._peer_failed(self.protocol.failed)
            return
        endpoint = self._upgraded.channel.endpoint
        self.abort(
            ClientTimeoutError(
                f"the peer at {endpoint} did not answer the close frame in time; the connection was aborted",
                endpoint=endpoint,
                phase="body",
            )
        )

    def _receive_overdue(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            endpoint = self._upgraded.channel.endpoint
            waiter.set_exception(
                ClientTimeoutError(
                    f"no WebSocket message came from {endpoint} within receive_timeout",
                    endpoint=endpoint,
                    phase="body",
                )
            )

    def _heard(self, heartbeat: Heartbeat) -> None:
        clock = self._upgraded.clock
        if clock is None:
            return
        now = heartbeat.heard_at = clock.now()
        if heartbeat.is_waiting and self.protocol.last_pong is not None:
            heartbeat.pong(self.protocol.last_pong, now)

    def _beat(self, heartbeat: Heartbeat, now: float) -> None:
        if self._is_paused:
            heartbeat.heard_at = now  # the silence is ours
            return
        verdict = heartbeat.look(now)
        if verdict == PING and not self.protocol.close_sent:
            if not self._upgraded.channel.is_write_paused:
                self._upgraded.channel.write(self.protocol.ping_frame(heartbeat.ping(now)))
            else:
                heartbeat.ping(now)  # what was sent before has not been read: that counts as a ping without an answer
        elif verdict == DEAD:
            endpoint = self._upgraded.channel.endpoint
            self._fail(
                ClientTimeoutError(
                    f"the WebSocket peer at {endpoint} said nothing for {1.5 * heartbeat.interval:g} s and did not "
                    "answer a ping; the connection was aborted",
                    endpoint=endpoint,
                    phase="body",
                )
            )
            self.abort()
