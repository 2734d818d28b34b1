"""Memory of large bodies: whatever their size, a slow peer or a slow reader, no more than a few buffers (R03, R11).

Each transfer is a process of its own, measured by its resident size. KEEPWARM_MEMORY_MIB sets the size of the long
runs (default 2048). ``--log-cli-level=INFO`` shows the figures.
"""

import asyncio
import itertools
import logging
import os
import pathlib
import zlib
from collections.abc import Iterator

import pytest

from tests.support.calling import PLAIN_AND_TLS, serve
from tests.support.certificates import authority
from tests.support.http1 import Request, chunk, head, ok, response
from tests.support.leaks import turns
from tests.support.programs import run_program
from tests.support.server import Peer, ScriptedServer

logger = logging.getLogger(__name__)

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(1800)]

MIB = 1 << 20
SAMPLE = 64
LONG = int(os.environ.get("KEEPWARM_MEMORY_MIB", "2048"))
# What a transfer may take beyond the idle process, in KiB.
BOUND = 16 * 1024

SIZES = pytest.mark.parametrize(
    "mebibytes", [pytest.param(SAMPLE, id="sample"), pytest.param(LONG, id="long", marks=pytest.mark.soak)]
)


class SlowServer:
    """Takes an upload in small portions with pauses; sends a download as fast as it is read, or with pauses too
    (`drips`), as it is or in gzip."""

    def __init__(self, mebibytes: int, coding: str = "", *, drips: bool = False) -> None:
        self._mebibytes = mebibytes
        self._coding = coding
        self._drips = drips
        self.took = 0

    async def script(self, peer: Peer) -> None:
        while True:
            request = await peer.head()
            if request.target == "/download":
                await self._send(peer)
            elif request.target == "/upload":
                await self._take(peer, request)
            else:
                peer.send(ok(nonce=request.nonce))

    def _pieces(self) -> Iterator[bytes]:
        plain = (number.to_bytes(8, "big") * (MIB // 8) for number in range(self._mebibytes))
        if not self._coding:
            yield from plain
            return
        compress = zlib.compressobj(1, wbits=31)
        for piece in plain:
            yield compress.compress(piece) + compress.flush(zlib.Z_SYNC_FLUSH)
        yield compress.flush()

    async def _send(self, peer: Peer) -> None:
        coding = [("Content-Encoding", self._coding)] if self._coding else []
        peer.send(head("200 OK", [*coding, ("Transfer-Encoding", "chunked")]))
        for piece, pause in zip(self._pieces(), itertools.cycle(range(8)), strict=False):
            peer.send(chunk(piece))
            await peer.flush()
            await turns(pause if self._drips else 0)
        peer.send(b"0\r\n\r\n")

    async def _take(self, peer: Peer, request: Request) -> None:
        """The peer holds up the client after each portion, for a while that grows and shrinks."""
        tail = b""
        for pause in itertools.cycle(range(8)):
            data = await peer.recv()
            self.took += len(data)
            tail = (tail + data[-5:])[-5:]
            if not data or (tail == b"0\r\n\r\n" if request.is_chunked else self.took >= request.content_length):
                break
            peer.pause()
            await turns(pause)
            peer.resume()
        peer.send(response(body=str(self.took).encode()))


async def transfer(server: ScriptedServer, how: str, mebibytes: int, tmp_path: pathlib.Path) -> dict[str, int]:
    name = "asyncio" if isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop) else "uvloop"
    trusted = tmp_path / "authority.pem"
    authority().cert_pem.write_to_path(str(trusted))
    url = server.url("").rstrip("/")
    outcome = await run_program("transfers", name, url, str(trusted), how, str(mebibytes))
    assert (outcome.code, outcome.stderr) == (0, "")
    said: dict[str, int] = outcome.said
    above = said["most"] - said["before"]
    logger.info("%s of %d MiB on %s: %d KiB above %d KiB", how, mebibytes, name, above, said["before"])
    return said


@PLAIN_AND_TLS
@SIZES
@pytest.mark.fault("R03", "F47")
@pytest.mark.parametrize("how", ["download", "download-drips", "download-gzip"])
async def test_a_large_download(tls: bool, mebibytes: int, how: str, tmp_path: pathlib.Path) -> None:
    """Read in pieces, however fast or slowly the peer sends: at most 16 MiB above the idle process."""
    slow = SlowServer(mebibytes, "gzip" if how == "download-gzip" else "", drips=how == "download-drips")
    async with serve(slow.script, tls=tls) as server:
        said = await transfer(server, how, mebibytes, tmp_path)
    assert said["moved"] == mebibytes * MIB
    assert said["most"] - said["before"] <= BOUND


@PLAIN_AND_TLS
@SIZES
@pytest.mark.fault("R11")
@pytest.mark.parametrize("how", ["upload-generator", "upload-file", "upload-compressed"])
async def test_a_large_upload(tls: bool, mebibytes: int, how: str, tmp_path: pathlib.Path) -> None:
    """Taken from its source only as fast as the peer reads: at most 16 MiB above the idle process."""
    slow = SlowServer(mebibytes)
    async with serve(slow.script, tls=tls, rcvbuf=65536) as server:
        said = await transfer(server, how, mebibytes, tmp_path)
    assert said["moved"] == slow.took
    if how != "upload-compressed":
        assert slow.took >= mebibytes * MIB
    assert said["most"] - said["before"] <= BOUND
