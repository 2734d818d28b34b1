"""What the codec makes of each message of the corpus, in one piece and in many."""

import pytest

from keepwarm.client.errors import BadHttpMessage, ClientProtocolError, ClientResponseError
from keepwarm.client.h1 import ResponseParser
from tests.support.h1_corpus import CORPUS, Case, label, params


@pytest.mark.parametrize("case", params(CORPUS))
def test_verdict(case: Case) -> None:
    """Each message is refused, or read exactly as its framing says; what is left over is noticed."""
    found = case.deliver()
    if case.refused:
        assert found.error is not None, f"accepted: {found}"
        assert found.error.__name__ == case.refused
        assert issubclass(found.error, ClientProtocolError)
        assert issubclass(found.error, ClientResponseError)
        assert issubclass(found.error, BadHttpMessage)
        return
    assert found.error is None, found.text
    assert (found.body, found.trailers) == (case.body, case.trailers)
    assert (found.complete, found.surplus, found.keep_alive) == (case.complete, case.surplus, case.keep_alive)


@pytest.mark.fault("F39", "F50")
@pytest.mark.parametrize("case", CORPUS, ids=label)
def test_cut_anywhere(case: Case) -> None:
    """A message cut at any offset, or in single bytes, is judged and read like one that came whole."""
    whole = case.deliver()
    size = len(case.message)
    for cut in range(1, size):
        assert case.deliver([cut]) == whole, f"cut before {case.message[cut : cut + 20]!r}"
    assert case.deliver(range(size)) == whole


@pytest.mark.fault("F50")
@pytest.mark.parametrize("case", [case for case in CORPUS if case.refused], ids=label)
def test_cut_short(case: Case) -> None:
    """No beginning of a refused message is taken for a whole response."""
    for size in range(1, len(case.message)):
        found = Case(case.fault, case.name, case.message[:size], method=case.method).deliver()
        assert found.error is not None or not found.complete


@pytest.mark.fault("C17", "F34")
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nSet-Cookie: sid=secret\r\nX: \x01\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: sid=secret\r\nX y: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: sid=secret\r\n: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\nSet-Cookie: sid=secret\n\n",
        b"HTTP/1.1 200 OK\rSet-Cookie: sid=secret\r\r",
        b"HTTP/1.10 200 OK\r\nSet-Cookie: sid=secret\r\n\r\n",
    ],
)
def test_errors_show_no_field(head: bytes) -> None:
    """A broken head is shown by its status line: its fields may be cookies and other secrets."""
    for cuts in ((), range(len(head))):
        parser = ResponseParser()
        pieces = [head] if not cuts else [head[k : k + 1] for k in cuts]
        with pytest.raises(ClientProtocolError) as caught:
            for piece in pieces:
                parser.feed(piece)
        assert "secret" not in str(caught.value)
        assert "HTTP/1.1" in str(caught.value)
