"""The benchmarks measure what they say: the arithmetic, the verdicts, and one small run from end to end."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.arena import per_message, turns
from benchmarks.clients import CLIENTS
from benchmarks.clients.floor import CHUNK, LAST_CHUNK, FloorConnection
from benchmarks.job import BODY, BODY_SIZE, PIECE, PIECES, pieces
from benchmarks.measure import Spread, percentile, ratio
from benchmarks.promises import PROMISES, Promise
from benchmarks.results import ScenarioResult, judge
from benchmarks.scenarios import BY_NAME
from benchmarks.server import ANSWERS, JSON_BODY, JSON_SIZE, MIB, Hall, ServerProtocol
from benchmarks.ws_floor import masked
from benchmarks.ws_server import WebSocketProtocol, frame
from keepwarm.ws.frames import build_frame
from keepwarm.ws.masking import mask_in_python

ROOT = Path(__file__).resolve().parent.parent
RUN_SECONDS = 50.0


def result_of(**figures: list[float]) -> ScenarioResult:
    result = ScenarioResult("get", "a title", "a unit")
    result.figures.update(figures)
    return result


def test_everybody_has_every_place_in_turn() -> None:
    """No client always runs first, or always after the same one."""
    assert list(turns(["a", "b", "c"], 3)) == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]
    assert list(turns([], 3)) == []


def test_ratios_are_taken_round_by_round() -> None:
    """A round in which everything was slow does not change a ratio."""
    assert ratio([2.0, 20.0, 4.0], [1.0, 10.0, 1.0]) == Spread(2.0, 2.0, 4.0)


def test_percentiles() -> None:
    """Nearest rank, also for a single value."""
    ordered = [float(n) for n in range(100)]
    assert (percentile(ordered, 0.50), percentile(ordered, 0.99), percentile([7.0], 0.99)) == (50.0, 99.0, 7.0)


def test_a_promise_is_judged_by_its_median() -> None:
    """Met up to the limit, missed above, and not measured when either side is missing."""
    promise = Promise("get", "keepwarm", "floor", 2.0)
    assert judge(promise, result_of(keepwarm=[2.0, 1.0, 9.0], floor=[1.0, 1.0, 1.0]))[0] == "met"
    assert judge(promise, result_of(keepwarm=[2.1, 1.0, 9.0], floor=[1.0, 1.0, 1.0]))[0] == "missed"
    assert judge(promise, result_of(keepwarm=[1.0]))[0] == "not measured"
    assert judge(promise, result_of(floor=[1.0]))[0] == "not measured"
    assert judge(promise, None)[0] == "not measured"
    absolute = Promise("idle", "keepwarm", None, 8.0)
    assert judge(absolute, result_of(keepwarm=[7.9]))[0] == "met"
    assert judge(absolute, result_of(keepwarm=[8.1]))[0] == "missed"


def test_a_client_that_failed_shows_no_figures() -> None:
    """One bad round takes the good ones with it."""
    result = result_of()
    result.add("aiohttp", 1.0, {"rate": 2.0})
    result.fail("aiohttp", "it broke")
    assert (result.figures, result.extras, result.failed) == ({}, {}, {"aiohttp": "it broke"})


def test_every_promise_can_be_measured() -> None:
    """Each names a scenario and clients that take part in it."""
    for promise in PROMISES:
        clients = BY_NAME[promise.scenario].clients
        assert promise.client in clients
        assert promise.against is None or promise.against in clients


def test_every_client_has_its_module() -> None:
    """The registry and the directory agree."""
    modules = {f"benchmarks.clients.{path.stem}" for path in (ROOT / "benchmarks" / "clients").glob("[a-z]*.py")}
    assert {spec.module for spec in CLIENTS} == modules


def test_the_bundled_server_serves_what_the_scenarios_expect() -> None:
    """The lengths that are checked in every call are those that are sent."""
    assert len(JSON_BODY) == JSON_SIZE
    assert json.loads(JSON_BODY)["id"] == 12345
    for answer in ANSWERS.values():
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"\r\nContent-Length: %d\r\n" % len(body) in head


class ScriptedTransport(asyncio.Transport):
    """Keeps what is written, and says stop after every third chunk."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol: asyncio.Protocol = protocol
        self.writes: list[object] = []
        self.is_closed = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, WebSocketProtocol)
        self.protocol = protocol

    def write(self, data: object) -> None:
        self.writes.append(data)

    def writelines(self, list_of_data: object) -> None:
        self.writes.append(list_of_data)
        if self.writes.count(CHUNK) % 3 == 0:
            self.protocol.pause_writing()

    def close(self) -> None:
        self.is_closed = True


