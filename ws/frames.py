"""Frames (RFC 6455, 5.2): the header judged, the frame built, and runs of whole plain messages read in one go."""

import struct
from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain, repeat
from typing import Any, Final, TypeAlias

from keepwarm.ws.errors import WebSocketError
from keepwarm.ws.masking import Mask
from keepwarm.ws.messages import CLOSE_PROTOCOL_ERROR, MSG_BINARY, MSG_TEXT, Message

Messages: TypeAlias = "deque[Message] | list[Message]"

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

FIN: Final = 0x80
RSV1: Final = 0x40
MASKED: Final = 0x80
MAX_CONTROL: Final = 125

_OPCODES: Final = frozenset((CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))
_FIN_TEXT: Final = FIN | TEXT
_FIN_BINARY: Final = FIN | BINARY

_pack_short: Final = struct.Struct("!BB4s").pack
_pack_medium: Final = struct.Struct("!BBH4s").pack
_pack_long: Final = struct.Struct("!BBQ4s").pack
_first_bytes: Final = struct.Struct("!BBH").unpack_from
_length_2: Final = struct.Struct("!H").unpack_from
_length_8: Final = struct.Struct("!Q").unpack_from

# A named tuple's own constructor is a Python function, and costs twice as much as this.
new_message: Final[Callable[[type[Message], tuple[Any, Any, Any]], Message]] = tuple.__new__

# Equal frames are cut eight at a time, so fewer in a row are read one by one; more than the other in several goes.
_RUN: Final = 8
MAX_RUN: Final = 256


def build_frame(first: int, payload: bytes, key: bytes, mask: Mask) -> bytes:
    """A masked frame; `first` is FIN, RSV1 and the opcode."""
    size = len(payload)
    if size < 126:
        head = _pack_short(first, MASKED | size, key)
    elif size < 65536:
        head = _pack_medium(first, MASKED | 126, size, key)
    else:
        head = _pack_long(first, MASKED | 127, size, key)
    return head + mask(payload, key)


def judge_header(first: int, second: int, may_compress: bool) -> None:
    """Refuse what no server may send (FAULTS W09, W10, W11): raises WebSocketError with 1002."""
    opcode = first & 0x0F
    if opcode not in _OPCODES:
        raise broken(f"a frame with the reserved opcode {opcode:#x}")
    if first & 0x30 or (first & RSV1 and not (may_compress and opcode in (TEXT, BINARY))):
        raise broken(f"a frame of opcode {opcode:#x} with reserved bits set")
    if second & MASKED:
        raise broken("a masked frame from a server")
    if opcode >= CLOSE:
        if not first & FIN:
            raise broken("a control frame in fragments")
        if second > MAX_CONTROL:
            raise broken(f"a control frame of more than {MAX_CONTROL} bytes")


def read_length(data: bytes, pos: int) -> tuple[int, int] | None:
    """The length of the payload of the frame at `pos`, and where that begins. None if the header is not whole yet.

    Raises WebSocketError for a length that is not in its shortest form, or has its first bit set.
    """
    length = data[pos + 1] & 0x7F
    if length < 126:
        return length, pos + 2
    wide = length == 127
    start = pos + (10 if wide else 4)
    if start > len(data):
        return None
    (length,) = _length_8(data, pos + 2) if wide else _length_2(data, pos + 2)
    if length < (65536 if wide else 126):
        raise broken("a frame whose length is not in its shortest form")
    if length >> 63:
        raise broken("a frame whose length has its first bit set")
    return length, start


def broken(what: str) -> WebSocketError:
    """The error for a peer that broke the protocol."""
    return WebSocketError(CLOSE_PROTOCOL_ERROR, what)


def read_single(data: bytes, limit: int) -> Message | None:
    """The message, if `data` is one whole plain frame and nothing else: what most segments are. Else None.

    Half of what `read_plain` takes for one. Raises UnicodeDecodeError.
    """
    size = len(data)
    if size < 2:
        return None
    first = data[0]
    length = data[1]
    if length < 126:
        start = 2
    elif length == 126 and size > 129:
        start = 4
        length = data[2] << 8 | data[3]
    else:
        return None
    if length != size - start or length > limit:
        return None
    if first == _FIN_TEXT:
        return new_message(Message, (MSG_TEXT, data[start:].decode(), ""))
    if first == _FIN_BINARY:
        return new_message(Message, (MSG_BINARY, data[start:], ""))
    return None


def read_plain(data: bytes, pos: int, limit: int, room: int, out: Messages) -> int:
    """Read whole, plain, unfragmented messages of one type from `pos` on; where it stopped.

    It stops before the first frame that is anything else. So it needs no state, and what it skips over is judged with
    few comparisons. It also stops after `room` frames of less than 126 bytes, and after a run of equal frames; longer
    frames are bounded by the size of the segment. Raises UnicodeDecodeError; the messages before are in `out` by then.
    """
    size = len(data)
    # The shorter header is read as if it were the longer one; the last bytes of a segment go the general way.
    stop = size - 3
    if pos >= stop:
        return pos
    kind = data[pos]
    if kind != _FIN_TEXT and kind != _FIN_BINARY:
        return pos
    before = -1
    payloads: list[bytes] = []
    add = payloads.append
    while pos < stop:
        first, length, extended = _first_bytes(data, pos)
        if first != kind:
            break
        if length < 126:
            start = pos + 2
            if not room:
                break
            room -= 1
        elif length == 126 and extended > 125:
            start = pos + 4
            length = extended
        else:
            break
        end = start + length
        if end > size or length > limit:
            break
        if length == before:
            run = _count_run(data, pos, start, end)
            if run:
                end = pos + run * (end - pos)
                payloads += _cut_run(memoryview(data)[pos:end], start - pos, run)
                pos = end
                break
            # The next attempt is for the frames after these.
            length = -1
        before = length
        add(data[start:end])
        pos = end
    _add_messages(kind, payloads, out)
    return pos


def _add_messages(kind: int, payloads: list[bytes], out: Messages) -> None:
    """Many are made without a turn of the interpreter for each."""
    if len(payloads) == 1:
        if kind == _FIN_TEXT:
            out.append(new_message(Message, (MSG_TEXT, payloads[0].decode(), "")))
        else:
            out.append(new_message(Message, (MSG_BINARY, payloads[0], "")))
    elif kind == _FIN_TEXT:
        out.extend(map(new_message, repeat(Message), zip(repeat(MSG_TEXT), map(bytes.decode, payloads), repeat(""))))
    else:
        out.extend(map(new_message, repeat(Message), zip(repeat(MSG_BINARY), payloads, repeat(""))))


def _count_run(data: bytes, pos: int, start: int, end: int) -> int:
    """How many frames surely have the header, `pos` to `start`, of the one that ends at `end`. 0 or eights."""
    stride = end - pos
    most = min((len(data) - pos) // stride, MAX_RUN) // _RUN * _RUN
    good = 0
    run = _RUN
    while run <= most:
        end = pos + run * stride
        for i in range(pos, start):
            if data[i:end:stride] != data[i : i + 1] * run:
                return good
        good = run
        # Twice as many each time, so a peer that breaks its runs makes us look at few frames in vain.
        run = 2 * run if run == most else min(2 * run, most)
    return good


def _cut_run(region: memoryview, skip: int, run: int) -> Iterable[bytes]:
    """The payloads of `run` frames of the same length, after headers of `skip` bytes."""
    one = f"{skip}x{len(region) // run - skip}s"
    return chain.from_iterable(struct.iter_unpack(one * _RUN, region))
