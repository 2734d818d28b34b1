"""Section M: the tree of errors, at the top of the package and in `keepwarm.errors`."""

from typing import Any

import pytest

import keepwarm
from keepwarm import errors
from keepwarm.errors import BadStatusLine, FingerprintMismatch, InvalidHeader, LineLimitExceededParserError, LineTooLong


@pytest.mark.parametrize(
    ("row", "name", "bases"),
    [
        ("M-01", "ClientError", ["Exception"]),
        ("M-02", "ClientHttpProcessingError", ["ClientError"]),
        ("M-03", "ClientRequestError", ["ClientHttpProcessingError"]),
        ("M-04", "ClientResponseError", ["ClientHttpProcessingError"]),
        ("M-05", "ClientConnectionError", ["ClientError"]),
        ("M-06", "ClientOSError", ["ClientConnectionError", "OSError"]),
        ("M-07", "ClientTimeoutError", ["ClientConnectionError", "TimeoutError"]),
        ("M-08", "ProxyConnectionError", ["ClientConnectionError"]),
        ("M-09", "FingerprintMismatch", ["ClientConnectionError"]),
        ("M-10", "HttpProcessingError", ["Exception"]),
        ("M-11", "WSServerHandshakeError", ["HttpProcessingError"]),
        ("M-12", "HttpProxyError", ["HttpProcessingError"]),
        ("M-13", "BadHttpMessage", ["HttpProcessingError"]),
        ("M-14", "HttpBadRequest", ["BadHttpMessage"]),
        ("M-15", "ContentEncodingError", ["BadHttpMessage"]),
        ("M-16", "TransferEncodingError", ["BadHttpMessage"]),
        ("M-17", "LineTooLong", ["BadHttpMessage"]),
        ("M-18", "InvalidHeader", ["BadHttpMessage"]),
        ("M-19", "BadStatusLine", ["BadHttpMessage"]),
        ("M-20", "HttpMethodNotAllowed", ["HttpProcessingError"]),
        ("M-21", "DisconnectedError", ["Exception"]),
        ("M-22", "ServerDisconnectedError", ["DisconnectedError"]),
        ("M-23", "ClientDisconnectedError", ["DisconnectedError"]),
        ("M-24", "WSClientDisconnectedError", ["ClientDisconnectedError"]),
        ("M-25", "ParserError", ["Exception"]),
        ("M-25", "LineLimitExceededParserError", ["ParserError"]),
        ("M-25", "InvalidURL", ["ValueError"]),
    ],
)
def test_names_and_bases(row: str, name: str, bases: list[str]) -> None:
    """Each has the bases that old handlers rely on, and is the same class in both places."""
    error = getattr(errors, name)
    assert getattr(keepwarm, name) is error
    assert set(bases) <= {base.__name__ for base in error.__mro__}
    assert error.__doc__


def test_all_errors_are_in_one_place() -> None:
    """Whatever can be raised or warned of at the top of the package is in `keepwarm.errors` too."""
    tops = {
        name
        for name in keepwarm.__all__
        if isinstance(thing := getattr(keepwarm, name), type) and issubclass(thing, Exception)
    }
    assert tops - set(errors.__all__) == {"EofStream"}  # the end of a queue is no error


def test_m_09_fingerprint_mismatch() -> None:
    """It says what was expected, what came, and from where."""
    error = FingerprintMismatch(b"\x01" * 32, b"\x02" * 32, "example.org", 443)
    assert (error.expected, error.got, error.host, error.port) == (b"\x01" * 32, b"\x02" * 32, "example.org", 443)
    for part in ("FingerprintMismatch", "expected=", "got=", "'example.org'", "443"):
        assert part in repr(error)


def test_m_10_http_processing_error() -> None:
    """code, message and headers by keyword, with defaults on the class; not a ClientError."""
    plain = errors.HttpProcessingError
    assert (plain.code, plain.message, plain.headers) == (0, "", None)
    error = plain(code=418, message="short and stout", headers={"A": "b"})
    assert (error.code, error.message, error.headers) == (418, "short and stout", {"A": "b"})
    assert not issubclass(plain, errors.ClientError)
    with pytest.raises(TypeError):
        plain(418)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("row", "error", "code"),
    [
        ("M-11", errors.WSServerHandshakeError(code=403, message="no"), 403),
        ("M-12", errors.HttpProxyError(code=407, message="no"), 407),
        ("M-13", errors.BadHttpMessage("no"), 400),
        ("M-14", errors.HttpBadRequest("no"), 400),
        ("M-15", errors.ContentEncodingError("no"), 400),
        ("M-16", errors.TransferEncodingError("no"), 400),
        ("M-20", errors.HttpMethodNotAllowed(message="no"), 405),
    ],
)
def test_codes(row: str, error: Any, code: int) -> None:
    """The message by position where the old classes had it so."""
    assert (error.code, error.message) == (code, "no")


def test_m_17_line_too_long() -> None:
    """(line, limit)."""
    error = LineTooLong("the status line", 8190)
    assert error.code == 400 and "8190" in str(error) and "the status line" in str(error)


def test_m_18_invalid_header() -> None:
    """`hdr` is the field."""
    assert InvalidHeader("bad field").hdr == "bad field"
    assert "bad field" in str(InvalidHeader(b"bad field"))


def test_m_19_bad_status_line() -> None:
    """`line`, which is the only argument too."""
    error = BadStatusLine("HTTP/9 oops")
    assert error.line == "HTTP/9 oops" and error.args == (error.line,)
    assert BadStatusLine().code == 400


@pytest.mark.parametrize("row", ["M-21", "M-22", "M-23"])
def test_a_lost_peer_is_no_client_error(row: str) -> None:
    """But what a body that is cut short raises is both (M-22)."""
    for name in ("DisconnectedError", "ServerDisconnectedError", "ClientDisconnectedError"):
        assert not issubclass(getattr(errors, name), errors.ClientError)
    assert issubclass(errors.ClientPayloadError, errors.ServerDisconnectedError)
    assert issubclass(errors.ClientPayloadError, errors.ClientError)


def test_m_25_parser_errors() -> None:
    """The limit is an attribute."""
    error = LineLimitExceededParserError("too long", 100)
    assert (str(error), error.limit) == ("too long", 100)
