"""Outbound: the frames of our side (RFC 6455, 5 and 7). Compressing, framing and masking one is one act."""

from keepwarm.ws.deflate import Deflater, DeflateSettings
from keepwarm.ws.frames import BINARY, CLOSE, FIN, MAX_CONTROL, PING, PONG, RSV1, TEXT, build_frame
from keepwarm.ws.masking import fastest_mask, next_key
from keepwarm.ws.messages import CLOSE_OK, may_be_on_the_wire


class Outbound:
    """Builds frames, and holds the two that the protocol owes its peer by itself: a pong and a close frame."""

    __slots__ = ("_close_due", "_deflater", "_mask", "_pong_due", "close_sent")

    def __init__(self, deflate: DeflateSettings | None) -> None:
        self._deflater = None if deflate is None else Deflater(deflate)
        self._mask = fastest_mask()
        self._pong_due: bytes | None = None
        self._close_due = b""
        self.close_sent = False  # a close frame was built

    @property
    def has_output(self) -> bool:
        """Whether `take_output` has something to give."""
        return self._pong_due is not None or bool(self._close_due)

    def take_output(self) -> bytes:
        """What the protocol has to say itself: at most one pong and one close frame.

        It may be left here for as long as the transport cannot take it: a later ping replaces the earlier one.
        """
        output = b""
        if self._pong_due is not None:
            output = build_frame(FIN | PONG, self._pong_due, next_key(), self._mask)
            self._pong_due = None
        output += self._close_due
        self._close_due = b""
        return output

    def answer_ping(self, payload: bytes) -> None:
        """A pong is due, in place of any earlier one. None follows a close frame."""
        if not self.close_sent:
            self._pong_due = payload

    def answer_close(self, payload: bytes) -> None:
        """A close frame is due, after the pong; unless there was one already."""
        if not self.close_sent:
            self._close_due = self._build_close(payload)

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

        Raises ValueError for a code that may not be sent, a reason over 123 bytes, and one that is not UTF-8.
        """
        reason = _control_bytes("message", message)
        try:
            reason.decode()
        except UnicodeDecodeError:
            raise ValueError("message: is not UTF-8") from None
        if len(reason) > MAX_CONTROL - 2:
            raise ValueError(f"message: at most {MAX_CONTROL - 2} bytes (RFC 6455, 5.5), got {len(reason)}")
        if code == 0 and not reason:
            payload = b""
        elif may_be_on_the_wire(code):
            payload = code.to_bytes(2, "big") + reason
        else:
            raise ValueError(f"code: {code!r} may not be sent: use 1000, another of RFC 6455, 7.4.1, or 3000 to 4999")
        self._pong_due = None
        return self._build_close(payload)

    def _build_close(self, payload: bytes) -> bytes:
        self.close_sent = True
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
