"""The c-ares channel of a loop: shared, closed, dropped, old, or not to be had. Rows D13, D14, D18, D19, P06."""

import asyncio
import gc
import logging
import os
import resource
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiodns
import pycares
import pytest
import uvloop

from keepwarm.pool.cares import CaresUnavailable, OldCaresWarning, VersionGate, cares_version, shared_count
from keepwarm.pool.errors import DNSError, PoolClosedError
from keepwarm.pool.resolver import AsyncResolver, SplitResolver
from tests.support.leaks import turns
from tests.support.nameserver import NameServer
from tests.support.resolvers import Recording, asking, hosts_of

pytestmark = pytest.mark.asyncio

LOOPS = [pytest.param(asyncio.SelectorEventLoop, id="asyncio"), pytest.param(uvloop.Loop, id="uvloop")]


# Sharing and closing


async def test_resolvers_of_a_loop_share_one_channel(loop: asyncio.AbstractEventLoop) -> None:
    async with NameServer() as dns:
        dns.add("a.example", "10.0.0.1")
        first, second = AsyncResolver([dns.address]), AsyncResolver([dns.address])
        other = AsyncResolver([dns.address], tries=1)
        assert shared_count(loop) == 0  # nothing is opened before the first lookup
        await first.resolve("a.example", 80)
        await second.resolve("a.example", 80)
        assert shared_count(loop) == 1
        await other.resolve("a.example", 80)
        assert shared_count(loop) == 2
        first.close()
        first.close()
        assert shared_count(loop) == 2
        assert hosts_of(await second.resolve("a.example", 80)) == ["10.0.0.1"]
        second.close()
        assert shared_count(loop) == 1
        other.close()
        assert shared_count(loop) == 0


@pytest.mark.fault("D13")
@pytest.mark.parametrize("holders", [1, 2])
async def test_close_fails_the_lookups_in_flight(holders: int) -> None:
    """close() ends one's own lookups with PoolClosedError, those of another holder of the channel go on."""
    async with NameServer() as dns:
        dns.add("a.example", "10.0.0.1")
        dns.hold("a.example")
        resolvers = [AsyncResolver([dns.address]) for _ in range(holders)]
        lookups = [asyncio.ensure_future(resolver.resolve("a.example", 80)) for resolver in resolvers]
        await dns.asked("a.example", holders)
        resolvers[0].close()
        with pytest.raises(PoolClosedError, match=r"'a\.example'"):
            await lookups[0]
        with pytest.raises(PoolClosedError):
            await resolvers[0].resolve("b.example", 80)
        dns.release("a.example")
        for resolver, lookup in zip(resolvers[1:], lookups[1:], strict=True):
            assert hosts_of(await lookup) == ["10.0.0.1"]
            resolver.close()
        assert dns.count("b.example") == 0


@pytest.mark.fault("P06")
async def test_a_cancelled_lookup_does_not_touch_another() -> None:
    """Of two lookups on one channel one is cancelled: the other gets its answer, nothing is left."""
    async with NameServer() as dns:
        for name in ("a.example", "b.example"):
            dns.add(name, "10.0.0.1")
            dns.hold(name)
        with asking(dns) as resolver:
            first = asyncio.ensure_future(resolver.resolve("a.example", 80))
            second = asyncio.ensure_future(resolver.resolve("b.example", 80))
            await dns.asked("a.example")
            await dns.asked("b.example")
            first.cancel()
            dns.release("b.example")
            assert hosts_of(await second) == ["10.0.0.1"]
            assert first.cancelled()


@pytest.mark.fault("D14")
async def test_dropped_with_queries_pending(loop: asyncio.AbstractEventLoop) -> None:
    """A resolver that is dropped without close() lets its channel go, and its queries with it."""
    async with NameServer() as dns:
        dns.mute("a.example")
        resolver = AsyncResolver([dns.address])
        lookup = asyncio.ensure_future(resolver.resolve("a.example", 80))
        await dns.asked("a.example")
        lookup.cancel()
        await asyncio.wait([lookup])
        assert shared_count(loop) == 1
        gone = weakref.ref(resolver)
        del resolver, lookup
        gc.collect()
        await turns(3)
        assert gone() is None
        assert shared_count(loop) == 0


