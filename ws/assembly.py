"""A data message that comes in parts: fragments, or one frame over several segments."""

import codecs
from typing import Any, AnyStr, Final, Generic

from keepwarm.ws.deflate import Inflater
from keepwarm.ws.errors import WebSocketError
from keepwarm.ws.messages import CLOSE_INVALID_TEXT, MSG_TEXT, Message, MsgType

_decoder: Final = codecs.getincrementaldecoder("utf-8")
# A message that comes byte by byte must not become a list with an entry for each.
_MANY: Final = 1024


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

    __slots__ = ("_decoder", "_inflater", "_limit", "_pieces", "_tp", "announced", "frames", "size")

    def __init__(self, tp: MsgType, limit: int, inflater: Inflater | None) -> None:
        self._tp = tp
        self._limit = limit
        self._inflater = inflater
        self._decoder = _decoder() if tp is MSG_TEXT else None
        self._pieces: Pieces[Any] = Pieces("" if tp is MSG_TEXT else b"")
        self.size = 0  # bytes of the message so far, inflated
        self.announced = 0  # bytes of all its payloads, by their headers
        self.frames = 0

    @property
    def is_compressed(self) -> bool:
        return self._inflater is not None

    def add(self, payload: bytes, is_last: bool) -> None:
        """The next bytes of the payload; `is_last` says that they end the message. Raises WebSocketError."""
        if self._inflater is not None:
            payload = self._inflater.inflate(payload, self._limit - self.size, is_last)
        self.size += len(payload)
        if self._decoder is None:
            if payload:
                self._pieces.add(payload)
            return
        try:
            text = self._decoder.decode(payload, is_last)
        except UnicodeDecodeError:
            raise invalid_text() from None
        if text:
            self._pieces.add(text)

    def message(self) -> Message:
        """The message, after its last piece."""
        return Message(self._tp, self._pieces.join(), "")


def invalid_text() -> WebSocketError:
    return WebSocketError(CLOSE_INVALID_TEXT, "a text message that is not UTF-8")
