"""The clients that take part, and what each needs to be installed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClientSpec:
    """One participant. `module` has ``async def open_client(job: Job) -> Client``.

    `native`: it keeps its connections outside Python's allocators, so that these cannot tell what one takes.
    """

    name: str
    module: str
    requires: tuple[str, ...]
    fast_tls: bool = False
    native: bool = False


CLIENTS = (
    ClientSpec("floor", "benchmarks.clients.floor", ("uvloop", "httptools")),
    ClientSpec("floor-fast-tls", "benchmarks.clients.floor", ("uvloop", "httptools", "aiofastnet"), fast_tls=True),
    ClientSpec("keepwarm", "benchmarks.clients.keepwarm_client", ("keepwarm",)),
    ClientSpec("keepwarm-fast-tls", "benchmarks.clients.keepwarm_client", ("keepwarm", "aiofastnet"), fast_tls=True),
    ClientSpec("keepwarm-full-tls", "benchmarks.clients.keepwarm_client", ("keepwarm",)),
    ClientSpec("keepwarm-proxy", "benchmarks.clients.keepwarm_client", ("keepwarm",)),
    ClientSpec("aiohttp-proxy", "benchmarks.clients.aiohttp_client", ("aiohttp",)),
    ClientSpec("aiohttp", "benchmarks.clients.aiohttp_client", ("aiohttp",)),
    ClientSpec("httpx", "benchmarks.clients.httpx_client", ("httpx",)),
    ClientSpec("pyreqwest", "benchmarks.clients.pyreqwest_client", ("pyreqwest",), native=True),
    ClientSpec("websockets", "benchmarks.clients.websockets_client", ("websockets",)),
    ClientSpec("picows", "benchmarks.clients.picows_client", ("picows",)),
)

BY_NAME = {spec.name: spec for spec in CLIENTS}
