"""What is measured."""

from dataclasses import dataclass

from benchmarks.job import Kind
from benchmarks.server import JSON_SIZE, MIB

TCP_CLIENTS = ("floor", "keepwarm", "aiohttp", "httpx", "pyreqwest")
TLS_CLIENTS = ("floor", "floor-fast-tls", "keepwarm", "keepwarm-fast-tls", "aiohttp", "httpx", "pyreqwest")
UNIX_CLIENTS = ("floor", "keepwarm", "aiohttp", "httpx")
RECONNECT_CLIENTS = ("keepwarm", "keepwarm-full-tls", "keepwarm-fast-tls", "aiohttp")
WS_CLIENTS = ("floor", "keepwarm", "aiohttp", "websockets", "picows")
PROXY_CLIENTS = ("keepwarm", "keepwarm-proxy", "aiohttp-proxy")
IDLE_CLIENTS = ("floor", "keepwarm", "aiohttp", "pyreqwest")
IMPORTS = ("keepwarm", "aiohttp", "httpx", "pyreqwest.client")


@dataclass(frozen=True, slots=True)
class Calls:
    """A kind of call, made again and again. `calls` is the most that one round makes. Where a call is `messages` of a
    WebSocket, the figures are for one of them."""

    name: str
    title: str
    path: str
    expect: int
    at_once: int
    clients: tuple[str, ...] = TCP_CLIENTS
    tls: bool = False
    unix: bool = False
    proxy: bool = False
    kind: Kind = "get"
    keepalive: bool = True
    calls: int = 4000
    messages: int = 1
    unit: str = "CPU µs per call"


@dataclass(frozen=True, slots=True)
class Imports:
    """CPU time of an import in a fresh interpreter."""

    name: str = "import"
    title: str = "import in a fresh interpreter"
    clients: tuple[str, ...] = IMPORTS
    unit: str = "CPU ms"


@dataclass(frozen=True, slots=True)
class Idle:
    """Memory of an idle connection."""

    name: str = "idle"
    title: str = "memory of one idle connection, TCP"
    clients: tuple[str, ...] = IDLE_CLIENTS
    connections: int = 2000
    kind: Kind = "get"
    unit: str = "live KiB per connection"


Scenario = Calls | Imports | Idle

SCENARIOS: tuple[Scenario, ...] = (
    Calls("get", "warm GET, 150-byte JSON, TCP, 32 at a time", "/json", JSON_SIZE, 32),
    Calls("get-1", "warm GET, 150-byte JSON, TCP, 1 at a time", "/json", JSON_SIZE, 1),
    Calls(
        "get-unix",
        "warm GET, 150-byte JSON, unix socket, 32 at a time",
        "/json",
        JSON_SIZE,
        32,
        UNIX_CLIENTS,
        unix=True,
    ),
    Calls("get-tls", "warm GET, 150-byte JSON, TLS, 32 at a time", "/json", JSON_SIZE, 32, TLS_CLIENTS, tls=True),
    Calls("get-tls-1", "warm GET, 150-byte JSON, TLS, 1 at a time", "/json", JSON_SIZE, 1, TLS_CLIENTS, tls=True),
    Calls(
        "get-proxy",
        "warm GET, 150-byte JSON, directly and through a proxy, 32 at a time",
        "/json",
        JSON_SIZE,
        32,
        PROXY_CLIENTS,
        proxy=True,
    ),
    Calls(
        "get-tunnel",
        "warm GET, 150-byte JSON, TLS, directly and in a proxy's tunnel, 32 at a time",
        "/json",
        JSON_SIZE,
        32,
        PROXY_CLIENTS,
        tls=True,
        proxy=True,
    ),
    Calls("post", "warm POST, 1 KiB JSON, TCP, 32 at a time", "/post", JSON_SIZE, 32, kind="post"),
    Calls("download", "download of 1 MiB, TCP, 4 at a time", "/mib", MIB, 4, calls=400),
    Calls("upload", "upload of 10 MiB in chunks, TCP, 4 at a time", "/upload", JSON_SIZE, 4, kind="upload", calls=24),
    Calls(
        "fresh", "GET on a new connection each, TCP, 8 at a time", "/json", JSON_SIZE, 8, keepalive=False, calls=1000
    ),
    Calls(
        "reconnect-tls",
        "GET on a new TLS connection each, 4 at a time",
        "/json",
        JSON_SIZE,
        4,
        RECONNECT_CLIENTS,
        tls=True,
        keepalive=False,
        calls=400,
    ),
    Calls("ws-echo", "WebSocket, echo of 256 bytes, 1 at a time", "/ws", 256, 1, WS_CLIENTS, kind="ws-echo"),
    Calls(
        "ws-stream",
        "WebSocket, receiving a stream of 256-byte messages",
        "/ws",
        256,
        1,
        WS_CLIENTS,
        kind="ws-stream",
        messages=2000,
        unit="CPU µs per message",
    ),
    Calls(
        "ws-mib",
        "WebSocket, receiving messages of 1 MiB",
        "/ws",
        MIB,
        1,
        WS_CLIENTS,
        kind="ws-mib",
        calls=80,
        messages=8,
        unit="CPU µs per message",
    ),
    Calls(
        "ws-send",
        "WebSocket, sending binary messages of 64 KiB",
        "/ws",
        4,
        1,
        WS_CLIENTS,
        kind="ws-send",
        calls=200,
        messages=64,
        unit="CPU µs per message",
    ),
    Imports(),
    Idle(),
    Idle("ws-idle", "memory of one idle WebSocket with heartbeat, TCP", WS_CLIENTS, 5000, "ws-idle"),
)

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
