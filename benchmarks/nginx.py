"""nginx as a child process: its own configuration in a directory of ours, on loopback, stopped by its pid."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.launch import command

READY_SECONDS: Final = 10.0
STOP_SECONDS: Final = 10.0
HOST: Final = "127.0.0.1"

CONFIG: Final = """
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
{user}
events {{ worker_connections 8192; }}
http {{
    access_log off;
    server_tokens off;
    default_type application/json;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{http}
}}
"""


def nginx_program() -> str | None:
    """The path of nginx; None when it is not installed. /usr/sbin is not on everybody's PATH."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/sbin")


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class NginxError(Exception):
    """nginx is missing, refused its configuration, or did not listen in time. The text carries its error log."""


class Nginx:
    """One nginx with the given ``http`` section, listening on `ports`: numbers of `host`, or paths of unix sockets.

    `{directory}` in the section is replaced by the directory. It can be started and stopped any number of times; the
    ports stay the same. Start it from the main thread: it ends with the thread that started it.
    """

    def __init__(
        self, directory: Path, http: str, ports: tuple[int | str, ...], core: int | None = None, *, host: str = HOST
    ) -> None:
        self._directory = directory
        self._http = http
        self._ports = ports
        self._host = host
        self._core = core
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and return when every port accepts. Raises NginxError."""
        program = nginx_program()
        if program is None:
            raise NginxError("nginx is not installed; on Debian and Ubuntu: tests/real/install.sh")
        config = self._directory / "nginx.conf"
        user = "user root root;" if os.geteuid() == 0 else ""
        http = self._http.replace("{directory}", str(self._directory))
        config.write_text(CONFIG.format(directory=self._directory, user=user, http=http))
        arguments = [program, "-p", str(self._directory), "-e", str(self._directory / "error.log"), "-c", str(config)]
        self._process = subprocess.Popen(
            command(self._core, arguments),
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us to handle
        )
        deadline = time.monotonic() + READY_SECONDS
        for port in self._ports:
            self._wait_for(port, deadline)

    def stop(self) -> None:
        """End nginx with all its connections, and return when it is gone."""
        self._end(signal.SIGTERM)

    def quit(self) -> None:
        """End nginx as a careful operator does: what is under way is answered, idle connections are closed."""
        self._end(signal.SIGQUIT)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def reload(self) -> None:
        """New workers take over; the old ones close their idle connections, as after a change of configuration."""
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def error_log(self) -> str:
        log = self._directory / "error.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def _wait_for(self, port: int | str, deadline: float) -> None:
        while not accepts(port, self._host):
            if self._process is None or self._process.poll() is not None:
                raise NginxError(f"nginx ended while it was starting:\n{self.error_log()}")
            if time.monotonic() > deadline:
                self.stop()
                raise NginxError(f"nginx did not listen on {port} in {READY_SECONDS:.0f} s:\n{self.error_log()}")
            time.sleep(0.01)


def accepts(port: int | str, host: str = HOST) -> bool:
    with socket.socket(socket.AF_UNIX if isinstance(port, str) else socket.AF_INET) as probe:
        return probe.connect_ex(port if isinstance(port, str) else (host, port)) == 0


@contextlib.contextmanager
def running(nginx: Nginx) -> Iterator[Nginx]:
    nginx.start()
    try:
        yield nginx
    finally:
        nginx.stop()
