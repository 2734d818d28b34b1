"""ClientWebSocketResponse: a WebSocket as its user holds it."""

import json
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Protocol, Self

from multidict import CIMultiDictProxy

from keepwarm.pool.limits import check_seconds
from keepwarm.pool.loop_thread import call_in_loop
from keepwarm.ws.channel import WSChannel
from keepwarm.ws.messages import (
    CLOSE_OK,
    CLOSED_MESSAGE,
    MSG_BINARY,
    MSG_CLOSE,
    MSG_CLOSED,
    MSG_ERROR,
    MSG_TEXT,
    Message,
    MsgType,
)

Payload = bytes | bytearray | memoryview


class Answer(Protocol):
    """What a WebSocket keeps of the answer that agreed to it."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> CIMultiDictProxy[str]: ...


class Sent:
    """What a send returns: the frame has been written, in any case. Awaiting it waits until the transport takes more,
    which is the back-pressure of a sender who awaits; it raises what ended the connection meanwhile."""

    __slots__ = ("_channel",)

    def __init__(self, channel: WSChannel) -> None:
        self._channel = channel

    def __await__(self) -> Iterator[Any]:
        return self._channel.drained()


class ClientWebSocketResponse:
    """A client's WebSocket, which `ws_connect` gives. ``async for`` receives messages until the end.

    Sending is a plain call: the frame is whole and in order whether or not what it returns is awaited. Awaiting it
    waits while the peer does not read. One task may receive at a time. A WebSocket that is dropped open closes its
    connection and gives a ResourceWarning.
    """

    __slots__ = (
        "__weakref__",
        "_channel",
        "_is_closed",
        "_is_compressed",
        "_queue",
        "_receive_timeout",
        "_sent",
        "_subprotocol",
        "_timeout",
        "response",
    )

    def __init__(
        self,
        channel: WSChannel,
        answer: Answer,
        *,
        subprotocol: str | None = None,
        timeout: float | None = 10.0,
        receive_timeout: float | None = None,
        compressed: bool = False,
    ) -> None:
        self._channel = channel
        self._queue = channel.queue
        self._sent = Sent(channel)
        self._subprotocol = subprotocol
        self._timeout = timeout
        self._receive_timeout = receive_timeout
        self._is_compressed = compressed
        self._is_closed = False
        #: The answer to the handshake: status and headers.
        self.response = answer

    # What it is

    @property
    def closed(self) -> bool:
        """True after `close`, and after the peer's close frame or the loss of the connection, once the messages that
        came before have been received. Sending may be over earlier."""
        channel = self._channel
        if self._is_closed or not (channel.is_over or channel.protocol.close_received):
            return self._is_closed
        return not self._queue or self._queue[0].tp in (MSG_CLOSE, MSG_ERROR)

    @property
    def protocol(self) -> str | None:
        """The subprotocol that the server chose, or None."""
        return self._subprotocol

    @property
    def compressed(self) -> bool:
        """Whether permessage-deflate (RFC 7692) was agreed."""
        return self._is_compressed

    @property
    def close_code(self) -> int | None:
        """The peer's close code, 0 if its close frame had none, 1006 if the connection ended without one; None while
        it is open."""
        return self._channel.close_code

    @property
    def has_received(self) -> bool:
        """Whether a message ever came, besides the peer's close frame."""
        return self._channel.has_received

    @property
    def latency(self) -> float | None:
        """Seconds that the last ping of the heartbeat took to come back; None before the first."""
        return self._channel.round_trip

    def exception(self) -> BaseException | None:
        """What ended the connection abnormally, or None."""
        return self._channel.error

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the transport tells of itself, such as ``"peername"``; `default` once it is gone."""
        found = self._channel.transport_info(name)
        return default if found is None else found

    # Sending

    def send_str(self, data: str) -> Sent:
        """Send a text message. Raises TypeError unless it is a str, WebSocketClosedError (a RuntimeError) after
        the end."""
        channel = self._channel
        channel.write(channel.protocol.text_frame(data))
        return self._sent

    def send_bytes(self, data: Payload) -> Sent:
        """Send a binary message: bytes, bytearray or memoryview. Raises as `send_str` does."""
        channel = self._channel
        channel.write(channel.protocol.binary_frame(data))
        return self._sent

    def send_json(self, data: Any, *, dumps: Callable[[Any], str] = json.dumps) -> Sent:
        """Send what `dumps` makes of `data` as a text message. Raises what `dumps` raises, and as `send_str` does."""
        return self.send_str(dumps(data))

    def ping(self, message: str | Payload = b"") -> Sent:
        """Send a ping, with at most 125 bytes; text is UTF-8. Raises as `send_str` does."""
        channel = self._channel
        channel.write(channel.protocol.ping_frame(message))
        return self._sent

    def pong(self, message: str | Payload = b"") -> Sent:
        """Send a pong, which need not answer anything. Raises as `send_str` does."""
        channel = self._channel
        channel.write(channel.protocol.pong_frame(message))
        return self._sent

    # Receiving

    async def receive(self, timeout: float | None = None) -> Message:
        """The next message. Pings and pongs are handled inside, unless autoping is off.

        The peer's close frame is returned once, as a message of type close; an error once, as one of type error; after
        the end comes the message of type closed, for ever. Raises ClientTimeoutError when nothing came within
        `timeout` seconds (`receive_timeout` by default, 0 is no limit; the WebSocket stays usable), RuntimeError while
        another task receives. Cancelling it loses no message.
        """
        queue, channel = self._queue, self._channel
        if channel.waiter is not None:
            raise RuntimeError("another task is receiving from this WebSocket: one may at a time")
        if not queue:
            if channel.is_over or channel.protocol.finished:
                return CLOSED_MESSAGE
            seconds = self._receive_timeout if timeout is None else check_seconds("timeout", timeout)
            try:
                await channel.begin_to_wait(seconds)
            finally:
                channel.end_to_wait()
            if not queue:
                return CLOSED_MESSAGE
        message = queue.popleft()
        if channel.is_held_up and not queue:
            channel.taken()
        return message

    async def receive_str(self, *, timeout: float | None = None) -> str:
        """The text of the next message. Raises TypeError if it is of another type, and as `receive` does."""
        message = await self.receive(timeout)
        if message.tp is not MSG_TEXT:
            raise _unexpected(message, MSG_TEXT)
        text: str = message.data
        return text

    async def receive_bytes(self, *, timeout: float | None = None) -> bytes:
        """The data of the next message. Raises TypeError if it is not binary, and as `receive` does."""
        message = await self.receive(timeout)
        if message.tp is not MSG_BINARY:
            raise _unexpected(message, MSG_BINARY)
        data: bytes = message.data
        return data

    async def receive_json(self, *, loads: Callable[[str], Any] = json.loads, timeout: float | None = None) -> Any:
        """What `loads` makes of the next message, which is to be text. Raises as `receive_str` does, and what `loads`
        raises."""
        return loads(await self.receive_str(timeout=timeout))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """The next message; the iteration ends when the WebSocket is closed (L-13). An error is a message too."""
        message = await self.receive()
        if message.tp is MSG_CLOSE or message.tp is MSG_CLOSED:
            raise StopAsyncIteration
        return message

    # The end

    async def close(self, *, code: int = CLOSE_OK, message: str | bytes = b"") -> bool:
        """Send a close frame and wait for the peer's, for `timeout` seconds at most; then the connection is aborted.
        Messages that nobody has received are dropped.

        True the first time, False later. Raises ValueError or TypeError for a code or a message that may not be sent.
        Cancelling it aborts the connection.
        """
        if self._is_closed:
            return False
        closing = self._channel.close(code, message, self._timeout)
        self._is_closed = True
        try:
            await closing
        except (TypeError, ValueError):
            self._is_closed = False  # nothing was done
            raise
        return True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, exc_type: object, exc: object, tb: object) -> None:
        await self.close()

    def __del__(self) -> None:
        channel: WSChannel | None = getattr(self, "_channel", None)
        if channel is None or self._is_closed or channel.is_over or channel.loop.is_closed():
            return
        call_in_loop(channel.loop, channel.abort)
        warnings.warn(f"Unclosed WebSocket {self!r}", ResourceWarning, source=self, stacklevel=1)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._channel.endpoint} {'closed' if self.closed else 'open'}>"


def _unexpected(message: Message, tp: MsgType) -> TypeError:
    detail = f": {message.data}" if message.tp is MsgType.error else ""
    return TypeError(f"expected a message of type {tp.name}, received one of type {message.tp.name}{detail}")