def test_the_floor_of_an_upload_keeps_to_flow_control() -> None:
    """It writes while the transport takes more, goes on when told, and sends what the others send."""
    loop = asyncio.new_event_loop()
    try:
        connection = FloorConnection(loop)
        transport = ScriptedTransport(connection)
        connection.connection_made(transport)
        answer = connection.upload(b"head")
        assert transport.writes == [b"head", CHUNK, CHUNK, CHUNK]
        rounds = 1
        while LAST_CHUNK not in transport.writes:
            connection.resume_writing()
            rounds += 1
        connection.resume_writing()
        assert transport.writes == [b"head", *[CHUNK] * PIECES, LAST_CHUNK]
        assert rounds == -(-PIECES // 3)
        connection.data_received(ANSWERS[b"/upload"])
        assert answer.result() == JSON_BODY
    finally:
        loop.close()


async def size_of_pieces() -> int:
    return sum([len(piece) async for piece in pieces()])


def test_the_bodies_have_the_sizes_that_the_titles_say() -> None:
    """1 KiB of JSON for post, 10 MiB for upload, from the generator as from the floor."""
    assert len(BODY) == BODY_SIZE == 1024
    assert json.loads(BODY)
    assert asyncio.run(size_of_pieces()) == len(PIECE) * PIECES == 10 * MIB


def test_the_bundled_server_answers_when_all_was_read_and_keeps_the_connection() -> None:
    """Not before the last chunk; and the next request on the connection is answered too."""
    server = ServerProtocol(Hall())
    transport = ScriptedTransport(server)
    server.connection_made(transport)
    head = b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    for turn in range(2):
        for data in (head, *CHUNK, *CHUNK):
            server.data_received(data)
        assert len(transport.writes) == turn
        server.data_received(LAST_CHUNK)
        assert transport.writes == [ANSWERS[b"/upload"]] * (turn + 1)
    assert not transport.is_closed
    server.data_received(b"GET /json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert transport.writes[2:] == [ANSWERS[b"/json"]]
    assert transport.is_closed


def websocket_server() -> tuple[ServerProtocol, ScriptedTransport]:
    """The bundled server after the handshake of RFC 6455, 1.3."""
    server = ServerProtocol(Hall())
    transport = ScriptedTransport(server)
    server.connection_made(transport)
    server.data_received(
        b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    return server, transport


def test_the_bundled_server_agrees_to_a_websocket() -> None:
    """With the accept key of RFC 6455, and another protocol takes over."""
    server, transport = websocket_server()
    (answer,) = transport.writes
    assert isinstance(answer, bytes)
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    assert isinstance(transport.protocol, WebSocketProtocol)
    assert transport.protocol is not server


def test_the_websocket_server_does_what_it_is_told() -> None:
    """An echo, a stream that keeps to flow control, a sink, and a goodbye; whatever way the frames are cut."""
    _, transport = websocket_server()
    protocol = transport.protocol
    key = b"\x01\x02\x03\x04"
    said = [
        build_frame(0x81, b"hello", key, mask_in_python),
        build_frame(0x81, b"stream 3 300000", key, mask_in_python),
        build_frame(0x81, b"sink 2", key, mask_in_python),
        build_frame(0x82, b"z" * 70000, key, mask_in_python),
        build_frame(0x82, b"", key, mask_in_python),
        build_frame(0x88, b"\x03\xe8", key, mask_in_python),
    ]
    wire = b"".join(said)
    transport.writes.clear()
    protocol.pause_writing()
    for cut in range(0, len(wire), 7):
        protocol.data_received(wire[cut : cut + 7])
    assert transport.writes == [frame(1, b"hello"), frame(1, b"done"), frame(8, b"\x03\xe8")]
    assert transport.is_closed
    protocol.resume_writing()
    assert transport.writes[3:] == [frame(2, b"m" * 300000)] * 3


def test_figures_are_those_of_a_message() -> None:
    """A call of many messages is divided by their number, and its duration is nobody's."""
    figures = {"cpu": 10.0, "system": 4.0, "rate": 3.0, "p50": 1.0, "p99": 2.0, "rss": 40.0}
    assert per_message(figures, 2) == {"cpu": 5.0, "system": 2.0, "rate": 6.0, "rss": 40.0}


def test_the_floor_of_websockets_sends_what_a_client_must() -> None:
    """Masked frames that say what the scenario says, for each length of the header."""
    for size in (4, 256, 65536):
        assert masked(2, b"z" * size) == build_frame(0x82, b"z" * size, bytes(4), mask_in_python)


@pytest.mark.parametrize(
    ("scenario", "clients"),
    [
        (scenario, ["floor", "keepwarm"])
        for scenario in ("get", "get-tls", "post", "upload", "fresh", "ws-echo", "ws-stream", "ws-mib", "ws-send")
    ],
)
def test_a_small_run(tmp_path: Path, scenario: str, clients: list[str]) -> None:
    """One round against the bundled server: figures for each client, kept as JSON."""
    command = [sys.executable, "-m", "benchmarks", "--quick", "--rounds", "1", "--server", "bundled", scenario]
    chosen = [part for client in clients for part in ("--client", client)]
    done = subprocess.run(
        [*command, *chosen, "--results", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (report,) = tmp_path.glob("bench-*.json")
    measured = json.loads(report.read_text())["scenarios"][scenario]
    assert sorted(measured["figures"]) == sorted(clients)
    assert all(len(rounds) == 1 and rounds[0] > 0 for rounds in measured["figures"].values())
    assert measured["failed"] == {}
