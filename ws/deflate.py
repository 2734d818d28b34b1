"""permessage-deflate (RFC 7692): what is offered, what was agreed, and the two streams.

A message is compressed and its tail cut off in one synchronous act, so no cancellation can come between the compressor
and the wire. What is inflated is bounded by the caller's room, not by what the peer packed.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from keepwarm.pool.errors import printable
from keepwarm.pool.limits import check_count
from keepwarm.ws.errors import HandshakeError, WebSocketError
from keepwarm.ws.messages import CLOSE_INVALID_TEXT, CLOSE_MESSAGE_TOO_BIG, CLOSE_POLICY_VIOLATION

if TYPE_CHECKING:
    from zlib import _Compress, _Decompress

NAME: Final = "permessage-deflate"

Parameters = Sequence[tuple[str, str | None]]

# What a flush ends with: an empty stored block. It is not sent (RFC 7692, 7.2.1).
_TAIL: Final = b"\x00\x00\xff\xff"
_BITS: Final = re.compile(r"[89]|1[0-5]")
_FLAGS: Final = ("server_no_context_takeover", "client_no_context_takeover")
_SIZES: Final = ("server_max_window_bits", "client_max_window_bits")
# A block with BFINAL ends a deflate stream, and the next one begins anew. Each costs an inflater and five bytes or
# less of the peer's, so a message may have a few of them.
_MAX_STREAMS: Final = 16


@dataclass(frozen=True, slots=True)
class DeflateSettings:
    """What client and server agreed on (RFC 7692, 7.1), and how we compress."""

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int = 15
    client_max_window_bits: int = 15
    level: int = 6
    min_size: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class DeflateOffer:
    """What the client offers.

    `server_no_context_takeover`, `server_max_window_bits` (8 to 15; None: not named): what the server's compressor is
    asked for; an agreement without them is refused. `client_no_context_takeover`: ours starts anew with each message.
    `client_max_window_bits` (9 to 15; None: not offered): the server may ask for a window up to this size.
    `level`: of zlib, 1 to 9. `min_size`: messages of fewer bytes are sent as they are; at least 1. Raises
    TypeError and ValueError.
    """

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int | None = None
    client_max_window_bits: int | None = 15
    level: int = 6
    min_size: int = 64

    def __post_init__(self) -> None:
        for name, least in zip(_SIZES, (8, 9)):
            bits = check_count(name, getattr(self, name))
            if bits is not None and not least <= bits <= 15:
                raise ValueError(f"{name} must be {least} to 15, or None, got {bits!r}")
        level = check_count("level", self.level)
        if level is None or level > 9:
            raise ValueError(f"level must be 1 to 9, got {self.level!r}")
        if check_count("min_size", self.min_size) is None:
            raise ValueError("min_size must be at least 1, got None")

    def field_value(self) -> str:
        """The value of Sec-WebSocket-Extensions."""
        parts = [NAME, *(name for name in _FLAGS if getattr(self, name))]
        if self.server_max_window_bits is not None:
            parts.append(f"server_max_window_bits={self.server_max_window_bits}")
        if self.client_max_window_bits == 15:
            parts.append("client_max_window_bits")
        elif self.client_max_window_bits is not None:
            parts.append(f"client_max_window_bits={self.client_max_window_bits}")
        return "; ".join(parts)


def agree(offer: DeflateOffer, parameters: Parameters) -> DeflateSettings:
    """What the server's answer to `offer` means. Raises HandshakeError where it is no answer to it (RFC 7692, 7.1)."""
    flags: set[str] = set()
    sizes: dict[str, int] = {}
    for name, value in parameters:
        if name in flags or name in sizes:
            raise HandshakeError(f"the server's {NAME} has {name} twice")
        if name in _FLAGS:
            if value is not None:
                raise HandshakeError(f"the server's {NAME} has a value for {name}")
            flags.add(name)
        elif name in _SIZES:
            if value is None or not _BITS.fullmatch(value):
                raise HandshakeError(f"the server's {NAME} has {name}={printable(value or '')}, not 8 to 15")
            sizes[name] = int(value)
        else:
            raise HandshakeError(f"the server's {NAME} has the unknown parameter {printable(name)}")
    _compare(offer, flags, sizes)
    return DeflateSettings(
        server_no_context_takeover="server_no_context_takeover" in flags,
        client_no_context_takeover="client_no_context_takeover" in flags or offer.client_no_context_takeover,
        server_max_window_bits=sizes.get("server_max_window_bits", 15),
        client_max_window_bits=sizes.get("client_max_window_bits", offer.client_max_window_bits or 15),
        level=offer.level,
        min_size=offer.min_size,
    )


