"""ARCHITECTURE.md's map names every file, and no other; no file has become two."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("pool", "client", "ws", "keepwarm")
MOST_LINES = 400


def part(package: str) -> str:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    found = re.search(rf"^### {package}/\n(.*?)(?=^##)", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def files(package: str) -> set[str]:
    return {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_map_names_every_file_and_no_other(package: str) -> None:
    """`cookie*` stands for all that begin so."""
    names = set(re.findall(r"`([a-z0-9_]+\*?)`", part(package)))
    groups = [name[:-1] for name in names if name.endswith("*")]
    named = {name for name in names if not name.endswith("*")}
    found = files(package)
    assert {name for name in found - named if not name.startswith(tuple(groups) or ("\0",))} == set()
    assert named - found == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_is_longer_than_one_thing_takes(package: str) -> None:
    """A file past 400 lines asks which two things it is."""
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / package).glob("*.py")}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}
