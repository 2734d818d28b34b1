"""transfer_encode: the Content-Transfer-Encoding of a part (RFC 2045, 6)."""

from binascii import b2a_base64, b2a_qp
from collections.abc import AsyncIterator, Callable
from typing import Final, NamedTuple

from keepwarm.client.errors import InvalidInput
from keepwarm.client.source import Bytes, BytesPayload, Payload
from keepwarm.pool.errors import printable


class Coding(NamedTuple):
    """How `group` bytes become one line of at most 76 characters, and what stands between two lines."""

    group: int
    encode: Callable[[bytes], bytes]
    separator: bytes

    def apply(self, data: bytes) -> bytes:
        """All of `data`."""
        group = self.group
        return self.separator.join([self.encode(data[i : i + group]) for i in range(0, len(data), group)])


def _base64(data: bytes) -> bytes:
    return b2a_base64(data, newline=False)


def _quoted_printable(data: bytes) -> bytes:
    # As binary data: line ends are encoded too, so that they come back as they were.
    return b2a_qp(data, quotetabs=True, istext=False)


BASE64: Final = Coding(57, _base64, b"\r\n")
# At most 3 characters a byte, and one for the soft line break.
QUOTED_PRINTABLE: Final = Coding(25, _quoted_printable, b"=\r\n")

CODINGS: Final[dict[str, Coding | None]] = {
    "7bit": None,
    "8bit": None,
    "binary": None,
    "base64": BASE64,
    "quoted-printable": QUOTED_PRINTABLE,
}


def check_coding(value: object, argument: str) -> str:
    """The name of a transfer encoding in lower case. Raises InvalidInput, naming `argument`, for an unknown one and
    TypeError for what is not a str."""
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be str, got {type(value).__name__}")
    name = value.lower()
    if name not in CODINGS:
        raise InvalidInput(
            f"{argument} must be one of {', '.join(CODINGS)}, got '{printable(value)}'",
            argument=argument,
        )
    return name


def transfer_encode(payload: Payload, name: str) -> Payload:
    """`payload` in the transfer encoding of this name, which :func:`check_coding` gave."""
    coding = CODINGS[name]
    if coding is None:
        return payload
    if payload.body is not None:
        return BytesPayload(coding.apply(bytes(payload.body)), payload.content_type)
    return EncodedPayload(payload, coding)


class EncodedPayload(Payload):
    """Another payload, in a transfer encoding, piece by piece."""

    __slots__ = ("_coding", "_inner")

    def __init__(self, inner: Payload, coding: Coding) -> None:
        length = _base64_length(inner.length) if coding is BASE64 and inner.length is not None else None
        super().__init__(None, length, inner.content_type)
        self._inner = inner
        self._coding = coding

    @property
    def replayable(self) -> bool:
        return self._inner.replayable

    def open(self) -> AsyncIterator[Bytes]:
        return _EncodedPieces(self, self._inner.chunks(), self._coding)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _EncodedPieces:
    __slots__ = ("_between", "_coding", "_ended", "_payload", "_rest", "_source")

    def __init__(self, payload: Payload, source: AsyncIterator[Bytes], coding: Coding) -> None:
        self._payload = payload
        self._source = source
        self._coding = coding
        self._rest = b""
        self._between = b""
        self._ended = False

    def __aiter__(self) -> AsyncIterator[Bytes]:
        return self

    async def __anext__(self) -> Bytes:
        self._payload.started = True
        while not self._ended:
            try:
                data = b"".join((self._rest, await self._source.__anext__()))
                cut = len(data) - len(data) % self._coding.group
            except StopAsyncIteration:
                self._ended = True
                data = self._rest
                cut = len(data)
            self._rest = data[cut:]
            if cut:
                lines = self._between + self._coding.apply(data[:cut])
                self._between = self._coding.separator
                return lines
        raise StopAsyncIteration


def _base64_length(length: int) -> int:
    lines = -(-length // BASE64.group)
    return -(-length // 3) * 4 + max(lines - 1, 0) * len(BASE64.separator)
