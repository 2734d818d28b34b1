"""Header fields of a request."""

import sys

import h11
import pytest
from multidict import CIMultiDict, CIMultiDictProxy, MultiDict, istr

import keepwarm
from keepwarm.client.errors import InvalidInput
from keepwarm.client.headers import (
    EMPTY_BLOCK,
    USER_AGENT,
    DefaultHeaders,
    HeaderBlock,
    check_skip,
    encode_field,
    encode_headers,
)
from keepwarm.pool.errors import ClientError

TOKEN = set(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
ILLEGAL = {*range(9), *range(10, 32), 127}
REPEATED = [("Accept", "a/b"), ("X-One", "1"), ("accept", "c/d")]


@pytest.mark.parametrize(
    "headers",
    [
        REPEATED,
        tuple(REPEATED),
        iter(REPEATED),
        MultiDict(REPEATED),
        CIMultiDict(REPEATED),
        CIMultiDictProxy(CIMultiDict(REPEATED)),
        [(b"Accept", b"a/b"), (b"X-One", b"1"), (b"accept", b"c/d")],
        [(istr("Accept"), "a/b"), ("X-One", b"1"), (b"accept", "c/d")],
    ],
)
def test_sources(headers: object) -> None:
    """Spelling, order and repeated names are kept (A-25, C-12)."""
    block = encode_headers(headers)
    assert block.raw == b"Accept: a/b\r\nX-One: 1\r\naccept: c/d\r\n"
    assert block.names == {"accept", "x-one"}
    assert block.getall("accept") == ["a/b", "c/d"]
    assert block.get("accept") == "a/b"
    assert block.get("x-two") is None and block.getall("x-two") == []


@pytest.mark.parametrize("headers", [None, {}, [], (), CIMultiDict()])
def test_nothing(headers: object) -> None:
    assert encode_headers(headers) is EMPTY_BLOCK
    assert EMPTY_BLOCK.raw == b""


@pytest.mark.parametrize("headers", ["a: b", b"a: b", 5, ["ab"], [("a",)], {"a"}])
def test_other_shapes(headers: object) -> None:
    with pytest.raises(TypeError, match="headers"):
        encode_headers(headers)


@pytest.mark.parametrize("value", [None, 5, 1.5, True, ["a"], bytearray(b"a"), object()])
def test_other_values(value: object) -> None:
    with pytest.raises(TypeError, match=r"headers.*X-One"):
        encode_headers({"X-One": value})


@pytest.mark.parametrize("name", [None, 5, ("a",)])
def test_other_names(name: object) -> None:
    with pytest.raises(TypeError, match="headers"):
        encode_headers([(name, "x")])


@pytest.mark.fault("O04")
@pytest.mark.parametrize("position", [0, 1, 4])
@pytest.mark.parametrize("byte", range(256))
def test_every_byte_in_a_name(byte: int, position: int) -> None:
    """Only bytes of a token get into a name."""
    raw = b"X-An"[:position] + bytes([byte]) + b"X-An"[position:]
    for name in (raw, raw.decode("latin-1")):
        if byte in TOKEN:
            assert encode_headers({name: "v"}).raw == raw + b": v\r\n"
        else:
            with pytest.raises(InvalidInput, match="headers") as caught:
                encode_headers([("X-Good", "1"), (name, "v")])
            assert caught.value.argument == "headers"


@pytest.mark.fault("O04")
@pytest.mark.parametrize("position", [0, 2, 4])
@pytest.mark.parametrize("byte", range(256))
def test_every_byte_in_a_value(byte: int, position: int) -> None:
    """Only legal bytes get into a value: text, blanks and tabs inside it, and bytes above 127."""
    raw = b"abcd"[:position] + bytes([byte]) + b"abcd"[position:]
    text = raw.decode("latin-1")
    if byte in ILLEGAL:
        for value in (raw, text):
            with pytest.raises(InvalidInput, match=r"headers.*X-One"):
                encode_headers({"X-One": value})
        return
    sent = raw.strip(b" \t")
    assert encode_headers({"X-One": raw}).raw == b"X-One: " + sent + b"\r\n"
    assert encode_headers({"X-One": text}).raw == b"X-One: " + text.strip(" \t").encode() + b"\r\n"


@pytest.mark.fault("O04")
@pytest.mark.parametrize("byte", sorted(set(range(256)) - ILLEGAL))
def test_a_strict_parser_reads_the_same(byte: int) -> None:
    """What passes is read back by another implementation as the one value that it is."""
    value = b"a" + bytes([byte]) + b"b"
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"GET / HTTP/1.1\r\nHost: h\r\n" + encode_headers({"X-One": value}).raw + b"\r\n")
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    assert list(event.headers) == [(b"host", b"h"), (b"x-one", value)]


