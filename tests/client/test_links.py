"""The Link header, from a peer that means well and from one that does not."""

import pytest

from keepwarm.client.links import MOST_LINKS, parse_links

BASE = "http://a.example/dir/page"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("</next>; rel=next", {"next": {"rel": "next", "url": "http://a.example/next"}}),
        ('<n> ; REL = "next" ; title="a, b; c"', {"next": {"rel": "next", "title": "a, b; c", "url": BASE[:-4] + "n"}}),
        ("<a>;rel=1,<b>; rel=2 , <c>", {"1": "a", "2": "b", BASE[:-4] + "c": "c"}),
        ("<a>; rel=; x", {"": {"rel": "", "x": "", "url": BASE[:-4] + "a"}}),
        ("<a>; rel=1, b, <c>; rel=2", {"1": "a"}),
        ('<a>; rel="1', {}),
        ("", {}),
    ],
)
def test_links(value: str, expected: dict[str, dict[str, str] | str]) -> None:
    """By relation, with parameters; the URL absolute. What is no link ends the reading."""
    found = parse_links([value], BASE)
    assert list(found) == list(expected)
    for name, link in expected.items():
        assert dict(found[name]) == link if isinstance(link, dict) else found[name]["url"] == BASE[:-4] + link


@pytest.mark.parametrize(
    "value",
    [
        "<a>;b=" + " " * 500_000 + '"x',
        "<a>;b" + " " * 500_000 + "x",
        "<a>" + " " * 500_000 + "x",
        "<a>" + ";b= " * 100_000 + '"',
        "<a>;" + "b" * 500_000 + '"',
        '<a>;b="' + "c" * 500_000,
    ],
    ids=["blanks behind =", "blanks behind a name", "blanks behind a link", "names", "a long name", "no end"],
)
def test_a_field_that_is_made_to_take_long(value: str) -> None:
    """It is read in one pass: with more than that, half a megabyte would take the better part of an hour."""
    assert not parse_links([value], BASE)


def test_more_links_than_anybody_needs() -> None:
    """A head of 64 KiB has room for sixteen thousand, each of which is made absolute. The first ones count."""
    base = "http://a.example/" + "b/" * 4000
    found = parse_links(["<../../c>," * 800] * 8, base)
    assert len(found) == MOST_LINKS == 128
    assert [link["url"] for link in found.values()] == ["http://a.example/" + "b/" * 3998 + "c"] * MOST_LINKS
