"""squid as a child process: a proxy that asks for a password, on loopback, stopped by its pid."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.nginx import HOST, accepts, free_port

LOGIN, PASSWORD = "me", "s3cret"
READY_SECONDS = 20.0
STOP_SECONDS = 10.0

# Its log has the port that we came from, the method, the URL, the status and the user, for each request.
CONFIG = """
http_port {host}:{port}
udp_incoming_address {host}
pid_filename {directory}/squid.pid
cache_log {directory}/cache.log
logformat line %>p %rm %ru %>Hs %un
access_log stdio:{directory}/access.log line
buffered_logs off
coredump_dir {directory}
cache deny all
memory_cache_shared off
pinger_enable off
shutdown_lifetime 0 seconds
auth_param basic program /bin/sh {directory}/check.sh
auth_param basic children 2
auth_param basic realm keepwarm
acl known proxy_auth REQUIRED
acl forbidden dstdomain forbidden.test
http_access deny !known
http_access deny forbidden
http_access allow all
"""
CHECK = f'while read -r given; do [ "$given" = "{LOGIN} {PASSWORD}" ] && echo OK || echo ERR; done\n'


class SquidError(Exception):
    """squid is missing, or did not listen in time. The text carries its log."""


class Squid:
    """One squid. `port` is where it listens."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    def start(self) -> None:
        """Start, and return when it accepts. Raises SquidError."""
        program = shutil.which("squid") or shutil.which("squid", path="/usr/sbin:/usr/local/sbin:/sbin")
        if program is None:
            raise SquidError("squid is not installed; on Debian and Ubuntu: tests/real/install.sh")
        self._directory.chmod(0o777)  # started as root it goes on as another user
        config = self._directory / "squid.conf"
        config.write_text(CONFIG.format(host=HOST, port=self.port, directory=self._directory))
        (self._directory / "check.sh").write_text(CHECK)
        # Without a daemon there is one process, which is the one to stop.
        arguments = [program, "-N", "-n", f"keepwarm{os.getpid()}", "-f", str(config)]
        with (self._directory / "output").open("wb") as output:
            self._process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        deadline = time.monotonic() + READY_SECONDS
        while not accepts(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise SquidError(f"squid did not listen on {HOST}:{self.port}:\n{self._said()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it, and return when it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def logged(self) -> list[list[str]]:
        """The requests so far: our port, method, URL, status, user."""
        return [line.split() for line in (self._directory / "access.log").read_text().splitlines()]

    def _said(self) -> str:
        files = [self._directory / "output", self._directory / "cache.log"]
        return "\n".join(file.read_text(errors="replace") for file in files if file.exists())


@contextlib.contextmanager
def running_squid() -> Iterator[Squid]:
    """A squid that runs until the block ends, with its files in a directory that any user may enter."""
    with tempfile.TemporaryDirectory(prefix="keepwarm-squid-") as directory:
        squid = Squid(Path(directory))
        squid.start()
        try:
            yield squid
        finally:
            squid.stop()
