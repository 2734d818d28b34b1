"""tinyproxy as a child process: a proxy that speaks HTTP/1.0 and asks for a password, stopped by its pid."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.nginx import HOST, accepts, free_port

LOGIN, PASSWORD = "me", "s3cret"
READY_SECONDS = 10.0
STOP_SECONDS = 10.0

CONFIG = f"""
Port {{port}}
Listen {HOST}
Timeout 600
MaxClients 50
LogFile "{{directory}}/tinyproxy.log"
LogLevel Connect
PidFile "{{directory}}/tinyproxy.pid"
BasicAuth {LOGIN} {PASSWORD}
"""


class TinyproxyError(Exception):
    """tinyproxy is missing, or did not listen in time. The text carries its output."""


@contextlib.contextmanager
def running_tinyproxy(directory: Path) -> Iterator[int]:
    """The port of a tinyproxy that runs until the block ends. Raises TinyproxyError."""
    program = shutil.which("tinyproxy") or shutil.which("tinyproxy", path="/usr/sbin:/usr/local/sbin:/sbin")
    if program is None:
        raise TinyproxyError("tinyproxy is not installed; on Debian and Ubuntu: tests/real/install.sh")
    port = free_port()
    config, output = directory / "tinyproxy.conf", directory / "output"
    config.write_text(CONFIG.format(port=port, directory=directory))
    with output.open("wb") as file:
        process = subprocess.Popen(
            [program, "-d", "-c", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not accepts(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise TinyproxyError(f"tinyproxy did not listen on {HOST}:{port}:\n{output.read_text()}")
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
