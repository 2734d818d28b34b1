"""The pages: links lead somewhere, snippets are Python, options exist and have the default that is told."""

import inspect
import re
from pathlib import Path

import pytest
import yarl

import keepwarm
from keepwarm.pool.race import TCPKeepAlive

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
TABLES = [
    ("README.md", "option of the connector", keepwarm.TCPConnector),
    ("README.md", "option of the session", keepwarm.ClientSession),
    ("docs/connectors.md", "option", keepwarm.DNSOptions),
    ("docs/websockets.md", "option", keepwarm.ClientSession.ws_connect),
    ("docs/failures.md", "option", keepwarm.RetryPolicy),
]


def anchors(text: str) -> set[str]:
    """As a page of Markdown is usually given them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def rows(page: str, head: str) -> list[tuple[list[str], list[str]]]:
    """Names of options and what is told as their defaults, of the table whose first column is `head`."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.search(rf"^\| {head} \|.*\n\|[- |]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert found is not None
    cells = [line.split("|")[1:3] for line in found[1].splitlines()]
    return [(re.findall(r"`(\w+)`", names), [one.strip() for one in told.split(",")]) for names, told in cells]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    """To a file of the project, and to a heading of it."""
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://")):
            assert yarl.URL(link).host, link
            continue
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not heading or heading in anchors(target.read_text(encoding="utf-8")), link


def test_the_index_names_every_page() -> None:
    """In words, and in the list that the navigation is made of."""
    docs = ROOT / "docs"
    text = (docs / "index.md").read_text(encoding="utf-8")
    pages = {str(page.relative_to(docs).with_suffix("")) for page in docs.rglob("*.md")} - {"index"}
    assert set(re.findall(r"\]\((\w[\w/-]*)\.md\)", text)) == pages
    assert sorted(re.findall(r"^([\w/-]+)$", text, re.MULTILINE)) == sorted(pages)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_snippets_are_python(page: Path) -> None:
    for snippet in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        compile(snippet, page.name, "exec")


@pytest.mark.parametrize(("page", "head", "owner"), TABLES, ids=[f"{page}-{head}" for page, head, _ in TABLES])
def test_options_exist(page: str, head: str, owner: object) -> None:
    """Each name of the table is a parameter."""
    parameters = set(inspect.signature(owner).parameters)  # type: ignore[arg-type]
    table = rows(page, head)
    assert len(table) > 5
    assert {name for names, _ in table for name in names} <= parameters


@pytest.mark.parametrize(("page", "head", "owner"), TABLES, ids=[f"{page}-{head}" for page, head, _ in TABLES])
def test_defaults_are_those_told(page: str, head: str, owner: object) -> None:
    """Where the table tells a number, True, False or None, for each name or one for all."""
    parameters = inspect.signature(owner).parameters  # type: ignore[arg-type]
    compared = 0
    for names, told in rows(page, head):
        if names == ["tcp_keepalive"]:
            assert parameters[names[0]].default == TCPKeepAlive(*map(int, told))
            continue
        values = told * len(names) if len(told) == 1 else told
        if len(values) != len(names):
            continue
        for name, value in zip(names, values, strict=True):
            default = parameters[name].default
            if re.fullmatch(r"[\d.]+", value):
                assert default == float(value), name
            elif value in ("True", "False", "None"):
                # Not given, `use_dns_cache` is as good as False, and `dns` decides.
                assert str(default) == value or name == "use_dns_cache", name
            else:
                continue
            compared += 1
    assert compared > 2
