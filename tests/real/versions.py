"""Which servers a run of these tests talked to: their names and versions, by their own word."""

import re
import shutil
import subprocess
from typing import Final

from tests.real.httpbin import PYTHON

# What to ask, and what of the answer is the version.
_PROGRAMS: Final = {"nginx": "-v", "squid": "-v", "tinyproxy": "-v", "dnsmasq": "-v"}
_VERSION: Final = re.compile(r"\b[0-9]+\.[0-9]+(?:\.[0-9]+)*\b")
_PACKAGES: Final = ("httpbin", "gunicorn")
_ASK_PACKAGES: Final = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]))"
_MISSING: Final = "not installed"


def server_versions() -> dict[str, str]:
    """Server -> version, or that it is missing. Nothing here raises: a test that needs the server will say more."""
    found = {name: _program_version(name, option) for name, option in _PROGRAMS.items()}
    said = _said([str(PYTHON), "-c", _ASK_PACKAGES, *_PACKAGES]).split()
    found |= (
        dict(zip(_PACKAGES, said, strict=True)) if len(said) == len(_PACKAGES) else dict.fromkeys(_PACKAGES, _MISSING)
    )
    return found


def _program_version(name: str, option: str) -> str:
    program = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
    if program is None:
        return _MISSING
    version = _VERSION.search(_said([program, option]))
    return "version unknown" if version is None else version[0]


def _said(command: list[str]) -> str:
    try:
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ended.stdout.decode(errors="replace") if ended.returncode == 0 else ""
