"""Dialling: many addresses, bad addresses, cancellation at every moment."""

import asyncio
import errno
import pickle
import resource
import socket

import pytest

from keepwarm.pool import dialer as dialer_module
from keepwarm.pool import race
from keepwarm.pool.clock import Clock
from keepwarm.pool.dialer import Dialer
from keepwarm.pool.dns_cache import DNSCache
from keepwarm.pool.errors import ConnectError
from keepwarm.pool.race import Race, TCPKeepAlive
from tests.support.dialing import (
    ListedAddresses,
    WatchedHealth,
    black_hole,
    dial_request,
    dialer,
    hang_up,
    ipv4,
    ipv6,
    until,
)
from tests.support.server import ScriptedServer, Send, Stall, UntilClosed, unserved_port

pytestmark = pytest.mark.asyncio


@pytest.fixture
def fast_race(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten milliseconds between two attempts."""
    monkeypatch.setattr(race, "RACE_DELAY", 0.01)


async def test_plain_connection() -> None:
    """The channel gets the transport and speaks with the server; options of the socket are set."""
    async with ScriptedServer() as server:
        options = TCPKeepAlive(idle=7, interval=3, count=2)
        request = dial_request("a.test", server.port)
        transport, channel = await dialer(ipv4(server.port), tcp_keepalive=options).open(request)
        assert channel.transport is transport
        sock = transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 7
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 3
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 2
        assert request.attempts == [(f"127.0.0.1:{server.port}", "connected")]
        channel.reader = asyncio.StreamReader()
        channel.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await channel.reader.readline()).startswith(b"HTTP/1.1 200")
        await hang_up(channel)


async def test_keepalive_probes_can_be_left_out() -> None:
    """Without TCPKeepAlive the socket is not probed."""
    async with ScriptedServer() as server:
        transport, channel = await dialer(ipv4(server.port)).open(dial_request("a.test", server.port))
        assert transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
        await hang_up(channel)


@pytest.mark.parametrize("field", ["idle", "interval", "count"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, 10**6])
async def test_keepalive_options_are_checked(field: str, value: float) -> None:
    """Each of the three is a whole number in the kernel's range."""
    with pytest.raises(ValueError, match=field):
        TCPKeepAlive(**{field: value})  # type: ignore[arg-type]


@pytest.mark.fault("F06")
async def test_a_server_that_speaks_first_is_noticed() -> None:
    """Bytes that arrive before the first request are not lost: they poison the channel."""
    async with ScriptedServer([Send(b"SSH-2.0-x\r\n"), Stall()]) as server:
        _, channel = await dialer(ipv4(server.port)).open(dial_request("a.test", server.port))
        await until(lambda: channel.retiring)
        assert channel.retiring == "stray_bytes"
        await hang_up(channel)


@pytest.mark.fault("D05")
async def test_a_hung_resolver_can_be_cut_off() -> None:
    """A dial that waits for a lookup ends at once when it is cancelled, and the lookup with it."""
    started = asyncio.Event()

    class Hung:
        async def resolve(self, host: str, port: int, family: int = 0) -> None:
            started.set()
            await asyncio.get_running_loop().create_future()

        def close(self) -> None: ...

    clock = Clock(asyncio.get_running_loop())
    cache = DNSCache(Hung(), clock, enabled=True)  # type: ignore[arg-type]
    request = dial_request("a.test", 80)
    task = asyncio.create_task(Dialer(cache).open(request))
    await started.wait()
    assert request.phase == "resolve"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    cache.close()


@pytest.mark.fault("D08")
async def test_one_refuses_one_swallows_the_third_answers(fast_race: None) -> None:
    """The others are tried, and it is noted against the two that failed."""
    async with ScriptedServer() as server:
        with unserved_port() as refused, black_hole() as silent:
            health = WatchedHealth()
            dns = ListedAddresses(ipv4(refused), ipv4(silent), ipv4(server.port))
            request = dial_request("a.test", server.port)
            _, channel = await Dialer(dns, health=health).open(request)
        assert request.attempts == [
            (f"127.0.0.1:{refused}", "Connection refused"),
            (f"127.0.0.1:{silent}", "no answer yet"),
            (f"127.0.0.1:{server.port}", "connected"),
        ]
        assert health.noted == [ipv4(refused), ipv4(silent)]
        await hang_up(channel)


@pytest.mark.fault("D09")
async def test_a_dead_ipv6_path_costs_one_delay(fast_race: None) -> None:
    """IPv4 starts one race delay after the silent IPv6 address, wins, and the loser is closed."""
    with black_hole("::1") as silent:
        async with ScriptedServer() as server:
            health = WatchedHealth()
            dns = ListedAddresses(ipv6(silent), ipv6(silent, "::1%lo"), ipv4(server.port))
            request = dial_request("a.test", server.port)
            transport, channel = await Dialer(dns, health=health).open(request)
            assert transport.get_extra_info("peername")[:2] == ("127.0.0.1", server.port)
            # Families take turns: the second IPv6 address was not waited for.
            assert [address for address, _ in request.attempts] == [f"[::1]:{silent}", f"127.0.0.1:{server.port}"]
            assert health.noted == [ipv6(silent)]
            await hang_up(channel)


async def test_the_race_delay_is_within_the_promise() -> None:
    """G11: a black-holed IPv6 address adds at most 300 ms."""
    assert race.RACE_DELAY <= 0.3


@pytest.mark.fault("D10")
async def test_all_fail_with_different_errors(fast_race: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """One ConnectError lists every address with its own error."""
    with unserved_port() as refused:
        unroutable = ipv6(9, "ff02::1%lo")  # a multicast address takes no TCP connection
        odd = ipv4(refused, "127.0.0.2")

        class Failing(Race):
            async def sock_connect(self, sock: socket.socket, target: tuple[str, int]) -> None:
                if target[0] == odd.host:
                    self._loop = Broken(self._loop)  # type: ignore[assignment]
                await super().sock_connect(sock, target)

        monkeypatch.setattr(dialer_module, "Race", Failing)
        request = dial_request("a.test", 80)
        with pytest.raises(ConnectError) as caught:
            await dialer(ipv4(refused), unroutable, odd).open(request)
    error = caught.value
    assert str(error).startswith("Cannot connect to host a.test:80 ssl:False [all 3 addresses failed]")
    assert dict(error.attempts) == dict(request.attempts)
    assert dict(error.attempts)[f"127.0.0.1:{refused}"] == "Connection refused"
    assert dict(error.attempts)["127.0.0.2:" + str(refused)] == "Invalid argument"
    assert len(error.attempts) == 3
    assert all(f"{address}: {outcome}" in str(error) for address, outcome in error.attempts)
    assert (error.endpoint, error.phase, error.reused) == (request.endpoint, "connect", False)


class Broken:
    """A loop whose sock_connect raises what no loop should."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    async def sock_connect(self, sock: socket.socket, target: object) -> None:
        raise OverflowError("broken")


@pytest.mark.fault("D10")
@pytest.mark.parametrize("count", [1, 2])
async def test_one_reason_for_all(count: int, fast_race: None) -> None:
    """When all say the same the text says it once in the brackets, with errno and advice."""
    with unserved_port() as port:
        addresses = [ipv4(port, f"127.0.0.{number}") for number in range(1, count + 1)]
        with pytest.raises(ConnectError) as caught:
            await dialer(*addresses).open(dial_request("a.test", 80))
    assert str(caught.value).startswith("Cannot connect to host a.test:80 ssl:False [Connection refused] tried ")
    assert str(caught.value).endswith("Check that the server runs and listens on this port")
    assert caught.value.errno == errno.ECONNREFUSED
    assert len(caught.value.attempts) == count
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.errno, copy.attempts) == (str(caught.value), errno.ECONNREFUSED, caught.value.attempts)


@pytest.mark.fault("D22")
async def test_two_winners_in_one_turn(fast_race: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two that connect together is kept, the other is closed."""

    class Together(Race):
        arrived: list[asyncio.Future[None]] = []  # noqa: RUF012

        async def sock_connect(self, sock: socket.socket, target: tuple[str, int]) -> None:
            await super().sock_connect(sock, target)
            self.arrived.append(asyncio.get_running_loop().create_future())
            if len(self.arrived) == 2:
                for future in self.arrived:
                    future.set_result(None)
            await self.arrived[0 if len(self.arrived) == 1 else 1]

    monkeypatch.setattr(dialer_module, "Race", Together)
    Together.arrived.clear()
    async with ScriptedServer([UntilClosed()]) as first, ScriptedServer([UntilClosed()]) as second:
        transport, channel = await dialer(ipv4(first.port), ipv4(second.port)).open(dial_request("a.test", 80))
        await first.until_accepted(1)
        await second.until_accepted(1)
        kept, lost = (first, second) if transport.get_extra_info("peername")[1] == first.port else (second, first)
        await lost.until_idle()
        assert kept.open == 1
        await hang_up(channel)


@pytest.mark.fault("D20")
async def test_local_addr() -> None:
    """The socket is bound to local_addr."""
    async with ScriptedServer() as server:
        transport, channel = await dialer(ipv4(server.port), local_addr=("127.0.0.3", 0)).open(
            dial_request("a.test", server.port)
        )
        assert transport.get_extra_info("sockname")[0] == "127.0.0.3"
        await hang_up(channel)


@pytest.mark.fault("D20")
@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("192.0.2.1", "local_addr 192.0.2.1:0: Cannot assign requested address"),
        ("::1", "local_addr has no IPv4 address to call an IPv4 address from"),
        ("no..such.host", "local_addr 'no..such.host': "),
    ],
)
async def test_local_addr_not_usable(host: str, reason: str) -> None:
    """An address that is not ours, or of the wrong family, is a ConnectError that names local_addr."""
    with pytest.raises(ConnectError, match="Check `local_addr`") as caught:
        await dialer(ipv4(9), local_addr=(host, 0)).open(dial_request("a.test", 80))
    assert f"[{reason}" in str(caught.value)


@pytest.mark.fault("D20")
async def test_local_port_in_use() -> None:
    """A local port that is taken is a ConnectError, too."""
    with unserved_port() as taken, pytest.raises(ConnectError, match="Address already in use"):
        await dialer(ipv4(9), local_addr=("127.0.0.1", taken)).open(dial_request("a.test", 80))


@pytest.mark.fault("R05")
async def test_out_of_descriptors_and_back() -> None:
    """Without descriptors the dial is a ConnectError that says so; afterwards it works again."""
    async with ScriptedServer([UntilClosed()]) as server:
        dial = dialer(ipv4(server.port))
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as probe:
            lowest_free = probe.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
        try:
            with pytest.raises(ConnectError, match="out of descriptors") as caught:
                await dial.open(dial_request("a.test", server.port))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert caught.value.errno == errno.EMFILE
        _, channel = await dial.open(dial_request("a.test", server.port))
        await hang_up(channel)


async def test_a_socket_connected_to_itself_is_refused() -> None:
    """TCP connects a socket to itself when the port it calls is the one it was given; nobody listens there."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with pytest.raises(ConnectError, match="Connection refused"):
        await dialer(ipv4(port), local_addr=("127.0.0.1", port)).open(dial_request("a.test", port))
