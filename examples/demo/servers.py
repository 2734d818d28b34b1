"""Starts the uvicorn processes of the demo, plain and TLS, and stops them."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

ROOT = Path(__file__).resolve().parent.parent.parent
READY_SECONDS = 20.0
STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Servers:
    """Base URLs of what listens, and the file of the authority that signed the TLS ones."""

    plain: list[str]
    secure: list[str]
    ca_file: Path


@asynccontextmanager
async def uvicorn_process(*arguments: str) -> AsyncIterator[list[int]]:
    """The ports on which a child process serves."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "examples.demo.server",
        *arguments,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is ours to handle; the child ends with its standard input
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), READY_SECONDS)
        if not line:
            raise RuntimeError(f"the uvicorn process ended with the status {await process.wait()}")
        yield json.loads(line)
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


@asynccontextmanager
async def running_servers(directory: Path, plain: int, secure: int) -> AsyncIterator[Servers]:
    """`plain` and `secure` endpoints, each kind in a process of its own, with a certificate made for this run."""
    authority = trustme.CA()
    certificate = directory / "server.pem"
    ca_file = directory / "ca.pem"
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    authority.cert_pem.write_to_path(str(ca_file))
    async with (
        uvicorn_process(str(plain)) as plain_ports,
        uvicorn_process(str(secure), str(certificate)) as secure_ports,
    ):
        yield Servers(
            [f"http://127.0.0.1:{port}" for port in plain_ports],
            [f"https://127.0.0.1:{port}" for port in secure_ports],
            ca_file,
        )
