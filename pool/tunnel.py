"""CONNECT as bytes in, bytes out: the request, and ConnectAnswer, which judges what comes back (RFC 9110 9.3.6)."""

import re
from typing import Final

import httptools
from multidict import CIMultiDict

from keepwarm.pool.endpoint import Endpoint, normalise_host
from keepwarm.pool.errors import printable

# The most that an answer may have: bytes of its status line, bytes and fields of its head, 1xx answers before it.
MOST_STATUS_LINE: Final = 8192
MOST_HEAD: Final = 65536
MOST_FIELDS: Final = 128
MOST_INTERIM: Final = 16
# How much of the body of a refusal is kept; the rest is not read.
MOST_BODY: Final = 65536

# The verdicts.
OPEN: Final = "open"
REFUSED: Final = "refused"
BROKEN: Final = "broken"

_END: Final = b"\r\n\r\n"
_START: Final = b"HTTP/1."
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*))?")
_FIELD: Final = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)[ \t]*"
)
# A bare CR or LF, and control characters.
_ILLEGAL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n|\Z)|(?<!\r)\n")


def authority(endpoint: Endpoint) -> str:
    """``host:port`` as CONNECT and its Host field name it. Raises InvalidURL for a host that could not stand there.

    The zone of an IPv6 address means something on this machine only (RFC 6874 4).
    """
    host = normalise_host(endpoint.host).partition("%")[0]
    return f"[{host}]:{endpoint.port}" if ":" in host else f"{host}:{endpoint.port}"


def connect_request(endpoint: Endpoint, credentials: bytes = b"") -> bytes:
    """What asks a proxy for a tunnel. `credentials` is a field line, or nothing."""
    name = authority(endpoint).encode("ascii")
    return b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (name, name, credentials)


