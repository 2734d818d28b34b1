"""tls_rest: what a TLS transport had received, and not yet passed on, when it was lost."""

import asyncio
import ssl
from collections.abc import Iterator
from typing import Final

_PIECE: Final = 262144


def tls_rest(transport: asyncio.BaseTransport) -> Iterator[bytes]:
    """The bytes, in pieces; then b"" if the peer said goodbye (close_notify) after them.

    While reading is paused, uvloop keeps what arrives undecrypted, at most 256 KiB, and when a FIN comes it drops that:
    it takes the FIN for a broken connection. asyncio and aiofastnet pass it on first, and have nothing left.
    """
    tls = transport.get_extra_info("ssl_object")
    if not isinstance(tls, ssl.SSLObject):
        return
    piece = b"x"
    while piece:
        try:
            piece = tls.read(_PIECE)
        except ssl.SSLZeroReturnError:
            piece = b""
        except ssl.SSLError:
            return
        yield piece
