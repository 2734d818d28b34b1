"""WSProtocol: a WebSocket connection without I/O. Bytes in, messages and bytes to send out (RFC 6455, 5 to 7).

What is read does not depend on how it was cut: fed byte by byte it gives the same messages as in one piece. Only an
error may be found earlier, in the middle of a frame, as soon as the bytes are there that prove it.

Limits are judged when a header is read, before its payload is stored (FAULTS W13). One call reads a bounded number of
frames, so a segment of tiny frames neither keeps the loop nor fills the memory; the rest stays as bytes (W15).
A flood of pings cannot fill anything either: only the last few are answered (RFC 6455, 5.5.3; W20).
"""

from typing import Final

from keepwarm.pool.errors import printable
from keepwarm.pool.limits import check_count
from keepwarm.ws.assembly import Assembly, invalid_text
from keepwarm.ws.deflate import DeflateSettings, Inflater
from keepwarm.ws.errors import WebSocketError
from keepwarm.ws.frames import (
    CLOSE,
    CONTINUATION,
    FIN,
    MAX_CONTROL,
    PING,
    RSV1,
    TEXT,
    Messages,
    broken,
    judge_header,
    read_length,
    read_plain,
    read_single,
)
from keepwarm.ws.messages import (
    CLOSE_INVALID_TEXT,
    CLOSE_MESSAGE_TOO_BIG,
    CLOSE_POLICY_VIOLATION,
    MSG_BINARY,
    MSG_CLOSE,
    MSG_ERROR,
    MSG_PING,
    MSG_PONG,
    MSG_TEXT,
    Message,
    may_be_on_the_wire,
)
from keepwarm.ws.outbound import Outbound

MAX_MSG_SIZE: Final = 4 * 1024 * 1024
MAX_FRAGMENTS: Final = 1024
MAX_BATCH: Final = 1024
# A batch also ends when more than this came out of the compression: 4 KiB may well become 4 MiB, message after message.
MAX_INFLATED: Final = 1024 * 1024

# No message has as many bytes or fragments.
_NO_LIMIT: Final = 1 << 62


