"""Pairs of name and value."""

import enum

import pytest
from multidict import CIMultiDict, MultiDict, MultiDictProxy

from keepwarm.client.pairs import iter_pairs, text_pairs


class Colour(str, enum.Enum):  # noqa: UP042  StrEnum has a str() of its own
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


@pytest.mark.parametrize(
    "given",
    [
        MultiDict([("a", "1"), ("b", "2"), ("a", "3")]),
        MultiDictProxy(MultiDict([("a", "1"), ("b", "2"), ("a", "3")])),
        CIMultiDict([("a", "1"), ("b", "2"), ("a", "3")]),
        [("a", "1"), ["b", "2"], ("a", "3")],
        (pair for pair in [("a", "1"), ("b", "2"), ("a", "3")]),
    ],
)
def test_order_and_repeats(given: object) -> None:
    assert iter_pairs(given, "params") == [("a", "1"), ("b", "2"), ("a", "3")]


def test_scalars() -> None:
    pairs = text_pairs(
        {"i": 5, "big": 10**30, "f": 1.5, "s": "x", "e": Colour.RED, "n": Size.BIG, Colour.RED: ""}, "params"
    )
    assert pairs == [
        ("i", "5"),
        ("big", "1" + "0" * 30),
        ("f", "1.5"),
        ("s", "x"),
        ("e", "red"),
        ("n", "3"),
        ("red", ""),
    ]
    assert all(type(part) is str for pair in pairs for part in pair)


@pytest.mark.parametrize("value", [True, None, b"x", [1, 2], ("a",), object(), 1j])
def test_other_values(value: object) -> None:
    with pytest.raises(TypeError, match=r"params.*'k'"):
        text_pairs({"k": value}, "params")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite(value: float) -> None:
    with pytest.raises(ValueError, match=r"params.*finite"):
        text_pairs({"k": value}, "params")


@pytest.mark.parametrize(
    "given", ["a=b", b"a=b", 5, None, ["ab"], [("a",)], [("a", "b", "c")], ["a", "b"], {"ab"}, [None]]
)
def test_other_shapes(given: object) -> None:
    with pytest.raises(TypeError, match="form"):
        iter_pairs(given, "form")


@pytest.mark.parametrize("name", [1, b"a", None])
def test_other_names(name: object) -> None:
    with pytest.raises(TypeError, match="params: names"):
        text_pairs([(name, "x")], "params")
