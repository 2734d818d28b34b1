"""The conftest, on a test file made to break each of its rules, in a pytest of its own."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CASES = """
import asyncio, gc, os, socket
import pytest
from hypothesis import given, settings, strategies

pytestmark = pytest.mark.asyncio
kept = []

async def test_clean(loop, baseline):
    name = type(loop).__module__
    assert name.startswith(("uvloop", "asyncio.unix"))
    await asyncio.sleep(0)
    assert baseline.snapshot().leaks() == []

def test_plain(baseline):
    assert baseline is None

@settings(max_examples=3)
@given(strategies.booleans())
async def test_property(value):
    await asyncio.sleep(0)

@settings(max_examples=3)
@given(strategies.booleans())
async def test_property_that_leaks(value):
    kept.append(asyncio.get_running_loop().create_task(asyncio.sleep(9)))

async def test_task():
    kept.append(asyncio.get_running_loop().create_task(asyncio.Event().wait()))

async def test_timer(loop):
    loop.call_later(9, print)

async def test_timer_at(loop):
    loop.call_at(loop.time() + 9, print)

async def test_cancelled_timer(loop):
    loop.call_later(9, print).cancel()

async def test_descriptor():
    kept.append(os.dup(1))

async def test_callback_error(loop):
    loop.call_soon(lambda: 1 / 0)

async def test_forgiven_error(loop, baseline):
    loop.call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(baseline.errors) == 1
    baseline.errors.clear()

async def test_task_error(loop):
    async def fail():
        raise LookupError
    loop.create_task(fail())
    await asyncio.sleep(0)

async def test_unclosed_socket():
    socket.socket()

@pytest.mark.timeout(0.2)
async def test_hang():
    await asyncio.get_running_loop().create_future()

async def test_after_the_hang():
    await asyncio.sleep(0)

@pytest.mark.parametrize("name", ["pool", "client", "ws"])
def test_bare_folder(name):
    with pytest.raises(ImportError, match=f"keepwarm.{name}"):
        __import__(name)

@pytest.mark.soak
async def test_long():
    await asyncio.sleep(0)
"""

FINE = {"clean", "plain", "property", "cancelled_timer", "forgiven_error", "after_the_hang", "bare_folder"}
BAD = {
    "property_that_leaks": "task ",
    "task": "task ",
    "timer": "timer print",
    "timer_at": "timer print",
    "descriptor": "descriptor ",
    "callback_error": "ZeroDivisionError",
    "task_error": "LookupError",
    "unclosed_socket": "ResourceWarning",
    "hang": "",
}


def run(folder: Path, *options: str) -> dict[str, str]:
    """Test id -> what was wrong with it, "" if nothing."""
    file = folder / "test_cases.py"
    file.write_text(CASES)
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    command += ["-c", str(ROOT / "pyproject.toml"), f"--junitxml={report}", *options, str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert report.exists(), done.stdout + done.stderr
    outcomes: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.get("name", "").removeprefix("test_")
        problems = [f"{child.get('message')} {child.text}" for child in case if child.tag in ("failure", "error")]
        outcomes[name] = outcomes.get(name, "") + "\n".join(problems)
    return outcomes


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return run(tmp_path_factory.mktemp("cases"))


def test_async_tests_run_on_both_loops_and_plain_ones_once(outcomes: dict[str, str]) -> None:
    names = {"bare_folder"}
    assert {name for name in outcomes if name.startswith("clean")} == {"clean[uvloop]", "clean[asyncio]"}
    assert {name for name in outcomes if name.startswith("plain")} == {"plain"}
    assert {name.partition("[")[0] for name in outcomes} == FINE | BAD.keys() | names


def test_what_leaves_nothing_passes(outcomes: dict[str, str]) -> None:
    assert {name: problem for name, problem in outcomes.items() if name.partition("[")[0] in FINE and problem} == {}


@pytest.mark.parametrize("loop_name", ["uvloop", "asyncio"])
@pytest.mark.parametrize("name", BAD)
def test_what_is_left_behind_fails(outcomes: dict[str, str], name: str, loop_name: str) -> None:
    problem = outcomes[f"{name}[{loop_name}]"]
    assert problem
    assert BAD[name] in problem


def test_long_tests_run_when_asked_for(tmp_path: Path, outcomes: dict[str, str]) -> None:
    assert not any(name.startswith("long") for name in outcomes)
    assert run(tmp_path, "--soak", "-m", "soak") == {"long[uvloop]": "", "long[asyncio]": ""}
