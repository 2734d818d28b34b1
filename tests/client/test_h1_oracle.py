"""The codec against h11, an independent parser: what we accept, it reads the same way."""

import re
from dataclasses import dataclass, replace
from itertools import pairwise

import h11
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from tests.support.h1 import Outcome, deliver
from tests.support.h1_corpus import CHUNKED, CORPUS, FINAL, LINE, Case

FORBIDDEN = frozenset(
    b"authorization cache-control connection content-encoding content-length content-range content-type cookie host "
    b"keep-alive location proxy-authenticate proxy-authorization set-cookie te trailer transfer-encoding upgrade "
    b"www-authenticate".split()
)


# RFC 9112 7.1.1 has blanks before a chunk extension read, and h11 refuses them.
BAD_BLANKS = re.compile(rb"(\r\n[0-9A-Fa-f]{1,16})[ \t]+;")


@dataclass(frozen=True)
class Read:
    """What a parser made of a response, in terms that both parsers share."""

    status: int
    reason: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    trailers: tuple[tuple[bytes, bytes], ...]
    complete: bool
    surplus: bool
    keep_alive: bool


def read_by_h11(message: bytes, method: str) -> Read | None:
    """None if h11 refuses the message, or has no head of it."""
    peer = h11.Connection(h11.CLIENT, max_incomplete_event_size=65536)
    peer.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    peer.send(h11.EndOfMessage())
    peer.receive_data(message)
    head, body, complete = None, b"", False
    trailers: tuple[tuple[bytes, bytes], ...] = ()
    try:
        while (event := peer.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                trailers = tuple((bytes(n), bytes(v)) for n, v in event.headers if bytes(n) not in FORBIDDEN)
                complete = True
                break
    except h11.RemoteProtocolError:
        return None
    if head is None:
        return None
    keep_alive = complete and peer.their_state is h11.DONE
    fields = tuple((bytes(name).lower(), bytes(value)) for name, value in head.headers)
    surplus = complete and bool(peer.trailing_data[0])
    return Read(head.status_code, bytes(head.reason), fields, body, trailers, complete, surplus, keep_alive)


def in_common_terms(found: Outcome) -> Read:
    fields = tuple((name.lower(), value) for name, value in found.fields)
    trailers = tuple((name.lower(), value) for name, value in found.trailers)
    reason = (found.reason or "").encode("utf-8", "surrogateescape")
    keep_alive = found.keep_alive and found.complete
    status = found.status or 0
    return Read(status, reason, fields, found.body, trailers, found.complete, found.surplus, keep_alive)


def without_framing(read: Read) -> Read:
    """h11 joins equal lengths and lowers the case of codings; `fields` as they came keep them as they are."""
    fields = tuple(field for field in read.fields if field[0] not in (b"content-length", b"transfer-encoding"))
    return replace(read, fields=fields)


def agree(message: bytes, method: str = "GET") -> bool:
    """Fail unless h11 reads what we accept in the same way. False if there is nothing to compare."""
    ours = deliver(message, method=method)
    if ours.error is not None or ours.status is None:
        return False
    theirs = read_by_h11(message, method) or read_by_h11(BAD_BLANKS.sub(rb"\1;", message), method)
    assert theirs is not None, f"h11 refuses {message!r}"
    if ours.version == (1, 0):
        theirs = replace(theirs, keep_alive=ours.keep_alive and ours.complete)  # h11 never keeps one of these
    assert without_framing(in_common_terms(ours)) == without_framing(theirs), message
    return True


@pytest.mark.fault("F50")
@pytest.mark.parametrize("case", [case for case in CORPUS if not case.refused], ids=lambda case: case.name)
def test_accepted_messages(case: Case) -> None:
    """Status, fields, body, trailers, end and persistence of each accepted message are what h11 finds."""
    assert agree(case.message, case.method)


TOKEN = st.text(alphabet="!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=12).map(str.encode)
TEXT = st.binary(max_size=30).map(lambda raw: bytes(b for b in raw if 0x20 <= b < 0x7F or b >= 0x80).strip())
FIELDS = st.lists(st.tuples(TOKEN.filter(lambda name: name.lower() not in FORBIDDEN), TEXT), max_size=6)
BLANKS = st.sampled_from([b"", b"", b" ", b"\t "])
EXTENSION = st.one_of(st.just(b""), st.tuples(BLANKS, TOKEN, BLANKS, TOKEN).map(lambda parts: b"%b;%b%b=%b" % parts))
# h11 allows a reason to begin with anything but a blank only after the one that separates it.
REASON = TEXT


@st.composite
def responses(draw: st.DrawFn) -> tuple[bytes, str]:
    """A valid response, perhaps with interim ones before it and bytes behind it, and the method that it answers."""
    status = draw(st.sampled_from([200, 201, 204, 206, 304, 404, 500, 599]))
    lines = [b"HTTP/1.%d %d %b" % (draw(st.sampled_from([0, 1, 1, 1])), status, draw(REASON))]
    lines += [b"%b:%b%b" % (name, draw(st.sampled_from([b"", b" ", b"\t "])), text) for name, text in draw(FIELDS)]
    body = draw(st.binary(max_size=200))
    framing = draw(st.sampled_from(["length", "chunked", "eof"]))
    if draw(st.booleans()):
        lines.append(b"Connection: " + draw(st.sampled_from([b"close", b"keep-alive", b"Keep-Alive, x"])))
    if framing == "chunked" and lines[0].startswith(b"HTTP/1.1"):
        lines.append(b"Transfer-Encoding: chunked")
        bounds = [0, *sorted(draw(st.sets(st.integers(1, max(len(body), 1)), max_size=4))), len(body)]
        pieces = [body[a:b] for a, b in pairwise(bounds) if a < b]
        chunks = [b"%x%b\r\n%b\r\n" % (len(piece), draw(EXTENSION), piece) for piece in pieces]
        trailers = [b"%b: %b\r\n" % field for field in draw(FIELDS)]
        body = b"".join([*chunks, b"0\r\n", *trailers, b"\r\n"])
    elif framing != "eof":
        lines.append(b"Content-Length: %d" % len(body))
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * draw(st.integers(0, 2))
    message = interim + b"\r\n".join([*lines, b"", b""]) + body + draw(st.sampled_from([b"", b"", b"", b"more"]))
    return message, draw(st.sampled_from(["GET", "GET", "HEAD", "POST"]))


@pytest.mark.fault("F50")
@settings(max_examples=300, deadline=None, derandomize=True)
@given(responses())
def test_generated_messages(sample: tuple[bytes, str]) -> None:
    """Any valid response is accepted, and read like h11 reads it."""
    assert agree(*sample)


@pytest.mark.fault("F50")
@settings(max_examples=300, deadline=None, derandomize=True)
@given(responses(), st.data())
def test_cut_at_random(sample: tuple[bytes, str], data: st.DataObject) -> None:
    """Any valid response gives the same, however it was cut up on its way."""
    message, method = sample
    cuts = data.draw(st.sets(st.integers(1, max(len(message) - 1, 1)), max_size=8))
    assert deliver(message, cuts, method=method) == deliver(message, method=method)


# h11 judges the values of trailers that we drop unread.
MUTABLE = [case for case in CORPUS if case.name != "forbidden ones"]
MUTANTS = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b":", b",", b";", b"0", b"5", b"a", b"\x80", b'"', b"\x0b", b"+", b""]
)


@pytest.mark.fault("F50")
@settings(max_examples=1500, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.sampled_from(MUTABLE), st.integers(0, 400), st.integers(0, 2), MUTANTS, st.integers(0, 400))
@example(Case("F28", "", LINE + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), 43, 0, b" ", 0)
@example(Case("F02", "", CHUNKED + b"0\r\n\r\n" + FINAL), 0, 0, b"", 0)
def test_broken_messages(case: Case, at: int, drop: int, put: bytes, cut: int) -> None:
    """A message with a few bytes dropped or put in is refused, or read like h11 reads it; cut or not."""
    at %= len(case.message) + 1
    message = case.message[:at] + put + case.message[at + drop :]
    assume(message)
    whole = deliver(message, method=case.method)
    parts = deliver(message, [cut % len(message)], method=case.method)
    # What has two faults is refused for the one that is seen first.
    assert parts == whole or (parts.error is not None and whole.error is not None)
    agree(message, case.method)
