"""nginx with client certificates: sessions that it sees taken up, and certificates that change while we run."""

import asyncio
import itertools
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509

import keepwarm
from benchmarks.nginx import HOST, Nginx, free_port, running

pytestmark = pytest.mark.asyncio

versions = pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
LAST = {"Connection": "close"}

HTTP = """
    ssl_certificate {directory}/server.pem;
    ssl_certificate_key {directory}/server.pem;
    ssl_client_certificate {directory}/authority.pem;
    ssl_verify_client on;
    server {
        listen @OLD ssl;
        ssl_protocols TLSv1.2;
        location / { return 200 '@SEEN'; }
    }
    server {
        listen @NEW ssl;
        ssl_protocols TLSv1.3;
        location / { return 200 '@SEEN'; }
    }
"""
SEEN = (
    '{"connection":$connection,"reused":"$ssl_session_reused","serial":"$ssl_client_serial",'
    '"verified":"$ssl_client_verify","protocol":"$ssl_protocol"}'
)


@dataclass(frozen=True, slots=True)
class Gate:
    """An nginx that lets in who shows a certificate of its authority, and the files of both sides."""

    nginx: Nginx
    directory: Path
    ports: dict[str, int]

    def url(self, version: str) -> str:
        return f"https://{HOST}:{self.ports[version]}/"

    def connector(self, **options: Any) -> keepwarm.TCPConnector:
        cert = (self.directory / "client.pem", None)
        options = {"tls_resumption": True} | options
        return keepwarm.TCPConnector(ca_file=self.directory / "authority.pem", client_cert=cert, **options)

    def renew(self) -> tuple[str, str]:
        """New files for both sides, from a new authority: nginx's certificate, and the number of ours."""
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.directory / "authority.pem"))
        server, client = authority.issue_cert(HOST), authority.issue_cert("client@keepwarm.test")
        server.private_key_and_cert_chain_pem.write_to_path(str(self.directory / "server.pem"))
        client.private_key_and_cert_chain_pem.write_to_path(str(self.directory / "client.pem"))
        return server.cert_chain_pems[0].bytes().decode(), serial_of(client)

    async def until_it_shows(self, certificate: str, version: str) -> None:
        """Wait until new connections are met with this certificate, also after the last of the old workers."""
        address, in_a_row = (HOST, self.ports[version]), 0
        for _ in range(400):
            found = await asyncio.to_thread(ssl.get_server_certificate, address)
            in_a_row = in_a_row + 1 if found.split() == certificate.split() else 0
            if in_a_row == 10:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("nginx goes on with its old certificate")


def serial_of(certificate: trustme.LeafCert) -> str:
    """The serial number as nginx writes it."""
    text = f"{x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes()).serial_number:X}"
    return text.zfill(len(text) + len(text) % 2)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    old, new = free_port(), free_port()
    http = HTTP.replace("@OLD", f"{HOST}:{old}").replace("@NEW", f"{HOST}:{new}").replace("@SEEN", SEEN)
    made = Gate(Nginx(tmp_path, http, (old, new)), tmp_path, {"TLSv1.2": old, "TLSv1.3": new})
    made.renew()
    with running(made.nginx):
        yield made


async def seen(session: keepwarm.ClientSession, url: str, **options: Any) -> dict[str, Any]:
    """What nginx says about the connection."""
    async with session.get(url, **options) as response:
        assert response.status == 200, await response.text()
        found: dict[str, Any] = json.loads(await response.read())
        return found


@versions
@pytest.mark.fault("T10")
async def test_sessions_are_taken_up(gate: Gate, version: str) -> None:
    """Each new connection but the first, as nginx counts; the client's certificate comes along with the session."""
    async with keepwarm.ClientSession(connector=gate.connector()) as session:
        answers = [await seen(session, gate.url(version), headers=LAST) for _ in range(5)]
    assert [answer["reused"] for answer in answers] == [".", "r", "r", "r", "r"]
    assert len({answer["connection"] for answer in answers}) == 5
    assert {(answer["protocol"], answer["verified"]) for answer in answers} == {(version, "SUCCESS")}
    assert len({answer["serial"] for answer in answers}) == 1


@versions
@pytest.mark.fault("T09", "T10")
@pytest.mark.parametrize("options", [{"tls_resumption": False}, {"fast_tls": True}], ids=["off", "fast"])
async def test_full_handshakes(gate: Gate, version: str, options: dict[str, Any]) -> None:
    """Turned off, and with the engine that cannot do it; the client's certificate is shown each time."""
    async with keepwarm.ClientSession(connector=gate.connector(**options)) as session:
        answers = [await seen(session, gate.url(version), headers=LAST) for _ in range(3)]
    assert [(answer["reused"], answer["verified"]) for answer in answers] == [(".", "SUCCESS")] * 3


@versions
@pytest.mark.fault("T09", "T10")
async def test_nobody_gets_in_with_the_session_of_another(gate: Gate, version: str) -> None:
    """A connector without a certificate, after one with, is turned away."""
    async with keepwarm.ClientSession(connector=gate.connector()) as session:
        await seen(session, gate.url(version), headers=LAST)
        without = keepwarm.TCPConnector(ca_file=gate.directory / "authority.pem", tls_resumption=True)
        async with keepwarm.ClientSession(connector=without) as other, other.get(gate.url(version)) as response:
            assert response.status == 400 and "No required SSL certificate" in await response.text()
        assert (await seen(session, gate.url(version)))["reused"] == "r"


@versions
@pytest.mark.parametrize("fast_tls", [False, True], ids=["loop-tls", "fast-tls"])
async def test_certificates_that_change(gate: Gate, version: str, fast_tls: bool) -> None:
    """Both sides get new ones, of another authority: nginx is reloaded, so are we, and callers see no error."""
    connector, url = gate.connector(fast_tls=fast_tls), gate.url(version)
    async with keepwarm.ClientSession(connector=connector) as session:
        before = await seen(session, url)
        certificate, serial = gate.renew()
        gate.nginx.reload()
        await gate.until_it_shows(certificate, version)
        await connector.reload_tls()
        answers = [await seen(session, url, headers=LAST) for _ in range(3)]
        assert connector.stats().total.dial_failures == 0
    assert before["serial"] != serial and {answer["serial"] for answer in answers} == {serial}
    reused = [answer["reused"] for answer in answers]
    assert reused == ([".", ".", "."] if fast_tls else [".", "r", "r"])


@versions
async def test_old_certificates_are_refused(gate: Gate, version: str) -> None:
    """Without a reload of ours the new server is a stranger: its authority is not the one that was read."""
    async with keepwarm.ClientSession(connector=gate.connector()) as session:
        await seen(session, gate.url(version), headers=LAST)
        certificate, _ = gate.renew()
        gate.nginx.reload()
        await gate.until_it_shows(certificate, version)
        with pytest.raises(keepwarm.TLSError, match="certificate verify failed"):
            await seen(session, gate.url(version))


async def test_a_restarted_server_forgets_its_sessions(gate: Gate) -> None:
    """Its keys are gone with it: a full handshake, and no call fails over it."""
    async with keepwarm.ClientSession(connector=gate.connector()) as session:
        flags = []
        for restart, _ in itertools.product((False, True), range(3)):
            if restart and len(flags) == 3:
                gate.nginx.stop()
                gate.nginx.start()
            flags.append((await seen(session, gate.url("TLSv1.3"), headers=LAST))["reused"])
    assert flags == [".", "r", "r", ".", "r", "r"]
