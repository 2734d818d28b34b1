"""The codec beside the corpus: one parser for many responses, limits, errors, ends, what it tells."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepwarm.client.errors import ClientPayloadError, ClientProtocolError, HeadTooLarge
from keepwarm.client.h1 import MOST_KNOWN, ResponseParser
from keepwarm.client.head_limits import HeadLimits
from tests.support.h1 import deliver
from tests.support.h1_corpus import CHUNKED, CORPUS, EMPTY, FINAL, LINE, UNFINISHED, Case

# One parser, many responses


@pytest.mark.fault("F50", "P37")
def test_a_parser_forgets() -> None:
    """What a parser read before changes nothing: each accepted message of the corpus gives the same after any other."""
    accepted = [case for case in CORPUS if not case.refused and case.complete]
    parser = ResponseParser()
    for before in accepted:
        for case in accepted:
            deliver(before.message, method=before.method, parser=parser)
            assert deliver(case.message, method=case.method, parser=parser) == case.deliver()


HEADS = [
    LINE + EMPTY,
    LINE + b"Content-Length: 0\r\nA: b\r\n\r\n",
    LINE + b"Content-Length: 2\r\n\r\n",
    LINE + b"Content-Length: 20\r\n\r\n",
    LINE + b"\r\n",
    CHUNKED,
    b"HTTP/1.1 204 OK\r\n" + EMPTY,
    b"HTTP/1.1 304 OK\r\nContent-Length: 2\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n" + EMPTY,
]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(HEADS), st.sampled_from(["GET", "HEAD"]), st.booleans()), max_size=6))
def test_known_heads(turns: list[tuple[bytes, str, bool]]) -> None:
    """A head that equals the one before, begins like it, or answers another method means what it means by itself."""
    parser = ResponseParser()
    for head, method, is_cut in turns:
        message = head + b"2\r\nok\r\n0\r\n\r\n"
        cuts = [len(head) - 1] if is_cut else []
        assert deliver(message, cuts, method=method, parser=parser) == deliver(message, method=method)


def test_an_equal_head_is_not_parsed_again() -> None:
    """The same bytes give the same head object; a large head is not remembered."""
    parser = ResponseParser()
    for size, is_kept in ((10, True), (MOST_KNOWN, False)):
        message = LINE + b"A: %b\r\n" % (b"a" * size) + EMPTY
        deliver(message, parser=parser)
        first = parser.head
        deliver(message, parser=parser)
        assert (parser.head is first) is is_kept


def test_a_known_head_obeys_new_limits() -> None:
    """A head that was fine for one call is refused in the next if that one allows less."""
    parser = ResponseParser()
    assert deliver(LINE + b"A: b\r\n" + EMPTY, parser=parser).error is None
    found = deliver(LINE + b"A: b\r\n" + EMPTY, parser=parser, limits=HeadLimits(fields=1))
    assert found.error is HeadTooLarge


# Limits


LIMITS = [
    pytest.param(b"HTTP/1.1 200 " + b"x" * (1024 - 13), b"HTTP/1.1 200 " + b"x" * (1025 - 13), id="status line"),
    pytest.param(LINE + b"A: " + b"x" * 8189, LINE + b"A: " + b"x" * 8190, id="line"),
    pytest.param(LINE + b"A: b\r\n" * 127 + b"A: b", LINE + b"A: b\r\n" * 128 + b"A: b", id="fields"),
    pytest.param(
        LINE + b"A: %b\r\n" % (b"a" * 8187) * 7 + b"B: " + b"b" * 8168,
        LINE + b"A: %b\r\n" % (b"a" * 8187) * 7 + b"B: " + b"b" * 8169,
        id="block",
    ),
]


@pytest.mark.fault("F38", "F39", "F36")
@pytest.mark.parametrize(("fits", "passes"), LIMITS)
def test_limits_are_exact(fits: bytes, passes: bytes) -> None:
    """Each limit lets its last byte or field pass and refuses one more, in one piece, cut, and in single bytes."""
    for start, error in ((fits, None), (passes, HeadTooLarge)):
        message = start + b"\r\n\r\n"
        size = len(message)
        for cuts in ([], [size - 1], [size - 2], [size - 3], [size - 4], [size - 5], range(0, size, 97), range(size)):
            assert deliver(message, cuts).error is error


@pytest.mark.fault("F38", "F39")
@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (HeadLimits(status_line=14), LINE + EMPTY),
        (HeadLimits(line=16), LINE + EMPTY),
        (HeadLimits(block=len(LINE + EMPTY) - 1), LINE + EMPTY),
        (HeadLimits(fields=1), LINE + b"A: b\r\n" + EMPTY),
        (HeadLimits(overhead=50), CHUNKED + b"1;" + b"x" * 64 + b"\r\na\r\n0\r\n\r\n"),
        (HeadLimits(fields=2), CHUNKED + b"0\r\nA: b\r\nC: d\r\n\r\n"),
        (HeadLimits(line=26), CHUNKED + b"0\r\nA: %b\r\n\r\n" % (b"b" * 24)),
        (HeadLimits(block=len(CHUNKED) + 7), CHUNKED + b"0\r\nA: b\r\n\r\n"),
    ],
    ids=["status line", "line", "block", "fields", "overhead", "trailer fields", "trailer line", "trailer block"],
)
def test_limits_are_options(limits: HeadLimits, message: bytes) -> None:
    """What the default allows is refused by a limit of one less, cut or not, and the error names the limit."""
    assert deliver(message).error is None
    whole = deliver(message, limits=limits)
    assert whole.error is not None and issubclass(whole.error, HeadTooLarge)
    assert "limit" in whole.text
    assert deliver(message, range(len(message)), limits=limits) == whole


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (HeadLimits(status_line=15), LINE + EMPTY),
        (HeadLimits(line=17), LINE + EMPTY),
        (HeadLimits(block=len(LINE + EMPTY)), LINE + EMPTY),
        (HeadLimits(fields=1), LINE + EMPTY),
        (HeadLimits(overhead=52), CHUNKED + b"1;" + b"x" * 64 + b"\r\na\r\n0\r\n\r\n"),
        (HeadLimits(fields=3), CHUNKED + b"0\r\nA: b\r\nC: d\r\n\r\n"),
        (HeadLimits(line=27), CHUNKED + b"0\r\nA: %b\r\n\r\n" % (b"b" * 24)),
        (HeadLimits(block=len(CHUNKED) + 8), CHUNKED + b"0\r\nA: b\r\n\r\n"),
    ],
)
def test_what_a_limit_allows(limits: HeadLimits, message: bytes) -> None:
    """The limit itself is allowed, cut or not."""
    assert deliver(message, limits=limits).error is None
    assert deliver(message, range(len(message)), limits=limits).error is None


@pytest.mark.parametrize("name", ["status_line", "line", "block", "fields", "overhead"])
def test_limits_that_make_no_sense(name: str) -> None:
    """A limit is a positive int."""
    with pytest.raises(ValueError, match=f"limits.{name} must be at least 1"):
        HeadLimits(**{name: 0})
    for value in (True, 1.5, "1", None):
        with pytest.raises(TypeError, match=f"limits.{name} must be an int"):
            HeadLimits(**{name: value})  # type: ignore[arg-type]


# The end of the connection


@pytest.mark.fault("F30")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_read_until_eof(method: str) -> None:
    """A body without length or chunks lasts until the end; read_until_eof=False takes it to be empty and gives the
    connection up; an answer to HEAD has none and keeps it."""
    message = LINE + b"A: b\r\n\r\n"
    found = deliver(message + b"body", method=method, eof=True)
    off = deliver(message, method=method, read_until_eof=False)
    if method == "HEAD":
        assert (found.body, found.surplus, off.complete, off.keep_alive) == (b"", True, True, True)
        return
    assert (found.body, found.complete, found.keep_alive) == (b"body", True, False)
    assert (off.body, off.complete, off.surplus, off.keep_alive) == (b"", True, False, False)
    assert deliver(message + b"body", read_until_eof=False).surplus
    for framed in (FINAL, CHUNKED + b"2\r\nok\r\n0\r\n\r\n"):
        kept = deliver(framed, read_until_eof=False)
        assert (kept.body, kept.keep_alive) == (b"ok", True)


@pytest.mark.fault("F31", "F23")
@pytest.mark.parametrize(
    ("message", "expected", "received"),
    [
        (LINE + b"Content-Length: 9\r\n\r\nbody", 9, 4),
        (LINE + b"Content-Length: 1099511627776\r\n\r\n0123456789", 1099511627776, 10),
        (CHUNKED + b"4\r\nbody\r\n", None, 4),
        (CHUNKED + b"9\r\nbody", None, 4),
        (CHUNKED + b"4\r\nbody\r\n0\r\n", None, 4),
        (CHUNKED + b"4\r\nbody\r\n0\r\nX: y\r\n", None, 4),
        (CHUNKED, None, 0),
    ],
    ids=["length", "a terabyte", "between chunks", "in a chunk", "before the trailers", "in the trailers", "no chunk"],
)
def test_cut_short(message: bytes, expected: int | None, received: int) -> None:
    """The end of the connection inside a body is an error that counts what was expected and what came."""
    parser = ResponseParser()
    for cuts in ((), range(len(message))):
        assert deliver(message, cuts, parser=parser).error is None
        with pytest.raises(ClientPayloadError) as caught:
            parser.feed_eof()
        assert (caught.value.expected, caught.value.received) == (expected, received)
        assert f"received {received} bytes" in str(caught.value)
        assert parser.expected == expected


@pytest.mark.fault("F07")
def test_an_answer_to_head_expects_nothing() -> None:
    """Its length is that of a body which GET would have."""
    parser = ResponseParser()
    for method, expected in (("GET", 500), ("HEAD", None)):
        deliver(LINE + b"Content-Length: 500\r\n\r\n", method=method, parser=parser)
        assert parser.expected == expected


@pytest.mark.parametrize("message", [b"", b"HTTP/1.1 2", LINE, LINE + EMPTY, FINAL])
def test_an_end_that_cuts_nothing(message: bytes) -> None:
    """Before the head's end and behind the body's there is nothing to complain of here."""
    assert deliver(message, eof=True).error is None


@pytest.mark.parametrize("case", [case for case in UNFINISHED if case.fault == "F31"], ids=lambda case: case.name)
def test_unfinished_stays_unfinished(case: Case) -> None:
    """No piece of a body makes it whole before its time."""
    for size in range(len(case.message)):
        assert not deliver(case.message[:size]).complete


# What it tells


@pytest.mark.fault("F13")
def test_got_continue() -> None:
    """100 is noticed before the final head, alone or with others; 102 and 103 are not it."""
    parser = ResponseParser()
    parser.start("POST")
    for message, expected in (
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", False),
        (b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Conti", False),
        (b"nue\r\n\r\n", True),
        (b"HTTP/1.1 102 Processing\r\n\r\n", True),
    ):
        parser.feed(message)
        assert (parser.got_continue, parser.head) == (expected, None)
    parser.feed(FINAL)
    assert parser.complete
    parser.start("POST")
    assert not parser.got_continue


@pytest.mark.parametrize(
    ("value", "hint", "uses"),
    [
        (b"timeout=5, max=100", 5.0, 100),
        (b'Timeout = "5"', 5.0, None),
        (b"max=0", None, 0),
        (b"notimeout=5, maximum=3", None, None),
        (b"timeout=-1", None, None),
        (b"timeout=1234567890", None, None),
        (b"timeout=x", None, None),
        (b"", None, None),
    ],
)
def test_keep_alive_hints(value: bytes, hint: float | None, uses: int | None) -> None:
    """The Keep-Alive field gives seconds and uses; what is no number is passed over."""
    parser = ResponseParser()
    parser.feed(LINE + b"Keep-Alive: " + value + b"\r\n" + EMPTY)
    assert parser.head is not None
    assert (parser.head.idle_hint, parser.head.uses_left) == (hint, uses)


@pytest.mark.fault("F49")
@pytest.mark.parametrize(
    "message",
    [
        b"\x1b[31mSSH\r\n",
        b"\x1b]0;title\x07" * 100_000,
        b"HTTP/1.1 200 \x1b[2J\r\n" + EMPTY,
        LINE + b"A: \x1b[31m" + b"x" * 300 + b"\r\n" + EMPTY,
        LINE + b"Transfer-Encoding: " + b"\xff" * 300 + b"\r\n\r\n",
        LINE + b"Content-Length: 5\r\nContent-Length: " + b"9" * 300 + b"\r\n\r\n",
        CHUNKED + b"\x1b[31m" + b"z" * 300,
        CHUNKED + b"0\r\n\x1b[31m" + b"z" * 300 + b"\r\n\r\n",
    ],
)
def test_peer_bytes_in_errors(message: bytes) -> None:
    """What the peer sent is told in escaped ASCII, and at most 100 characters of it."""
    found = deliver(message)
    assert found.error is not None and issubclass(found.error, ClientProtocolError)
    assert found.text.isascii() and found.text.isprintable()
    assert all(len(part.removesuffix("...")) <= 100 for part in found.text.split("'"))
    assert len(found.text) < 250


@pytest.mark.fault("F37")
def test_tls_is_named() -> None:
    """A TLS alert in answer to plain text says what to change."""
    assert "use https://" in deliver(b"\x15\x03\x03\x00\x02\x02\x46").text


@pytest.mark.fault("F37", "F33", "F34", "F36")
@pytest.mark.parametrize(
    "start",
    [
        b"S",
        b"HTTP/2",
        b"HTTP/1.1 200 OK\n",
        b"HTTP/1.1 2x0 OK\r\n",
        LINE + b"A: \0",
        LINE + b"A: b\rc",
        LINE + b"A: b\n",
    ],
)
def test_verdict_without_waiting(start: bytes) -> None:
    """What can be no response is refused with the bytes that show it, though the head has not ended."""
    assert deliver(start).error is ClientProtocolError
    assert deliver(start, range(len(start))).error is ClientProtocolError


def test_a_huge_chunk_size_is_counted_not_reserved() -> None:
    """A chunk may announce 2**64 - 1 bytes."""
    found = deliver(CHUNKED + b"f" * 16 + b"\r\nabc")
    assert (found.error, found.body, found.complete) == (None, b"abc", False)
