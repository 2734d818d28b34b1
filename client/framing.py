"""Framing of request bodies: how the peer will know where the body ends (RFC 9112, 6)."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from keepwarm.client.errors import InvalidInput
from keepwarm.client.headers import EMPTY_BLOCK, HeaderBlock
from keepwarm.client.method import BODY_METHODS
from keepwarm.client.source import Bytes, Payload
from keepwarm.client.version import HttpVersion, HttpVersion10, HttpVersion11

DEFAULT_CHUNK: Final = 8192
LAST_CHUNK: Final = b"0\r\n\r\n"

_LENGTH: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


class Framing(NamedTuple):
    """How one request frames its body.

    `lines` are the field lines to add to the head (empty when the caller gave them), `chunked` tells whether the body
    goes through :func:`encode_chunk`, `chunk_size` the size of chunks that was asked for; 0 leaves pieces as they come.
    """

    lines: bytes
    chunked: bool
    chunk_size: int


# A Content-Length that is made from the body when the head is: for requests that differ in the body alone.
COUNTED: Final = Framing(b"", False, 0)


def frame_body(
    payload: Payload | None,
    method: str,
    own: HeaderBlock = EMPTY_BLOCK,
    *,
    chunked: object = None,
    version: HttpVersion = HttpVersion11,
) -> Framing:
    """Decide on Content-Length or chunks, and hold the caller's own headers to what will be sent.

    - A body of known length has a Content-Length; any other is sent in chunks. `chunked` asks for chunks in any case
      and, when it is an int, for their size in bytes (SURFACE C-21).
    - Without a body, POST, PUT and PATCH say ``Content-Length: 0``, all others nothing (SURFACE A-26).
    - A Content-Length of the caller must be the body's; for a body that does not know its length it is taken and the
      body held to it. A Transfer-Encoding of the caller must be exactly ``chunked``, and there must be a body.

    Raises InvalidInput for everything that would make two readers of the request disagree (FAULTS O05, O07), and for
    chunks in HTTP/1.0, which has none (RFC 9112, 6.1).
    """
    size = check_chunked(chunked)
    declared = _declared_length(own)
    coded = _declared_chunks(own)
    if declared is not None and (coded or (size and payload is not None)):
        raise InvalidInput("headers: Content-Length cannot go with a chunked body; leave one out", argument="headers")
    if payload is None:
        return _no_body(method, declared, coded)
    if declared is not None:
        payload.declare(declared)
        return Framing(b"", False, 0)
    if payload.length is not None and not size and not coded:
        return Framing(b"Content-Length: %d\r\n" % payload.length, False, 0)
    if version == HttpVersion10:
        raise InvalidInput(
            "a body of unknown length cannot be sent with version HTTP/1.0, which has no chunks; use HTTP/1.1 or "
            "give a Content-Length",
            argument="version",
        )
    return Framing(b"" if coded else b"Transfer-Encoding: chunked\r\n", True, size)


def _no_body(method: str, declared: int | None, coded: bool) -> Framing:
    if coded or declared:
        name = "Transfer-Encoding" if coded else "Content-Length"
        raise InvalidInput(f"headers: {name} announces a body but there is no data to send", argument="headers")
    if declared is None and method in BODY_METHODS:
        return Framing(b"Content-Length: 0\r\n", False, 0)
    return Framing(b"", False, 0)


def _declared_length(own: HeaderBlock) -> int | None:
    values = own.getall("content-length")
    if not values:
        return None
    if len(values) > 1 or not _LENGTH.fullmatch(values[0]):
        raise InvalidInput("headers: Content-Length must be one number of bytes", argument="headers")
    return int(values[0])


def _declared_chunks(own: HeaderBlock) -> bool:
    values = own.getall("transfer-encoding")
    if not values:
        return False
    if len(values) > 1 or values[0].lower() != "chunked":
        raise InvalidInput(
            "headers: Transfer-Encoding can only be 'chunked', once; for a compressed body use compress=",
            argument="headers",
        )
    return True


def check_chunked(chunked: object) -> int:
    """The argument `chunked` as a chunk size in bytes; 0 when chunks are not asked for (SURFACE C-21).

    True and anything else that is true means 8192. Raises InvalidInput for a negative number.
    """
    if not chunked:
        return 0
    if isinstance(chunked, bool) or not isinstance(chunked, int):
        return DEFAULT_CHUNK
    if chunked < 0:
        raise InvalidInput(f"chunked must be a chunk size from 1 up, True or None, got {chunked}", argument="chunked")
    return chunked


def encode_chunk(data: Bytes) -> bytes:
    """One chunk (RFC 9112, 7.1). Nothing for no data: an empty chunk would end the body."""
    return b"".join((b"%x\r\n" % len(data), data, b"\r\n")) if data else b""


def chunk_parts(data: Bytes) -> tuple[bytes, Bytes, bytes]:
    """The same as :func:`encode_chunk`, for data that is not empty, without copying it."""
    return b"%x\r\n" % len(data), data, b"\r\n"


def split_body(body: Bytes, size: int) -> Iterator[memoryview]:
    """A body in memory as pieces of at most `size` bytes, without copying."""
    view = memoryview(body)
    for start in range(0, len(view), size):
        yield view[start : start + size]
