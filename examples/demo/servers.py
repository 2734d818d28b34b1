"""Starts the processes of the demo, two of uvicorn (plain and TLS) and a proxy, and stops them."""

import asyncio
import hashlib
import json
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from examples.demo.proxy import HOST, LOGIN, PASSWORD

ROOT = Path(__file__).resolve().parent.parent.parent
READY_SECONDS = 20.0
STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Servers:
    """Base URLs of what listens, and how it is reached.

    `ca_file` has the authority that signed the certificate of the TLS ones, `fingerprint` is that certificate's. The
    plain process listens at `unix_path` too.
    """

    plain: list[str]
    secure: list[str]
    ca_file: Path
    fingerprint: bytes
    unix_path: str
    proxy: str
    login: str = LOGIN
    password: str = PASSWORD


@asynccontextmanager
async def child_process(module: str, *arguments: str) -> AsyncIterator[list[int]]:
    """The ports on which ``python -m module`` serves."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"examples.demo.{module}",
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
            raise RuntimeError(f"the {module} process ended with the status {await process.wait()}")
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
    issued = authority.issue_cert("localhost", HOST)
    issued.private_key_and_cert_chain_pem.write_to_path(str(certificate))
    authority.cert_pem.write_to_path(str(ca_file))
    der = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
    unix_path = str(directory / "app.sock")
    async with (
        child_process("server", str(plain), "--unix", unix_path) as plain_ports,
        child_process("server", str(secure), "--certificate", str(certificate)) as secure_ports,
        child_process("proxy") as (proxy_port,),
    ):
        yield Servers(
            [f"http://{HOST}:{port}" for port in plain_ports],
            [f"https://{HOST}:{port}" for port in secure_ports],
            ca_file,
            hashlib.sha256(der).digest(),
            unix_path,
            f"http://{HOST}:{proxy_port}",
        )
