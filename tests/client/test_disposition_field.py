"""Content-Disposition from a peer that does not mean well."""

import pytest

from keepwarm.client.disposition_field import read_disposition


@pytest.mark.parametrize(
    "value",
    [
        "a;b=" + " " * 500_000 + '"x',
        "a;b" + " " * 500_000 + "x",
        "a;b=c" + " " * 500_000 + "x",
        "a;" + "b" * 500_000,
        "a" + ";b= " * 100_000 + '"',
        'a;b="' + "\\" * 500_001,
        "a" + "; " * 250_000,
    ],
    ids=["blanks behind =", "blanks behind a name", "blanks behind a value", "a long name", "names", "no end", "marks"],
)
def test_a_field_that_is_made_to_take_long(value: str) -> None:
    """It is read in one pass: with more than that, half a megabyte would take the better part of an hour."""
    found = read_disposition(value)
    assert found is not None and found.type == "a" and found.filename is None
