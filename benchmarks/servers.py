"""The server of a run: nginx where it is installed, else the bundled one. Always a process of its own, on loopback."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import trustme

from benchmarks.launch import command
from benchmarks.nginx import STOP_SECONDS, Nginx, free_port, nginx_program, running
from benchmarks.server import HOST, JSON_BODY, MIB

ROOT = Path(__file__).resolve().parent.parent

NGINX_HTTP = """
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
    ssl_certificate {directory}/server.pem;
    ssl_certificate_key {directory}/server.pem;
    ssl_session_cache shared:bench:1m;
    server {
        listen LISTEN_TCP backlog=4096;
        listen LISTEN_TLS ssl backlog=4096;
        listen unix:{directory}/bench.sock backlog=4096;
        location = /json { return 200 'JSON_BODY'; }
        location = /post { return 200 'JSON_BODY'; }
        # `return` would answer before the body is there. A proxy reads it all first; here it sends none of it on.
        location = /upload {
            client_max_body_size 0;
            client_body_buffer_size 16m;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header Transfer-Encoding "";
            proxy_method GET;
            proxy_pass http://LISTEN_TCP/json;
        }
        location = /mib { root {directory}; default_type application/octet-stream; }
    }
"""


@dataclass(frozen=True, slots=True)
class Addresses:
    kind: str
    tcp: int
    tls: int
    unix: str
    ca_file: str
    proxy: str | None = None
    # The same server, by a way as long as that through the proxy.
    relayed: "Addresses | None" = None

    def url(self, path: str, tls: bool) -> str:
        return f"https://{HOST}:{self.tls}{path}" if tls else f"http://{HOST}:{self.tcp}{path}"


def make_certificates(directory: Path) -> str:
    """Write server.pem and ca.pem; the path of the latter."""
    authority = trustme.CA()
    # One authority between the root and the server, as almost everywhere: a full handshake reads two certificates.
    certificate = authority.create_child_ca().issue_cert(HOST, "localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(directory / "server.pem"))
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    return str(directory / "ca.pem")


def choose(wanted: str) -> str:
    """`auto` is nginx where it is installed."""
    return ("nginx" if nginx_program() else "bundled") if wanted == "auto" else wanted


@contextlib.contextmanager
def nginx_server(directory: Path, core: int | None) -> Iterator[Addresses]:
    ca_file = make_certificates(directory)
    (directory / "mib").write_bytes(b"\0" * MIB)
    tcp, tls = free_port(), free_port()
    http = NGINX_HTTP.replace("LISTEN_TCP", f"{HOST}:{tcp}").replace("LISTEN_TLS", f"{HOST}:{tls}")
    unix = str(directory / "bench.sock")
    with running(Nginx(directory, http.replace("JSON_BODY", JSON_BODY.decode()), (tcp, tls, unix), core)):
        yield Addresses("nginx", tcp, tls, unix, ca_file)


@contextlib.contextmanager
def bundled_server(directory: Path, core: int | None) -> Iterator[Addresses]:
    ca_file = make_certificates(directory)
    process = subprocess.Popen(
        command(core, [sys.executable, "-m", "benchmarks.server", str(directory)]),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the parent to handle
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the bundled server ended with the status {process.wait()}")
        yield Addresses("bundled", ca_file=ca_file, **json.loads(line))
    finally:
        process.stdin.close()
        process.stdout.close()
        stop(process)


@contextlib.contextmanager
def relaying_proxy(addresses: Addresses, core: int | None) -> Iterator[Addresses]:
    """The addresses, with those of a proxy that runs until the block ends."""
    process = subprocess.Popen(
        command(core, [sys.executable, "-m", "benchmarks.proxy", str(addresses.tcp), str(addresses.tls)]),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the parent to handle
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the proxy ended with the status {process.wait()}")
        proxy, tcp, tls = json.loads(line)
        yield replace(addresses, proxy=f"http://{HOST}:{proxy}", relayed=replace(addresses, tcp=tcp, tls=tls))
    finally:
        process.stdin.close()
        process.stdout.close()
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that was told to end; after STOP_SECONDS, kill it."""
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


SERVERS = {"nginx": nginx_server, "bundled": bundled_server}
