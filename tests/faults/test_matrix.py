"""Promise G15: a sample of the fault matrix; `make faults` runs all of it."""

import pytest

from tests.matrix.cells import FAULTS, PHASES, WAYS, Cell, all_cells
from tests.matrix.run import run_cell

CELLS = all_cells()
# So that each fault, way and phase is among them, with as few cells as will do.
SAMPLE = CELLS[::5]


def test_the_sample_has_a_bit_of_everything() -> None:
    """No fault, way or phase is left to `make faults` alone, and no cell is there twice."""
    assert {cell.fault for cell in SAMPLE} == set(FAULTS)
    assert {cell.way for cell in SAMPLE} == set(WAYS)
    assert {cell.phase for cell in SAMPLE} == set(PHASES)
    assert len({cell.name for cell in CELLS}) == len(CELLS) == 135


@pytest.mark.asyncio
@pytest.mark.parametrize("cell", SAMPLE, ids=lambda cell: cell.name)
async def test_a_cell(cell: Cell) -> None:
    """The call is served, or fails as documented; the next is served; nothing is left but one idle connection."""
    await run_cell(cell)
