"""HTTP/1.1 responses without I/O: bytes in, head and body out.

A head is collected until its empty line and then judged whole, so that it makes no difference how it was cut up on
its way (FAULTS F39, F50). llhttp, through httptools, proves its syntax with no leniency switched on; what it leaves
open (versions, limits, several lengths, transfer codings) is decided here, from the same bytes. Most answers on one
connection have the head of the answer before, byte by byte: an equal head has an equal meaning, and is not parsed
again. Bodies of known length are counted; chunked ones are read by ChunkedBody.

Two rules keep a connection from ever handing one answer's bytes to another request: a response is complete only when
its framing says so, and one byte beyond it (`surplus`) ends the connection.
"""

import re
from typing import Final

import httptools

from keepwarm.client.chunked import ChunkedBody
from keepwarm.client.content_length import merge_lengths, parse_length
from keepwarm.client.errors import ClientPayloadError, ClientProtocolError, HeadTooLarge
from keepwarm.client.head import CHUNKED, LENGTH, NO_BODY, UNTIL_EOF, ResponseHead, field_values, make_head
from keepwarm.client.head_limits import DEFAULT_LIMITS, HeadLimits
from keepwarm.pool.errors import printable

END_OF_HEAD: Final = b"\r\n\r\n"
MOST_INTERIM: Final = 16
# A larger head is parsed anew each time: thousands of idle connections remember theirs.
MOST_KNOWN: Final = 4096

# What may not stand in an unfinished head either: then the verdict comes with the first bytes (FAULTS F33, F34, F37).
_ILLEGAL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?=[^\n])")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] [1-9][0-9][0-9](?: [\t\x20-\x7e\x80-\xff]*)?\r\n")
_LINE_END = re.compile(rb"[\r\n]")


class _Syntax:
    """Hears from llhttp that the head is over."""

    __slots__ = ("is_proved",)

    def __init__(self) -> None:
        self.is_proved = False

    def on_headers_complete(self) -> None:
        self.is_proved = True


