"""The benchmarks measure what they say: the arithmetic, the verdicts, and one small run from end to end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.arena import turns
from benchmarks.clients import CLIENTS
from benchmarks.measure import Spread, percentile, ratio
from benchmarks.promises import PROMISES, Promise
from benchmarks.results import ScenarioResult, judge
from benchmarks.scenarios import BY_NAME
from benchmarks.server import ANSWERS, JSON_BODY, JSON_SIZE, content_length

ROOT = Path(__file__).resolve().parent.parent
RUN_SECONDS = 50.0


def result_of(**figures: list[float]) -> ScenarioResult:
    result = ScenarioResult("get", "a title", "a unit")
    result.figures.update(figures)
    return result


def test_everybody_has_every_place_in_turn() -> None:
    """No client always runs first, or always after the same one."""
    assert list(turns(["a", "b", "c"], 3)) == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]
    assert list(turns([], 3)) == []


def test_ratios_are_taken_round_by_round() -> None:
    """A round in which everything was slow does not change a ratio."""
    assert ratio([2.0, 20.0, 4.0], [1.0, 10.0, 1.0]) == Spread(2.0, 2.0, 4.0)


def test_percentiles() -> None:
    """Nearest rank, also for a single value."""
    ordered = [float(n) for n in range(100)]
    assert (percentile(ordered, 0.50), percentile(ordered, 0.99), percentile([7.0], 0.99)) == (50.0, 99.0, 7.0)


def test_a_promise_is_judged_by_its_median() -> None:
    """Met up to the limit, missed above, and not measured when either side is missing."""
    promise = Promise("get", "keepwarm", "floor", 2.0)
    assert judge(promise, result_of(keepwarm=[2.0, 1.0, 9.0], floor=[1.0, 1.0, 1.0]))[0] == "met"
    assert judge(promise, result_of(keepwarm=[2.1, 1.0, 9.0], floor=[1.0, 1.0, 1.0]))[0] == "missed"
    assert judge(promise, result_of(keepwarm=[1.0]))[0] == "not measured"
    assert judge(promise, result_of(floor=[1.0]))[0] == "not measured"
    assert judge(promise, None)[0] == "not measured"
    absolute = Promise("idle", "keepwarm", None, 8.0)
    assert judge(absolute, result_of(keepwarm=[7.9]))[0] == "met"
    assert judge(absolute, result_of(keepwarm=[8.1]))[0] == "missed"


def test_a_client_that_failed_shows_no_figures() -> None:
    """One bad round takes the good ones with it."""
    result = result_of()
    result.add("aiohttp", 1.0, {"rate": 2.0})
    result.fail("aiohttp", "it broke")
    assert (result.figures, result.extras, result.failed) == ({}, {}, {"aiohttp": "it broke"})


def test_every_promise_can_be_measured() -> None:
    """Each names a scenario and clients that take part in it."""
    for promise in PROMISES:
        clients = BY_NAME[promise.scenario].clients
        assert promise.client in clients
        assert promise.against is None or promise.against in clients


def test_every_client_has_its_module() -> None:
    """The registry and the directory agree."""
    modules = {f"benchmarks.clients.{path.stem}" for path in (ROOT / "benchmarks" / "clients").glob("[a-z]*.py")}
    assert {spec.module for spec in CLIENTS} == modules


def test_the_bundled_server_serves_what_the_scenarios_expect() -> None:
    """The lengths that are checked in every call are those that are sent."""
    assert len(JSON_BODY) == JSON_SIZE
    assert json.loads(JSON_BODY)["id"] == 12345
    for answer in ANSWERS.values():
        head, _, body = answer.partition(b"\r\n\r\n")
        assert content_length(head) == len(body)


@pytest.mark.parametrize(
    ("scenario", "clients"),
    [("get", ["floor", "keepwarm"]), ("get-tls", ["floor", "keepwarm"]), ("fresh", ["floor", "keepwarm"])],
)
def test_a_small_run(tmp_path: Path, scenario: str, clients: list[str]) -> None:
    """One round against the bundled server: figures for each client, kept as JSON."""
    command = [sys.executable, "-m", "benchmarks", "--quick", "--rounds", "1", "--server", "bundled", scenario]
    chosen = [part for client in clients for part in ("--client", client)]
    done = subprocess.run(
        [*command, *chosen, "--results", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (report,) = tmp_path.glob("bench-*.json")
    measured = json.loads(report.read_text())["scenarios"][scenario]
    assert sorted(measured["figures"]) == sorted(clients)
    assert all(len(rounds) == 1 and rounds[0] > 0 for rounds in measured["figures"].values())
    assert measured["failed"] == {}
