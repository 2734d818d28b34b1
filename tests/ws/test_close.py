"""The closing handshake, as far as it is bytes. Autobahn's group 7."""

import pytest

from keepwarm.ws.messages import CLOSE_ABNORMAL, Message, MsgType, may_be_on_the_wire
from keepwarm.ws.protocol import WSProtocol
from tests.support.ws_frames import (
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    client_frames,
    close_payload,
    each_byte,
    read,
    server_frame,
    verdict,
)

VALID = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
INVALID = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


@pytest.mark.fault("W23")
@pytest.mark.parametrize("code", VALID)
@pytest.mark.parametrize("reason", ["", "gone", "ü" * 61])
def test_a_code_that_may_be_sent(code: int, reason: str) -> None:
    """It is returned once (A-11, N-08) and echoed (Autobahn 7.7)."""
    protocol = WSProtocol()
    data = server_frame(CLOSE, close_payload(code, reason.encode()))
    assert read(protocol, each_byte(data)) == [Message(MsgType.close, code, reason)]
    assert (protocol.close_code, protocol.close_reason) == (code, reason)
    assert protocol.close_received
    assert protocol.finished
    assert protocol.failed is None
    assert not protocol.close_sent  # what was received before may still be answered
    (frame,) = client_frames(protocol.take_output())
    assert protocol.close_sent
    assert not protocol.has_output
    assert (frame.fin, frame.opcode, frame.payload) == (True, CLOSE, close_payload(code))


@pytest.mark.fault("W23")
@pytest.mark.parametrize("code", INVALID)
@pytest.mark.parametrize("reason", [b"", b"because"])
def test_a_code_that_may_not(code: int, reason: bytes) -> None:
    """1002 (Autobahn 7.9, 7.13)."""
    protocol = WSProtocol()
    assert verdict(protocol, server_frame(CLOSE, close_payload(code, reason))) == ([], 1002)
    assert not protocol.close_received
    assert protocol.close_code is None


def test_every_code_below_3000_that_is_not_listed_is_refused() -> None:
    """N-11."""
    assert [code for code in range(3000) if may_be_on_the_wire(code)] == [code for code in VALID if code < 3000]
    assert CLOSE_ABNORMAL not in VALID


@pytest.mark.fault("W23")
def test_half_a_code() -> None:
    """Autobahn 7.3.2."""
    assert verdict(WSProtocol(), server_frame(CLOSE, b"\x03")) == ([], 1002)


def test_no_code() -> None:
    """N-08: 0 and an empty text; the answer is empty too (Autobahn 7.3.1)."""
    protocol = WSProtocol()
    assert read(protocol, server_frame(CLOSE)) == [Message(MsgType.close, 0, "")]
    (frame,) = client_frames(protocol.take_output())
    assert (frame.opcode, frame.payload) == (CLOSE, b"")


@pytest.mark.parametrize("after", [server_frame(TEXT, b"x"), server_frame(PING), server_frame(CLOSE), b"\xff" * 50])
def test_what_follows_a_close_frame_is_not_heard(after: bytes) -> None:
    """Autobahn 7.1.3 to 7.1.5: neither in the same segment nor later, nor inside of a fragmented message."""
    protocol = WSProtocol()
    data = server_frame(TEXT, b"frag", fin=False) + server_frame(CLOSE, close_payload(1000)) + after
    assert read(protocol, [data, after]) == [Message(MsgType.close, 1000, "")]
    assert [frame.opcode for frame in client_frames(protocol.take_output())] == [CLOSE]
    assert protocol.buffered == 0
    assert protocol.failed is None
    assert read(protocol, server_frame(CONTINUATION)) == []


def test_without_autoclose_the_caller_answers() -> None:
    """D-05."""
    protocol = WSProtocol(autoclose=False)
    assert read(protocol, server_frame(CLOSE, close_payload(4000, b"bye"))) == [Message(MsgType.close, 4000, "bye")]
    assert not protocol.has_output
    assert not protocol.close_sent
    (frame,) = client_frames(protocol.close_frame(1000, "bye, too"))
    assert frame.payload == close_payload(1000, b"bye, too")
    assert protocol.close_sent


def test_messages_are_read_until_the_peer_closes_too() -> None:
    """Our close frame does not end what the peer has to say, and its answer is not answered again."""
    protocol = WSProtocol()
    protocol.close_frame(1001)
    assert read(protocol, server_frame(TEXT, b"late")) == [Message(MsgType.text, "late", "")]
    assert read(protocol, server_frame(CLOSE, close_payload(1001))) == [Message(MsgType.close, 1001, "")]
    assert not protocol.has_output


def test_a_failure_after_our_close_frame_sends_no_second_one() -> None:
    protocol = WSProtocol()
    protocol.close_frame()
    (message,) = read(protocol, server_frame(3))
    assert message.tp is MsgType.error
    assert message.data.code == 1002
    assert not protocol.has_output


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1001, b"bye"), (4999, "ü" * 61), (3000, b"x" * 123), (0, b"")]
)
def test_close_frames_of_ours(code: int, reason: str | bytes) -> None:
    """L-09, L-10."""
    (frame,) = client_frames(WSProtocol().close_frame(code, reason))
    expected = reason.encode() if isinstance(reason, str) else reason
    assert frame.payload == (close_payload(code, expected) if code else b"")


@pytest.mark.parametrize("code", [*INVALID, -1, 10**9])
def test_a_code_of_ours_that_may_not_be_sent(code: int) -> None:
    """Refused before anything is built; the connection is as before."""
    protocol = WSProtocol()
    with pytest.raises(ValueError, match=rf"^code: {code} may not be sent"):
        protocol.close_frame(code, b"why")
    assert not protocol.close_sent


def test_a_reason_of_ours_that_cannot_be_sent() -> None:
    protocol = WSProtocol()
    with pytest.raises(ValueError, match=r"^message: at most 123 bytes"):
        protocol.close_frame(1000, "ü" * 62)
    with pytest.raises(ValueError, match=r"^message: is not UTF-8"):
        protocol.close_frame(1000, b"\xff")
    with pytest.raises(TypeError, match=r"^message: must be str or bytes"):
        protocol.close_frame(1000, 5)  # type: ignore[arg-type]
    assert not protocol.close_sent
