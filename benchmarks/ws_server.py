"""The WebSocket side of the bundled server. What it sends is framed beforehand wherever that can be.

It does what the first words of a text message say: ``stream N SIZE`` sends N binary messages of SIZE bytes, ``sink N``
takes N messages and then says ``done``. Every other message is sent back.
"""

import asyncio
import base64
import hashlib
import struct
from functools import cache
from typing import cast

from keepwarm.ws.masking import fastest_mask

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_BLOCK = 262144


def frame(opcode: int, payload: bytes) -> bytes:
    """An unfragmented message as a server sends it."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", 0x80 | opcode, size) + payload
    if size < 65536:
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload


@cache
def block(size: int, most: int) -> tuple[bytes, int]:
    """Frames of `size` bytes each, joined, and how many they are: about _BLOCK bytes, at most `most` frames."""
    one = frame(2, b"m" * size)
    count = min(most, max(1, _BLOCK // len(one)))
    return one * count, count


def agreement(key: bytes) -> bytes:
    """The answer to the opening handshake."""
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


class WebSocketProtocol(asyncio.Protocol):
    """One connection after its handshake. It serves well-behaved clients: whole messages, no fragments."""

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not subclasses
        self._unmask = fastest_mask()
        self._buffer = bytearray()
        self._is_paused = False
        self._to_send = 0
        self._size = 0
        self._to_take = 0

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        while (end := self._read()) is not None:
            del buffer[:end]

    def _read(self) -> int | None:
        """Read one frame; how many bytes it took, or None if it is not all there."""
        buffer = self._buffer
        if len(buffer) < 6:
            return None
        size, start = buffer[1] & 0x7F, 2
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(buffer[2:start], "big")
        end = start + 4 + size
        if len(buffer) < end:
            return None
        if self._to_take:
            self._to_take -= 1
            if not self._to_take:
                self._transport.write(frame(_TEXT, b"done"))
        else:
            key = bytes(buffer[start : start + 4])
            self._answer(buffer[0] & 0x0F, self._unmask(bytes(buffer[start + 4 : end]), key))
        return end

    def _answer(self, opcode: int, payload: bytes) -> None:
        if opcode == _TEXT and payload.startswith(b"stream "):
            _, count, size = payload.split()
            self._to_send, self._size = int(count), int(size)
            self._send_blocks()
        elif opcode == _TEXT and payload.startswith(b"sink "):
            self._to_take = int(payload.split()[1])
        elif opcode == _CLOSE:
            self._transport.write(frame(_CLOSE, payload))
            self._transport.close()
        elif opcode != _PONG:
            self._transport.write(frame(_PONG if opcode == _PING else opcode, payload))

    def _send_blocks(self) -> None:
        while self._to_send and not self._is_paused:
            data, count = block(self._size, self._to_send)
            self._to_send -= count
            self._transport.write(data)

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._send_blocks()
