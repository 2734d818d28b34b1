"""Every example does what its first lines say, against a server on loopback."""

import asyncio
import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from examples import dns_cache, first_call, many_endpoints, streaming, through_a_proxy, tls_pinning, unix_socket
from examples.demo.load import GIVE_UP_AFTER, Tally
from examples.demo.options import URL_CALLS, parse
from examples.demo.screen import Style, share, summary
from keepwarm.pool.pins import public_key_info
from tests.support.certificates import authority, der, leaf, server_context
from tests.support.http1 import Request, chunked, response
from tests.support.proxies import ORIGIN, tunnelling
from tests.support.script import run_script
from tests.support.server import Peer, ScriptedServer, answering
from tests.support.unix_sockets import socket_path

pytestmark = pytest.mark.asyncio

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
DEMO_SECONDS = 40.0


async def test_every_example_is_tested() -> None:
    """A program that is added to examples/ is run by one of the files test_examples*.py."""
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_examples*.py"))
    names = {path.stem for path in EXAMPLES.glob("*.py")} - {"__init__"}
    assert {name for name in names if f"{name}.main(" not in tests and f"examples.{name}" not in tests} == set()


async def test_first_call(capsys: pytest.CaptureFixture[str]) -> None:
    """It prints the status, the type and the text of the answer."""
    answer = response(body="grüß dich".encode(), headers=[("Content-Type", "text/plain; charset=utf-8")])
    async with ScriptedServer(answering(lambda _: answer)) as server:
        await first_call.main(server.url("/hello"))
    assert capsys.readouterr().out == "200 text/plain; charset=utf-8\ngrüß dich\n"
    assert [request.target for request in server.requests] == ["/hello"]


async def test_first_call_without_a_url() -> None:
    """It says how to call it."""
    program = [sys.executable, "-m", "examples.first_call"]
    done = await asyncio.to_thread(subprocess.run, program, cwd=EXAMPLES.parent, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "usage: python -m examples.first_call URL\n")


async def test_many_endpoints(capsys: pytest.CaptureFixture[str]) -> None:
    """Each endpoint gets its calls over at most four sockets, and the numbers shown are the server's too."""
    async with ScriptedServer() as one, ScriptedServer() as two:
        await many_endpoints.main(one.url("/a"), two.url("/b"))
        shown = capsys.readouterr().out
        assert "100 calls, 100 with status 200\n" in shown
        for server in (one, two):
            assert len(server.requests) == 50
            assert server.accepted <= 4
            assert f"http://127.0.0.1:{server.port}: 50 calls over {server.accepted} sockets" in shown


async def test_dns_cache(capsys: pytest.CaptureFixture[str]) -> None:
    """Its own resolver is asked once, the two addresses get half of the calls each, and an unknown name says so."""
    async with ScriptedServer() as one, ScriptedServer(host="127.0.0.2", port=one.port) as two:
        await dns_cache.main(one.port, "127.0.0.1", "127.0.0.2")
        assert [len(server.requests) for server in (one, two)] == [20, 20]
    shown = capsys.readouterr().out
    assert shown.startswith("40 dials, 1 lookup; 32 answers from the cache, 8 waited for it\n")
    assert "cannot resolve 'other.internal': it is not in the table" in shown


