"""Limits by host pattern: which one holds, and that each endpoint has its own."""

from typing import Any

import pytest

from keepwarm.pool.endpoint import make_endpoint
from keepwarm.pool.errors import PoolTimeoutError
from keepwarm.pool.limits import Limits, make_host_limits
from keepwarm.pool.tcp_connector import TCPConnector
from keepwarm.pool.unix_connector import UnixConnector
from tests.support.fake_channels import A, B, rig
from tests.support.leaks import turns

PATTERNS: dict[str, int | None] = {
    "api.example.com": 20,
    "*.example.com": 4,
    "*.deep.example.com": None,
    "127.0.0.1": 1,
    "Bücher.example": 3,
}


@pytest.mark.parametrize(
    ("host", "limit", "option"),
    [
        ("api.example.com", 20, "limit_per_host"),
        ("API.example.com.", 20, "limit_per_host"),
        ("www.example.com", 4, "limit_per_host"),
        ("a.b.example.com", 4, "limit_per_host"),
        ("x.api.example.com", 4, "limit_per_host"),
        ("a.deep.example.com", None, "limit_per_host"),
        ("deep.example.com", 4, "limit_per_host"),
        ("127.0.0.1", 1, "limit_per_host"),
        ("bücher.example", 3, "limit_per_host"),
        ("example.com", 9, "limit"),
        ("notexample.com", 9, "limit"),
        ("other.org", 9, "limit"),
    ],
)
def test_the_most_specific_pattern(host: str, limit: int | None, option: str) -> None:
    """The host itself, else the longest domain, else `limit`; None is no limit, and above `limit` is allowed."""
    limits = Limits(9, per_host=make_host_limits(PATTERNS))
    endpoint = make_endpoint(host)
    assert (limits.of(endpoint), limits.option_for(endpoint)) == (limit, option)


def test_without_patterns() -> None:
    """Nothing, or an empty mapping: `limit` holds for all."""
    assert make_host_limits(None) is make_host_limits({}) is None
    assert Limits(9).of(A) == 9
    assert Limits(9, per_host=make_host_limits(PATTERNS)) == Limits(9, per_host=make_host_limits(dict(PATTERNS)))


@pytest.mark.fault("P39")
@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"a.example": 0}, ValueError, r"limit_per_host\['a\.example'\] must be at least 1"),
        ({"*.example": -1}, ValueError, r"limit_per_host\['\*\.example'\] must be at least 1"),
        ({"a.example": 1.5}, TypeError, r"limit_per_host\['a\.example'\] must be a whole number"),
        ({"a.example": True}, TypeError, r"limit_per_host\['a\.example'\] must be a whole number"),
        ({"*": 1}, ValueError, r"limit_per_host: '\*' is no host pattern"),
        ({"": 1}, ValueError, "limit_per_host: '' is no host pattern"),
        ({"a.*.example": 1}, ValueError, "is no host pattern: give a host, or"),
        ({"a.example:80": 1}, ValueError, "is no host pattern"),
        ({"A.example": 1, "a.example.": 2}, ValueError, "is given twice"),
        ({b"a.example": 1}, TypeError, "a host pattern must be a str, got bytes"),
        ([("a.example", 1)], TypeError, "limit_per_host must be a mapping"),
        (4, TypeError, "limit_per_host must be a mapping"),
    ],
)
def test_what_is_refused(given: Any, error: type[Exception], text: str) -> None:
    """Before any I/O, by a text that names the option."""
    with pytest.raises(error, match=text):
        TCPConnector(limit_per_host=given)


@pytest.mark.fault("P39")
def test_limits_stay_what_they_are() -> None:
    """A mapping that is changed later changes nothing; the connectors pass it on."""
    given: dict[str, int | None] = {"a.example": 2}
    connectors = [TCPConnector(limit=7, limit_per_host=given), UnixConnector("/x", limit=7, limit_per_host=given)]
    given["a.example"] = 5
    for connector in connectors:
        assert (connector.limit, connector.limits.of(A), connector.limits.of(B)) == (7, 2, 7)


@pytest.mark.asyncio
async def test_each_endpoint_has_its_own() -> None:
    """Two hosts, and two ports of one host, under one pattern do not share its limit."""
    endpoints = [make_endpoint("x.example.com"), make_endpoint("y.example.com"), make_endpoint("x.example.com", 81)]
    async with rig(limit=1, per_host={"*.example.com": 2}) as r:
        held = [await r.lease(endpoint) for endpoint in endpoints * 2]
        tasks = [r.ask(endpoint) for endpoint in endpoints]
        await turns(2)
        assert not any(task.done() for task in tasks)
        assert [r.of(endpoint).open for endpoint in endpoints] == [2, 2, 2]
        other = await r.lease(A)
        assert not r.ask(A).done()
        for channel in [*held, other]:
            r.pool.release(channel)
        await turns(2)
        assert all(task.done() for task in tasks)


@pytest.mark.asyncio
async def test_beside_a_total_limit() -> None:
    """The sum is bounded by `limit_total` all the same, and the advice is about what holds the caller up."""
    async with rig(limit=3, total=2, pool_timeout=1, per_host={"a.example": 1}) as r:
        await r.lease(A)
        one = r.ask(A)
        await turns(2)
        await r.lease(B)
        two = r.ask(B)
        await turns(2)
        r.clock.advance(1.01)
        with pytest.raises(PoolTimeoutError, match=r"raise limit_per_host or pool_timeout.*limit 1, limit_total 2"):
            await one
        with pytest.raises(PoolTimeoutError, match=r"raise limit_total or pool_timeout.*limit 3, limit_total 2"):
            await two


@pytest.mark.asyncio
async def test_an_endpoint_that_comes_back() -> None:
    """Its limit is that of its pattern again, after the books of it were closed in between."""
    async with rig(limit=5, per_host={"a.example": 1}) as r:
        for _ in range(2):
            channel = await r.lease(A)
            (waiting,) = await r.queue(1)
            assert not waiting.done()
            waiting.cancel()
            r.pool.close_channel(channel, "error", politely=False)
            await turns(2)
            assert A not in r.pool.stats().endpoints


@pytest.mark.asyncio
async def test_who_insists_on_a_new_connection_gets_room() -> None:
    """The limit that makes room is the endpoint's own."""
    async with rig(limit=9, per_host={"a.example": 1}) as r:
        (idle,) = await r.shelved(1)
        new = await r.lease(fresh=True)
        assert (new is not idle, idle.wire.closed, r.of().open) == (True, True, 1)
