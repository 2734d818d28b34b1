"""CONNECT without I/O: the request's bytes, and the verdict on what comes back, however it is cut up."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepwarm.pool.endpoint import Endpoint, make_endpoint
from keepwarm.pool.errors import InvalidURL
from keepwarm.pool.tunnel import (
    BROKEN,
    MOST_BODY,
    MOST_FIELDS,
    MOST_HEAD,
    MOST_INTERIM,
    MOST_STATUS_LINE,
    OPEN,
    REFUSED,
    ConnectAnswer,
    connect_request,
)

INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
DONE = b"HTTP/1.1 200 OK\r\n\r\n"
FIELD = b"A: b\r\n"


def told(message: bytes, *cuts: int, eof: bool = False) -> ConnectAnswer:
    answer = ConnectAnswer()
    for start, end in pairwise(sorted({0, *cuts, len(message)})):
        answer.feed(message[start:end])
    if eof:
        answer.feed_eof()
    return answer


def in_bytes(message: bytes, eof: bool = False) -> ConnectAnswer:
    return told(message, *range(len(message)), eof=eof)


def outcome(answer: ConnectAnswer) -> tuple[object, ...]:
    if answer.verdict == BROKEN:
        return (BROKEN,)
    return answer.verdict, answer.status, answer.reason, list(answer.headers.items()), answer.body, answer.is_over


OPENED = {
    "plain": DONE,
    "old": b"HTTP/1.0 200 Connection established\r\n\r\n",
    "without a reason": b"HTTP/1.1 200\r\n\r\n",
    "another 2xx": b"HTTP/1.1 204 Fine\r\nVia: 1.1 p\r\n\r\n",
    "with a length": b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
    "with chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "with both": b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n",
    "with a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: -7, x\r\n\r\n",
    "after interim answers": INTERIM * MOST_INTERIM + DONE,
    "longest status line": b"HTTP/1.1 200 " + b"k" * (MOST_STATUS_LINE - 13) + b"\r\n\r\n",
    "most fields": b"HTTP/1.1 200 OK\r\n" + FIELD * MOST_FIELDS + b"\r\n",
    "largest head": b"HTTP/1.1 200 OK\r\nA: " + b"a" * (MOST_HEAD - 24) + b"\r\n\r\n",
}

NO_ANSWER = {
    "more than the head": DONE + b"x",
    "a body": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "an empty chunked body": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two answers": DONE + DONE,
    "too many interim answers": INTERIM * (MOST_INTERIM + 1) + DONE,
    "another protocol at once": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "status line too long": b"HTTP/1.1 200 " + b"k" * (MOST_STATUS_LINE - 12) + b"\r\n\r\n",
    "too many fields": b"HTTP/1.1 200 OK\r\n" + FIELD * (MOST_FIELDS + 1) + b"\r\n",
    "head too large": b"HTTP/1.1 200 OK\r\nA: " + b"a" * (MOST_HEAD - 23) + b"\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x46",
    "HTTP/2": b"HTTP/2 200 OK\r\n\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\n\n",
    "a bare CR": b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
    "a NUL": b"HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n",
    "a folded field": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
    "a blank before the colon": b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
    "a field without a name": b"HTTP/1.1 200 OK\r\n: b\r\n\r\n",
    "no field at all": b"HTTP/1.1 200 OK\r\nA\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a status of zeros": b"HTTP/1.1 000 OK\r\n\r\n",
    "an empty line first": b"\r\nHTTP/1.1 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("name", OPENED)
def test_any_2xx_opens_the_tunnel(name: str) -> None:
    """Length fields of a 2xx mean nothing (RFC 9110 9.3.6); everything up to the limits is taken."""
    whole, cut = told(OPENED[name]), in_bytes(OPENED[name])
    assert (whole.verdict, whole.is_over, whole.problem) == (OPEN, True, "")
    assert outcome(whole) == outcome(cut)


@pytest.mark.fault("X03")
@pytest.mark.parametrize("name", NO_ANSWER)
def test_what_is_no_answer_is_refused(name: str) -> None:
    """Surplus bytes, broken syntax and heads beyond the limits end the tunnel, whole or byte by byte."""
    whole, cut = told(NO_ANSWER[name]), in_bytes(NO_ANSWER[name])
    assert (whole.verdict, whole.is_over) == (BROKEN, True)
    assert whole.problem
    assert outcome(whole) == outcome(cut)


@pytest.mark.parametrize("size", [MOST_HEAD + 1, MOST_HEAD * 2])
def test_a_head_that_does_not_end_is_judged_before_its_end(size: int) -> None:
    """A proxy that sends fields for ever is not read for ever."""
    assert told(b"HTTP/1.1 200 OK\r\nA: " + b"a" * size).verdict == BROKEN
    assert told(b"HTTP/1.1 200 " + b"k" * MOST_STATUS_LINE).verdict == BROKEN
    assert told(b"HTTP/1.1 200 OK\r\n" + FIELD * (MOST_FIELDS + 1)).verdict == BROKEN


@pytest.mark.fault("X04")
@pytest.mark.parametrize("message", [b"", b"HTTP/1.1 200 O", DONE[:-1], INTERIM, DONE])
def test_the_end_of_the_connection_is_no_answer(message: bytes) -> None:
    """FIN before, in the middle of, or behind the answer: there is no tunnel."""
    answer = told(message, eof=True)
    assert (answer.verdict, answer.is_over) == (BROKEN, True)
    assert "closed the connection" in answer.problem


REFUSALS = {
    "a length": (b"HTTP/1.1 407 Who\r\nContent-Length: 4\r\n\r\nwho?surplus", b"who?", True),
    "no length": (b"HTTP/1.1 403 No\r\n\r\nnever", b"never", False),
    "no body": (b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", b"", True),
    "chunks": (b"HTTP/1.1 502 B\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n", b"abc", True),
    "broken chunks": (b"HTTP/1.1 502 Bad\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nzz", b"ab", True),
    "an unclear length": (b"HTTP/1.1 500 Oh\r\nContent-Length: 3x\r\n\r\nabcde", b"abcde", False),
    "a redirect": (b"HTTP/1.1 302 There\r\nLocation: http://x/\r\nContent-Length: 1\r\n\r\n.", b".", True),
    "after an interim answer": (INTERIM + b"HTTP/1.1 407 Who\r\nContent-Length: 1\r\n\r\n?", b"?", True),
    "no change": (b"HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n", b"", True),
}


@pytest.mark.fault("X02")
@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_has_status_reason_headers_and_body(name: str) -> None:
    """The body's framing is undone where it can be; what is wrong with it only ends it."""
    message, body, is_over = REFUSALS[name]
    whole, cut = told(message), in_bytes(message)
    assert (whole.verdict, whole.body, whole.is_over) == (REFUSED, body, is_over)
    assert outcome(whole) == outcome(cut)
    ended = told(message, eof=True)
    assert (ended.verdict, ended.body, ended.is_over) == (REFUSED, body, True)


