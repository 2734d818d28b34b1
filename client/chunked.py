"""ChunkedBody: one chunked body and its trailers (RFC 9112 7.1)."""

import re
from typing import Final

from keepwarm.client.errors import ClientProtocolError, HeadTooLarge, TransferEncodingError
from keepwarm.client.head import ResponseHead, split_field
from keepwarm.client.head_limits import HeadLimits
from keepwarm.pool.errors import printable

# What a chunk's own framing may take before it counts as overhead: sixteen bytes hold any honest size line.
CHUNK_ALLOWANCE: Final = 16
# Fields that would change framing, routing or credentials have no business behind the body (RFC 9110 6.5.1).
_NOT_IN_TRAILERS: Final = frozenset(
    b"transfer-encoding content-length host trailer te connection keep-alive authorization proxy-authorization "
    b"set-cookie cookie content-encoding content-type content-range location www-authenticate cache-control "
    b"proxy-authenticate upgrade".split()
)

# Sixteen digits hold any 64-bit size; a seventeenth would be an overflow elsewhere. What an extension says is ignored,
# but it must be text: a line end in it would be read as one by somebody. Blanks may stand before an extension (RFC 9112
# 7.1.1 calls them bad and has them read), up to 32 of them: so the semicolon is among the first _LONG bytes.
_SIZE: Final = rb"([0-9A-Fa-f]{1,16})(?:[\t ]{0,32}+;[\t\x20-\x7e\x80-\xff]*+)?\r\n"
_FIRST_LINE: Final = re.compile(_SIZE)
_NEXT_LINE: Final = re.compile(rb"\r\n" + _SIZE)
# The same for a line whose end has not come yet.
_PART: Final = rb"(?:[0-9A-Fa-f]{1,16}(?:\r|[\t ]{1,32}+|[\t ]{0,32}+;[\t\x20-\x7e\x80-\xff]*+\r?)?)?"
_FIRST_PART: Final = re.compile(rb"(?:" + _PART + rb")\Z")
_NEXT_PART: Final = re.compile(rb"(?:\r|(?:\r\n" + _PART + rb")?)\Z")
# Of a long unfinished line only what is new is looked at.
_LONG: Final = 64
_NOT_TEXT: Final = re.compile(rb"[\x00-\x08\x0a-\x0c\x0e-\x1f\x7f]|\r(?=.)", re.DOTALL)

_TRAILERS: Final = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+\r\n")
_ILLEGAL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?=[^\n])")


class ChunkedBodyError(ClientProtocolError, TransferEncodingError):
    """Broken chunked framing; caught by handlers of either kind."""

    phase = "body"


