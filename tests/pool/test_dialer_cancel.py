"""Dialling, cancelled at every moment: each descriptor is closed once, and nobody else's."""

import asyncio
import socket
import ssl

import pytest

from keepwarm.pool import dialer as dialer_module
from keepwarm.pool import race
from keepwarm.pool.channel import Channel
from keepwarm.pool.race import Race
from keepwarm.pool.tls import TLSOptions
from tests.support.certificates import client_context, server_context
from tests.support.dialing import (
    Canaries,
    black_hole,
    dial_request,
    dialer,
    hang_up,
    ipv4,
    ipv6,
    until,
)
from tests.support.leaks import turns
from tests.support.server import ScriptedServer, UntilClosed

pytestmark = pytest.mark.asyncio


@pytest.fixture
def fast_race(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten milliseconds between two attempts."""
    monkeypatch.setattr(race, "RACE_DELAY", 0.01)


@pytest.mark.fault("P07", "L20")
async def test_cancel_while_packets_are_swallowed(fast_race: None) -> None:
    """A cancelled connect closes its descriptors, each once."""
    canaries = Canaries()
    with black_hole() as one, black_hole("::1") as two:
        request = dial_request("a.test", 80)
        task = asyncio.create_task(dialer(ipv4(one), ipv6(two)).open(request))
        await until(lambda: len(request.attempts) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(4):
            canaries.add()
        await turns(10)
    assert canaries.release() == []


async def test_a_cancellation_that_the_race_swallows_is_raised(
    fast_race: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled while the losers of the race are being ended: the winner is closed, the cancellation goes on."""
    tasks: list[asyncio.Task[object]] = []

    class Late(Race):
        async def sock_connect(self, sock: socket.socket, target: tuple[str, int]) -> None:
            try:
                await super().sock_connect(sock, target)
            except asyncio.CancelledError:
                tasks[0].cancel()  # the loser: its end is being waited for
                raise

    monkeypatch.setattr(dialer_module, "Race", Late)
    async with ScriptedServer([UntilClosed()]) as server:
        with black_hole() as silent:
            task: asyncio.Task[object] = asyncio.create_task(
                dialer(ipv4(silent), ipv4(server.port)).open(dial_request("a.test", 80))
            )
            tasks.append(task)
            with pytest.raises(asyncio.CancelledError):
                await task
        await server.until_accepted(1)
        await server.until_idle()


def _tls_options(kind: str) -> TLSOptions:
    return TLSOptions(ssl_context=client_context(), fast_tls=kind == "fast")


def _server_context(kind: str) -> ssl.SSLContext | None:
    return None if kind == "plain" else server_context()


@pytest.mark.fault("D15", "P07", "P08", "L20")
@pytest.mark.parametrize("kind", ["plain", "tls", "fast"])
@pytest.mark.parametrize("double", [False, True])
async def test_cancel_at_every_step(kind: str, double: bool) -> None:
    """Whichever step of the loop a dial is cancelled at, single or twice: its sockets are closed, each once, and
    nobody else's. Dials that were not cut off work."""
    canaries = Canaries()
    finished = 0
    async with ScriptedServer([UntilClosed()], ssl=_server_context(kind)) as server:
        dial = dialer(ipv4(server.port), ipv6(server.port), tls=_tls_options(kind))
        for step in range(60):
            task = asyncio.create_task(dial.open(dial_request("localhost", server.port, kind != "plain")))
            await turns(step)
            task.cancel()
            if double:
                await asyncio.sleep(0)
                task.cancel()
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
            canaries.add()
            canaries.add()
            if isinstance(outcome, tuple):
                finished += 1
                await hang_up(outcome[1])
            else:
                assert isinstance(outcome, asyncio.CancelledError), outcome
            await server.until(lambda: server.accepted == 0 or server.connections[-1].closed)
        assert canaries.release() == []
        assert 0 < finished < 60
        _, channel = await dial.open(dial_request("localhost", server.port, kind != "plain"))
        assert isinstance(channel, Channel)
        await hang_up(channel)
        await server.until_idle()


@pytest.mark.fault("D15")
@pytest.mark.parametrize("kind", ["plain", "tls", "fast"])
async def test_cancel_many_at_once(kind: str) -> None:
    """Three hundred dials in flight, cancelled in the order of their steps: no foreign descriptor is touched."""
    async with ScriptedServer([UntilClosed()], ssl=_server_context(kind)) as server:
        dial = dialer(ipv4(server.port), tls=_tls_options(kind))
        canaries = Canaries()
        for batch in range(15):
            request = [dial_request("localhost", server.port, kind != "plain") for _ in range(20)]
            tasks = [asyncio.create_task(dial.open(each)) for each in request]
            for number, task in enumerate(tasks):
                if (number + batch) % 3 == 0:
                    await asyncio.sleep(0)
                if (number * 7 + batch) % 5:
                    task.cancel()
                    canaries.add()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, tuple):
                    assert not outcome[0].is_closing()
                    outcome[1].abort_transport()
                else:
                    assert isinstance(outcome, asyncio.CancelledError), outcome
        await turns(5)
        assert canaries.release() == []
        await server.until_idle()