@pytest.mark.parametrize("framing", [b"", b"Content-Length: 999999\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_the_body_of_a_refusal_is_bounded(framing: bytes) -> None:
    """64 KiB are kept, and nothing is waited for after them."""
    body = b"x" * (MOST_BODY * 2)
    piece = b"%x\r\n%b\r\n" % (len(body), body) if b"chunked" in framing else body
    answer = told(b"HTTP/1.1 403 No\r\n" + framing + b"\r\n" + piece, 5000, 70000)
    assert (answer.verdict, answer.is_over, answer.body) == (REFUSED, True, body[:MOST_BODY])


@given(st.data())
def test_how_it_is_cut_up_makes_no_difference(data: st.DataObject) -> None:
    """Any message of these, cut anywhere."""
    messages = [*OPENED.values(), *NO_ANSWER.values(), *(message for message, _, _ in REFUSALS.values())]
    message = data.draw(st.sampled_from(messages))
    cuts = data.draw(st.lists(st.integers(0, len(message)), max_size=5))
    assert outcome(told(message, *cuts)) == outcome(told(message))


@pytest.mark.parametrize(
    ("host", "port", "name"),
    [
        ("a.test", 443, b"a.test:443"),
        ("127.0.0.1", 8443, b"127.0.0.1:8443"),
        ("::1", 443, b"[::1]:443"),
        ("fe80::1%eth0", 443, b"[fe80::1]:443"),
        ("b\u00fccher.test", 443, b"xn--bcher-kva.test:443"),
    ],
)
def test_the_request_names_host_and_port(host: str, port: int, name: bytes) -> None:
    """Addresses of version 6 stand in brackets, without the zone of this machine; the port is always there."""
    wire = connect_request(make_endpoint(host, port, True), b"Proxy-Authorization: Basic eDp5\r\n")
    assert wire == b"CONNECT %b HTTP/1.1\r\nHost: %b\r\nProxy-Authorization: Basic eDp5\r\n\r\n" % (name, name)


@pytest.mark.fault("X11")
@pytest.mark.parametrize("host", ["a.test\r\nX: y", "a.test:1\n", "a b", "", "a.test/x", "a@b"])
def test_a_host_that_could_end_the_line_makes_no_request(host: str) -> None:
    """Even an endpoint that was made by hand cannot put bytes of its own into CONNECT."""
    with pytest.raises(InvalidURL, match="host"):
        connect_request(Endpoint(host, 443, True))
