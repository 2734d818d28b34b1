"""tcp_rest: what a lost connection had received, and nobody had read."""

import asyncio
import os
import socket
from collections.abc import Iterator
from typing import Final

_PIECE: Final = 262144


def tcp_rest(transport: asyncio.BaseTransport) -> Iterator[bytes]:
    """The bytes, in pieces, of a transport that is telling its protocol that the connection is lost.

    A write that fails ends the connection at once, on every loop, whatever lies in the socket unread. The kernel keeps
    what came before a reset, and the socket stays open until the protocol has been told.
    """
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    try:
        with socket.socket(fileno=os.dup(sock.fileno())) as copy:
            while piece := copy.recv(_PIECE, socket.MSG_DONTWAIT):
                yield piece
    except OSError:
        return