class ConnectAnswer:
    """Judges the answer to one CONNECT. How its bytes were cut up makes no difference to the verdict.

    `verdict` is None until there is one: OPEN for any 2xx, whose length fields mean nothing; REFUSED for any other
    status; BROKEN if what came is no answer, or more than one: `problem` says why. `is_over` tells that nothing is to
    be waited for: a refusal has a body, of which at most MOST_BODY bytes are kept.
    """

    __slots__ = (
        "_chunks",
        "_held",
        "_interim",
        "_left",
        "_lines",
        "body",
        "headers",
        "is_over",
        "problem",
        "reason",
        "status",
        "verdict",
    )

    def __init__(self) -> None:
        self._held = bytearray()
        self._interim = 0
        self._lines = 0
        self._left: int | None = None
        self._chunks: httptools.HttpResponseParser | None = None
        self.verdict: str | None = None
        self.problem = ""
        self.status = 0
        self.reason = ""
        self.headers: CIMultiDict[str] = CIMultiDict()
        self.body = b""
        self.is_over = False

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        if self.verdict == OPEN:
            if data:
                self._break("sent more than its answer before TLS began")
        elif self.verdict == REFUSED:
            self._feed_body(data)
        elif self.verdict is None:
            self._held += data
            self._look(len(data))

    def feed_eof(self) -> None:
        """No more will come."""
        if self.verdict is None:
            begun = self._held or self._interim
            self._break("closed the connection " + ("in the middle of its answer" if begun else "without an answer"))
        elif self.verdict == OPEN:
            self._break("closed the connection behind its answer")
        self.is_over = True

    # The head

    def _look(self, added: int) -> None:
        held = self._held
        searched = max(len(held) - added - 3, 0)
        while self.verdict is None:
            end = held.find(_END, searched)
            if end < 0:
                self._check_unfinished(min(added, len(held)))
                return
            head = bytes(held[: end + 2])
            del held[: end + 4]
            searched = self._lines = 0
            self._judge(head)
        if self.verdict != BROKEN and held:
            rest = bytes(held)
            held.clear()
            self.feed(rest)

    def _check_unfinished(self, added: int) -> None:
        """Judge what has come of a head, of which all but `added` bytes were judged before."""
        held = self._held
        self._lines += held.count(b"\n", len(held) - added)
        if not held.startswith(_START[: len(held)]):
            self._break(f"does not speak HTTP/1.x; it sent '{_first_line(held)}'")
        elif _ILLEGAL.search(held, max(len(held) - added - 1, 0)):
            self._break(f"answered with a control character in the head, below '{_first_line(held)}'")
        elif len(held) > MOST_HEAD:
            self._break(f"answered with a head of more than {MOST_HEAD} bytes")
        elif len(held) > MOST_STATUS_LINE + 1 and held.find(b"\r\n", 0, MOST_STATUS_LINE + 2) < 0:
            self._break(f"answered with a status line of more than {MOST_STATUS_LINE} bytes")
        elif self._lines > MOST_FIELDS + 1:
            self._break(f"answered with more than {MOST_FIELDS} header fields")

    def _judge(self, head: bytes) -> None:
        """A whole head, without the empty line."""
        first, *lines = head.split(b"\r\n")[:-1]
        status_line = _STATUS_LINE.fullmatch(first)
        fields = [_FIELD.fullmatch(line) for line in lines]
        if len(head) + 2 > MOST_HEAD:
            self._break(f"answered with a head of more than {MOST_HEAD} bytes")
        elif len(first) > MOST_STATUS_LINE:
            self._break(f"answered with a status line of more than {MOST_STATUS_LINE} bytes")
        elif len(lines) > MOST_FIELDS:
            self._break(f"answered with more than {MOST_FIELDS} header fields")
        elif status_line is None or None in fields:
            self._break(f"does not speak HTTP/1.x; it sent '{_first_line(head)}'")
        elif status_line[1].startswith(b"1"):
            self._skip(status_line[1])
        else:
            self.status = int(status_line[1])
            self.reason = (status_line[2] or b"").strip(b" \t").decode("latin-1")
            for one in fields:
                if one is not None:
                    self.headers.add(one[1].decode("ascii"), one[2].decode("utf-8", "surrogateescape"))
            self._decide()

    def _skip(self, status: bytes) -> None:
        self._interim += 1
        if status == b"101":
            self._break("switched protocols (101) without being asked to")
        elif self._interim > MOST_INTERIM:
            self._break(f"sent more than {MOST_INTERIM} interim (1xx) answers")

    def _decide(self) -> None:
        if self.status < 300:
            self.verdict = OPEN
            self.is_over = True
            return
        self.verdict = REFUSED
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers:
            self._chunks = httptools.HttpResponseParser(self)
            self._chunks.feed_data(b"HTTP/1.1 403 -\r\nTransfer-Encoding: chunked\r\n\r\n")
        elif self.status == 304 or (length.isascii() and length.isdigit() and len(length) < 19):
            self._left = 0 if self.status == 304 else int(length)
            self.is_over = self._left == 0

    # The body of a refusal. It explains, no more: what is wrong with it only ends it.

    def _feed_body(self, data: bytes) -> None:
        if self.is_over:
            return
        if self._chunks is not None:
            try:
                self._chunks.feed_data(data)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade):
                self.is_over = True
            return
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
            self.is_over = self._left == 0
        self.on_body(data)

    def on_body(self, data: bytes) -> None:
        """From the parser of chunks."""
        self.body = (self.body + data)[:MOST_BODY]
        self.is_over = self.is_over or len(self.body) == MOST_BODY

    def on_message_complete(self) -> None:
        """From the parser of chunks."""
        self.is_over = True

    def _break(self, problem: str) -> None:
        self.verdict = BROKEN
        self.problem = problem
        self.is_over = True
        self._held.clear()


def _first_line(raw: bytes | bytearray) -> str:
    """What a message may show: the fields below may be secrets."""
    return printable(re.split(rb"[\r\n]", bytes(raw[:MOST_STATUS_LINE]), maxsplit=1)[0])
