"""FAULTS U01 to U05: a unix socket that cannot be reached. The error names the path, and nothing stays open."""

import asyncio
import contextlib
import itertools
import os
import socket
import sys
from collections.abc import Awaitable, Callable

import pytest

from keepwarm.client.session import ClientSession
from keepwarm.pool import unix_dialer as unix_dialer_module
from keepwarm.pool.dial import DialRequest
from keepwarm.pool.errors import ClientOSError, ConnectError, ConnectTimeoutError
from keepwarm.pool.unix_connector import UnixConnector
from keepwarm.pool.unix_dialer import PAUSES
from tests.support.calling import PLAIN_AND_TLS, fetch, numbers
from tests.support.dialing import dial_request, hang_up
from tests.support.http1 import ok
from tests.support.programs import run_program
from tests.support.unix_sockets import Pauses, bound, crowded, serve_at, socket_path, unix_dialer, unix_session

pytestmark = pytest.mark.asyncio


async def refusal(path: str, *, tls: bool = False) -> ConnectError:
    """The error of a call to `path`; twice, with a limit of one: the slot is free after it."""
    scheme = "https" if tls else "http"
    async with unix_session(path, limit=1) as of:
        for _ in range(2):
            with pytest.raises(ClientOSError) as caught:
                await of.get(f"{scheme}://a.test/secret")
            assert numbers(of).open == 0
    error = caught.value
    assert isinstance(error, ConnectError)
    assert error.phase == "connect" and error.reused is False and error.endpoint is not None
    port = 443 if tls else 80
    assert str(error).startswith(f"Cannot connect to host a.test:{port} ssl:{tls} [")
    assert len(error.attempts) == 1
    return error


@pytest.mark.fault("U01")
@PLAIN_AND_TLS
async def test_missing(tls: bool) -> None:
    """A path where nothing is: a connect error with the path, and what to check."""
    with socket_path() as path:
        error = await refusal(path, tls=tls)
        assert isinstance(error, OSError) and error.errno == 2
        assert f"tried unix:{path}: No such file or directory. Check the path, and that the server runs" in str(error)
        assert error.attempts == ((f"unix:{path}", "No such file or directory"),)


@pytest.mark.fault("U01")
@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("no/such/file.sock", "A relative path counts from the working directory"),
        ("@no-such-name", r"begins with a NUL: '\0no-such-name'"),
        ("/dev/null/x.sock", "A part of the path is no directory"),
    ],
)
async def test_the_hint_fits_the_path(path: str, hint: str) -> None:
    """What is written like a mistake is explained as one."""
    assert hint in str(await refusal(path))


@pytest.mark.fault("U01")
async def test_not_a_socket() -> None:
    """A regular file, a directory: a connect error that says so."""
    with socket_path() as path:
        os.mknod(path)
        for wrong in (path, os.path.dirname(path)):
            assert "There is a file of another kind at this path" in str(await refusal(wrong))


@pytest.mark.fault("U01")
async def test_a_socket_of_another_type() -> None:
    """A datagram socket: a connect error that says what is needed."""
    with socket_path() as path, bound(path, socket.SOCK_DGRAM):
        assert "HTTP needs a stream socket" in str(await refusal(path))


@pytest.mark.fault("U01")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract names")
async def test_an_abstract_name_that_nobody_has() -> None:
    """The NUL is shown escaped."""
    error = await refusal("\0keepwarm-nobody-has-this")
    assert "tried unix:\\x00keepwarm-nobody-has-this: Connection refused. Check that the server runs" in str(error)
    assert "\0" not in str(error)


@pytest.mark.fault("U03")
@PLAIN_AND_TLS
@pytest.mark.parametrize("listened", [False, True], ids=["bound", "stale"])
async def test_stale(tls: bool, listened: bool) -> None:
    """A socket file without a listener, or of a server that is gone: a connect error with the path."""
    with socket_path() as path:
        with bound(path, backlog=1 if listened else None):
            pass
        error = await refusal(path, tls=tls)
        assert f"tried unix:{path}: Connection refused. The socket file is there, but nobody listens" in str(error)


@pytest.mark.fault("U03")
async def test_a_server_that_comes_later() -> None:
    """The next call works once the file has a listener again."""
    with socket_path() as path, bound(path):
        async with unix_session(path) as of:
            with pytest.raises(ConnectError):
                await of.get("http://localhost/")
            os.unlink(path)
            async with serve_at(path) as server:
                assert await fetch(of, server.url("/x")) == "/x"


