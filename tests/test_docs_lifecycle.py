"""docs/lifecycle.md says what pool/states.py says."""

import re
from pathlib import Path

from keepwarm.pool.states import EVENT_NAMES, STATE_NAMES, TABLE

PAGE = Path(__file__).resolve().parent.parent / "docs" / "lifecycle.md"
ARCHITECTURE = PAGE.parent.parent / "ARCHITECTURE.md"


def test_the_diagram_is_the_table() -> None:
    """Every change that the table allows is drawn, and no other."""
    diagram = re.search(r"```mermaid\nstateDiagram-v2\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert diagram is not None
    drawn = [line.strip() for line in diagram[1].splitlines()]
    table = [
        f"{STATE_NAMES[state]} --> {STATE_NAMES[after]}: {EVENT_NAMES[event]}"
        for state, row in enumerate(TABLE)
        for event, after in enumerate(row)
        if after >= 0
    ]
    assert drawn == ["[*] --> connecting", *table, "closed --> [*]"]


def test_the_reasons_are_those_of_the_law() -> None:
    """The page explains each reason that law 8 names."""
    law = re.search(r"retired for one named reason: (.*)", ARCHITECTURE.read_text(encoding="utf-8"))
    assert law is not None
    explained = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(explained) == sorted(re.findall(r"`(\w+)`", law[1]))
