"""Any sequence of messages, cut into fragments and segments anywhere: what is heard does not depend on the cuts."""

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from keepwarm.ws.deflate import Deflater, DeflateSettings
from keepwarm.ws.messages import Message, MsgType
from keepwarm.ws.protocol import WSProtocol
from tests.support.ws_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, RSV1, TEXT, each_byte, read, server_frame

SETTINGS = DeflateSettings(min_size=1)

Wire = tuple[bytes, list[Message]]

controls = st.lists(st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125)), max_size=3)
bodies = st.one_of(st.text(max_size=300), st.binary(max_size=300), st.integers(120, 1000).map(lambda n: "é" * n))
pieces = st.lists(st.floats(0, 1), max_size=4)


@st.composite
def conversations(draw: st.DrawFn) -> Wire:
    """What a server sends in a while, and what a client is to hear of it."""
    deflater = Deflater(SETTINGS)
    data = b""
    heard = []
    for body, cuts, is_compressed, repeat in draw(
        st.lists(st.tuples(bodies, pieces, st.booleans(), st.integers(1, 12)), max_size=6)
    ):
        for _ in range(repeat):
            payload = body.encode() if isinstance(body, str) else body
            if is_compressed:
                payload = deflater.deflate(payload)
            borders = sorted(int(cut * len(payload)) for cut in cuts)
            parts = [payload[a:b] for a, b in zip([0, *borders], [*borders, len(payload)])]
            for i, part in enumerate(parts):
                opcode = CONTINUATION if i else (TEXT if isinstance(body, str) else BINARY)
                is_last = i == len(parts) - 1
                data += server_frame(opcode, part, fin=is_last, rsv=RSV1 if is_compressed and not i else 0)
                if not is_last:
                    data += _say(draw(controls), heard)
            heard.append(Message(MsgType.text if isinstance(body, str) else MsgType.binary, body, ""))
        data += _say(draw(controls), heard)
    if draw(st.booleans()):
        data += server_frame(CLOSE, b"\x03\xe8bye")
        heard.append(Message(MsgType.close, 1000, "bye"))
    return data, heard


def _say(frames: Iterable[tuple[int, bytes]], heard: list[Message]) -> bytes:
    data = b""
    for opcode, payload in frames:
        data += server_frame(opcode, payload)
        heard.append(Message(MsgType.ping if opcode == PING else MsgType.pong, payload, ""))
    return data


def listener() -> WSProtocol:
    return WSProtocol(deflate=SETTINGS, autoping=False)


@settings(deadline=None, max_examples=100)
@given(conversations(), st.lists(st.floats(0, 1), max_size=20))
def test_cuts_anywhere(conversation: Wire, cuts: list[float]) -> None:
    data, heard = conversation
    assert read(listener(), data) == heard
    assert read(listener(), each_byte(data)) == heard
    borders = sorted(int(cut * len(data)) for cut in cuts)
    segments = [data[a:b] for a, b in zip([0, *borders], [*borders, len(data)])]
    assert read(listener(), segments) == heard


@settings(deadline=None, max_examples=15)
@given(conversations())
def test_one_cut_at_every_offset(conversation: Wire) -> None:
    data, heard = conversation
    for cut in range(0, len(data), 1 + len(data) // 500):
        assert read(listener(), [data[:cut], data[cut:]]) == heard


@settings(deadline=None, max_examples=100)
@given(conversations())
def test_nothing_is_left_behind(conversation: Wire) -> None:
    protocol = listener()
    read(protocol, conversation[0])
    assert protocol.buffered == 0
    assert not protocol.has_more


def verdict_on(data: bytes | list[bytes], protocol: WSProtocol) -> tuple[list[Message], int | None]:
    """Any bytes are heard without an exception; the error, if any, comes last and once."""
    messages = read(protocol, data)
    errors = [i for i, message in enumerate(messages) if message.tp is MsgType.error]
    assert errors in ([], [len(messages) - 1])
    if not errors:
        return messages, None
    return messages[:-1], messages[-1].data.code


@settings(deadline=None, max_examples=100)
@given(conversations(), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=3))
def test_damaged_bytes_have_one_verdict(conversation: Wire, damage: list[tuple[float, int]]) -> None:
    """However the bytes are cut: the same messages, and the same code."""
    data = bytearray(conversation[0] + server_frame(TEXT, b"end"))
    for place, value in damage:
        data[int(place * (len(data) - 1))] = value
    whole = verdict_on(bytes(data), WSProtocol(autoping=False))
    assert verdict_on(each_byte(bytes(data)), WSProtocol(autoping=False)) == whole
    verdict_on(bytes(data), listener())
    verdict_on(each_byte(bytes(data)), listener())


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_have_one_verdict(data: bytes) -> None:
    for prefix in (b"", b"\x81\x05hello", b"\x01\x00", b"\xc1"):
        whole = verdict_on(prefix + data, WSProtocol(max_msg_size=100, max_fragments=3))
        assert verdict_on(each_byte(prefix + data), WSProtocol(max_msg_size=100, max_fragments=3)) == whole
