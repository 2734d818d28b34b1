"""The run against real servers names each of them, those that are missing too."""

import stat
from pathlib import Path

import pytest

from tests.real import versions


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole search path."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(versions.shutil, "which", lambda name, path=None: _find(tmp_path, name))
    monkeypatch.setattr(versions, "PYTHON", tmp_path / "python")
    return tmp_path


def _find(folder: Path, name: str) -> str | None:
    return str(folder / name) if (folder / name).exists() else None


def put(folder: Path, name: str, says: str, code: int = 0) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit {code}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_versions(programs: Path) -> None:
    """By their own word, wherever they write it."""
    put(programs, "nginx", "nginx version: nginx/1.22.1")
    put(programs, "squid", "Squid Cache: Version 5.7\nService Name: squid 4.4.4")
    put(programs, "tinyproxy", "tinyproxy 1.11.1", code=3)
    put(programs, "python", "0.10.4 23.0.0")
    assert versions.server_versions() == {
        "nginx": "1.22.1",
        "squid": "5.7",
        "tinyproxy": "version unknown",
        "dnsmasq": "not installed",
        "httpbin": "0.10.4",
        "gunicorn": "23.0.0",
    }


def test_nothing_is_installed(programs: Path) -> None:
    """That is said, and is no error of its own."""
    assert set(versions.server_versions().values()) == {"not installed"}
