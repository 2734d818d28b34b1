"""The opening handshake: fields of the request, judgement on the answer."""

import base64
from collections.abc import Iterable

import pytest
from multidict import CIMultiDict

from keepwarm.ws.deflate import DeflateOffer, DeflateSettings
from keepwarm.ws.errors import HandshakeError
from keepwarm.ws.handshake import (
    accept_for,
    check_origin,
    check_protocols,
    new_key,
    parse_extensions,
    upgrade_fields,
    verify_answer,
)

# RFC 6455, 1.3.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def answer(*more: tuple[str, str], without: str = "") -> "CIMultiDict[str]":
    fields = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", ACCEPT)]
    return CIMultiDict([*((name, value) for name, value in fields if name != without), *more])


def test_the_key_is_random_and_answered_as_the_rfc_says() -> None:
    assert accept_for(KEY) == ACCEPT
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert {len(base64.b64decode(key, validate=True)) for key in keys} == {16}


def test_the_fields_of_the_request() -> None:
    assert upgrade_fields(KEY) == [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ]
    fields = upgrade_fields(KEY, protocols=("chat", "v2.chat"), origin="https://a.example", deflate=DeflateOffer())
    assert fields[4:] == [
        ("Sec-WebSocket-Protocol", "chat, v2.chat"),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
        ("Origin", "https://a.example"),
    ]


@pytest.mark.parametrize("protocols", [(), ["a"], ("a", "A", "b.c-d"), (name for name in ("x", "y"))])
def test_protocols_that_may_be_offered(protocols: Iterable[str]) -> None:
    checked = check_protocols(protocols)
    assert isinstance(checked, tuple)
    assert all(isinstance(name, str) for name in checked)


@pytest.mark.fault("O05")
@pytest.mark.parametrize("name", ["", " ", "a b", "a,b", "a\r\nX: y", "ü", "a\x00", 'a"', "a;b", "a/b", "{a}"])
def test_a_protocol_that_is_no_token(name: str) -> None:
    """Refused before any I/O (D-02)."""
    with pytest.raises(ValueError, match=r"^protocols: .* is not a token"):
        check_protocols(["fine", name])


@pytest.mark.fault("O05")
def test_protocols_of_another_form() -> None:
    with pytest.raises(ValueError, match=r"^protocols: 'a' is there twice"):
        check_protocols(["a", "b", "a"])
    with pytest.raises(TypeError, match=r"^protocols: must be a sequence of str, got str"):
        check_protocols("chat")
    with pytest.raises(TypeError, match=r"^protocols: must be str each, got bytes"):
        check_protocols([b"chat"])  # type: ignore[list-item]


def test_origins() -> None:
    """D-07."""
    assert check_origin(None) is None
    assert check_origin("https://a.example:8443") == "https://a.example:8443"
    assert check_origin("null") == "null"
    for origin in ("", "a b", "https://a.example\r\nX: y", "https://ü.example", "a\x7f"):
        with pytest.raises(ValueError, match=r"^origin: "):
            check_origin(origin)
    with pytest.raises(TypeError, match=r"^origin: must be str, got int"):
        check_origin(1)  # type: ignore[arg-type]


def test_an_agreement() -> None:
    assert verify_answer(101, answer(), key=KEY) == (None, None)


@pytest.mark.fault("W03")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Upgrade", "WebSocket"),
        ("Upgrade", "WEBSOCKET"),
        ("Connection", "upgrade"),
        ("Connection", "keep-alive, Upgrade"),
        ("Connection", "UPGRADE ,close"),
    ],
)
def test_tokens_in_other_forms(name: str, value: str) -> None:
    """Any case; Connection is a list (D-09)."""
    assert verify_answer(101, answer((name, value), without=name), key=KEY) == (None, None)
    assert verify_answer(101, answer(("Connection", "close"), ("Connection", "x")), key=KEY) == (None, None)


@pytest.mark.fault("W03")
@pytest.mark.parametrize("name", ["Upgrade", "Connection"])
@pytest.mark.parametrize("value", ["notupgrade", "notwebsocket", "upgraded", "web socket", "", "h2c", "close", None])
def test_wrong_or_missing_tokens(name: str, value: str | None) -> None:
    more = [] if value is None else [(name, value)]
    headers = CIMultiDict([*answer(without=name).items(), *more])
    with pytest.raises(HandshakeError, match=f"the server's {name} is"):
        verify_answer(101, headers, key=KEY)


@pytest.mark.fault("W03")
@pytest.mark.parametrize("more", [("Upgrade", "websocket"), ("Upgrade", "h2c")])
def test_two_protocols_to_switch_to(more: tuple[str, str]) -> None:
    with pytest.raises(HandshakeError, match="Upgrade"):
        verify_answer(101, answer(more), key=KEY)


