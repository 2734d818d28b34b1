"""Outbound: the frames of our side (RFC 6455, 5 and 7). Compressing, framing and masking one is one act."""

from typing import Final

from keepwarm.ws.deflate import Deflater, DeflateSettings
from keepwarm.ws.frames import BINARY, CLOSE, FIN, MAX_CONTROL, PING, PONG, RSV1, TEXT, build_frame
from keepwarm.ws.masking import fastest_mask, next_key
from keepwarm.ws.messages import CLOSE_OK, may_be_on_the_wire

# A peer may wait for the answer to each of its pings, though the last one's would do (RFC 6455, 5.5.3). While it does
# not read, no more answers than these are kept for it, the last ones.
MOST_PONGS: Final = 32


class Outbound:
    """Builds frames, and holds those that the protocol owes its peer by itself: pongs and a close frame."""

    __slots__ = ("_close_due", "_deflater", "_mask", "_pongs_due", "close_sent")

    def __init__(self, deflate: DeflateSettings | None) -> None:
        self._deflater = None if deflate is None else Deflater(deflate)
        self._mask = fastest_mask()
        self._pongs_due: list[bytes] = []
        self._close_due: bytes | None = None  # its payload
        self.close_sent = False  # a close frame was built

    @property
    def has_output(self) -> bool:
        """Whether `take_output` has something to give."""
        return bool(self._pongs_due) or self._close_due is not None

    def take_output(self) -> bytes:
        """What the protocol has to say itself: pongs, then a close frame.

        It may be left here for as long as the transport cannot take it: no more than MOST_PONGS pongs are kept.
        """
        frames = [build_frame(FIN | PONG, payload, next_key(), self._mask) for payload in self._pongs_due]
        self._pongs_due.clear()
        if self._close_due is not None:
            frames.append(self._build_close(self._close_due))
        return b"".join(frames)

    def answer_ping(self, payload: bytes) -> None:
        """A pong is due. None follows a close frame."""
        if self.close_sent or self._close_due is not None:
            return
        self._pongs_due.append(payload)
        if len(self._pongs_due) > MOST_PONGS:
            del self._pongs_due[0]

    def answer_close(self, payload: bytes) -> None:
        """A close frame is due, after the pongs; unless there was one already."""
        if not self.close_sent:
            self._close_due = payload

    def text_frame(self, data: str) -> bytes:
        """A text message. Raises TypeError, and ValueError for text that UTF-8 cannot express."""
        if not isinstance(data, str):
            raise TypeError(f"data: must be str, got {type(data).__name__}")
        try:
            payload = data.encode()
        except UnicodeEncodeError as exc:
            raise ValueError(f"data: has a lone surrogate at position {exc.start}") from None
        return self._data_frame(FIN | TEXT, payload)

    def binary_frame(self, data: bytes | bytearray | memoryview) -> bytes:
        """A binary message. Raises TypeError. What is given is copied, and may be changed afterwards."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data: must be bytes, bytearray or memoryview, got {type(data).__name__}")
        return self._data_frame(FIN | BINARY, bytes(data))

    def _data_frame(self, first: int, payload: bytes) -> bytes:
        deflater = self._deflater
        if deflater is not None and len(payload) >= deflater.min_size:
            return build_frame(first | RSV1, deflater.deflate(payload), next_key(), self._mask)
        return build_frame(first, payload, next_key(), self._mask)

    def ping_frame(self, data: str | bytes | bytearray | memoryview = b"") -> bytes:
        """A ping; text goes as UTF-8 (SURFACE L-05). Raises TypeError, and ValueError over 125 bytes."""
        return self._control_frame(FIN | PING, data)

    def pong_frame(self, data: str | bytes | bytearray | memoryview = b"") -> bytes:
        """A pong (SURFACE L-06). Raises as `ping_frame`."""
        return self._control_frame(FIN | PONG, data)

    def _control_frame(self, first: int, data: str | bytes | bytearray | memoryview) -> bytes:
        payload = _control_bytes("message", data)
        if len(payload) > MAX_CONTROL:
            raise ValueError(f"message: at most {MAX_CONTROL} bytes (RFC 6455, 5.5), got {len(payload)}")
        return build_frame(first, payload, next_key(), self._mask)

    def close_frame(self, code: int = CLOSE_OK, message: str | bytes | bytearray | memoryview = b"") -> bytes:
        """The close frame; no pong is sent after it. A `code` of 0 makes an empty one.

        Raises TypeError, and ValueError for a code that may not be sent, a reason over 123 bytes or not UTF-8.
        """
        reason = _control_bytes("message", message)
        try:
            reason.decode()
        except UnicodeDecodeError:
            raise ValueError("message: is not UTF-8") from None
        if len(reason) > MAX_CONTROL - 2:
            raise ValueError(f"message: at most {MAX_CONTROL - 2} bytes (RFC 6455, 5.5), got {len(reason)}")
        if isinstance(code, bool) or not isinstance(code, int):
            raise TypeError(f"code: must be int, got {type(code).__name__}")
        if code == 0 and not reason:
            payload = b""
        elif may_be_on_the_wire(code):
            payload = code.to_bytes(2, "big") + reason
        else:
            raise ValueError(f"code: {code!r} may not be sent: use 1000, another of RFC 6455, 7.4.1, or 3000 to 4999")
        self._pongs_due.clear()
        return self._build_close(payload)

    def _build_close(self, payload: bytes) -> bytes:
        self.close_sent = True
        self._close_due = None
        return build_frame(FIN | CLOSE, payload, next_key(), self._mask)


def _control_bytes(name: str, data: str | bytes | bytearray | memoryview) -> bytes:
    if isinstance(data, str):
        try:
            return data.encode()
        except UnicodeEncodeError as exc:
            raise ValueError(f"{name}: has a lone surrogate at position {exc.start}") from None
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"{name}: must be str or bytes, got {type(data).__name__}")