class ResponseParser:
    """Parses the responses of one connection, one after the other.

    `start` begins a response, `feed` takes what arrived, `feed_eof` says that no more will come. After a `feed`:
    `head` is there or None, `body` holds the body bytes of this feed, `complete` and `surplus` say whether the
    response is over and whether bytes were left. With the head comes `keep_alive`: whether, for all that the peer said
    and how this body ends, the connection may serve another request once the response is complete. Raises
    ClientProtocolError (HeadTooLarge for the limits) or ClientPayloadError; the parser is of no further use then.
    """

    __slots__ = (
        "_chunked",
        "_held",
        "_interim",
        "_is_head_request",
        "_known",
        "_limits",
        "_line_start",
        "_lines",
        "_read_until_eof",
        "_remaining",
        "_upgrades",
        "body",
        "complete",
        "got_bytes",
        "got_continue",
        "head",
        "keep_alive",
        "surplus",
    )

    def __init__(self) -> None:
        self._limits = DEFAULT_LIMITS
        self._known: ResponseHead | None = None
        self._held = bytearray()
        # What `start` need not set: a complete head and a complete body leave these as they are here, and `keep_alive`
        # comes with each head.
        self._line_start = 0
        self._lines = 0
        self._remaining = 0
        self._interim = 0
        self.got_continue = False
        self.keep_alive = False
        self.start("GET")

    def start(
        self,
        method: str,
        limits: HeadLimits = DEFAULT_LIMITS,
        read_until_eof: bool = True,
        upgrades: bool = False,
    ) -> None:
        """A request was sent; what comes next answers it.

        `read_until_eof`: whether a response with neither length nor chunks has a body, which then lasts until the end
        of the connection; False takes it to have none (C-23). `upgrades`: whether the request asked for another
        protocol. Then 101 is its answer, and what comes behind the head is the `body`, however it is framed.
        """
        if limits is not self._limits:
            self._limits = limits
            self._known = None  # it was judged by other limits
        self._is_head_request = method == "HEAD"
        self._read_until_eof = read_until_eof
        self._upgrades = upgrades
        if self._interim:
            self._interim = 0
            self.got_continue = False
        self._chunked: ChunkedBody | None = None
        self.head: ResponseHead | None = None
        self.body = b""
        self.complete = False
        self.surplus = False
        self.got_bytes = False

    @property
    def expected(self) -> int | None:
        """Bytes that the body should have; None if only its end will tell, or if there is none to come."""
        head = self.head
        return head.length if head is not None and head.framing == LENGTH and not self._is_head_request else None

    @property
    def remaining(self) -> int | None:
        """Bytes of the body that are still to come; None if only its end will tell."""
        head = self.head
        return None if head is None or head.framing in (CHUNKED, UNTIL_EOF) else self._remaining

    @property
    def trailers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The trailer fields, once the response is complete."""
        return () if self._chunked is None else self._chunked.trailers

    def feed(self, data: bytes) -> None:
        """Take what arrived. See the class for what it leaves behind."""
        if self.head is None:
            self.got_bytes = True
            known = self._known
            if known is None or self._held or not data.startswith(known.raw):
                self._feed_head(data)
            elif len(data) == known.whole and not self._is_head_request:
                # What `_begin_body` comes to for most answers.
                self.head = known
                self.keep_alive = known.keep_alive
                self.complete = True
                self.body = data[known.size :]
            else:
                self._begin_body(known, data, known.size)
        elif self.complete:
            self.surplus = True
        elif self._chunked is not None:
            self._feed_chunked(data)
        elif self.head.framing == UNTIL_EOF:
            self.body = data
        else:
            self._feed_counted(data)

    def feed_eof(self) -> None:
        """The peer will send no more. Raises ClientPayloadError if the body is cut short.

        Without a head nothing is raised: whether that is a disconnect or worse is for the caller, who knows what
        was sent.
        """
        self.body = b""
        head = self.head
        if head is None or self.complete:
            return
        if head.framing == UNTIL_EOF:
            self.complete = True
            return
        received = head.length - self._remaining if head.framing == LENGTH else None
        if self._chunked is not None:
            received = self._chunked.size
        raise ClientPayloadError(
            f"the connection ended in the middle of the body: received {received} bytes, "
            + (f"expected {head.length}" if head.framing == LENGTH else "and no last chunk"),
            expected=self.expected,
            received=received,
        )

    # The head

    def _feed_head(self, data: bytes) -> None:
        added, start = len(data), 0
        if self._held:
            searched = max(len(self._held) - 3, 0)
            self._held += data
            end = self._held.find(END_OF_HEAD, searched)
            if end < 0:
                self._check_unfinished(added)
                return
            data = bytes(self._held)
            self._held.clear()
        else:
            end = data.find(END_OF_HEAD)
        while end >= 0:
            end += len(END_OF_HEAD)
            self._line_start = self._lines = 0
            head = self._judge(data[start:end])
            if head.status == 101 and self._upgrades:
                self.head = head
                self.complete = True
                self.body = data[end:]
                return
            if head.status >= 200:
                self._known = head if head.size <= MOST_KNOWN else None
                self._begin_body(head, data, end)
                return
            self._skip_interim(head)
            start, end = end, data.find(END_OF_HEAD, end)
        if start < len(data):
            self._held += data[start:]
            self._check_unfinished(len(data) - start)

    def _check_unfinished(self, added: int) -> None:
        """Judge what has come of a head, of which all but `added` bytes were judged before."""
        held, limits = self._held, self._limits
        size = len(held)
        if not held.startswith(b"HTTP/1."[:size]):
            raise _not_http(held)
        illegal = _ILLEGAL.search(held, max(size - added - 1, 0))
        if illegal:
            raise _illegal(held, illegal.start())
        if size > limits.block:
            raise HeadTooLarge("the head", limits.block)
        at = held.find(b"\n", size - added)
        while at >= 0:
            self._check_line(at - 1)
            if self._lines == 0 and not _STATUS_LINE.match(held):
                raise _not_http(held)
            self._line_start = at + 1
            self._lines += 1
            if self._lines > limits.fields + 1:
                raise HeadTooLarge("the head", limits.fields, unit="fields")
            at = held.find(b"\n", at + 1)
        self._check_line(size - held.endswith(b"\r"))

    def _check_line(self, end: int) -> None:
        """The line that ends at `end`, without its CRLF, or what has come of it."""
        if self._lines == 0:
            if end > self._limits.status_line:
                raise HeadTooLarge("the status line", self._limits.status_line)
        elif end - self._line_start > self._limits.line:
            raise HeadTooLarge("a header line", self._limits.line)

    def _skip_interim(self, head: ResponseHead) -> None:
        """1xx answers come before the real one (RFC 9110 15.2)."""
        if head.status == 101:
            raise ClientProtocolError("the peer switched protocols (101) without being asked to")
        self.got_continue = self.got_continue or head.status == 100
        self._interim += 1
        if self._interim > MOST_INTERIM:
            raise ClientProtocolError(f"the peer sent more than {MOST_INTERIM} interim (1xx) answers")

    def _judge(self, raw: bytes) -> ResponseHead:
        """Prove the syntax of a whole head and read its framing."""
        self._check_limits(raw)
        if not _STATUS_LINE.match(raw):
            raise _not_http(raw)
        lower = raw.lower()
        lengths = field_values(lower, b"content-length")
        proved = raw
        if len(lengths) > 1 or (lengths and b"," in lengths[0]):
            # RFC 9112 6.3: repeated equal values count as one.
            proved, lengths = merge_lengths(raw, lengths)
        self._prove(proved)
        codings = field_values(lower, b"transfer-encoding")
        if codings:
            return self._judge_coded(raw, lower, codings, lengths)
        status = int(raw[9:12])
        if status < 200 or status in (204, 304):
            framing, length = NO_BODY, 0
        elif lengths:
            framing, length = LENGTH, parse_length(lengths[0])
        else:
            framing, length = UNTIL_EOF, 0
        return make_head(raw, lower, framing, length)

    def _check_limits(self, raw: bytes) -> None:
        limits, size = self._limits, len(raw)
        if size > limits.block:
            raise HeadTooLarge("the head", limits.block)
        if raw.count(b"\r\n") - 2 > limits.fields:
            raise HeadTooLarge("the head", limits.fields, unit="fields")
        if size > limits.status_line and raw.index(b"\r\n") > limits.status_line:
            raise HeadTooLarge("the status line", limits.status_line)
        if size > limits.line and max(map(len, raw.split(b"\r\n")[1:])) > limits.line:
            raise HeadTooLarge("a header line", limits.line)

    def _prove(self, raw: bytes) -> None:
        syntax = _Syntax()
        parser = httptools.HttpResponseParser(syntax)
        try:
            parser.feed_data(raw)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError as exc:
            if syntax.is_proved and raw[9:12] == b"101":
                return  # llhttp stops there even where no field names a protocol; whoever asked for one judges that
            illegal = _ILLEGAL.search(raw)
            if illegal:
                raise _illegal(raw, illegal.start()) from None
            raise ClientProtocolError(
                f"the head of the response is not valid HTTP: {exc}, below '{_first_line(raw)}'"
            ) from None
        if not syntax.is_proved:
            raise ClientProtocolError(f"the head of the response is not valid HTTP, below '{_first_line(raw)}'")

    def _judge_coded(self, raw: bytes, lower: bytes, codings: list[bytes], lengths: list[bytes]) -> ResponseHead:
        if codings != [b"chunked"]:
            raise ClientProtocolError(
                f"cannot read a body with Transfer-Encoding '{printable(b', '.join(codings))}'; only 'chunked' is known"
            )
        if lengths:
            raise ClientProtocolError("the response has Transfer-Encoding and Content-Length: its end is ambiguous")
        if raw[7] != 0x31:
            raise ClientProtocolError("an HTTP/1.0 response cannot be chunked (RFC 9112 6.1)")
        status = int(raw[9:12])
        framing = NO_BODY if status < 200 or status in (204, 304) else CHUNKED
        return make_head(raw, lower, framing, 0)

    # The body

    def _begin_body(self, head: ResponseHead, data: bytes, start: int) -> None:
        self.head = head
        self.keep_alive = head.keep_alive
        rest = len(data) - start
        framing = NO_BODY if self._is_head_request else head.framing
        if framing == LENGTH:
            length = head.length
            if rest >= length:
                self.complete = True
                self.surplus = rest > length
                self.body = data[start : start + length]
            else:
                self._remaining = length - rest
                self.body = data[start:]
        elif framing == CHUNKED:
            self._chunked = ChunkedBody(head, self._limits)
            self._feed_chunked(data[start:])
        elif framing == UNTIL_EOF and self._read_until_eof:
            self.keep_alive = False
            self.body = data[start:]
        else:
            self.keep_alive = self.keep_alive and framing == NO_BODY
            self.complete = True
            self.surplus = rest > 0
            self.body = b""

    def _feed_counted(self, data: bytes) -> None:
        remaining = self._remaining
        if len(data) < remaining:
            self._remaining = remaining - len(data)
            self.body = data
            return
        self.surplus = len(data) > remaining
        self.body = data[:remaining] if self.surplus else data
        self._remaining = 0
        self.complete = True

    def _feed_chunked(self, data: bytes) -> None:
        chunked = self._chunked
        if chunked is None:
            raise ClientProtocolError("no chunked body was announced")
        self.body = chunked.feed(data)
        self.complete = chunked.complete
        self.surplus = chunked.surplus


def _not_http(raw: bytes | bytearray) -> ClientProtocolError:
    if raw[:1] == b"\x15" or raw[:2] == b"\x16\x03":
        return ClientProtocolError("the peer speaks TLS, and the request was sent in plain text: use https://")
    return ClientProtocolError(f"the peer does not speak HTTP/1.x; it sent '{_first_line(raw)}'")


def _illegal(raw: bytes | bytearray, at: int) -> ClientProtocolError:
    return ClientProtocolError(
        f"the head of the response has {bytes(raw[at : at + 1])!r} at position {at}, which is a control character, a "
        f"bare CR or a bare LF; it begins with '{_first_line(raw)}'"
    )


def _first_line(raw: bytes | bytearray) -> str:
    """What a message may show of a head: the fields below may be cookies and other secrets."""
    return printable(_LINE_END.split(bytes(raw), 1)[0])