async def test_tls_pinning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The right pin connects; with a wrong one the server never sees a request."""
    ca_file = tmp_path / "ca.pem"
    authority().cert_pem.write_to_path(str(ca_file))
    pin = hashlib.sha256(der(leaf())).hexdigest()
    async with ScriptedServer(ssl=server_context()) as server:
        right = tls_pinning.read_pins(["00" * 32, pin], "127.0.0.1")
        wrong = tls_pinning.read_pins(["key:" + "00" * 32, f"other.test={pin}"], "127.0.0.1")
        assert await tls_pinning.main(server.url(), right, str(ca_file))
        assert not await tls_pinning.main(server.url(), wrong, str(ca_file))
        assert len(server.requests) == 1
        assert await tls_pinning.main(server.url(), wrong, str(ca_file), report_only=True)
    key = hashlib.sha256(public_key_info(der(leaf()))).hexdigest()
    first, second, third, fourth = capsys.readouterr().out.splitlines()
    assert first == fourth == "status 200"
    assert second == f"nothing was sent: 127.0.0.1:{server.port} has the certificate {key}"
    assert third.startswith("only reported: the certificate of 127.0.0.1") and key in third


async def test_tls_pinning_from_the_command_line(tmp_path: Path) -> None:
    """Its status says whether the pin fits."""
    ca_file = tmp_path / "ca.pem"
    authority().cert_pem.write_to_path(str(ca_file))
    pin = hashlib.sha256(der(leaf())).hexdigest()
    async with ScriptedServer(ssl=server_context()) as server:
        for given, status in ((pin, 0), (f"127.0.0.1={pin}", 0), ("00" * 32, 1)):
            program = [sys.executable, "-m", "examples.tls_pinning", "--ca", str(ca_file), server.url(), given]
            done = await asyncio.to_thread(subprocess.run, program, cwd=EXAMPLES.parent, capture_output=True, text=True)
            assert (done.returncode, done.stderr) == (status, "")


async def test_through_a_proxy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two calls each over one tunnel and one plain connection; a refusal is told with its status and reason."""
    ca_file = tmp_path / "ca.pem"
    authority().cert_pem.write_to_path(str(ca_file))

    async def proxy_all(peer: Peer) -> None:
        await peer.changes.until(lambda: peer.unread or peer.closed)
        if b"refused.test" in peer.unread:
            await run_script(answering(lambda _: response("403 Not that one")), peer)
        else:
            script = answering(lambda _: response())
            await run_script(tunnelling(script) if peer.unread.startswith(b"CONNECT") else script, peer)

    secure, plain, refused = f"https://{ORIGIN}/a", f"http://{ORIGIN}/b", "https://refused.test/c"
    async with ScriptedServer(proxy_all) as server:
        address = f"127.0.0.1:{server.port}"
        await through_a_proxy.main(f"http://me:secret@{address}", secure, plain, ca_file=str(ca_file))
        await through_a_proxy.main(f"http://{address}", refused)
        assert server.accepted == 4
    assert capsys.readouterr().out.splitlines() == [
        *[f"200 {secure}", f"200 {plain}"] * 2,
        f"4 calls, 2 dials through http://{address}",
        *[f"http://{address} refuses {refused}: 403 Not that one"] * 2,
        f"0 calls, 2 dials through http://{address}",
    ]


async def test_streaming(capsys: pytest.CaptureFixture[str]) -> None:
    """It reports the size and the hash of the whole download, and its upload arrives whole."""
    pieces = [bytes([number]) * 10_000 for number in range(30)]

    def respond(request: Request) -> bytes:
        return chunked(pieces) if request.method == "GET" else response("201 Created")

    async with ScriptedServer(answering(respond)) as server:
        await streaming.main(server.url("/data"))
    digest = hashlib.sha256(b"".join(pieces)).hexdigest()
    assert capsys.readouterr().out == (f"downloaded 300000 bytes, SHA-256 {digest}\nuploaded in chunks, status 201\n")
    assert server.requests[1].body == b"".join(b"line %d\n" % number for number in range(1000))
    assert server.requests[1].is_chunked


async def test_unix_socket(capsys: pytest.CaptureFixture[str]) -> None:
    """A hundred calls to its own server go over one connection; with a path it calls who listens there."""
    await unix_socket.main()
    assert capsys.readouterr().out == "100 calls over 1 connection, status 200\nanswer 100 on this connection\n"
    with socket_path() as path:
        async with ScriptedServer(answering(lambda _: response(body=b"hello")), path=path) as server:
            await unix_socket.main(path, "http://other/x")
        assert [(r.target, r.header("host")) for r in server.requests] == [("/x", "other")]
    assert capsys.readouterr().out == "1 calls over 1 connection, status 200\nhello\n"