@pytest.mark.fault("W02")
@pytest.mark.parametrize("accept", [None, "", ACCEPT.lower(), ACCEPT.upper(), ACCEPT[:-1], KEY, accept_for(new_key())])
def test_the_accept_key_must_be_the_one(accept: str | None) -> None:
    """Missing, wrong, in another case."""
    headers = answer(without="Sec-WebSocket-Accept")
    if accept is not None:
        headers.add("Sec-WebSocket-Accept", accept)
    with pytest.raises(HandshakeError, match="Sec-WebSocket-Accept"):
        verify_answer(101, headers, key=KEY)


@pytest.mark.fault("W02")
def test_two_accept_keys() -> None:
    with pytest.raises(HandshakeError, match="Sec-WebSocket-Accept"):
        verify_answer(101, answer(("Sec-WebSocket-Accept", ACCEPT)), key=KEY)


@pytest.mark.parametrize("status", [100, 200, 204, 301, 401, 426, 503])
def test_another_status(status: int) -> None:
    with pytest.raises(HandshakeError, match=f"answered {status}"):
        verify_answer(status, answer(), key=KEY)


def test_the_subprotocol() -> None:
    """D-02: none chosen is None, one of the offered is it, anything else an error."""
    offered = ("chat", "Chat", "v2")
    assert verify_answer(101, answer(), key=KEY, protocols=offered).protocol is None
    for name in offered:
        chosen = answer(("Sec-WebSocket-Protocol", name))
        assert verify_answer(101, chosen, key=KEY, protocols=offered).protocol == name
    for name in ("other", "CHAT", "", "chat, v2"):
        with pytest.raises(HandshakeError, match="was not offered"):
            verify_answer(101, answer(("Sec-WebSocket-Protocol", name)), key=KEY, protocols=offered)
    with pytest.raises(HandshakeError, match="was not offered"):
        verify_answer(101, answer(("Sec-WebSocket-Protocol", "chat")), key=KEY)
    twice = answer(("Sec-WebSocket-Protocol", "chat"), ("Sec-WebSocket-Protocol", "chat"))
    with pytest.raises(HandshakeError, match="more than one"):
        verify_answer(101, twice, key=KEY, protocols=offered)


def test_the_extension() -> None:
    """What was not offered fails the handshake (RFC 6455, 4.1); what was is agreed on."""
    offer = DeflateOffer()
    chosen = answer(("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits=10"))
    assert verify_answer(101, chosen, key=KEY, deflate=offer).deflate == DeflateSettings(client_max_window_bits=10)
    assert verify_answer(101, answer(), key=KEY, deflate=offer).deflate is None
    with pytest.raises(HandshakeError, match="was not offered"):
        verify_answer(101, chosen, key=KEY)
    for value in ("x-webkit-deflate-frame", "permessage-bzip2", "permessage-deflate, other", "Permessage-Deflate"):
        with pytest.raises(HandshakeError, match="was not offered"):
            verify_answer(101, answer(("Sec-WebSocket-Extensions", value)), key=KEY, deflate=offer)
    for twice in (
        [("Sec-WebSocket-Extensions", "permessage-deflate, permessage-deflate")],
        [("Sec-WebSocket-Extensions", "permessage-deflate")] * 2,
    ):
        with pytest.raises(HandshakeError, match="twice"):
            verify_answer(101, answer(*twice), key=KEY, deflate=offer)


@pytest.mark.parametrize(
    ("values", "extensions"),
    [
        ([], []),
        (["a"], [("a", [])]),
        (["a, b;c", "d"], [("a", []), ("b", [("c", None)]), ("d", [])]),
        (['a ; b = 1\t;c="2" ,d'], [("a", [("b", "1"), ("c", "2")]), ("d", [])]),
        ([r'a; b="x\y\-z"'], [("a", [("b", "xy-z")])]),
    ],
)
def test_extensions(values: list[str], extensions: object) -> None:
    assert parse_extensions(values) == extensions


@pytest.mark.parametrize(
    "value",
    ["", ",", "a,", ",a", "a;", "a;;b", "a b", "a;b=", 'a;b="', 'a;b="c', 'a;b=""', 'a;b="c d"', "a=b", "a;b=c d"],
)
def test_extensions_that_cannot_be_read(value: str) -> None:
    with pytest.raises(HandshakeError, match="cannot be read"):
        parse_extensions([value])


def test_text_of_the_peer_is_escaped_and_cut() -> None:
    with pytest.raises(HandshakeError) as raised:
        verify_answer(101, answer(("Upgrade", "\x1b[31m" + "x" * 10_000), without="Upgrade"), key=KEY)
    assert "\x1b" not in str(raised.value)
    assert len(str(raised.value)) < 300
    assert raised.value.message == str(raised.value)
