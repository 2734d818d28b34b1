"""Each fault of the relay, as a client on the other side meets it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.leaks import turns
from tests.support.relay import Faults, Relay
from tests.support.server import Fin, ScriptedServer, Send, Stall, UntilClosed, answer_all

pytestmark = pytest.mark.asyncio

GET = b"GET /a HTTP/1.1\r\n\r\n"
DATA = bytes(range(100))


class Client(asyncio.Protocol):
    """Notes each piece as it arrives, and how the connection ended."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.fin = asyncio.Event()
        self.lost = asyncio.Event()
        self.error: Exception | None = None
        self.data = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)
        self.data.set()

    def eof_received(self) -> None:
        self.fin.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = exc
        self.lost.set()

    @property
    def received(self) -> bytes:
        return b"".join(self.pieces)


async def connect(port: int) -> tuple[asyncio.Transport, Client]:
    return await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", port)


SENDS_ALL = [Send(DATA), Fin()]


@pytest.mark.parametrize(
    "faults",
    [
        Faults(),
        Faults(latency=0.001, jitter=0.001),
        Faults(bandwidth=100_000),
        Faults(slow_close=0.001),
        Faults(slice_size=9),
        Faults(slice_size=9, random_slices=True),
        Faults(fin_after=1000, reset_after=1000, black_hole_after=1000),
        Faults(idle_fin=50.0, idle_reset=50.0),
    ],
    ids=lambda faults: ",".join(k for k, v in vars(faults).items() if v) or "clear",
)
async def test_nothing_is_lost_without_an_end(faults: Faults) -> None:
    async with ScriptedServer(SENDS_ALL) as server, Relay(server.port, faults) as relay:
        _, client = await connect(relay.port)
        await client.lost.wait()
        assert (client.received, client.error) == (DATA, None)
        assert relay.accepted == 1


async def test_slices_are_as_small_as_asked_and_depend_on_the_seed_alone() -> None:
    async def sizes(faults: Faults, seed: int) -> list[int]:
        async with ScriptedServer(SENDS_ALL) as server, Relay(server.port, faults, seed=seed) as relay:
            _, client = await connect(relay.port)
            await client.lost.wait()
            return [len(piece) for piece in client.pieces]

    assert await sizes(Faults(slice_size=30), 1) == [30, 30, 30, 10]
    chance = Faults(slice_size=9, random_slices=True)
    assert await sizes(chance, 1) == await sizes(chance, 1) != await sizes(chance, 2)


async def test_the_upward_set_slices_what_the_client_sends() -> None:
    async with ScriptedServer() as server, Relay(server.port, upward=Faults(slice_size=4)) as relay:
        transport, client = await connect(relay.port)
        transport.write(GET)
        await client.data.wait()
        assert client.pieces == [b"HTTP/1.1 200 OK\r\nX-Nonce: /a\r\nContent-Length: 2\r\n\r\nok"]
        transport.close()
        await client.lost.wait()
        await server.until_idle()
        assert server.connections[0].closed == "fin"


@pytest.mark.parametrize("limit", [0, 1, 60])
async def test_reset_after_so_many_bytes(limit: int) -> None:
    async with ScriptedServer([Send(DATA), UntilClosed()]) as server:
        async with Relay(server.port, Faults(reset_after=limit, slice_size=1)) as relay:
            _, client = await connect(relay.port)
            await client.lost.wait()
            assert isinstance(client.error, ConnectionResetError)
            assert client.received == DATA[:limit]
        await server.until_idle()


@pytest.mark.parametrize("limit", [0, 1, 60])
async def test_fin_after_so_many_bytes(limit: int) -> None:
    script = [Send(DATA), UntilClosed()]
    async with ScriptedServer(script) as server, Relay(server.port, Faults(fin_after=limit)) as relay:
        _, client = await connect(relay.port)
        await client.lost.wait()
        assert (client.received, client.error) == (DATA[:limit], None)


async def test_a_black_hole_gives_neither_bytes_nor_fin() -> None:
    async with ScriptedServer(SENDS_ALL) as server, Relay(server.port, Faults(black_hole_after=60)) as relay:
        transport, client = await connect(relay.port)
        while len(client.received) < 60:
            client.data.clear()
            await client.data.wait()
        await turns(20)
        assert client.received == DATA[:60]
        assert not client.fin.is_set()
        transport.abort()


@pytest.mark.parametrize(("faults", "error"), [(Faults(idle_fin=0.01), None), (Faults(idle_reset=0.01), OSError)])
async def test_an_idle_connection_is_ended(faults: Faults, error: type[OSError] | None) -> None:
    async with ScriptedServer([Send(b"x"), Stall()]) as server, Relay(server.port, faults) as relay:
        _, client = await connect(relay.port)
        await client.lost.wait()
        assert client.received == b"x"
        assert client.error is None if error is None else isinstance(client.error, error)


async def test_down_resets_and_comes_back() -> None:
    async with ScriptedServer(SENDS_ALL) as server, Relay(server.port) as relay:
        relay.down = True
        _, client = await connect(relay.port)
        await client.lost.wait()
        assert isinstance(client.error, ConnectionResetError)
        relay.down = False
        _, client = await connect(relay.port)
        await client.lost.wait()
        assert client.received == DATA
        assert server.accepted == 1


async def test_a_dead_target_is_a_reset() -> None:
    async with ScriptedServer() as server:
        port = server.port
    async with Relay(port) as relay:
        _, client = await connect(relay.port)
        await client.lost.wait()
        assert isinstance(client.error, ConnectionResetError)


@pytest.mark.parametrize(("reset", "ended"), [(True, "rst"), (False, "fin")])
async def test_cut_off_ends_what_is_open_on_both_sides(reset: bool, ended: str) -> None:
    async with ScriptedServer([Send(b"x"), UntilClosed()]) as server, Relay(server.port) as relay:
        _, client = await connect(relay.port)
        await client.data.wait()
        relay.cut_off(reset=reset)
        await client.lost.wait()
        assert isinstance(client.error, ConnectionResetError) is reset
        await server.until_idle()
        assert server.connections[0].closed == ended


async def test_unix_sockets_on_both_sides(tmp_path: Path) -> None:
    listen, target = tmp_path / "relay.sock", tmp_path / "server.sock"
    relay = Relay(target, Faults(reset_after=10), listen_path=listen)
    async with ScriptedServer(answer_all, path=target) as server, relay:
        transport, client = await asyncio.get_running_loop().create_unix_connection(Client, str(listen))
        transport.write(GET)
        await client.lost.wait()
        assert (client.received, relay.accepted, server.accepted) == (b"HTTP/1.1 2", 1, 1)
    assert not listen.exists()


def test_the_nearest_end_wins() -> None:
    ends: list[tuple[Faults, Callable[[Faults], object], object]] = [
        (Faults(reset_after=5, fin_after=3, black_hole_after=4), Faults.end, (3, "fin")),
        (Faults(idle_fin=0.5, idle_reset=0.2), Faults.idle_end, (0.2, "reset")),
        (Faults(), Faults.idle_end, (None, "")),
    ]
    for faults, ask, expected in ends:
        assert ask(faults) == expected
