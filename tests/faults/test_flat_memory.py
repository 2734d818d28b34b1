"""Promise G7: memory stays flat however long a process runs, and a call that went well leaves no cycle behind.

KEEPWARM_FLAT_CALLS sets the calls of the long runs (default 1000000). ``--log-cli-level=INFO`` shows the figures.
"""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.servers import bundled_server
from tests.support.programs import ROOT

logger = logging.getLogger(__name__)

pytestmark = pytest.mark.timeout(1800)

SAMPLE = 5000
LONG = int(os.environ.get("KEEPWARM_FLAT_CALLS", "1000000"))
# KiB between a tenth of the calls and all of them. A short run is still warming up its caches.
BOUND = {SAMPLE: 8 * 1024, LONG: 1024}


@pytest.mark.fault("R01")
@pytest.mark.parametrize("loop_name", ["uvloop", "asyncio"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    "count", [pytest.param(SAMPLE, id="sample"), pytest.param(LONG, id="long", marks=pytest.mark.soak)]
)
def test_memory_is_flat(count: int, tls: bool, loop_name: str, tmp_path: Path) -> None:
    """The resident size grows less than 1 MiB between call 10^5 and call 10^6."""
    with bundled_server(tmp_path, None) as addresses:
        ca_file = addresses.ca_file if tls else ""
        program = [sys.executable, "-m", "tests.programs.flat_memory", loop_name, addresses.url("", tls), ca_file]
        done = subprocess.run([*program, str(count)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    grown = said["late"] - said["early"]
    logger.info("%s, %s: %d calls, %d KiB more", loop_name, "TLS" if tls else "plain", count, grown)
    assert sum(said["made"].values()) == count
    assert said["cycles"] == 0
    assert grown < BOUND[count]