async def _ask_silence() -> AsyncResolver:
    """A resolver with a query under way that nobody waits for any more and that nobody will answer."""
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    resolver = AsyncResolver([f"127.0.0.1:{silent.getsockname()[1]}"], timeout=0.05, tries=1)
    lookup = asyncio.ensure_future(resolver.resolve("a.example", 80))
    await asyncio.sleep(0)
    lookup.cancel()
    await asyncio.wait([lookup])
    asyncio.get_running_loop().call_soon(silent.close)
    return resolver


@pytest.mark.fault("D14")
@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.parametrize("ending", ["close", "drop"])
def test_the_loop_is_closed_with_queries_pending(
    kind: type[asyncio.AbstractEventLoop], ending: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A resolver closed or dropped after its loop: no crash, no traceback, the query is cancelled, the loop let go."""
    loop = kind()
    resolver = loop.run_until_complete(_ask_silence())
    loop.close()
    if ending == "close":
        resolver.close()
    gone = weakref.ref(loop)
    del resolver, loop
    _wait_until(lambda: gc.collect() >= 0 and gone() is None)  # a pending query would hold it
    assert capfd.readouterr().err == ""


@pytest.mark.fault("D14")
@pytest.mark.parametrize("kind", LOOPS)
def test_a_report_to_a_closed_loop_is_dropped(
    kind: type[asyncio.AbstractEventLoop], capfd: pytest.CaptureFixture[str]
) -> None:
    """The thread of c-ares reports a timeout when the loop has been closed: nothing happens, nothing is printed."""
    main, looks = threading.get_ident(), []

    class Watched(kind):  # type: ignore[misc,valid-type]
        def is_closed(self) -> bool:
            if threading.get_ident() != main:
                looks.append(super().is_closed())
            return bool(super().is_closed())

    loop = Watched()
    resolver = loop.run_until_complete(_ask_silence())
    loop.close()
    _wait_until(lambda: looks)
    assert looks == [True]
    resolver.close()
    assert capfd.readouterr().err == ""


def _wait_until(condition: Callable[[], object]) -> None:
    for _ in range(200):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen within 4 s")


# When c-ares is old, or cannot start


@pytest.mark.fault("D18")
@pytest.mark.parametrize(
    ("text", "version", "old"),
    [
        ("1.34.6", (1, 34, 6), True),
        ("1.34.7", (1, 34, 7), False),
        ("1.35.0-DEV", (1, 35, 0), False),
        ("1.9", (1, 9), True),
    ],
)
def test_the_version_of_cares_is_read(
    text: str, version: tuple[int, ...], old: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A c-ares older than 1.34.7 is told apart, whatever its version text looks like."""
    monkeypatch.setattr(pycares, "ARES_VERSION", text)
    assert cares_version() == version
    assert VersionGate().is_old() is old


@pytest.mark.fault("D18")
def test_an_old_cares_is_warned_about_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The warning names the version, the reason and both ways out, and comes once."""
    monkeypatch.setattr(pycares, "ARES_VERSION", "1.34.5")
    gate = VersionGate()
    with pytest.warns(OldCaresWarning, match=r"1\.34\.5 .*CVE-2026-33630.*1\.34\.7.*old_cares='system'"):
        gate.warn()
    gate.warn()  # a second warning would be an error here


@pytest.mark.fault("D18")
async def test_an_old_cares_is_warned_about_by_the_first_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    """AsyncResolver warns when it first opens its channel, and works on."""
    monkeypatch.setattr(pycares, "ARES_VERSION", "1.34.5")
    monkeypatch.setattr("keepwarm.pool.cares._version_gate", VersionGate())
    async with NameServer() as dns:
        dns.add("a.example", "10.0.0.1")
        with asking(dns) as resolver:
            with pytest.warns(OldCaresWarning):
                await resolver.resolve("a.example", 80)
            await resolver.resolve("a.example", 80)


@pytest.mark.fault("D18")
async def test_an_old_cares_can_be_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With old_cares="system" the system looks every name up, and nothing warns."""
    monkeypatch.setattr(pycares, "ARES_VERSION", "1.34.5")
    system, dns = Recording(), Recording()
    resolver = SplitResolver(old_cares="system", system=system, dns=dns)
    await resolver.resolve("a.example", 80)
    assert (system.asked, dns.asked) == (["a.example"], [])
    resolver.close()


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """EMFILE for whatever wants to open something. Open nothing in the body."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.dup(0)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 1, hard))
    try:
        while True:
            try:
                taken.append(os.dup(0))
            except OSError:
                break
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)


@pytest.mark.fault("D19", "R05")
async def test_without_descriptors_the_system_is_asked(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """EMFILE while c-ares starts: the system's lookup answers, one warning, and c-ares is back when they return."""
    system = Recording()
    async with NameServer() as dns:
        dns.add("a.example", "10.0.0.1")
        resolver = SplitResolver([dns.address], system=system, hosts=str(tmp_path / "none"))
        with caplog.at_level(logging.WARNING), no_descriptors_left():
            for _ in range(2):
                assert hosts_of(await resolver.resolve("a.example", 80)) == ["10.9.9.9"]
        ours = [record for record in caplog.records if record.name.startswith("keepwarm")]
        assert len(ours) == 1
        assert "could not be started" in ours[0].getMessage()
        assert "ulimit -n" in ours[0].getMessage()
        assert hosts_of(await resolver.resolve("a.example", 80)) == ["10.0.0.1"]
        resolver.close()
    assert system.asked == ["a.example"] * 2


@pytest.mark.fault("D19")
async def test_alone_an_async_resolver_that_cannot_start_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a second resolver it is a DNSError that says what ran out."""

    def refuse(**_: object) -> None:
        raise pycares.AresError("Failed to initialize c-ares channel")

    monkeypatch.setattr(pycares, "Channel", refuse)
    resolver = AsyncResolver()
    with pytest.raises(CaresUnavailable, match="inotify"):
        await resolver.resolve("a.example", 80)
    resolver.close()


async def test_no_text_is_left_to_pycares(monkeypatch: pytest.MonkeyPatch) -> None:
    """pycares 5 frees these options before c-ares reads them: a channel made so refuses every name now and then."""
    given: list[dict[str, object]] = []
    make = aiodns.DNSResolver

    def recorded(*args: Any, **options: Any) -> aiodns.DNSResolver:
        given.append(options)
        return make(*args, **options)

    monkeypatch.setattr("aiodns.DNSResolver", recorded)
    async with NameServer() as dns:
        dns.add("a.example", "10.0.0.1")
        with asking(dns) as resolver:
            assert hosts_of(await resolver.resolve("a.example", 80)) == ["10.0.0.1"]
    assert len(given) == 1
    assert not {"lookups", "resolvconf_path", "domains"}.intersection(given[0])


@pytest.mark.fault("D19")
async def test_without_inotify_watches_lookups_still_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """c-ares cannot start its thread: it runs on the loop instead, for answers, failures, and close in mid-query."""
    real = pycares.Channel

    def without_thread(**options: Any) -> pycares.Channel:
        if options.get("sock_state_cb") is None:
            raise pycares.AresError("Failed to initialize c-ares channel")
        return real(**options)

    monkeypatch.setattr(pycares, "Channel", without_thread)
    async with NameServer() as dns:
        dns.add("a.example", "10.0.0.1")
        dns.mute("c.example")
        resolver = AsyncResolver([dns.address])
        for _ in range(2):
            assert hosts_of(await resolver.resolve("a.example", 80)) == ["10.0.0.1"]
        with pytest.raises(DNSError, match="NXDOMAIN"):
            await resolver.resolve("b.example", 80)
        pending = asyncio.ensure_future(resolver.resolve("c.example", 80))
        await dns.asked("c.example")
        resolver.close()
        with pytest.raises(PoolClosedError):
            await pending
