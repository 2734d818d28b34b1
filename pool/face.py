"""Face: what the transport of an upgraded connection talks to once an heir has taken it over.

Bytes go to the heir and to nobody on the way; what concerns the connection goes to its channel, as before. While the
heir has room for a large piece of data, the transport reads into that room, without a copy in between.

asyncio and uvloop ask a transport's protocol once, when it is set, which of the two ways it wants: so there are two
faces. Either has the methods of both, for aiofastnet finishes a read the way it began it.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from keepwarm.pool.channel import Channel

_SCRATCH: Final = 65536


class Reader(Protocol):
    """Whoever is to get the bytes."""

    def data_received(self, data: bytes) -> None: ...

    def room(self) -> memoryview | None:
        """Where the next bytes are to go; never empty. None: nowhere in particular, they come by `data_received`."""

    def filled(self, size: int) -> None:
        """So many bytes came into `room`, from its beginning."""


class _Face:
    __slots__ = ("_channel", "_reader", "_scratch", "data_received")

    def __init__(self, channel: "Channel", reader: Reader) -> None:
        self._channel = channel
        self._reader = reader
        self._scratch: bytearray | None = None
        #: The reader's own method, so that it costs one call.
        self.data_received: Callable[[bytes], None] = reader.data_received

    def get_buffer(self, _sizehint: int) -> memoryview | bytearray:
        room = self._reader.room()
        if room is not None:
            self._scratch = None
            return room
        self._scratch = bytearray(_SCRATCH)
        return self._scratch

    def buffer_updated(self, size: int) -> None:
        scratch, self._scratch = self._scratch, None
        if scratch is None:
            self._reader.filled(size)
        else:
            self._reader.data_received(bytes(memoryview(scratch)[:size]))

    def eof_received(self) -> bool | None:
        return self._channel.eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._channel.connection_lost(exc)

    def pause_writing(self) -> None:
        self._channel.pause_writing()

    def resume_writing(self) -> None:
        self._channel.resume_writing()


class Passing(_Face, asyncio.Protocol):
    """The transport makes bytes of what arrives, and passes them on."""

    __slots__ = ()


class Filling(_Face, asyncio.BufferedProtocol):
    """The transport reads into the reader's room."""

    __slots__ = ()


def set_face(channel: "Channel", face: Passing | Filling) -> None:
    """Let the channel's transport talk to `face`. Nothing that is on its way gets lost, whatever is being read now."""
    transport = channel.transport
    if transport is None or transport.is_closing():
        return
    # uvloop keeps to the way in which it began to read a socket, until it begins anew.
    begins_anew = not channel.is_tls and transport.is_reading()
    if begins_anew:
        transport.pause_reading()
    transport.set_protocol(face)
    if begins_anew:
        transport.resume_reading()