def _compare(offer: DeflateOffer, flags: set[str], sizes: dict[str, int]) -> None:
    if offer.server_no_context_takeover and "server_no_context_takeover" not in flags:
        raise HandshakeError(f"the server's {NAME} lacks the server_no_context_takeover that was asked for")
    for name in _SIZES:
        offered: int | None = getattr(offer, name)
        answered = sizes.get(name)
        if answered is None:
            if name == "server_max_window_bits" and offered is not None:
                raise HandshakeError(f"the server's {NAME} lacks the {name} that was asked for")
        elif offered is None:
            if name == "client_max_window_bits":
                raise HandshakeError(f"the server's {NAME} has {name}, which was not offered")
        elif answered > offered:
            raise HandshakeError(f"the server's {NAME} has {name}={answered}; {offered} was offered")


class Deflater:
    """Our direction. zlib cannot make a raw stream for a window of 256 bytes: such a one sends everything as it is."""

    __slots__ = ("_bits", "_keep", "_level", "_stream", "min_size")

    def __init__(self, settings: DeflateSettings) -> None:
        self._bits = settings.client_max_window_bits
        self._keep = not settings.client_no_context_takeover
        self._level = settings.level
        self._stream: _Compress | None = None
        # Messages of fewer bytes are not compressed. No message has 2 ** 63.
        self.min_size = settings.min_size if self._bits > 8 else 1 << 63

    def deflate(self, payload: bytes) -> bytes:
        """The payload of one frame. What is given here must go to the wire, in this order."""
        stream = self._stream
        if stream is None:
            stream = zlib.compressobj(self._level, zlib.DEFLATED, -self._bits)
            if self._keep:
                self._stream = stream
        return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[: -len(_TAIL)]


class Inflater:
    """The peer's direction, in pieces as they come."""

    __slots__ = ("_bits", "_keep", "_stream", "_streams")

    def __init__(self, settings: DeflateSettings) -> None:
        # zlib inflates a window of 256 bytes as it does one of 512.
        self._bits = max(9, settings.server_max_window_bits)
        self._keep = not settings.server_no_context_takeover
        self._stream: _Decompress | None = None
        self._streams = 0

    def inflate(self, payload: bytes, room: int, is_last: bool) -> bytes:
        """At most `room` bytes from `payload`; `is_last` says that the message ends with it.

        Raises WebSocketError: 1009 if there is more than `room`, after `room` + 1 bytes at the most; 1007 for what
        cannot be inflated.
        """
        stream = self._stream
        if stream is None:
            stream = self._begin()
        try:
            data = stream.decompress(payload, room + 1)
            while stream.eof and stream.unused_data and len(data) <= room:
                payload = stream.unused_data
                stream = self._begin()
                data += stream.decompress(payload, room + 1 - len(data))
            # The tail alone is an empty block. It yields something only if the payload stopped inside of another.
            if is_last and len(data) <= room and not stream.eof and stream.decompress(_TAIL, 1):
                raise zlib.error("it ends inside of a block")
        except zlib.error as exc:
            raise WebSocketError(
                CLOSE_INVALID_TEXT, f"a compressed message cannot be inflated: {printable(str(exc))}"
            ) from None
        if len(data) > room:
            raise WebSocketError(CLOSE_MESSAGE_TOO_BIG, "a compressed message inflates to more than max_msg_size")
        if is_last:
            self._streams = 0
            if not self._keep:
                self._stream = None
        return data

    def _begin(self) -> "_Decompress":
        self._streams += 1
        if self._streams > _MAX_STREAMS:
            raise WebSocketError(
                CLOSE_POLICY_VIOLATION, f"a compressed message of more than {_MAX_STREAMS} deflate streams"
            )
        self._stream = zlib.decompressobj(-self._bits)
        return self._stream
