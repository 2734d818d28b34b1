"""Peers that answer with coded bodies, and a session to ask them."""

from typing import Any

import pytest

from keepwarm.client.decoding import WINDOW, Decoder
from keepwarm.client.session import ClientSession
from tests.support.calling import WatchedConnector
from tests.support.codings import ENCODERS
from tests.support.http1 import chunk, head, response
from tests.support.leaks import turns
from tests.support.server import Handler, Peer

CODINGS = pytest.mark.parametrize("coding", list(ENCODERS))
# Whether the body comes in one piece with its head, or later and in pieces.
COMES = pytest.mark.parametrize("comes", ["whole", "pieces", "chunked"])


def coded(*codings: str, form: str = "one line") -> list[tuple[str, str]]:
    """The Content-Encoding fields that say so: in one line, or in a line for each."""
    if form == "one line":
        return [("Content-Encoding", ", ".join(codings))]
    return [("Content-Encoding", coding) for coding in codings]


def sending(
    body: bytes,
    fields: list[tuple[str, str]],
    comes: str = "whole",
    *,
    status: str = "200 OK",
    then: Handler | None = None,
) -> Handler:
    """A script that answers everything with this body, until the client goes; with `then`, only the first request."""

    async def answer(peer: Peer) -> None:
        request = await peer.request()
        mark = [("X-Nonce", request.nonce), *fields]
        if comes == "whole":
            peer.send(response(status, body, mark))
            return
        half = len(body) // 2
        parts: list[bytes] = [body[:half], body[half:]]
        if comes == "pieces":
            peer.send(head(status, [*mark, ("Content-Length", str(len(body)))]))
        else:
            peer.send(head(status, [*mark, ("Transfer-Encoding", "chunked")]))
            parts = [*map(chunk, filter(None, parts)), b"0\r\n\r\n"]
        for part in parts:
            await turns(3)
            peer.send(part)
            await peer.flush()

    async def script(peer: Peer) -> None:
        await answer(peer)
        if then is not None:
            await then(peer)
        while True:
            await answer(peer)

    return script


def client(**options: Any) -> ClientSession:
    """A session that trusts the scripted server."""
    return ClientSession(connector=WatchedConnector(), **options)


class Decoded:
    """How often a decoder was asked for anything."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads = 0
        read = Decoder.read

        def counted(decoder: Decoder, n: int = WINDOW) -> bytes:
            self.reads += 1
            return read(decoder, n)

        monkeypatch.setattr(Decoder, "read", counted)
