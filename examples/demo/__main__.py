"""``python -m examples.demo [URL]``, or ``make demo``."""

import asyncio
import contextlib
import io
import os
import ssl
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path

import uvloop

import keepwarm
from examples.demo.load import TIME_LIMIT, Call, Load, Target
from examples.demo.options import Options, parse
from examples.demo.pool_numbers import pool_numbers
from examples.demo.screen import Screen, summary
from examples.demo.servers import Servers, running_servers

PLAIN, SECURE = 3, 2


def heading(options: Options) -> list[str]:
    versions = f"keepwarm {metadata.version('keepwarm')}, uvloop {metadata.version('uvloop')}"
    machine = f"Python {sys.version.split()[0]}, {os.cpu_count()} cores"
    where = (
        [f"{options.calls:,} GET calls to {options.url}"]
        if options.url
        else [
            f"{options.calls:,} calls to 2 uvicorn processes on loopback, by ten routes: TCP, TLS,",
            "pinned TLS, through a forward proxy, in a CONNECT tunnel, over a unix socket, WebSockets",
        ]
    )
    return [
        f"{versions}; {machine}",
        *where,
        f"{options.callers} calls at a time and at most {options.limit} sockets for {'it' if options.url else 'each'}",
    ]


def local_connectors(servers: Servers, limit: int) -> list[keepwarm.BaseConnector]:
    """Direct, direct with a pin, over the proxy, over the unix socket."""
    context = ssl.create_default_context(cafile=servers.ca_file)
    login = keepwarm.BasicAuth(servers.login, servers.password)
    return [
        keepwarm.TCPConnector(limit=limit, ssl_context=context),
        keepwarm.TCPConnector(limit=limit, ssl_context=context, fingerprint=servers.fingerprint),
        keepwarm.ProxyConnector(servers.proxy, proxy_auth=login, force_close=False, limit=limit, ssl_context=context),
        keepwarm.UnixConnector(servers.unix_path, limit=limit),
    ]


def local_targets(servers: Servers, sessions: list[keepwarm.ClientSession]) -> list[Target]:
    direct, pinned, proxied, local = sessions
    return [
        Target.numbered("GET  catalogue", direct, servers.plain[0]),
        Target.numbered("GET  prices", direct, servers.plain[1]),
        Target.numbered("POST orders", direct, servers.plain[2], post=True),
        Target.numbered("GET  TLS", direct, servers.secure[0]),
        Target.numbered("POST TLS", direct, servers.secure[1], post=True),
        Target.numbered("GET  pinned TLS", pinned, servers.secure[0]),
        Target.numbered("GET  proxy", proxied, servers.plain[0]),
        Target.numbered("GET  CONNECT, TLS", proxied, servers.secure[0]),
        Target.numbered("GET  unix socket", local, "http://catalogue"),
    ]


async def watch(screen: Screen, load: Load) -> None:
    while True:
        await asyncio.sleep(screen.interval)
        screen.show(load, load.count("open"))


async def run_local(load: Load, targets: list[Target], options: Options) -> None:
    """Half of the calls by one route after another, so that CPU time belongs to one row; then half by all at once."""
    routes = len(targets) + 1
    each = max(1, options.calls // (2 * routes))
    for target in targets:
        await load.run(target.name, [target], each)
    first = targets[0]
    await load.run_websockets("WebSocket echo", first.session, first.calls[0].url, each, options.limit)
    await load.run("all at once", targets, max(1, (options.calls - routes * each) // len(targets)))


async def call_all(
    options: Options,
    connectors: list[keepwarm.BaseConnector],
    make_targets: Callable[[list[keepwarm.ClientSession]], list[Target]],
) -> int:
    """Make the calls, show them, and print the table, complete or not. The exit status."""
    screen = Screen(options.calls)
    print("\n".join([screen.style.bold(line) for line in heading(options)] + [""]), flush=True)
    load = Load(connectors, options.callers)
    async with contextlib.AsyncExitStack() as stack:
        sessions = [
            await stack.enter_async_context(keepwarm.ClientSession(connector=connector, timeout=TIME_LIMIT))
            for connector in connectors
        ]
        targets = make_targets(sessions)
        watcher = asyncio.create_task(watch(screen, load))
        try:
            if options.url:
                await load.run(targets[0].name, targets, options.calls)
            else:
                await run_local(load, targets, options)
        finally:
            watcher.cancel()
            screen.end()
            if load.rows:
                print("\n".join(summary(load.rows, screen.style)), flush=True)
                if numbers := pool_numbers(connectors):
                    lines = [f"  {screen.style.dim(line)}" for line in numbers]
                    print("\n".join(["", "  What the pools counted:", *lines]), flush=True)
    return 1 if any(row.failed for row in load.rows) else 0


async def demo(options: Options) -> int:
    url = options.url
    if url is not None:
        context = ssl.create_default_context(cafile=options.ca_file) if options.ca_file else None
        connector = keepwarm.TCPConnector(
            limit=options.limit, verify_ssl=not options.insecure, ssl_context=context, use_dns_cache=True
        )
        return await call_all(options, [connector], lambda sessions: [Target(f"GET {url}", sessions[0], (Call(url),))])
    with tempfile.TemporaryDirectory(prefix="keepwarm-demo-") as directory:
        async with running_servers(Path(directory), PLAIN, SECURE) as servers:
            connectors = local_connectors(servers, options.limit)
            return await call_all(options, connectors, partial(local_targets, servers))


def main() -> int:
    options = parse(sys.argv[1:])
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that cannot show the table's lines still shows the rest
    try:
        return uvloop.run(demo(options))
    except KeyboardInterrupt:
        print("  stopped by Ctrl-C; everything is closed", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
