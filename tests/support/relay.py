"""A relay between a client and a server that spoils the connection on purpose.

    async with Relay(server.port, Faults(latency=0.01, slice_size=3)) as relay:
        ... connect to relay.port ...
        relay.faults = Faults(reset_after=100)   # for connections that come later
        relay.cut_off()                          # for those that are open

Faults apply to what flows from the server to the client; `upward` names a second set for the other way. Everything
random comes from `seed` and the number of the connection, so a run can be repeated. The faults are the eight of
promise G15 (latency, down, bandwidth, slow close, black hole, reset, slicing, data limit) and an end, by FIN or RST,
at an idle age or after so many bytes.
"""

import asyncio
import math
import os
import random
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import cast

from tests.support.peer import Changes

PIECE = 64 * 1024


@dataclass(frozen=True)
class Faults:
    """What is done to one direction of a connection. Times are in seconds; None and 0 mean: not at all."""

    latency: float = 0.0  # hold every piece back this long
    jitter: float = 0.0  # and up to this much longer
    bandwidth: int | None = None  # bytes a second
    slice_size: int | None = None  # pieces of at most this many bytes, each in a segment of its own
    random_slices: bool = False  # pieces of a random size between 1 and slice_size
    slow_close: float = 0.0  # pass the FIN on this much later
    black_hole_after: int | None = None  # bytes after which nothing more is passed on, nor is the FIN
    reset_after: int | None = None  # bytes after which the connection is reset
    fin_after: int | None = None  # bytes after which the connection is ended with FIN (a data limit)
    idle_fin: float | None = None  # end with FIN once nothing has been passed on for so long
    idle_reset: float | None = None  # the same with a reset

    def end(self) -> tuple[float, str]:
        """After how many bytes the connection ends, and how: "reset", "fin" or "black hole"."""
        ends = ((self.reset_after, "reset"), (self.fin_after, "fin"), (self.black_hole_after, "black hole"))
        return min(((at, how) for at, how in ends if at is not None), default=(math.inf, ""))

    def idle_end(self) -> tuple[float | None, str]:
        """After how long without a byte the connection ends, and how."""
        ends = ((self.idle_reset, "reset"), (self.idle_fin, "fin"))
        return min(((age, how) for age, how in ends if age is not None), default=(None, ""))


CLEAR = Faults()


