"""dnsmasq as a child process: one zone whose records a test changes, on loopback, stopped by its pid."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.nginx import HOST, free_port

ZONE = "dnsmasq.test"
TTL = 1
READY_SECONDS = 10.0
STOP_SECONDS = 10.0
# A question for the A record of ready.dnsmasq.test: a header that asks for one answer, the name, type and class.
PROBE = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"\x05ready\x07dnsmasq\x04test\x00" + b"\x00\x01\x00\x01"


class DnsmasqError(Exception):
    """dnsmasq is missing, or did not answer in time. The text carries its log."""


class Dnsmasq:
    """A name server for ZONE and nothing else. A name in it that has no record does not exist.

    It goes through its own changes of user, so it cannot be told to end with its parent: `stop` must run.
    """

    def __init__(self, directory: Path) -> None:
        self._records = directory / "records"
        self._log = directory / "dnsmasq.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._port = free_port()

    @property
    def address(self) -> str:
        """Fit for DNSOptions' `nameservers`."""
        return f"{HOST}:{self._port}"

    def start(self) -> None:
        """Start, and return when it answers. Raises DnsmasqError."""
        program = shutil.which("dnsmasq") or shutil.which("dnsmasq", path="/usr/sbin:/usr/local/sbin:/sbin")
        if program is None:
            raise DnsmasqError("dnsmasq is not installed; on Debian and Ubuntu: tests/real/install.sh")
        self._records.write_text("")
        options = ["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file", "--no-resolv", "--no-hosts"]
        options += ["--bind-interfaces", f"--listen-address={HOST}", f"--port={self._port}", f"--local=/{ZONE}/"]
        options += [f"--addn-hosts={self._records}", f"--local-ttl={TTL}"]
        options += ["--log-queries", f"--log-facility={self._log}"]
        if os.geteuid() == 0:
            options.append("--user=root")  # else it could not read its records again
        self._process = subprocess.Popen([program, *options], stdin=subprocess.DEVNULL, start_new_session=True)
        self._wait_for("it did not answer", self._answers)

    def stop(self) -> None:
        """End it, paused or not, and return when it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def says(self, **records: list[str]) -> None:
        """These names have these addresses from now on, and no other name has any."""
        lines = [f"{address} {name}.{ZONE}\n" for name, addresses in records.items() for address in addresses]
        read_before = self._times_read()
        self._records.write_text("".join(lines))
        self._signal(signal.SIGHUP)
        self._wait_for("it did not read its records again", lambda: self._times_read() > read_before)

    def pause(self) -> None:
        """It is there, and answers nobody."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def count(self, name: str, kind: str = "A") -> int:
        """How many questions for this record it has logged."""
        return len(re.findall(rf"query\[{kind}\] {re.escape(name)}\.{ZONE} from", self.log()))

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _times_read(self) -> int:
        return len(re.findall(rf"read {re.escape(str(self._records))} - ", self.log()))

    def _answers(self) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.1)
            try:
                probe.connect((HOST, self._port))
                probe.send(PROBE)
                return bool(probe.recv(512))
            except OSError:
                return False

    def _wait_for(self, complaint: str, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not condition():
            if self._process is None or self._process.poll() is not None:
                raise DnsmasqError(f"dnsmasq ended while it was starting:\n{self.log()}")
            if time.monotonic() > deadline:
                self.stop()
                raise DnsmasqError(f"dnsmasq: {complaint} in {READY_SECONDS:.0f} s:\n{self.log()}")
            time.sleep(0.01)


@contextlib.contextmanager
def running_dnsmasq(directory: Path) -> Iterator[Dnsmasq]:
    """A dnsmasq that runs until the block ends. Records and log go to `directory`."""
    server = Dnsmasq(directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()
