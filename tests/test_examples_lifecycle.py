"""The examples of a connection's life: made before it is needed, ended in time, and closed without cutting a call."""

import pytest

from examples import graceful_shutdown, lifetime, warm_pool

pytestmark = pytest.mark.asyncio


async def test_warm_pool(capsys: pytest.CaptureFixture[str]) -> None:
    """The first calls find connections: what was dialled before them is all that is dialled."""
    await warm_pool.main()
    assert capsys.readouterr().out == "3 connections are there, 0 requests were sent\n3 calls over 3 dials\n"


async def test_lifetime(capsys: pytest.CaptureFixture[str]) -> None:
    """Each connection serves three calls; the last one is expired."""
    await lifetime.main()
    assert capsys.readouterr().out == (
        "10 calls over 4 connections, ended: {'uses': 3}\n1 connection was expired\nended: {'uses': 3, 'expire': 1}\n"
    )


async def test_graceful_shutdown(capsys: pytest.CaptureFixture[str]) -> None:
    """Every call that had begun ends, and nothing is left."""
    await graceful_shutdown.main()
    told, ended = capsys.readouterr().out.splitlines()
    assert told.endswith(": the connector is closed; make a new one")
    assert ended == "10 of 10 calls ended well, 0 sockets are left"
