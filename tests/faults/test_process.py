"""The interpreter's modes and its end (FAULTS L10, L13, L16)."""

import asyncio
import pathlib

import pytest

from tests.support.calling import PLAIN_AND_TLS, serve
from tests.support.certificates import authority
from tests.support.programs import Outcome, run_program
from tests.support.server import Peer, ScriptedServer, ok, response

pytestmark = pytest.mark.asyncio

KINDS = pytest.mark.parametrize("kind", ["plain", "tls", "fast"])
# Each case is a process, so not all are crossed with all.
ENDS = [("plain", how) for how in ("loop open", "closed loop", "runner", "middle", "error")]
ENDS += [("tls", "closed loop"), ("tls", "middle"), ("fast", "closed loop")]
# A report of a slow callback may be the machine's fault. What is slow in itself is slow each time.
TRIES = 3


async def script(peer: Peer) -> None:
    """Answers each request, some of them badly."""
    bad = {
        "/half": response(body=b"half", length=8),
        "/garbage": b"SSH-2.0-OpenSSH\r\n\r\n",
        "/lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        "/surplus": ok(nonce="/surplus") + b"HTTP/1.1 200 OK\r\n",
    }
    while True:
        request = await peer.request()
        if request.target == "/mute":
            continue
        peer.send(bad.get(request.target) or ok(nonce=request.nonce))
        if request.target == "/half":
            peer.fin()


async def run(
    program: str, server: ScriptedServer, kind: str, tmp_path: pathlib.Path, *arguments: str, options: tuple[str, ...]
) -> Outcome:
    loop = asyncio.get_running_loop()
    name = "asyncio" if isinstance(loop, asyncio.SelectorEventLoop) else "uvloop"
    trusted = tmp_path / "authority.pem"
    authority().cert_pem.write_to_path(str(trusted))
    return await run_program(program, name, server.url("").rstrip("/"), str(trusted), kind, *arguments, options=options)


@pytest.mark.fault("L10")
@pytest.mark.parametrize(("kind", "how"), ENDS)
async def test_the_interpreter_ends_with_a_pool_open(kind: str, how: str, tmp_path: pathlib.Path) -> None:
    """No traceback but the program's own, no hang, and the exit code is the program's; the server sees every end."""
    async with serve(script, tls=kind != "plain") as server:
        outcome = await run("exits", server, kind, tmp_path, how, options=("-W", "ignore::ResourceWarning"))
        await server.until_idle()
        assert outcome.code == {"error": 1, "middle": 3}.get(how, 0)
        assert outcome.stderr.count("Traceback") == (how == "error")
        assert outcome.stderr.count("ValueError: the program's own") == (how == "error")
        assert "Exception ignored" not in outcome.stderr
        assert "never retrieved" not in outcome.stderr
        assert "keepwarm" not in outcome.stderr


@pytest.mark.fault("L10")
async def test_the_warning_at_the_end(tmp_path: pathlib.Path) -> None:
    """With ResourceWarning shown, the open session is named once, and nothing of keepwarm's is named beside it."""
    async with serve(script, tls=True) as server:
        outcome = await run("exits", server, "tls", tmp_path, "runner", options=("-W", "always::ResourceWarning"))
        assert outcome.code == 0
        assert outcome.stderr.count("ResourceWarning: Unclosed client session") == 1
        assert "Unclosed connector" not in outcome.stderr
        assert "Unclosed connection" not in outcome.stderr
        assert "Traceback" not in outcome.stderr


@KINDS
@pytest.mark.fault("L13")
async def test_debug_mode(kind: str, tmp_path: pathlib.Path) -> None:
    """Under -X dev, all warnings errors, the loop in debug mode: no callback above 10 ms, nothing warned or logged."""
    slow: set[str] = set()
    async with serve(script, tls=kind != "plain") as server:
        for attempt in range(TRIES):
            outcome = await run("debugged", server, kind, tmp_path, options=("-X", "dev", "-W", "error"))
            assert outcome.code == 0, outcome.stderr
            assert outcome.stderr == ""
            assert outcome.said["logged"] == []
            found = {text.split(" took ")[0].split(" at 0x")[0] for text in outcome.said["slow"]}
            slow = found if attempt == 0 else slow & found
            if not slow:
                break
    assert slow == set()


@PLAIN_AND_TLS
@pytest.mark.fault("L16")
async def test_without_asserts(tls: bool, tmp_path: pathlib.Path) -> None:
    """Under -O the verdicts are the same: hostile answers are refused, the books hold, close() closes."""
    async with serve(script, tls=tls) as server:
        outcome = await run("optimised", server, "tls" if tls else "plain", tmp_path, options=("-O",))
        assert outcome.code == 0, outcome.stderr
        assert len(outcome.said) == 12
        assert outcome.stderr == ""
        assert [request.target for request in server.requests if request.header("x")] == []