class Relay:
    """Listens on loopback (or on the unix socket `listen_path`) and passes on to a port or a unix socket path.

    `down = True` refuses connections as a dead host does: it accepts and resets at once. `close()`, and leaving the
    block, drops all connections and waits until they are gone.
    """

    def __init__(
        self,
        target: int | str | os.PathLike[str],
        faults: Faults = CLEAR,
        *,
        upward: Faults = CLEAR,
        seed: int = 0,
        listen_path: str | os.PathLike[str] | None = None,
    ) -> None:
        self._target = target
        self._listen_path = None if listen_path is None else os.fspath(listen_path)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.faults = faults
        self.upward = upward
        self.seed = seed
        self.down = False
        self.port = 0
        self.changes = Changes()
        self.links: list[Link] = []

    @property
    def accepted(self) -> int:
        """How many connections have come, those refused by `down` included."""
        return len(self.links)

    async def until(self, count: int) -> None:
        """Wait until `count` connections have been accepted."""
        await self.changes.until(lambda: len(self.links) >= count)

    def cut_off(self, *, reset: bool = True) -> None:
        """End all open connections now: by a reset, or by FIN on both sides."""
        for link in self.links:
            if reset:
                link.reset()
            else:
                link.finish()

    async def start(self) -> None:
        """Listen. `async with` does it too."""
        loop = asyncio.get_running_loop()
        if self._listen_path is None:
            self._server = await loop.create_server(self._make_end, "127.0.0.1", 0)
            self.port = self._server.sockets[0].getsockname()[1]
        else:
            self._server = await loop.create_unix_server(self._make_end, self._listen_path)

    async def close(self) -> None:
        """Stop listening, drop every connection, wait until all of it is gone."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in self.links:
            link.drop()
        await self.changes.until(lambda: all(link.gone for link in self.links))
        if self._server is not None:
            await self._server.wait_closed()
        if self._listen_path is not None:
            with suppress(FileNotFoundError):  # newer Pythons remove it themselves
                os.unlink(self._listen_path)

    async def __aenter__(self) -> "Relay":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def run(self, link: "Link") -> None:
        """A connection has come: reach the target and start passing on."""
        self.links.append(link)
        self.changes.notify()
        if self.down:
            link.reset()
        else:
            task = asyncio.get_running_loop().create_task(self._carry(link))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _make_end(self) -> "End":
        return Link(self, random.Random(f"{self.seed}/{len(self.links)}")).client

    async def _carry(self, link: "Link") -> None:
        loop = asyncio.get_running_loop()
        faults, upward = self.faults, self.upward
        try:
            if isinstance(self._target, int):
                await loop.create_connection(lambda: link.server, "127.0.0.1", self._target)
            else:
                await loop.create_unix_connection(lambda: link.server, os.fspath(self._target))
        except OSError:
            link.reset()
            return
        await asyncio.gather(link.pump(link.client, link.server, upward), link.pump(link.server, link.client, faults))
        link.close()


class End(asyncio.Protocol):
    """One of the two sockets of a link. Reads ahead no further than what is being passed on."""

    def __init__(self, link: "Link", *, accepted: bool) -> None:
        self._link = link
        self._accepted = accepted
        self._paused = False
        self.transport: asyncio.Transport | None = None
        self.unread = bytearray()
        self.eof = False
        self.lost = False
        self.broken = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=0)
        if self._accepted:
            self._link.start()

    def data_received(self, data: bytes) -> None:
        self.unread += data
        if self.transport is not None and len(self.unread) > PIECE:
            self.transport.pause_reading()
        self._link.on_change()

    def eof_received(self) -> bool:
        self.eof = True
        self._link.on_change()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.broken = exc is not None
        self._paused = False
        self._link.on_change()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._link.on_change()

    @property
    def alive(self) -> bool:
        return self.transport is not None and not self.lost and not self.transport.is_closing()

    def take(self, count: int) -> bytes:
        """Up to `count` of the bytes that have been read."""
        taken = bytes(self.unread[:count])
        del self.unread[:count]
        if self.alive and self.transport is not None and not self.unread:
            self.transport.resume_reading()
        return taken

    async def pass_on(self, data: bytes) -> None:
        """Write, and wait until the kernel has it."""
        if self.alive and self.transport is not None:
            self.transport.write(data)
            await self._link.changes.until(lambda: not self._paused)

    def finish(self) -> None:
        """FIN."""
        if self.alive and self.transport is not None:
            with suppress(OSError):  # reset by now, and the loop has not told yet
                self.transport.write_eof()

    def reset(self) -> None:
        """RST. What the kernel has not sent is lost."""
        if self.alive and self.transport is not None:
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()


class Link:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, relay: Relay, chance: random.Random) -> None:
        self._relay = relay
        self._chance = chance
        self._struck = ""
        self.changes = Changes()
        self.client = End(self, accepted=True)
        self.server = End(self, accepted=False)

    @property
    def gone(self) -> bool:
        """Whether both sockets are closed."""
        return all(end.transport is None or end.lost for end in (self.client, self.server))

    def start(self) -> None:
        self._relay.run(self)

    def on_change(self) -> None:
        self.changes.notify()
        self._relay.changes.notify()

    def reset(self) -> None:
        """RST on both sides."""
        self.client.reset()
        self.server.reset()

    def strike(self, how: str) -> None:
        """Do now, to both directions, what a fault does after so many bytes: "reset", "fin" or "black hole"."""
        self._struck = how
        self.on_change()

    def finish(self) -> None:
        """FIN on both sides."""
        self.client.finish()
        self.server.finish()

    def close(self) -> None:
        """Let go of both sockets once what was written is sent."""
        for end in (self.client, self.server):
            if end.transport is not None:
                end.transport.close()

    def drop(self) -> None:
        """Let go of both sockets at once."""
        for end in (self.client, self.server):
            if end.transport is not None:
                end.transport.abort()

    async def pump(self, source: End, sink: End, faults: Faults) -> None:
        """Pass bytes from `source` on to `sink` until either is done with, or the faults say so."""
        end, how = faults.end()
        passed = 0
        while passed < end:
            is_ready = await self._ready(source, sink, faults)
            if self._struck:
                await self._strike(self._struck, source, sink)
                return
            if not is_ready:
                break
            data = source.take(min(self._size(faults), int(min(end - passed, PIECE))))
            await self._delay(faults, len(data))
            await sink.pass_on(data)
            passed += len(data)
        else:
            await self._strike(how, source, sink)
            return
        if source.broken:
            sink.reset()
        elif not sink.lost:
            await asyncio.sleep(faults.slow_close)
            sink.finish()

    async def _ready(self, source: End, sink: End, faults: Faults) -> bool:
        """Wait for bytes to pass on; False at the end. The idle end strikes here."""
        age, how = faults.idle_end()
        waiting = self.changes.until(lambda: self._struck or source.unread or source.eof or source.lost or sink.lost)
        try:
            await asyncio.wait_for(waiting, age)
        except TimeoutError:
            if how == "reset":
                self.reset()
            return False
        return bool(source.unread) and not sink.lost

    def _size(self, faults: Faults) -> int:
        if faults.slice_size is None:
            return PIECE
        return self._chance.randint(1, faults.slice_size) if faults.random_slices else faults.slice_size

    async def _strike(self, how: str, source: End, sink: End) -> None:
        if how == "reset":
            self.reset()
        elif how == "fin":
            sink.finish()
        else:
            # Takes everything and gives nothing, the FIN included, until one side has gone altogether.
            while not source.lost and not sink.lost:
                source.take(len(source.unread))
                await self.changes.until(lambda: source.unread or source.lost or sink.lost)

    async def _delay(self, faults: Faults, count: int) -> None:
        wait = faults.latency + (self._chance.uniform(0.0, faults.jitter) if faults.jitter else 0.0)
        if faults.bandwidth is not None:
            wait += count / faults.bandwidth
        if wait:
            await asyncio.sleep(wait)
        elif faults.slice_size is not None:
            # Two turns: one to write the slice, one for a reader on this loop to see it by itself.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