class WSProtocol(Outbound):
    """The client's side of one connection, after the handshake.

    `max_msg_size`: bytes of a message, inflated (FAULTS K6: 4 MiB). `max_fragments`: frames of a message (1,024). None
    is no limit; less than 1 is a ValueError. `deflate`: what was agreed on permessage-deflate. `autoping`: answer
    pings and keep both pings and pongs to itself; else both are returned (SURFACE A-13). `autoclose`: answer the
    peer's close frame.
    """

    __slots__ = (
        "_assembly",
        "_autoclose",
        "_autoping",
        "_data",
        "_inflater",
        "_is_clean",
        "_is_last",
        "_limit",
        "_max_fragments",
        "_missing",
        "_pos",
        "close_code",
        "close_reason",
        "close_received",
        "failed",
        "finished",
        "has_more",
        "has_room",
        "inflated",
        "last_pong",
        "pings",
    )

    def __init__(
        self,
        *,
        max_msg_size: int | None = MAX_MSG_SIZE,
        max_fragments: int | None = MAX_FRAGMENTS,
        deflate: DeflateSettings | None = None,
        autoping: bool = True,
        autoclose: bool = True,
    ) -> None:
        super().__init__(deflate)
        self._limit = check_count("max_msg_size", max_msg_size) or _NO_LIMIT
        self._max_fragments = check_count("max_fragments", max_fragments) or _NO_LIMIT
        self._inflater = None if deflate is None else Inflater(deflate)
        self._autoping = autoping
        self._autoclose = autoclose
        self._data = b""  # what has not been read is from _pos on
        self._pos = 0
        self._is_clean = True  # nothing is held, nothing is in the making, and more may be read
        self._assembly: Assembly | None = None
        self._missing = 0  # bytes to come of the payload of a data frame; they go to the assembly
        self._is_last = False  # that frame ends its message
        self.close_code: int | None = None
        self.close_reason = ""
        self.close_received = False
        self.failed: WebSocketError | None = None
        # Nothing will be read any more: the peer's close frame came, or the connection was failed.
        self.finished = False
        self.has_more = False
        # What comes next of a large message may be written to `room`, instead of being fed.
        self.has_room = False
        self.inflated = 0  # bytes that came out of the compression so far
        self.pings = 0  # heard so far
        self.last_pong: bytes | None = None  # the payload of the newest pong

    @property
    def buffered(self) -> int:
        """How many bytes are held: unread ones, and those of the message in the making."""
        held = len(self._data) - self._pos
        return held if self._assembly is None else held + self._assembly.size

    # Reading

    def feed(self, data: bytes, out: Messages) -> bool:
        """Read what came, and add the messages to `out`. Nothing that a peer can send makes this raise. False: there
        was nothing but whole messages, and all that is told by attributes is as it was.

        At most twice MAX_BATCH short frames are read. If `has_more` is true afterwards, call `feed(b"", out)` when
        there is room. A violation adds one message of type error, whose data is the WebSocketError, and ends the
        reading; so does a close frame, which is added as a message too. What was read before is in `out` in any case.
        """
        pos = 0
        if self._is_clean:
            # Nothing is held and nothing is in the making: whole plain messages need no more than this.
            try:
                message = read_single(data, self._limit)
                if message is not None:
                    out.append(message)
                    return False
                pos = read_plain(data, 0, self._limit, MAX_BATCH // 2, out)
            except UnicodeDecodeError:
                self._fail(invalid_text(), out)
                return True
            if pos == len(data):
                return False
        elif self.finished:
            return True
        elif self._pos < len(self._data):
            if data:
                data = self._data[self._pos :] + data
            else:
                data = self._data
                pos = self._pos
        self._read_on(data, pos, out)
        return True

    def _read_on(self, data: bytes, pos: int, out: Messages) -> None:
        """Read from `pos` on, and hold what is left over."""
        try:
            pos = self._read(data, pos, out)
        except WebSocketError as exc:
            self._fail(exc, out)
        except UnicodeDecodeError:
            self._fail(invalid_text(), out)
        if self.finished:
            return
        if pos < len(data):
            self._data = data
            self._pos = pos
            self._is_clean = False
        else:
            self._data = b""
            self._pos = 0
            self._is_clean = self._assembly is None

    def _read(self, data: bytes, pos: int, out: Messages) -> int:
        """Read about MAX_BATCH frames from `pos` on, or MAX_INFLATED bytes that were compressed; where it stopped."""
        size = len(data)
        left = MAX_BATCH
        most = self.inflated + MAX_INFLATED
        self.has_more = False
        while pos < size:
            if left <= 0 or self.inflated > most:
                self.has_more = True
                break
            assembly = self._assembly
            if assembly is None:
                before = len(out)
                was = pos
                pos = read_plain(data, pos, self._limit, left, out)
                if pos != was:
                    left -= len(out) - before
                    continue
            elif self._missing:
                pos = self._read_payload(assembly, data, pos, out)
                continue
            was = pos
            pos = self._read_frame(data, pos, out)
            if pos == was or self.finished:
                break
            left -= 1
        return pos

    def _read_frame(self, data: bytes, pos: int, out: Messages) -> int:
        """Read one frame of any kind; `pos` again if too little of it is there to go on."""
        if len(data) - pos < 2:
            return pos
        first = data[pos]
        judge_header(first, data[pos + 1], self._inflater is not None)
        header = read_length(data, pos)
        if header is None:
            return pos
        length, start = header
        end = start + length
        opcode = first & 0x0F
        if opcode >= CLOSE:
            if end > len(data):
                return pos
            self._hear(opcode, data[start:end], out)
            return end
        assembly = self._begin_frame(opcode, bool(first & RSV1), length)
        self._is_last = first >= FIN
        self._missing = length
        return self._read_payload(assembly, data, start, out)

    def _begin_frame(self, opcode: int, is_compressed: bool, length: int) -> Assembly:
        """Judge a data frame by its header. The message that it belongs to."""
        assembly = self._assembly
        if opcode == CONTINUATION:
            if assembly is None:
                raise broken("a continuation of no message")
        elif assembly is not None:
            raise broken("a new message before the last one was complete")
        else:
            tp = MSG_TEXT if opcode == TEXT else MSG_BINARY
            assembly = self._assembly = Assembly(tp, self._limit, self._inflater if is_compressed else None)
        assembly.frames += 1
        if assembly.frames > self._max_fragments:
            raise WebSocketError(CLOSE_POLICY_VIOLATION, f"a message of more than {self._max_fragments} fragments")
        assembly.announced += length
        limit = self._limit
        if assembly.is_compressed:
            # What cannot be compressed grows by a few bytes in each 16 KiB; what it inflates to is judged as it comes.
            limit += (limit >> 8) + 64
        if assembly.announced > limit:
            raise WebSocketError(
                CLOSE_MESSAGE_TOO_BIG,
                f"a message of {assembly.announced} bytes or more; max_msg_size is {self._limit}",
            )
        return assembly

    def room(self) -> memoryview | None:
        """Where the next bytes may be written, if `has_room`: it is less than what is missing of a message. Say
        `filled` then. None once they must be fed again."""
        return None if self._assembly is None else self._assembly.room()

    def filled(self, size: int) -> None:
        """So many bytes were written to `room`."""
        assembly = self._assembly
        if assembly is not None:
            assembly.filled(size)
            self._missing -= size
            self.has_room = assembly.room() is not None

    def _read_payload(self, assembly: Assembly, data: bytes, pos: int, out: Messages) -> int:
        """Give the message in the making what is there of its frame."""
        end = min(pos + self._missing, len(data))
        self._missing -= end - pos
        is_last = self._is_last and not self._missing
        if assembly.is_compressed:
            before = assembly.size
            assembly.add(data[pos:end], is_last)
            self.inflated += assembly.size - before
        else:
            assembly.add(data[pos:end], is_last)
        if is_last:
            self._assembly = None
            self.has_room = False
            out.append(assembly.message())
        elif self._is_last:
            self.has_room = assembly.make_room()
        return end

    def _hear(self, opcode: int, payload: bytes, out: Messages) -> None:
        """A control frame. It may come between the fragments of a message (RFC 6455, 5.4)."""
        if opcode == CLOSE:
            self._hear_close(payload, out)
            return
        if opcode == PING:
            self.pings += 1
        else:
            self.last_pong = payload
        if not self._autoping:
            out.append(Message(MSG_PING if opcode == PING else MSG_PONG, payload, ""))
        elif opcode == PING:
            self.answer_ping(payload)

    def _hear_close(self, payload: bytes, out: Messages) -> None:
        code = 0
        reason = ""
        if len(payload) == 1:
            raise broken("a close frame with half a code")
        if payload:
            code = int.from_bytes(payload[:2], "big")
            if not may_be_on_the_wire(code):
                raise broken(f"a close frame with the code {code}")
            try:
                reason = payload[2:].decode()
            except UnicodeDecodeError:
                raise WebSocketError(CLOSE_INVALID_TEXT, "a close frame whose reason is not UTF-8") from None
        self._finish()
        self.close_received = True
        self.close_code = code
        self.close_reason = reason
        out.append(Message(MSG_CLOSE, code, reason))
        if self._autoclose:
            self.answer_close(payload[:2])

    def _fail(self, error: WebSocketError, out: Messages) -> None:
        self._finish()
        self.failed = error
        # Three dots may follow what is cut.
        reason = printable(error.message, MAX_CONTROL - 2 - len("..."))
        self.answer_close(error.code.to_bytes(2, "big") + reason.encode())
        out.append(Message(MSG_ERROR, error, None))

    def _finish(self) -> None:
        self.finished = True
        self._is_clean = False
        self._data = b""
        self._pos = 0
        self._assembly = None
        self._missing = 0
        self.has_more = False
        self.has_room = False
