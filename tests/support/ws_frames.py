"""Frames as a server writes them, and the client's read back: a second, plain reading of RFC 6455, 5.2."""

from collections.abc import Iterable
from typing import NamedTuple

from keepwarm.ws.errors import WebSocketError
from keepwarm.ws.messages import Message, MsgType
from keepwarm.ws.protocol import WSProtocol

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
RSV1, RSV2, RSV3 = 0x40, 0x20, 0x10


class ClientFrame(NamedTuple):
    """One frame that the client sent."""

    fin: bool
    rsv: int
    opcode: int
    key: bytes
    payload: bytes


def server_frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    """An unmasked frame."""
    return header(opcode, len(payload), fin=fin, rsv=rsv) + payload


def header(opcode: int, length: int, *, fin: bool = True, rsv: int = 0) -> bytes:
    """The header of an unmasked frame of that length."""
    first = bytes([fin << 7 | rsv | opcode])
    if length < 126:
        return first + bytes([length])
    if length < 65536:
        return first + b"\x7e" + length.to_bytes(2, "big")
    return first + b"\x7f" + length.to_bytes(8, "big")


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return code.to_bytes(2, "big") + reason


def client_frames(data: bytes) -> list[ClientFrame]:
    """All frames in `data`, which holds nothing else. Raises ValueError for an unmasked one, and for a rest."""
    frames = []
    pos = 0
    while pos < len(data):
        first, second = data[pos : pos + 2]
        if not second & 0x80:
            raise ValueError("a client's frame without a mask")
        length = second & 0x7F
        pos += 2
        for short, wide in ((126, 2), (127, 8)):
            if second & 0x7F == short:
                length = int.from_bytes(data[pos : pos + wide], "big")
                pos += wide
        key = data[pos : pos + 4]
        pos += 4
        masked = data[pos : pos + length]
        if len(masked) < length:
            raise ValueError("a frame that is not whole")
        pos += length
        payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(masked))
        frames.append(ClientFrame(first >= 0x80, first & 0x70, first & 0x0F, key, payload))
    return frames


def read(protocol: WSProtocol, data: bytes | Iterable[bytes]) -> list[Message]:
    """The messages that a client hears, fed with these pieces."""
    messages: list[Message] = []
    for piece in (data,) if isinstance(data, bytes) else data:
        protocol.feed(piece, messages)
        while protocol.has_more:
            protocol.feed(b"", messages)
    return messages


def each_byte(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def verdict(protocol: WSProtocol, data: bytes | Iterable[bytes]) -> tuple[list[Message], int]:
    """What was heard before the connection was failed, and the close code that it was failed with.

    Looks at all places where it is told: the message, the attribute, and the close frame for the peer.
    """
    messages = read(protocol, data)
    if not messages or messages[-1].tp is not MsgType.error:
        raise ValueError(f"the connection was not failed; it heard {messages}")
    error = messages.pop().data
    if not isinstance(error, WebSocketError) or protocol.failed is not error or not protocol.finished:
        raise ValueError(f"the failure {error!r} is told in different ways")
    frames = client_frames(protocol.take_output())
    if frames[-1].opcode != CLOSE or int.from_bytes(frames[-1].payload[:2], "big") != error.code:
        raise ValueError(f"the peer is not told of {error!r} but gets {frames}")
    return messages, error.code