@pytest.mark.fault("O04")
@pytest.mark.parametrize(
    "value", ["a\r\nX: y", "a\nX: y", "a\rX: y", "\r\n", "a\r\n", "\n a", "a\x00", "a\x0b", " \x1f "]
)
def test_no_second_field(value: str) -> None:
    """A value cannot begin a field of its own, nor end the head."""
    for given in (value, value.encode()):
        with pytest.raises(ValueError) as caught:
            encode_headers({"X-One": given})
        assert isinstance(caught.value, ClientError)
        assert str(caught.value).isprintable()


@pytest.mark.fault("O04")
@pytest.mark.parametrize("value", ["\ud800", "\udc0d\udc0a", "\udc7f", "\udfff"])
def test_surrogates_that_stand_for_no_byte(value: str) -> None:
    """Only the surrogates of bytes above 127 can be sent; the others cannot smuggle a control byte."""
    with pytest.raises(InvalidInput, match="UTF-8"):
        encode_headers({"X-One": value})


def test_what_came_in_can_go_out() -> None:
    """P-03: a value decoded with surrogateescape goes back as it was."""
    raw = b"caf\xe9 \xff"
    assert encode_headers({"X-One": raw.decode("utf-8", "surrogateescape")}).raw == b"X-One: caf\xe9 \xff\r\n"
    assert encode_headers({"X-One": "\u20ac"}).raw == "X-One: \u20ac\r\n".encode()


@pytest.mark.parametrize("value", ["", " ", "\t \t"])
def test_empty_values_are_legal(value: str) -> None:
    assert encode_headers({"X-One": value}).raw == b"X-One: \r\n"


def test_blanks_around_a_value_are_dropped() -> None:
    assert encode_headers({"X-One": " \t a \t b\t "}).getall("x-one") == ["a \t b"]


@pytest.mark.fault("O05")
@pytest.mark.parametrize("name", ["Content-Type", "Upgrade", "Origin", "Sec-WebSocket-Protocol", "Host"])
def test_fields_from_other_arguments(name: str) -> None:
    """Fields made from arguments of their own pass the same check."""
    assert encode_field(name, "text/plain") == f"{name}: text/plain\r\n".encode()
    for byte in sorted(ILLEGAL):
        with pytest.raises(InvalidInput, match=name):
            encode_field(name, f"a{chr(byte)}b")


def test_str_of_another_kind_cannot_lie() -> None:
    class Odd(str):
        def strip(self, chars: str | None = None) -> str:
            return "a\r\nX: y"

        def __str__(self) -> str:
            return "a\r\nX: y"

        def __format__(self, spec: str) -> str:
            return "a\r\nX: y"

        def lower(self) -> str:
            return "host"

    block = encode_headers({Odd("X-One"): Odd("v")})
    assert (block.raw, block.names) == (b"X-One: v\r\n", frozenset({"x-one"}))


def test_no_values_in_repr() -> None:
    assert repr(encode_headers({"Authorization": "Basic geheim", "X": "1"})) == "<HeaderBlock authorization, x>"


# Host


@pytest.mark.parametrize(
    "host", ["example.com", "example.com:8080", "127.0.0.1", "[::1]:80", "xn--bcher-kva.example", "my_host"]
)
def test_own_host(host: str) -> None:
    assert encode_headers({"host": host}).get("host") == host


@pytest.mark.fault("O05")
@pytest.mark.parametrize(
    "host",
    ["", "a b", "a,b", "a@b", "a/b", "http://a", "a:b", "a:80:80", "a:123456", "[::1", "::1", "b\u00fc", "a\\b",
     "a?b", "a#b", "a\tb", "[::1%25eth0]", "\u0661"],
)  # fmt: skip
def test_own_host_that_is_none(host: str) -> None:
    """A Host that is not a host with a port is refused."""
    with pytest.raises(InvalidInput, match="Host"):
        encode_headers({"Host": host})


@pytest.mark.fault("O05")
def test_host_once() -> None:
    """Two Host fields are refused, however they are spelled."""
    with pytest.raises(InvalidInput, match="Host"):
        encode_headers([("Host", "a"), ("hOST", "a")])


