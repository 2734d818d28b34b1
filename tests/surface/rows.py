"""The rows of the surface that are promised, by section, and the tests that carry them."""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

# Sections: A decisions, B session, C requests, D WebSockets and the session's end, E module functions,
# F base connector, G TCP connector, H proxy connector, I unix connector, J connection, K response,
# L WebSockets and BasicAuth, M errors, N WebSocket names, O streams, P protocol and headers, R deprecations.
SECTIONS = {
    "A": "01-31",
    "B": "01-22",
    "C": "01-35",
    "D": "01-12",
    "E": "01-40",
    "F": "01-19",
    "G": "01-27",
    "H": "01-19",
    "I": "01-14",
    "J": "01-09",
    "K": "01-28",
    "L": "01-18",
    "M": "01-25",
    "N": "01-16",
    "O": "01-18",
    "P": "01-13 16-17 19",
    "R": "01-02 04-07 10-11",
}

_TEST = re.compile(r"test_([a-r])_(\d\d)_\w+")
_ROW = re.compile(r"[A-R]-\d\d")


def promised() -> list[str]:
    """The ids of all rows, in order."""
    found = []
    for section, ranges in SECTIONS.items():
        for part in ranges.split():
            first, _, last = part.partition("-")
            found += [f"{section}-{number:02}" for number in range(int(first), int(last or first) + 1)]
    return found


def carried() -> list[str]:
    """The ids of the rows for which there is a test: in its name (test_b_03_...) or as its parameter `row`."""
    folder = Path(__file__).parent
    modules = [importlib.import_module(f"tests.surface.{path.stem}") for path in sorted(folder.glob("test_*.py"))]
    return [row for module in modules for row in _rows_of(module)]


def _rows_of(module: ModuleType) -> Iterator[str]:
    for name, test in inspect.getmembers(module, inspect.isfunction):
        if match := _TEST.fullmatch(name):
            yield f"{match[1].upper()}-{match[2]}"
        for mark in getattr(test, "pytestmark", []):
            if mark.name == "parametrize" and (mark.args[0] == "row" or mark.args[0][0] == "row"):
                for values in mark.args[1]:
                    row = values if isinstance(values, str) else values[0]
                    if not _ROW.fullmatch(row):
                        raise ValueError(f"{module.__name__}.{name}: {row!r} is no id of a row")
                    yield row
