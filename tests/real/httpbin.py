"""httpbin under gunicorn's threads, as a child process on loopback, from an environment of its own."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.nginx import HOST, accepts, free_port

ROOT = Path(__file__).parents[2]
# tests/real/install.sh makes it; another one can be named here.
PYTHON = Path(os.environ.get("KEEPWARM_HTTPBIN_PYTHON", ROOT / ".venv-httpbin/bin/python"))
READY_SECONDS = 30.0
STOP_SECONDS = 10.0


class HttpbinError(Exception):
    """httpbin is missing, or did not listen in time. The text carries its log."""


@contextlib.contextmanager
def running_httpbin(directory: Path) -> Iterator[str]:
    """The base URL of an httpbin that runs until the block ends. Logs go to `directory`."""
    if not PYTHON.exists():
        raise HttpbinError(f"there is no httpbin in {PYTHON.parent.parent}; run tests/real/install.sh")
    port = free_port()
    options = ["--worker-class", "gthread", "--threads", "16", "--keep-alive", "30", "--graceful-timeout", "1"]
    with (directory / "httpbin.log").open("wb") as log:
        process = subprocess.Popen(
            [str(PYTHON), "-m", "gunicorn", *options, "--bind", f"{HOST}:{port}", "httpbin:app"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=directory,
            start_new_session=True,
        )
    try:
        _wait_for(process, port, directory / "httpbin.log")
        yield f"http://{HOST}:{port}"
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not accepts(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise HttpbinError(f"httpbin did not listen on {HOST}:{port}:\n{log.read_text(errors='replace')}")
        time.sleep(0.05)
