"""Framing of request bodies."""

import pytest

from keepwarm.client.errors import InvalidInput
from keepwarm.client.framing import LAST_CHUNK, check_chunked, encode_chunk, frame_body, split_body
from keepwarm.client.headers import encode_headers
from keepwarm.client.payload import make_payload
from keepwarm.client.source import Payload
from keepwarm.client.version import HttpVersion10

CHUNKED = b"Transfer-Encoding: chunked\r\n"


def memory() -> Payload:
    payload = make_payload(b"hello")
    assert payload is not None
    return payload


def stream() -> Payload:
    payload = make_payload(iter([b"hel", b"lo"]))
    assert payload is not None
    return payload


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_no_body_is_said(method: str) -> None:
    """A-26."""
    assert frame_body(None, method) == (b"Content-Length: 0\r\n", False, 0)
    assert frame_body(None, method, chunked=True).lines == b"Content-Length: 0\r\n"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "X-OWN"])
def test_no_body_is_not_said(method: str) -> None:
    """A-26."""
    assert frame_body(None, method) == (b"", False, 0)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_known_length(method: str) -> None:
    assert frame_body(memory(), method) == (b"Content-Length: 5\r\n", False, 0)


def test_unknown_length() -> None:
    """Chunks, but nobody asked for their size."""
    assert frame_body(stream(), "POST") == (CHUNKED, True, 0)


@pytest.mark.parametrize(("chunked", "size"), [(100, 100), (True, 8192), ("yes", 8192), (2.5, 8192)])
def test_asked_for_chunks(chunked: object, size: int) -> None:
    """C-21: an int is the chunk size, anything else that is true means 8192."""
    assert frame_body(memory(), "POST", chunked=chunked) == (CHUNKED, True, size)
    assert check_chunked(chunked) == size


@pytest.mark.parametrize("chunked", [None, False, 0, ""])
def test_not_asked_for_chunks(chunked: object) -> None:
    assert frame_body(memory(), "POST", chunked=chunked).chunked is False


def test_negative_chunk_size() -> None:
    with pytest.raises(InvalidInput, match="chunked"):
        check_chunked(-1)


def test_own_fields_are_not_doubled() -> None:
    assert frame_body(memory(), "POST", encode_headers({"content-length": "5"})) == (b"", False, 0)
    assert frame_body(memory(), "POST", encode_headers({"Transfer-Encoding": "Chunked"})) == (b"", True, 0)
    assert frame_body(None, "POST", encode_headers({"Content-Length": "0"})) == (b"", False, 0)
    assert frame_body(None, "GET", encode_headers({"Content-Length": "0"})) == (b"", False, 0)


@pytest.mark.fault("O07")
def test_declared_length_binds_a_stream() -> None:
    """A Content-Length of the caller is taken for a body that does not know its length."""
    payload = stream()
    assert frame_body(payload, "POST", encode_headers({"Content-Length": "5"})) == (b"", False, 0)
    assert payload.length == 5


@pytest.mark.fault("O07")
@pytest.mark.parametrize("length", ["0", "4", "6", "50"])
def test_declared_length_must_be_the_bodys(length: str) -> None:
    """A Content-Length that is not the length of a body in memory is refused before any I/O."""
    with pytest.raises(InvalidInput, match="Content-Length"):
        frame_body(memory(), "POST", encode_headers({"Content-Length": length}))


@pytest.mark.fault("O05", "O07")
@pytest.mark.parametrize("length", ["", "+5", "-5", "5a", "0x5", "5_0", "5, 5", "5;", "5.0", "\u0665", "1" * 19])
def test_malformed_length(length: str) -> None:
    """A Content-Length that is not plain digits is refused."""
    for payload in (memory(), stream(), None):
        with pytest.raises(InvalidInput, match="Content-Length"):
            frame_body(payload, "POST", encode_headers({"Content-Length": length}))


@pytest.mark.fault("O05", "O07")
@pytest.mark.parametrize("second", ["5", "6"])
def test_two_lengths(second: str) -> None:
    """Two Content-Length fields are refused, even equal ones."""
    with pytest.raises(InvalidInput, match="Content-Length"):
        frame_body(memory(), "POST", encode_headers([("Content-Length", "5"), ("content-length", second)]))


@pytest.mark.fault("O05")
@pytest.mark.parametrize(
    "coding", ["", "identity", "gzip, chunked", "chunked, chunked", "xchunked", "chunked;", "chunked,", '"chunked"']
)
def test_other_codings(coding: str) -> None:
    """A Transfer-Encoding other than chunked is refused."""
    with pytest.raises(InvalidInput, match="Transfer-Encoding"):
        frame_body(stream(), "POST", encode_headers({"Transfer-Encoding": coding}))


@pytest.mark.fault("O05")
def test_two_codings() -> None:
    """Two Transfer-Encoding fields are refused."""
    with pytest.raises(InvalidInput, match="Transfer-Encoding"):
        frame_body(
            stream(), "POST", encode_headers([("Transfer-Encoding", "chunked"), ("transfer-encoding", "chunked")])
        )


@pytest.mark.fault("O07")
def test_length_and_chunks() -> None:
    """A request never has both a Content-Length and chunks."""
    both = encode_headers({"Content-Length": "5", "Transfer-Encoding": "chunked"})
    for payload in (memory(), stream(), None):
        with pytest.raises(InvalidInput, match="Content-Length"):
            frame_body(payload, "POST", both)
    with pytest.raises(InvalidInput, match="Content-Length"):
        frame_body(memory(), "POST", encode_headers({"Content-Length": "5"}), chunked=True)


@pytest.mark.fault("O07")
@pytest.mark.parametrize("headers", [{"Content-Length": "5"}, {"Transfer-Encoding": "chunked"}])
def test_announced_body_that_is_not_there(headers: dict[str, str]) -> None:
    """Headers cannot announce a body without data."""
    with pytest.raises(InvalidInput, match="no data"):
        frame_body(None, "POST", encode_headers(headers))


def test_no_chunks_in_http_1_0() -> None:
    assert frame_body(memory(), "POST", version=HttpVersion10).lines == b"Content-Length: 5\r\n"
    assert frame_body(stream(), "POST", encode_headers({"Content-Length": "5"}), version=HttpVersion10).chunked is False
    with pytest.raises(InvalidInput, match="version"):
        frame_body(stream(), "POST", version=HttpVersion10)
    with pytest.raises(InvalidInput, match="version"):
        frame_body(memory(), "POST", chunked=True, version=HttpVersion10)


def test_chunks() -> None:
    """RFC 9112, 7.1: size in hex; no data makes no chunk, since an empty one ends the body."""
    assert encode_chunk(b"hello") == b"5\r\nhello\r\n"
    assert encode_chunk(b"x" * 255) == b"ff\r\n" + b"x" * 255 + b"\r\n"
    assert encode_chunk(memoryview(b"hello")) == b"5\r\nhello\r\n"
    assert encode_chunk(b"") == encode_chunk(memoryview(b"")) == b""
    assert LAST_CHUNK == b"0\r\n\r\n"


def test_split() -> None:
    assert [bytes(piece) for piece in split_body(b"abcdefg", 3)] == [b"abc", b"def", b"g"]
    assert [bytes(piece) for piece in split_body(memoryview(b"abc"), 3)] == [b"abc"]
    assert list(split_body(b"", 3)) == []