def demo_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "examples.demo", *arguments]


async def run_demo(*arguments: str) -> tuple[int, str, str]:
    """(exit status, standard output, standard error) of the demo, while this loop serves what it calls."""
    process = await asyncio.create_subprocess_exec(
        *demo_command(*arguments), cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), DEMO_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def test_demo_with_its_own_servers() -> None:
    """A small run answers every call and says so; the sockets are those that the limit allows."""
    command = demo_command("--calls", "1800", "--limit", "3")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEMO_SECONDS, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "All 1,800 calls were answered, each with its own answer." in done.stdout
    starts = ("GET", "POST", "WebSocket", "all", "total")
    rows = [line.split() for line in done.stdout.splitlines() if line.strip().startswith(starts)]
    calls = [int(row[-9].replace(",", "")) for row in rows]
    sockets = [int(row[-3]) for row in rows]
    assert calls == [90] * 10 + [900, 1800]
    assert all(1 <= opened <= 3 for opened in sockets[:9])
    assert sockets[9] <= 3  # the WebSockets take what the calls left warm
    assert sockets[10] <= 3 * 9 - sum(sockets[:9]) + 3  # only what the WebSockets used up is opened again
    assert sockets[11] == sum(sockets[:11])


async def test_demo_with_a_url() -> None:
    """With a URL the calls go there, eight at a time."""
    async with ScriptedServer() as server:
        status, out, err = await run_demo(server.url("/x"), "--calls", "200")
        assert (status, err) == (0, "")
        assert len(server.requests) == 200
        assert server.accepted <= 8
    assert "All 200 calls were answered" in out


async def test_demo_fails_when_a_call_fails() -> None:
    """A server that answers 503 makes the exit status 1, and is not asked for ever."""
    async with ScriptedServer(answering(lambda _: response("503 Service Unavailable"))) as server:
        status, out, _ = await run_demo(server.url("/x"), "--calls", "500")
        assert status == 1
        assert GIVE_UP_AFTER <= len(server.requests) < 2 * GIVE_UP_AFTER
    assert "x status 503" in out


def test_demo_ends_cleanly_on_ctrl_c() -> None:
    """Stopped in the middle it shows what it has, and its servers are gone when it is."""
    command = demo_command("--calls", "1000000")
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            while process.stdout.readline().strip():
                pass  # the heading ends with an empty line; by then the servers run
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=DEMO_SECONDS)
        finally:
            process.kill()
    assert (process.returncode, err.strip()) == (130, "stopped by Ctrl-C; everything is closed")
    assert "GET  catalogue" in out
    assert len(children) == 3
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def test_demo_options(capsys: pytest.CaptureFixture[str]) -> None:
    """Defaults are gentle to somebody's own server; nonsense is refused."""
    own = parse(["https://example.org/"])
    assert (own.calls, own.callers) == (URL_CALLS, 8)
    for wrong in (["ftp://x/"], ["--calls", "0"], ["--insecure", "--ca-file", "x", "https://x/"]):
        with pytest.raises(SystemExit) as caught:
            parse(wrong)
        assert caught.value.code == 2
    assert "URL must begin with http://" in capsys.readouterr().err


def test_a_share_is_never_rounded_up() -> None:
    """Only all of them are 100 %."""
    assert share(10, 10) == "100 %"
    assert share(99_999, 100_000) == "99.99 %"
    assert share(0, 0) == "-"


def test_the_summary_names_what_failed() -> None:
    """Failures are counted by their reason, and a row without answers has no latency."""
    row = Tally("GET x", wall=1.0, cpu=0.5)
    row.fail("status 500")
    row.fail("status 500")
    text = "\n".join(summary([row], Style(terminal=False)))
    assert "2 of 2 calls failed:" in text
    assert "2 x status 500" in text
