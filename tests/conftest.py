"""What all tests share: the two loops, the baseline check after each async test, `--soak`."""

import asyncio
import gc
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
import pytest_asyncio
import uvloop

from tests.support.leaks import Baseline, ModuleBaseline

OUR_FOLDERS = ("pool", "client", "ws")


class _NoBareFolders:
    """Refuses `import pool`: the root is on sys.path for `tests.support`, and a second copy of a module is a trap."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in OUR_FOLDERS:
            raise ImportError(f"import keepwarm.{fullname}, not {fullname}: the folder is no top-level package")
        return None


sys.meta_path.insert(0, _NoBareFolders)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="also run the long tests (marked soak)")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every async test runs once on each loop."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.SelectorEventLoop}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    soak = config.getoption("--soak")
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        (kept if soak or item.get_closest_marker("soak") is None else dropped).append(item)
        if item.get_closest_marker("asyncio") is not None and not _is_async(item):
            # A module marks all its tests at once; a plain function among them is no mistake.
            item.add_marker(pytest.mark.filterwarnings("ignore:The test .* is marked with '@pytest.mark.asyncio'"))
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def pytest_collection_finish(session: pytest.Session) -> None:
    # libuv opens a pipe for signals with the first loop of a process, and keeps it.
    uvloop.new_event_loop().close()
    gc.collect()
    gc.freeze()


def _is_async(item: pytest.Item) -> bool:
    function = getattr(item, "obj", None)
    hypothesis = getattr(function, "hypothesis", None)
    return inspect.iscoroutinefunction(function if hypothesis is None else hypothesis.inner_test)


@pytest_asyncio.fixture
async def loop() -> asyncio.AbstractEventLoop:
    """The loop that the test runs on."""
    return asyncio.get_running_loop()


@pytest.fixture(autouse=True)
def baseline(request: pytest.FixtureRequest) -> Iterator[Baseline | None]:
    """Promise G2 after each async test: no task, timer, descriptor or unread error is left of it.

    None for a plain test, which has no loop.
    """
    if request.node.get_closest_marker("asyncio") is None or not _is_async(request.node):
        yield None
        return
    found = Baseline(request.getfixturevalue("loop"))
    try:
        yield found
        leaks = found.settle()
    finally:
        found.close()
        # What is alive by now belongs to the run, so the next collection can leave it out.
        gc.freeze()
    if leaks:
        pytest.fail("the test left behind:\n  " + "\n  ".join(leaks), pytrace=False)


@pytest.fixture(scope="module", autouse=True)
def module_baseline(request: pytest.FixtureRequest) -> Iterator[None]:
    """FAULTS R04: after each module the process has the descriptors and threads that it had before.

    A test that failed may have left anything, and has said so.
    """
    before, failed = ModuleBaseline(), request.session.testsfailed
    yield
    leaks = before.settled() if request.session.testsfailed == failed else []
    if leaks:
        pytest.fail("the module left behind:\n  " + "\n  ".join(leaks), pytrace=False)