# blocks and defaults


def test_without() -> None:
    block = encode_headers(REPEATED)
    assert block.without({"x-two"}) is block
    assert block.without({"accept"}).raw == b"X-One: 1\r\n"
    assert block.without({"accept"}).names == {"x-one"}


def test_automatic_headers() -> None:
    """B-08, P-16."""
    defaults = DefaultHeaders()
    assert defaults.raw == f"User-Agent: {USER_AGENT}\r\nAccept: */*\r\n".encode()
    assert defaults.merge() == defaults.raw
    assert DefaultHeaders(accept_encoding="gzip, deflate").get("accept-encoding") == "gzip, deflate"


def test_user_agent() -> None:
    name, python = USER_AGENT.split(" ")
    assert name == f"keepwarm/{keepwarm.__version__}"
    assert python == f"Python/{sys.version_info.major}.{sys.version_info.minor}"


def test_session_headers_replace_automatic_ones() -> None:
    defaults = DefaultHeaders([("user-agent", "mine/1"), ("X-A", "1"), ("x-a", "2")])
    assert defaults.raw == b"Accept: */*\r\nuser-agent: mine/1\r\nX-A: 1\r\nx-a: 2\r\n"
    assert defaults.names == {"accept", "user-agent", "x-a"}


def test_request_headers_replace_session_headers() -> None:
    """C-12: a name of the request replaces the session's; repeated names inside the request are all kept."""
    defaults = DefaultHeaders([("X-A", "1"), ("x-a", "2"), ("X-B", "3")], skip=check_skip(["User-Agent", "Accept"]))
    own = encode_headers([("x-A", "4"), ("X-a", "5")])
    assert defaults.merge(own) == b"X-B: 3\r\nx-A: 4\r\nX-a: 5\r\n"
    assert defaults.merge() == b"X-A: 1\r\nx-a: 2\r\nX-B: 3\r\n"
    assert defaults.merge(encode_headers({"X-C": "6"})) == defaults.raw + b"X-C: 6\r\n"


def test_request_headers_replace_automatic_ones() -> None:
    merged = DefaultHeaders().merge(encode_headers({"ACCEPT": "a/b"}))
    assert merged == f"User-Agent: {USER_AGENT}\r\nACCEPT: a/b\r\n".encode()


@pytest.mark.parametrize(
    "names",
    [["User-Agent", "ACCEPT"], {istr("accept"), "user-agent"}, ("accept", "User-agent", "X-A", "Content-Length")],
)
def test_skipping(names: object) -> None:
    """B-06, B-07, C-13: any case; only what would be generated is left out."""
    skip = check_skip(names)
    assert DefaultHeaders({"X-A": "1"}, skip=skip).raw == b"X-A: 1\r\n"
    assert DefaultHeaders({"X-A": "1"}).merge(skip=skip) == b"X-A: 1\r\n"
    assert DefaultHeaders({"Accept": "a/b"}, skip=skip).raw == b"Accept: a/b\r\n"
    assert DefaultHeaders({"Accept": "a/b"}).merge(skip=skip) == b"Accept: a/b\r\n"
    assert DefaultHeaders().merge(encode_headers({"Accept": "a/b"}), skip) == b"Accept: a/b\r\n"


def test_skip_none() -> None:
    assert check_skip(None) == check_skip([]) == frozenset()


@pytest.mark.parametrize("names", ["Accept", b"Accept", 5, [b"Accept"], [None]])
def test_skip_of_other_types(names: object) -> None:
    with pytest.raises(TypeError, match="skip_auto_headers"):
        check_skip(names)


@pytest.mark.fault("O07")
@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding"])
def test_framing_is_no_default(name: str) -> None:
    """A session cannot fix the length or the coding of all its bodies."""
    with pytest.raises(InvalidInput, match=name.lower()):
        DefaultHeaders({name: "1"})


@pytest.mark.fault("O04", "O05")
def test_defaults_are_checked() -> None:
    """The session's headers and its own user agent pass the same check as those of a request."""
    with pytest.raises(InvalidInput):
        DefaultHeaders({"X": "a\r\nb"})
    with pytest.raises(InvalidInput):
        DefaultHeaders(user_agent="a\r\nb")
    with pytest.raises(InvalidInput):
        DefaultHeaders(accept_encoding="gzip\n")


def test_blocks_are_small() -> None:
    assert not hasattr(HeaderBlock(), "__dict__") and not hasattr(DefaultHeaders(), "__dict__")
