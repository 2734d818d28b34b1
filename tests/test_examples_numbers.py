"""The examples of numbers and leaks do what their first lines say."""

import re

import pytest

import keepwarm
from examples import leak_finder, numbers
from examples.demo.pool_numbers import pool_numbers
from keepwarm.pool.histogram import Recorder

pytestmark = pytest.mark.asyncio


async def test_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    """Forty calls over four connections; the events and the exposition say the same."""
    await numbers.main()
    first, second, third, fourth, *states = capsys.readouterr().out.splitlines()
    assert first == "40 calls over 4 connections, 90% reused"
    assert re.fullmatch(r"40 calls waited for a connection, half of them less than 0\.\d{3} s", second)
    assert re.fullmatch(r"the slowest call: \d\.\d{3} s in the queue, \d\.\d{3} s for the server", third)
    assert fourth == "what became of the connections: dial_ended 4, dial_started 4, leased 40, released 40"
    assert [line.rpartition('state="')[2] for line in states] == [
        'idle"} 4',
        'leased"} 0',
        'dialling"} 0',
        'detached"} 0',
        'closing"} 0',
    ]


async def test_leak_finder(capsys: pytest.CaptureFixture[str]) -> None:
    """The function that forgot is named, twice, and nothing is left."""
    await leak_finder.main()
    assert capsys.readouterr().out.splitlines() == [
        "a connection is held too long; it was taken in forgetful",
        "and the next caller is told: True",
        "0 connections are held now",
    ]


class Fixed(keepwarm.BaseConnector):
    """A connector with numbers of the test's own."""

    def __init__(self, total: keepwarm.EndpointStats) -> None:
        super().__init__()
        self._total = total

    def stats(self) -> keepwarm.PoolStats:
        return keepwarm.PoolStats(self._total)


async def test_the_demo_shows_the_pools_own_numbers() -> None:
    """Added up over all pools; what did not happen is left out."""
    wait, dial = Recorder(), Recorder()
    for seconds in (0.001, 0.002):
        wait.record(seconds)
    dial.record(0.01)
    busy = keepwarm.EndpointStats(
        dials=2, leases=9, reused=6, wait=wait.taken(), dial=dial.taken(), retired={"idle": 1}, failures={"tls": 1}
    )
    idle = keepwarm.EndpointStats(dials=1, leases=3, reused=3, retired={"idle": 2, "age": 1})
    assert pool_numbers([Fixed(busy), Fixed(idle)]) == [
        "waited    2 callers; p50 1.0 ms, p99 2.0 ms",
        "dialled   1 connection; p50 7.5 ms, p99 10.0 ms",
        "failed    tls 1",
        "retired   idle 3, age 1",
    ]
    assert pool_numbers([Fixed(keepwarm.EndpointStats())]) == []
