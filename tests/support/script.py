"""Steps that a scripted connection is told as a list, where a function would be longer."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tests.support.http1 import Request, ok
from tests.support.peer import Peer

Handler = Callable[[Peer], Awaitable[None]]


class Step:
    """One thing that a scripted peer does."""

    async def run(self, peer: Peer) -> None:
        raise NotImplementedError


Script = Handler | Sequence[Step]


@dataclass(frozen=True)
class Send(Step):
    """Write in one piece, and wait until the kernel has it."""

    data: bytes

    async def run(self, peer: Peer) -> None:
        peer.send(self.data)
        await peer.flush()


@dataclass(frozen=True)
class Drip(Step):
    """Write one byte per segment."""

    data: bytes

    async def run(self, peer: Peer) -> None:
        await peer.drip(self.data)


@dataclass(frozen=True)
class Recv(Step):
    """Take bytes up to a mark."""

    until: bytes

    async def run(self, peer: Peer) -> None:
        await peer.recv_until(self.until)


@dataclass(frozen=True)
class RecvRequest(Step):
    """Take one request with its body; it lands in `peer.requests`."""

    async def run(self, peer: Peer) -> None:
        await peer.request()


@dataclass(frozen=True)
class Answer(Step):
    """Take one request and answer it: with `ok()` and the request's nonce, or with what `respond` makes of it."""

    respond: Callable[[Request], bytes] = lambda request: ok(nonce=request.nonce)

    async def run(self, peer: Peer) -> None:
        request = await peer.request()
        peer.send(self.respond(request))
        await peer.flush()


@dataclass(frozen=True)
class Wait(Step):
    """Wait for the test."""

    event: asyncio.Event

    async def run(self, peer: Peer) -> None:
        await self.event.wait()


@dataclass(frozen=True)
class Tell(Step):
    """Tell the test that the script has come this far."""

    event: asyncio.Event

    async def run(self, peer: Peer) -> None:
        self.event.set()


@dataclass(frozen=True)
class Fin(Step):
    """FIN after what was sent; with TLS close_notify first."""

    async def run(self, peer: Peer) -> None:
        peer.fin()


@dataclass(frozen=True)
class Cut(Step):
    """FIN without close_notify."""

    async def run(self, peer: Peer) -> None:
        peer.cut()


@dataclass(frozen=True)
class Rst(Step):
    """Reset."""

    async def run(self, peer: Peer) -> None:
        peer.rst()


@dataclass(frozen=True)
class UntilClosed(Step):
    """Wait for the client's end."""

    async def run(self, peer: Peer) -> None:
        await peer.until_closed()


@dataclass(frozen=True)
class Stall(Step):
    """Do nothing more until the server closes."""

    async def run(self, peer: Peer) -> None:
        await peer.stall()


@dataclass(frozen=True)
class Repeat(Step):
    """The same steps over and over, until the client goes or `times` are done."""

    steps: Sequence[Step]
    times: int | None = None

    async def run(self, peer: Peer) -> None:
        done = 0
        while self.times is None or done < self.times:
            for step in self.steps:
                await step.run(peer)
            done += 1


def answering(respond: Callable[[Request], bytes]) -> Handler:
    """A script that answers each request with what `respond` makes of it, for as long as the client stays."""

    async def handle(peer: Peer) -> None:
        while True:
            request = await peer.request()
            peer.send(respond(request))
            await peer.flush()

    return handle


answer_all: Handler = answering(lambda request: ok(nonce=request.nonce))


async def run_script(script: Script, peer: Peer) -> None:
    """Play a script on a connection."""
    if callable(script):
        await script(peer)
    else:
        for step in script:
            await step.run(peer)
