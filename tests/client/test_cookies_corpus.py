"""Cookies against a corpus: Set-Cookie fields, the request they answer, a later request, and its Cookie header.

The cases lie in cookie_corpus/, a file a group, and were written from RFC 6265, sections 5.1 to 5.4. Where RFC 6265bis
is stricter, the corpus is too: control characters (5.6), the size limits (5.6), name prefixes (4.1.3), and Secure
cookies over http (5.7). There are no other departures and no excepted cases.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from keepwarm.client.cookie_date import format_cookie_date, parse_cookie_date
from keepwarm.client.cookies import CookieJar
from keepwarm.client.url import parse_target

CORPUS = Path(__file__).parent / "cookie_corpus"
FROM = "http://home.example.org/app/set?x=1"
TO = "http://home.example.org/app/result"
NOW = 1_750_000_000.0


def load(group: str) -> Any:
    return json.loads((CORPUS / f"{group}.json").read_text("ascii"))


GROUPS = sorted(path.stem for path in CORPUS.glob("*.json") if path.stem != "dates")
CASES = [case for group in GROUPS for case in load(group)]


@pytest.mark.fault("C13", "C14", "C17")
@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_case(case: dict[str, Any]) -> None:
    """A cookie goes where RFC 6265 says, in the order it says, and nowhere else."""
    jar = CookieJar(now=lambda: NOW)
    first, second = parse_target(case.get("from", FROM)), parse_target(case.get("to", TO))
    jar.update_from_response(case["set"], first.endpoint, first.request_target.decode())
    sent = jar.header_for(second.endpoint, second.request_target.decode())
    assert (sent or "") == case["cookie"], case["why"]


@pytest.mark.parametrize(("text", "expected"), load("dates"))
def test_date(text: str, expected: str | None) -> None:
    """RFC 6265, 5.1.1: dates in any order and any dress, or none."""
    when = parse_cookie_date(text)
    assert (None if when is None else format_cookie_date(when)) == expected


def test_the_corpus_is_whole() -> None:
    assert len(CASES) >= 150
    assert len({case["id"] for case in CASES}) == len(CASES)
