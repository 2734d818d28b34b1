"""Every row of the surface has a test, and no test names a row that does not exist."""

from tests.surface.rows import carried, promised


def test_every_row_has_a_test() -> None:
    assert [row for row in promised() if row not in set(carried())] == []


def test_every_test_is_for_a_row_that_exists() -> None:
    assert [row for row in carried() if row not in set(promised())] == []
