"""Forked children (FAULTS L08, L09): the parent's connections are none of their business."""

import asyncio
import contextlib
import pathlib

import pytest

from tests.support.calling import serve
from tests.support.certificates import authority, server_context
from tests.support.programs import run_program
from tests.support.proxies import RelayingProxy
from tests.support.server import Peer, ok, response
from tests.support.unix_sockets import serve_at, socket_path

pytestmark = pytest.mark.asyncio

PARALLEL = 3
# "inside" leaves a response of the parent half-read, which costs it one connection: so it comes last.
HOWS = ["exit", "use", "close", "drop", "leave", "process", "inside"]
KINDS = pytest.mark.parametrize("kind", ["plain", "tls", "fast"])


class Wire:
    """Answers requests; PARALLEL of them are held until all have come, so that each has a connection of its own."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Event] = []

    async def __call__(self, peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.target == "/half":
                peer.send(response(body=b"half", length=8))
                continue
            mine = asyncio.Event()
            self.waiting.append(mine)
            if len(self.waiting) == PARALLEL:
                for event in self.waiting:
                    event.set()
                self.waiting.clear()
            await mine.wait()
            peer.send(ok(nonce=request.nonce))


def name_of(loop: asyncio.AbstractEventLoop) -> str:
    return "asyncio" if isinstance(loop, asyncio.SelectorEventLoop) else "uvloop"


@KINDS
@pytest.mark.fault("L08", "L09")
async def test_forked_children(kind: str, loop: asyncio.AbstractEventLoop, tmp_path: pathlib.Path) -> None:
    """A child opens its own connections or none, and nothing it does, its exit included, reaches the parent's."""
    trusted = tmp_path / "authority.pem"
    authority().cert_pem.write_to_path(str(trusted))
    async with serve(Wire(), tls=kind != "plain") as server:
        arguments = (name_of(loop), server.url("").rstrip("/"), str(trusted), kind, ",".join(HOWS))
        outcome = await run_program("forks", *arguments, options=("-W", "always::ResourceWarning"))
        assert outcome.code == 0, outcome.stderr
        assert outcome.said == {"statuses": [0] * len(HOWS), "dials": PARALLEL + 1, "idle": PARALLEL}
        # A child that leaves the session open says so when it exits; of the parent's transports nothing is said.
        ours = ("session", "tracemalloc", "warnings.warn")
        said = [line for line in outcome.stderr.splitlines() if not any(word in line for word in ours)]
        assert said == []
        paths = [[request.target for request in peer.requests] for peer in server.connections]
        children = HOWS.count("use") + HOWS.count("leave") + HOWS.count("process") + HOWS.count("inside")
        whole = ["/before", *["/after"] * len(HOWS)]
        cut_off = [*whole[:-1], "/half"]
        expected = [whole] * (PARALLEL - 1) + [cut_off, ["/after"]] + [["/child"]] * PARALLEL * children
        assert sorted(paths) == sorted(expected)
        assert all(peer.unread == b"" and peer.tls_error is None for peer in server.connections)
        # The parent's TLS sessions are the parent's (T10).
        strangers = [peer.tls for peer in server.connections if peer.requests[0].target == "/child"]
        assert not any(tls is not None and tls.resumed for tls in strangers)


WAYS = ["unix-tls", "forward-https", "connect", "connect-https"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.fault("L08", "L09")
async def test_forked_children_behind_a_proxy_or_a_unix_socket(
    way: str, loop: asyncio.AbstractEventLoop, tmp_path: pathlib.Path
) -> None:
    """The same by every way: a child's own connections, and not a byte on the parent's, TLS inside TLS included."""
    trusted = tmp_path / "authority.pem"
    authority().cert_pem.write_to_path(str(trusted))
    hows = ["use", "close", "leave"]
    async with contextlib.AsyncExitStack() as stack:
        if way.startswith("unix"):
            through = stack.enter_context(socket_path())
            serving = serve_at(through, Wire(), tls=way == "unix-tls")
            url = f"{'https' if way == 'unix-tls' else 'http'}://localhost"
            server = await stack.enter_async_context(serving)
        elif way.startswith("forward"):
            server = await stack.enter_async_context(serve(Wire(), tls=way == "forward-https"))
            through, url = server.url("").rstrip("/"), "http://localhost"
        else:
            server = await stack.enter_async_context(serve(Wire(), tls=True))
            proxy = await stack.enter_async_context(RelayingProxy(server_context() if way == "connect-https" else None))
            scheme = "https" if way == "connect-https" else "http"
            through, url = f"{scheme}://127.0.0.1:{proxy.port}", f"https://localhost:{server.port}"
        arguments = (name_of(loop), url, str(trusted), way, ",".join(hows), through)
        outcome = await run_program("forks", *arguments, options=("-W", "always::ResourceWarning"))
        assert outcome.code == 0, outcome.stderr
        assert outcome.said == {"statuses": [0] * len(hows), "dials": PARALLEL, "idle": PARALLEL}
        paths = [[request.target.removeprefix(url) for request in peer.requests] for peer in server.connections]
        expected = [["/before", *["/after"] * len(hows)]] * PARALLEL + [["/child"]] * PARALLEL * 2
        assert sorted(paths) == sorted(expected)
        assert all(peer.unread == b"" and peer.tls_error is None for peer in server.connections)
        strangers = [peer.tls for peer in server.connections if peer.requests[0].target.endswith("/child")]
        # A child may take up the session of a connection of its own, so not the first one of each (T10).
        assert sum(tls is None or not tls.resumed for tls in strangers) >= 2


@pytest.mark.fault("L08", "L06")
async def test_a_child_does_not_keep_the_parents_connections(loop: asyncio.AbstractEventLoop) -> None:
    """What the parent closes is closed, though a child that was forked before is still alive."""

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.target == "/open":
                await server.until(lambda: server.open == 1)
            peer.send(ok(nonce=request.nonce))

    async with serve(script) as server:
        outcome = await run_program("forks", name_of(loop), server.url("").rstrip("/"), "", "plain", "stay")
        assert outcome.code == 0, outcome.stderr
        assert outcome.said == {"status": 0}
        assert outcome.stderr == ""
