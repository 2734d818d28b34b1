"""examples/queueing.py does what its first lines say."""

import re

import pytest

from examples import queueing

pytestmark = pytest.mark.asyncio


async def test_queueing(capsys: pytest.CaptureFixture[str]) -> None:
    """The errors say who holds the connections; with shedding more calls are answered, and the others are told."""
    await queueing.main(1.0)
    timed_out, full, without, shed = capsys.readouterr().out.splitlines()
    assert timed_out == "PoolTimeoutError: 4 of 4 connections leased, 1 calls waiting; GET /report has one"
    assert full == "PoolFullError: 4 of 4 connections leased, 2 calls waiting; GET /report has one"
    assert without.startswith("shed=False: ")
    assert "Pool" not in without
    match = re.fullmatch(r"shed=True: (\d+) PoolShedError, (\d+) answered(?:, \d+ late)?", shed)
    assert match is not None
    refused, answered = map(int, match.groups())
    assert refused > 0
    assert answered > refused / 2
