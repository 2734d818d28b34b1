"""A data message that comes in parts: fragments, or one frame over several segments."""

import codecs
import io
from typing import Any, AnyStr, Final, Generic

from keepwarm.ws.deflate import Inflater
from keepwarm.ws.errors import WebSocketError
from keepwarm.ws.messages import CLOSE_INVALID_TEXT, MSG_TEXT, Message, MsgType

_decoder: Final = codecs.getincrementaldecoder("utf-8")
# A message that comes byte by byte must not become a list with an entry for each.
_MANY: Final = 1024
# Room is made for the rest of a message when that is no less than this; for a message of this size at most; and only
# when so many parts of it are there already that no peer can make us set memory aside by a header alone.
_LEAST_ROOM: Final = 65536
_MOST_ROOM: Final = 16 * 1024 * 1024
_PARTS: Final = 16
# The end of a message comes the ordinary way. By then nobody holds the room any more, so that it can be given out as it
# is; and the bytes behind it come along.
_TAIL: Final = 4096


class Pieces(Generic[AnyStr]):
    """Bytes or text, collected at a cost that follows their size and not their number."""

    __slots__ = ("_empty", "_joined", "_recent")

    def __init__(self, empty: AnyStr) -> None:
        self._empty: AnyStr = empty
        self._recent: list[AnyStr] = []
        self._joined: list[AnyStr] = []

    def add(self, piece: AnyStr) -> None:
        recent = self._recent
        recent.append(piece)
        if len(recent) >= _MANY:
            self._joined.append(self._empty.join(recent))
            recent.clear()

    def join(self) -> AnyStr:
        return self._empty.join(self._joined + self._recent)


class Assembly:
    """One message in the making. Text is decoded as it comes, so a fault in it is known at once (FAULTS W16)."""

    __slots__ = ("_decoder", "_inflater", "_limit", "_memory", "_pieces", "_tp", "_view", "announced", "frames", "size")

    def __init__(self, tp: MsgType, limit: int, inflater: Inflater | None) -> None:
        self._tp = tp
        self._limit = limit
        self._inflater = inflater
        self._decoder = _decoder() if tp is MSG_TEXT else None
        self._pieces: Pieces[Any] = Pieces("" if tp is MSG_TEXT else b"")
        # The whole message, once there is room for it: the bytes that are given out in the end are those written to.
        self._memory: io.BytesIO | None = None
        self._view: memoryview | None = None
        self.size = 0  # bytes of the message so far, inflated
        self.announced = 0  # bytes of all its payloads, by their headers
        self.frames = 0

    @property
    def is_compressed(self) -> bool:
        return self._inflater is not None

    def make_room(self) -> bool:
        """Make room for the rest of the message, whose last payload has been announced, if that is worth while: so that
        it can be read to where it will stay, with `room` and `filled`."""
        total = self.announced
        if self._view is not None:
            return self.room() is not None
        if (
            self._decoder is not None
            or self._inflater is not None
            or total - _TAIL - self.size < _LEAST_ROOM
            or not self.size * _PARTS >= total <= _MOST_ROOM
        ):
            return False
        memory = self._memory = io.BytesIO(bytes(total))
        memory.write(self._pieces.join())
        self._pieces = Pieces(b"")
        self._view = memory.getbuffer()
        return True

    def room(self) -> memoryview | None:
        """Where the rest is to go, but for the very end; None if no room has been made, or none is left."""
        end = self.announced - _TAIL
        return None if self._view is None or self.size >= end else self._view[self.size : end]

    def filled(self, size: int) -> None:
        """So many bytes were written to `room`."""
        self.size += size

    def add(self, payload: bytes, is_last: bool) -> None:
        """The next bytes of the payload; `is_last` says that they end the message. Raises WebSocketError."""
        if self._inflater is not None:
            payload = self._inflater.inflate(payload, self._limit - self.size, is_last)
        start = self.size
        self.size += len(payload)
        if self._view is not None:
            self._view[start : self.size] = payload
        elif self._decoder is None:
            if payload:
                self._pieces.add(payload)
        else:
            self._add_text(self._decoder, payload, is_last)

    def _add_text(self, decoder: codecs.IncrementalDecoder, payload: bytes, is_last: bool) -> None:
        try:
            text = decoder.decode(payload, is_last)
        except UnicodeDecodeError:
            raise invalid_text() from None
        if text:
            self._pieces.add(text)

    def message(self) -> Message:
        """The message, after its last piece."""
        if self._memory is None or self._view is None:
            return Message(self._tp, self._pieces.join(), "")
        self._view.release()  # else the value would be a copy
        return Message(self._tp, self._memory.getvalue(), "")


def invalid_text() -> WebSocketError:
    return WebSocketError(CLOSE_INVALID_TEXT, "a text message that is not UTF-8")
