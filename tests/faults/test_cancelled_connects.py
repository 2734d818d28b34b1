"""FAULTS D15, U07: thousands of connects are cancelled, and each descriptor is closed once, nobody else's ever."""

import asyncio
import itertools
from functools import partial

import pytest

from tests.support.cancelling import cancel_at, cancel_many
from tests.support.certificates import server_context
from tests.support.dialing import Canaries, dial_request, dialer, hang_up, ipv4, trusting
from tests.support.leaks import turns
from tests.support.server import ScriptedServer, UntilClosed
from tests.support.unix_sockets import bound, crowded, serve_at, socket_path, unix_dialer

pytestmark = pytest.mark.asyncio

KINDS = pytest.mark.parametrize("kind", ["plain", "tls", "fast"])
# A plain dial over loopback is through after about five turns of the loop, a handshake after fifteen.
STEPS = {"plain": 6, "tls": 16, "fast": 12}


@pytest.mark.fault("U07")
@KINDS
async def test_cancel_a_unix_connect_at_every_step(kind: str) -> None:
    """Whichever turn of the loop it is cancelled in: the socket is closed, once, and the server sees it go."""
    canaries = Canaries()
    finished = 0
    with socket_path() as path:
        async with serve_at(path, [UntilClosed()], tls=kind != "plain") as server:
            dial = unix_dialer(path, fast_tls=kind == "fast")
            for step in itertools.count():
                request = dial_request("localhost", 80, kind != "plain")
                (outcome,) = await asyncio.gather(cancel_at(step, partial(dial.open, request)), return_exceptions=True)
                canaries.add()
                canaries.add()
                if isinstance(outcome, BaseException):
                    assert isinstance(outcome, asyncio.CancelledError), outcome
                else:
                    finished += 1
                    await hang_up(outcome[1])
                await turns(3)
                await server.until(lambda: server.open == 0)
                if finished == 3:
                    break
            assert canaries.release() == []
            _, channel = await dial.open(dial_request("localhost", 80, kind != "plain"))
            await hang_up(channel)
            await server.until_idle()


@pytest.mark.fault("U07")
@pytest.mark.parametrize("kind", ["tls", "fast"])
async def test_cancel_while_nobody_accepts(kind: str) -> None:
    """A handshake with a server that never accepts is cut off; the descriptor is closed once."""
    canaries = Canaries()
    with socket_path() as path, bound(path, backlog=8) as listener:
        for _ in range(4):
            request = dial_request("localhost", 443, True)
            task = asyncio.create_task(unix_dialer(path, fast_tls=kind == "fast").open(request))
            await turns(6)
            assert (request.phase, request.attempts) == ("tls", [(f"unix:{path}", "connected")])
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            canaries.add()
            await turns(3)
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(5)
                while peer.recv(65536):
                    pass  # the client's hello, and then its end: nothing holds the connection open
        await turns(5)
    assert canaries.release() == []


@pytest.mark.fault("U05", "U07")
async def test_cancel_between_two_tries() -> None:
    """While it waits for room in the server's queue the dial holds one descriptor, and closes it once."""
    canaries = Canaries()
    with socket_path() as path, crowded(path):
        for _ in range(4):
            request = dial_request("localhost", 80)
            task = asyncio.create_task(unix_dialer(path).open(request))
            await turns(3)
            assert request.attempts == [(f"unix:{path}", "the server's queue is full")]
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            canaries.add()
        await turns(3)
    assert canaries.release() == []


@pytest.mark.fault("D15", "U07")
@KINDS
@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=pytest.mark.soak)])
async def test_thousands_over_a_unix_socket(kind: str, count: int) -> None:
    """No descriptor is closed twice, whenever the connects are cancelled."""
    with socket_path() as path:
        async with serve_at(path, [UntilClosed()], tls=kind != "plain") as server:
            dial = unix_dialer(path, fast_tls=kind == "fast")
            request = partial(dial_request, "localhost", 80, kind != "plain")
            through, lost = await cancel_many(lambda: dial.open(request()), count, STEPS[kind])
            assert lost == []
            assert through < count
            await server.until_idle()


@pytest.mark.fault("D15")
@KINDS
@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=pytest.mark.soak)])
async def test_thousands_over_tcp(kind: str, count: int) -> None:
    """The same for addresses that are raced."""
    async with ScriptedServer([UntilClosed()], ssl=None if kind == "plain" else server_context()) as server:
        dial = dialer(ipv4(server.port), tls=trusting(kind == "fast"))
        request = partial(dial_request, "localhost", server.port, kind != "plain")
        through, lost = await cancel_many(lambda: dial.open(request()), count, STEPS[kind])
        assert lost == []
        assert through < count
        await server.until_idle()