@pytest.mark.fault("U02")
@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("closed", ["file", "directory"])
async def test_no_permission(closed: str) -> None:
    """A file, or a directory above it, that this user must not use: a connect error with the path and what to change.

    Root may use anything, so the call is made by a process that has given its rights up.
    """
    with socket_path("d/s") as path:
        directory = os.path.dirname(path)
        os.mkdir(directory)
        async with serve_at(path) as server:
            os.chmod(os.path.dirname(directory), 0o755)
            os.chmod(path, 0o000 if closed == "file" else 0o777)
            os.chmod(directory, 0o000 if closed == "directory" else 0o755)
            outcome = await run_program("unix_without_rights", path)
            os.chmod(directory, 0o755)
            assert (outcome.code, outcome.stderr) == (0, "")
            assert outcome.said["errno"] == 13 and outcome.said["open"] == 0
            assert f"tried unix:{path}: Permission denied. This process (uid " in outcome.said["text"]
            assert server.accepted == 0


@pytest.mark.fault("U05")
@PLAIN_AND_TLS
async def test_a_full_queue_is_tried_again(tls: bool) -> None:
    """Growing pauses, a bounded number; then a connect error that names the path and the queue. No busy loop."""
    pauses = Pauses()
    with socket_path() as path, crowded(path):
        request = dial_request("a.test", 443 if tls else 80, tls)
        with pytest.raises(ConnectError, match=r"the server's queue was full at each of 9 tries in 1\.275 s") as caught:
            await unix_dialer(path, pause=pauses).open(request)
        assert f"unix:{path}" in str(caught.value) and "backlog" in str(caught.value)
    assert pauses.taken == list(PAUSES)
    assert all(later == 2 * earlier for earlier, later in itertools.pairwise(PAUSES))
    assert PAUSES[0] >= 0.005 and sum(PAUSES) < 2


@pytest.mark.fault("U05")
async def test_a_queue_that_gets_room() -> None:
    """The next try connects, and no further pause is made."""
    pauses = Pauses()
    with socket_path() as path, crowded(path) as listener:
        accepted: list[socket.socket] = []
        pauses.after[2] = lambda: accepted.append(listener.accept()[0])
        request = dial_request("a.test", 80)
        _, channel = await unix_dialer(path, pause=pauses).open(request)
        assert pauses.taken == list(PAUSES[:2])
        assert request.attempts == [(f"unix:{path}", "connected")]
        await hang_up(channel)
        accepted[0].close()


@pytest.mark.fault("U05")
async def test_conn_timeout_bounds_the_tries() -> None:
    """With less time than the pauses take it is a ConnectTimeoutError that tells of the queue."""
    with socket_path() as path, crowded(path):
        async with unix_session(path, conn_timeout=0.03) as of:
            with pytest.raises(ConnectTimeoutError, match=f"unix:{path}: the server's queue is full") as caught:
                await of.get("http://localhost/")
            assert caught.value.phase == "connect"
            assert numbers(of).open == 0


class WatchedPauses(UnixConnector):
    """Its dialer makes its pauses with `pause`."""

    def __init__(self, path: str, pause: Callable[[float], Awaitable[object]]) -> None:
        super().__init__(path)
        self._watched = unix_dialer(path, pause=pause)

    async def _create_connection(self, req: DialRequest) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        return await self._watched.open(req)


@pytest.mark.fault("U05")
async def test_a_full_queue_is_never_taken_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty calls at once meet a queue of one place: each is answered."""
    monkeypatch.setattr(unix_dialer_module, "PAUSES", (0.005,) * 100)
    waited = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):  # the client's end
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(ok(nonce=head.split()[1].decode()))
        writer.close()

    async def pause(seconds: float) -> None:
        nonlocal waited
        waited += 1
        await asyncio.sleep(seconds)

    with socket_path() as path:
        server = await asyncio.start_unix_server(answer, path, backlog=1)
        connector = WatchedPauses(path, pause)
        async with ClientSession(connector=connector) as of:
            paths = [f"/{number}" for number in range(60)]
            assert await asyncio.gather(*(fetch(of, f"http://localhost{each}") for each in paths)) == paths
        server.close()
        await server.wait_closed()
    assert waited > 0
