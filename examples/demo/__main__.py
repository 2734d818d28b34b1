"""``python -m examples.demo [URL]``, or ``make demo``."""

import asyncio
import io
import os
import ssl
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import uvloop

import keepwarm
from examples.demo.load import TIME_LIMIT, Call, Load, Target
from examples.demo.options import Options, parse
from examples.demo.screen import Screen, summary
from examples.demo.servers import Servers, running_servers

PLAIN = (("GET  catalogue", False), ("GET  prices", False), ("POST orders", True))
SECURE = (("GET  accounts, TLS", False), ("POST payments, TLS", True))
ENDPOINTS = len(PLAIN) + len(SECURE)


def heading(options: Options) -> list[str]:
    versions = f"keepwarm {metadata.version('keepwarm')}, uvloop {metadata.version('uvloop')}"
    machine = f"Python {sys.version.split()[0]}, {os.cpu_count()} cores"
    where = (
        f"{options.calls:,} GET calls to {options.url}"
        if options.url
        else f"{options.calls:,} calls to {ENDPOINTS} endpoints on loopback, served by 2 uvicorn processes"
    )
    return [
        f"{versions}; {machine}",
        where,
        f"{options.callers} calls at a time and at most {options.limit} sockets for {'it' if options.url else 'each'}",
    ]


def local_targets(servers: Servers) -> list[Target]:
    named = zip((*PLAIN, *SECURE), (*servers.plain, *servers.secure), strict=True)
    return [Target.numbered(name, base, post) for (name, post), base in named]


async def watch(screen: Screen, load: Load, connector: keepwarm.BaseConnector) -> None:
    while True:
        await asyncio.sleep(screen.interval)
        screen.show(load, connector.stats().total.open)


async def run_local(load: Load, targets: list[Target], calls: int) -> None:
    """Half of the calls to one endpoint after another, so that CPU time belongs to one row; then half to all."""
    each = max(1, calls // (2 * len(targets)))
    for target in targets:
        await load.run(target.name, [target], each)
    await load.run("all five at once", targets, each)


async def call_all(options: Options, connector: keepwarm.TCPConnector, targets: list[Target]) -> int:
    """Make the calls, show them, and print the table, complete or not. The exit status."""
    screen = Screen(options.calls)
    print("\n".join([screen.style.bold(line) for line in heading(options)] + [""]), flush=True)
    async with keepwarm.ClientSession(connector=connector, timeout=TIME_LIMIT) as session:
        load = Load(session, connector, options.callers)
        watcher = asyncio.create_task(watch(screen, load, connector))
        try:
            if options.url:
                await load.run(f"GET {options.url}", targets, options.calls)
            else:
                await run_local(load, targets, options.calls)
        finally:
            watcher.cancel()
            screen.end()
            if load.rows:
                print("\n".join(summary(load.rows, screen.style)), flush=True)
    return 1 if any(row.failed for row in load.rows) else 0


async def demo(options: Options) -> int:
    if options.url:
        context = ssl.create_default_context(cafile=options.ca_file) if options.ca_file else None
        connector = keepwarm.TCPConnector(
            limit=options.limit, verify_ssl=not options.insecure, ssl_context=context, use_dns_cache=True
        )
        return await call_all(options, connector, [Target(options.url, options.url, (Call(options.url),))])
    with tempfile.TemporaryDirectory(prefix="keepwarm-demo-") as directory:
        async with running_servers(Path(directory), len(PLAIN), len(SECURE)) as servers:
            context = ssl.create_default_context(cafile=servers.ca_file)
            connector = keepwarm.TCPConnector(limit=options.limit, ssl_context=context)
            return await call_all(options, connector, local_targets(servers))


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
