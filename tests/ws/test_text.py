"""UTF-8 in text messages: Autobahn's group 6, the sequences and the places where they can break."""

import pytest

from keepwarm.ws.messages import Message, MsgType
from keepwarm.ws.protocol import WSProtocol
from tests.support.ws_frames import (
    BINARY,
    CONTINUATION,
    PING,
    TEXT,
    close_payload,
    each_byte,
    header,
    read,
    server_frame,
    verdict,
)

GREEK = "κόσμε"

VALID = [
    "",
    "Hello-µ@ßöäüàá-UTF-8!!",
    GREEK,
    # 6.5, 6.7, 6.9, 6.11, 6.22, 6.23: the first and last of each length, and what has no meaning but is allowed.
    *("\x00", "\x7f", "\x80", "߿", "ࠀ", "퟿", "", "￾", "￿", "𐀀", "\U0001fffe", "\U0010ffff"),
    *("\ufdd0", "\ufeff", "\u2028"),
]

INVALID = [
    # 6.3: a surrogate in the middle of text.
    GREEK.encode() + b"\xed\xa0\x80edited",
    # 6.6: sequences that end too early are wrong only at the end; here something follows.
    *(b"\xce ", b"\xe1\xbd ", b"\xf0\x90\x80 "),
    # 6.8, 6.10: five and six bytes, and beyond U+10FFFF.
    *(b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf7\xbf\xbf\xbf"),
    # 6.12, 6.13: continuation bytes alone, first bytes alone.
    *(
        b"\x80",
        b"\xbf",
        b"\x80\xbf\x80",
        b"\xc0 ",
        b"\xdf ",
        b"\xe0 ",
        b"\xef ",
        b"\xf0 ",
        b"\xf7 ",
        b"\xfb ",
        b"\xfd ",
    ),
    # 6.16: impossible bytes.
    *(b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"),
    # 6.17 to 6.19: overlong forms.
    *(
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xc0\x80",
    ),
    # 6.20, 6.21: surrogates, alone and in pairs.
    *(b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80"),
]

# 6.14: sequences that the message ends inside of.
UNFINISHED = [b"\xc2", b"\xdf", b"\xe0\xa0", b"\xef\xbf", b"\xf0\x90\x80", b"\xf4\x8f\xbf", GREEK.encode()[:-1]]


@pytest.mark.fault("W16")
@pytest.mark.parametrize("text", VALID)
def test_text_that_is_utf_8(text: str) -> None:
    """Whole, in fragments cut anywhere, also inside of a character, with a ping between, and byte by byte."""
    body = text.encode()
    expected = [Message(MsgType.text, text, "")]
    whole = server_frame(TEXT, body)
    assert read(WSProtocol(), whole) == expected
    assert read(WSProtocol(), each_byte(whole)) == expected
    for cut in range(len(body) + 1):
        data = server_frame(TEXT, body[:cut], fin=False) + server_frame(PING) + server_frame(CONTINUATION, body[cut:])
        assert read(WSProtocol(), data) == expected
    single = [server_frame(CONTINUATION, body[i : i + 1], fin=False) for i in range(len(body))]
    data = server_frame(TEXT, fin=False) + b"".join(single) + server_frame(CONTINUATION)
    assert read(WSProtocol(), data) == expected
    assert read(WSProtocol(), each_byte(data)) == expected


@pytest.mark.fault("W16")
@pytest.mark.parametrize("body", INVALID + UNFINISHED)
def test_text_that_is_not(body: bytes) -> None:
    """1007, whole or in fragments, fed at once or byte by byte; messages before it are delivered."""
    before = [Message(MsgType.text, "fine", "")]
    whole = server_frame(TEXT, b"fine") + server_frame(TEXT, body)
    assert verdict(WSProtocol(), whole) == (before, 1007)
    assert verdict(WSProtocol(), each_byte(whole)) == (before, 1007)
    for cut in range(len(body) + 1):
        data = server_frame(TEXT, body[:cut], fin=False) + server_frame(PING) + server_frame(CONTINUATION, body[cut:])
        assert verdict(WSProtocol(), data) == ([], 1007)
        assert verdict(WSProtocol(), each_byte(data)) == ([], 1007)


@pytest.mark.fault("W16")
@pytest.mark.parametrize("body", INVALID)
@pytest.mark.parametrize("fin", [True, False])
def test_wrong_text_is_refused_before_its_frame_is_whole(body: bytes, fin: bool) -> None:
    """Autobahn 6.4: no more has to come than the byte that proves it."""
    assert verdict(WSProtocol(), header(TEXT, 100_000, fin=fin) + b"ok " + body) == ([], 1007)
    protocol = WSProtocol()
    read(protocol, server_frame(TEXT, "ü".encode()[:1], fin=False))
    assert verdict(protocol, header(CONTINUATION, 100_000, fin=fin) + "ü".encode()[1:] + body) == ([], 1007)


@pytest.mark.fault("W16")
@pytest.mark.parametrize("body", UNFINISHED)
def test_a_character_that_is_not_whole_is_waited_for(body: bytes) -> None:
    """It is wrong only when the message ends."""
    protocol = WSProtocol()
    assert read(protocol, server_frame(TEXT, body, fin=False) + server_frame(CONTINUATION, fin=False)) == []
    assert not protocol.finished
    assert verdict(protocol, server_frame(CONTINUATION)) == ([], 1007)


def test_wrong_text_after_many_messages_of_the_same_length() -> None:
    good = server_frame(TEXT, b"abcdefgh")
    for count in range(40):
        messages, code = verdict(WSProtocol(), good * count + server_frame(TEXT, b"abcd\xffefg") + good * 40)
        assert (len(messages), code) == (count, 1007)


def test_bytes_are_not_judged() -> None:
    for body in INVALID:
        data = server_frame(BINARY, body[:1], fin=False) + server_frame(CONTINUATION, body[1:])
        assert read(WSProtocol(), data) == [Message(MsgType.binary, body, "")]


@pytest.mark.fault("W23")
@pytest.mark.parametrize("reason", INVALID + UNFINISHED)
def test_a_reason_that_is_not_utf_8(reason: bytes) -> None:
    """1007 (Autobahn 7.5.1)."""
    assert verdict(WSProtocol(), server_frame(8, close_payload(1000, reason))) == ([], 1007)
