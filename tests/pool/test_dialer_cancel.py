"""Dialling, cancelled at every moment: each descriptor is closed once, and nobody else's."""

import asyncio
import itertools
import socket
import ssl
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

import pytest

from keepwarm.pool import dialer as dialer_module
from keepwarm.pool import race
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

T = TypeVar("T")


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


def _cancel_at(step: int, first: bool, double: bool, dial: Callable[[], Coroutine[Any, Any, T]]) -> "asyncio.Task[T]":
    """A task that is cancelled `step` turns of the loop from now, in each turn before its own step or after it."""
    loop = asyncio.get_running_loop()

    def tick(left: int) -> None:
        if left:
            loop.call_soon(tick, left - 1)
        else:
            task.cancel()
            if double:
                loop.call_soon(task.cancel)

    if first:
        loop.call_soon(tick, step)
    task = loop.create_task(dial())
    if not first:
        loop.call_soon(tick, step)
    return task


@pytest.mark.fault("D15", "P07", "P08", "P10", "L20")
@pytest.mark.parametrize("kind", ["plain", "tls", "fast"])
@pytest.mark.parametrize("first", [False, True], ids=["after", "before"])
@pytest.mark.parametrize("double", [False, True], ids=["once", "twice"])
async def test_cancel_at_every_step(kind: str, first: bool, double: bool) -> None:
    """Whichever step of the loop a dial is cancelled at: its sockets are closed, each once, and nobody else's."""
    canaries = Canaries()
    finished = 0
    async with ScriptedServer([UntilClosed()], ssl=_server_context(kind)) as server:
        dial = dialer(ipv4(server.port), ipv6(server.port), tls=_tls_options(kind))
        for step in itertools.count():
            request = dial_request("localhost", server.port, kind != "plain")
            task = _cancel_at(step, first, double, partial(dial.open, request))
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
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
        _, channel = await dial.open(dial_request("localhost", server.port, kind != "plain"))
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