class ChunkedBody:
    """Takes the bytes behind a `head` that announced chunks.

    `feed` returns the body bytes in what it was given; `complete` and `surplus` as in ResponseParser, `size` is the
    body's length so far, `trailers` the fields behind it, without those that may not stand there. Raises
    ClientProtocolError for bad framing and HeadTooLarge for more framing or trailers than the limits allow; it is of
    no further use then. The verdict depends on the bytes alone, never on how they were cut up on their way.

    llhttp would do the same, but it does not tell where a message ends, takes a size line of any length, and goes by
    its own reading of the head.
    """

    __slots__ = (
        "_block_left",
        "_excess",
        "_fields_left",
        "_held",
        "_in_trailers",
        "_is_first",
        "_left",
        "_limits",
        "_line_start",
        "complete",
        "size",
        "surplus",
        "trailers",
    )

    def __init__(self, head: ResponseHead, limits: HeadLimits) -> None:
        self._limits = limits
        self._block_left = limits.block - head.size
        self._fields_left = limits.fields - head.raw.count(b"\r\n") + 2
        self._held = bytearray()
        self._left = 0
        self._excess = 0
        self._line_start = 0
        self._is_first = True
        self._in_trailers = False
        self.size = 0
        self.complete = False
        self.surplus = False
        self.trailers: tuple[tuple[bytes, bytes], ...] = ()

    def feed(self, data: bytes) -> bytes:
        """Take what arrived; give the body bytes in it."""
        if self.complete:
            self.surplus = self.surplus or bool(data)
            return b""
        if self._in_trailers:
            self._feed_trailers(data)
            return b""
        if self._held:
            checked = len(self._held)
            self._held += data
            if self._held.find(b"\r\n", max(checked - 1, 0 if self._is_first else 2)) < 0:
                self._check_part(checked)
                return b""
            data = bytes(self._held)
            self._held.clear()
        return self._feed_chunks(data)

    def _feed_chunks(self, data: bytes) -> bytes:
        # One read may bring 40,000 chunks of a byte each, and the loop waits for all of them: hence the local names.
        pieces: list[bytes] = []
        overhead = self._limits.overhead + CHUNK_ALLOWANCE
        left, excess = self._left, self._excess
        match = (_FIRST_LINE if self._is_first else _NEXT_LINE).match
        at, end = 0, len(data)
        while at < end:
            if left:
                piece = data[at : at + left]
                pieces.append(piece)
                at += left
                left -= len(piece)
                continue
            line = match(data, at)
            if line is None:
                self._excess = excess
                self._hold_line(data[at:])
                break
            begin, at = at, line.end()
            excess += at - begin
            if excess > overhead:
                raise self._too_much_framing()
            left = int(line[1], 16)
            if not left:
                self._in_trailers = True
                self._feed_trailers(data[at:])
                break
            # Credit is never saved up: it would let one line be as long as the body before it.
            excess -= CHUNK_ALLOWANCE + left
            if excess < 0:
                excess = 0
            if self._is_first:
                self._is_first = False
                match = _NEXT_LINE.match
        self._left, self._excess = left, excess
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.size += len(body)
        return body

    def _hold_line(self, part: bytes) -> None:
        if part.find(b"\r\n", 0 if self._is_first else 2) >= 0:
            raise _broken(part)
        self._held += part
        self._check_part(0)

    def _check_part(self, checked: int) -> None:
        """Judge an unfinished size line, of which `checked` bytes were judged before."""
        held = self._held
        if self._excess + len(held) - CHUNK_ALLOWANCE > self._limits.overhead:
            raise self._too_much_framing()
        if checked < _LONG:
            is_fine = (_FIRST_PART if self._is_first else _NEXT_PART).match(held) is not None
        else:
            is_fine = _NOT_TEXT.search(held, checked - 1) is None
        if not is_fine:
            raise _broken(bytes(held[:_LONG]))

    def _too_much_framing(self) -> HeadTooLarge:
        return HeadTooLarge("the framing of the chunked body", self._limits.overhead, phase="body")

    # Behind the last chunk

    def _feed_trailers(self, data: bytes) -> None:
        held = self._held
        checked = len(held)
        held += data
        if held.startswith(b"\r\n"):
            end = 2
        else:
            end = held.find(b"\r\n\r\n", max(checked - 3, 0)) + 4
            self._check_trailers(checked, end if end > 3 else len(held))
            if end < 4:
                return
            self._read_trailers(bytes(held[:end]))
        self.complete = True
        self.surplus = len(held) > end
        held.clear()

    def _check_trailers(self, checked: int, end: int) -> None:
        held, limits = self._held, self._limits
        if end > self._block_left:
            raise HeadTooLarge("the head and the trailers", limits.block, phase="body")
        if _ILLEGAL.search(held, max(checked - 1, 0), end):
            raise _broken(bytes(held[:end]), "the trailers are")
        at = held.find(b"\n", checked, end)
        while at >= 0:
            self._check_line(at - 1)
            if at - 1 > self._line_start:  # not the empty line at the end
                self._fields_left -= 1
                if self._fields_left < 0:
                    raise HeadTooLarge("the head and the trailers", limits.fields, unit="fields", phase="body")
            self._line_start = at + 1
            at = held.find(b"\n", at + 1, end)
        self._check_line(end - held.endswith(b"\r", 0, end))

    def _check_line(self, end: int) -> None:
        if end - self._line_start > self._limits.line:
            raise HeadTooLarge("a trailer line", self._limits.line, phase="body")

    def _read_trailers(self, block: bytes) -> None:
        if not _TRAILERS.fullmatch(block):
            raise _broken(block, "the trailers are")
        fields = [split_field(line) for line in block[:-4].split(b"\r\n")]
        self.trailers = tuple(field for field in fields if field[0].lower() not in _NOT_IN_TRAILERS)


def _broken(near: bytes, what: str = "the chunked body is") -> ChunkedBodyError:
    return ChunkedBodyError(f"{what} broken near '{printable(near)}'", phase="body")
