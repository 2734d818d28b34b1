"""nginx with a configuration that lets a test see from the server's side what the client did."""

import hashlib
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from benchmarks.nginx import HOST, Nginx, free_port, running
from tests.real.versions import server_versions

BIG_SIZE = 8 * 1024 * 1024
CHUNKED_SIZE = 300_000
HEADER_PIECE = "h" * 1500
WHO = '{"connection":$connection,"requests":$connection_requests}'
REQUESTS_EACH = 10
IDLE_MILLISECONDS = 40

# Four ports: plain and TLS with patience, one that ends a connection after REQUESTS_EACH, one that ends it when idle.
HTTP = """
    gzip off;
    large_client_header_buffers 4 32k;
    client_max_body_size 16m;
    ssl_certificate {directory}/server.pem;
    ssl_certificate_key {directory}/server.pem;
    log_format line '$connection $connection_requests $request';
    server {
        listen @PLAIN;
        listen @SECURE ssl;
        keepalive_requests 1000000;
        keepalive_timeout 3600s;
        access_log {directory}/access.log line;
        set $piece @PIECE;
        location = /who { return 200 '@WHO'; }
        location = /drop { return 444; }
        location = /length { proxy_pass http://@PLAIN/inner; proxy_http_version 1.1; }
        location = /inner { return 200 '$content_length'; }
        location = /header { add_header X-Large $piece$piece$piece$piece; return 200 'ok'; }
        location = /header-too-large { add_header X-Large $piece$piece$piece$piece$piece$piece; return 200 'ok'; }
        location = /empty { return 204; }
        location = /big { root {directory}; }
        location = /chunked { root {directory}; sub_filter_types *; sub_filter 'never in the file' ''; }
        location /store/ { root {directory}; dav_methods PUT DELETE; create_full_put_path on; }
    }
    server {
        listen @SHORT;
        keepalive_requests @REQUESTS_EACH;
        location = /who { return 200 '@WHO'; }
    }
    server {
        listen @HASTY;
        keepalive_timeout @IDLEms;
        location = /who { return 200 '@WHO'; }
    }
"""


@dataclass(frozen=True, slots=True)
class Site:
    """A running nginx: base URLs, the context that trusts it, and what it serves."""

    nginx: Nginx
    directory: Path
    plain: str
    secure: str
    short: str
    hasty: str
    tls: ssl.SSLContext
    fingerprint: bytes

    def logged(self) -> list[str]:
        """The requests that the patient server has logged: connection, number on it, request line."""
        return (self.directory / "access.log").read_text().splitlines()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say who the other side was. A header would not be shown with -q."""
    terminalreporter.write_sep("-", "servers")
    for name, version in server_versions().items():
        terminalreporter.write_line(f"{name} {version}")


def write_files(directory: Path, authority: trustme.CA) -> trustme.LeafCert:
    certificate = authority.issue_cert(HOST, "localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(directory / "server.pem"))
    (directory / "big").write_bytes(os.urandom(BIG_SIZE))
    (directory / "chunked").write_bytes(b"0123456789" * (CHUNKED_SIZE // 10))
    return certificate


def fill(text: str, ports: list[int]) -> str:
    names = {"@PLAIN": 0, "@SECURE": 1, "@SHORT": 2, "@HASTY": 3}
    for name, index in names.items():
        text = text.replace(name, f"{HOST}:{ports[index]}")
    text = text.replace("@REQUESTS_EACH", str(REQUESTS_EACH)).replace("@IDLE", str(IDLE_MILLISECONDS))
    return text.replace("@PIECE", HEADER_PIECE).replace("@WHO", WHO)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("nginx")
    authority = trustme.CA()
    certificate = write_files(directory, authority)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    der = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    ports = [free_port() for _ in range(4)]
    plain, secure, short, hasty = ports
    with running(Nginx(directory, fill(HTTP, ports), tuple(ports))) as nginx:
        yield Site(
            nginx,
            directory,
            f"http://{HOST}:{plain}",
            f"https://{HOST}:{secure}",
            f"http://{HOST}:{short}",
            f"http://{HOST}:{hasty}",
            context,
            hashlib.sha256(der).digest(),
        )
