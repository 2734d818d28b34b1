"""HttpVersion."""

import pytest

from keepwarm.client.errors import InvalidInput
from keepwarm.client.version import HttpVersion, HttpVersion10, HttpVersion11, check_version


def test_names() -> None:
    """P-01."""
    assert HttpVersion11 == HttpVersion(major=1, minor=1) == (1, 1)
    assert HttpVersion10 == HttpVersion(1, 0)


@pytest.mark.parametrize(
    ("given", "version"),
    [
        (HttpVersion11, HttpVersion11),
        (HttpVersion(1, 1), HttpVersion11),
        (HttpVersion(1, 0), HttpVersion10),
        ((1, 0), HttpVersion10),
        ("1.1", HttpVersion11),
        ("1.0", HttpVersion10),
        (HttpVersion(True, 1.0), HttpVersion11),  # type: ignore[arg-type]
    ],
)
def test_accepted(given: object, version: HttpVersion) -> None:
    """C-18: the answer is always one of the two constants."""
    assert check_version(given) is version


class OddText:
    def __str__(self) -> str:
        return "1.1"


class OddStr(str):
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("1.1")


@pytest.mark.fault("O02")
@pytest.mark.parametrize(
    "version",
    ["1.1\r\nX: y", "", "1", "1.2", "2.0", "0.9", " 1.1", "HTTP/1.1", OddText(), OddStr("x\r\n"), None, 1.1, 11,
     b"1.1", (2, 0), (1, 1, 1), ("1", "1"), [1, 1], HttpVersion(1, 2)],
)  # fmt: skip
def test_refused(version: object) -> None:
    """Anything but the two versions is refused, whatever its text pretends to be."""
    with pytest.raises(ValueError, match="version") as caught:
        check_version(version)
    assert isinstance(caught.value, InvalidInput) and caught.value.argument == "version"
