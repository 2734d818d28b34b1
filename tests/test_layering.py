"""The map of the house, checked: imports run keepwarm -> client -> ws -> pool, and time has one source."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.source import BARE_FOLDERS, FOLDERS, Module, cycles, our_modules, private_reads, time_reads
from tests.support.source import wrong_imports as imports_to_refuse

MODULES = our_modules()


def test_all_four_packages_are_looked_at() -> None:
    for package in FOLDERS:
        assert any(name.startswith(package) for name in MODULES)
    assert "keepwarm.pool.clock" in MODULES


@pytest.mark.parametrize("name", MODULES)
def test_imports_are_absolute_on_top_and_run_down_the_layers(name: str) -> None:
    assert list(imports_to_refuse(MODULES[name])) == []


@pytest.mark.parametrize("name", MODULES)
def test_no_private_attribute_of_another_module_is_used(name: str) -> None:
    assert list(private_reads(MODULES[name])) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert cycles(MODULES) == []


def test_only_the_clock_reads_time() -> None:
    assert [name for name, module in MODULES.items() if list(time_reads(module))] == ["keepwarm.pool.clock"]


def test_no_folder_is_imported_as_a_package_of_its_own(tmp_path: Path) -> None:
    code = (
        "import importlib, json, sys\n"
        f"for name in {list(MODULES)!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=True, timeout=30)
    loaded = json.loads(done.stdout)
    assert set(MODULES) <= set(loaded)
    assert [name for name in loaded if name.partition(".")[0] in BARE_FOLDERS] == []


@pytest.mark.parametrize(
    ("name", "source", "complaint"),
    [
        ("keepwarm.pool.x", "from keepwarm.ws.frames import Frame", "above"),
        ("keepwarm.pool.x", "from keepwarm import ws", "above"),
        ("keepwarm.pool.x", "import keepwarm", "above"),
        ("keepwarm.ws.x", "import keepwarm.client.session", "above"),
        ("keepwarm.client.x", "from keepwarm import ClientSession", "above"),
        ("keepwarm.ws.x", "if TYPE_CHECKING:\n    from keepwarm.client.url import Target", "above"),
        ("keepwarm.client.x", "def f():\n    import json", "inside a function"),
        ("keepwarm.client.x", "class C:\n    async def f(self):\n        if 1:\n            import json", "inside"),
        ("keepwarm.client.x", "from . import session", "relatively"),
        ("keepwarm.client.x", "from .session import Session", "relatively"),
        ("keepwarm.client.x", "from pool.clock import Clock", "package of its own"),
        ("keepwarm", "import ws", "package of its own"),
        ("keepwarm.client.x", "from keepwarm.pool.clock import _due", "private"),
    ],
)
def test_a_wrong_import_is_noticed(name: str, source: str, complaint: str) -> None:
    assert complaint in "; ".join(imports_to_refuse(Module(name, source)))


@pytest.mark.parametrize(
    "source",
    ["from keepwarm.pool.clock import Clock", "from keepwarm import pool", "import json", "import keepwarm.ws"],
)
def test_a_right_import_is_let_through(source: str) -> None:
    assert list(imports_to_refuse(Module("keepwarm.client.x", source))) == []


def test_a_circle_is_noticed_but_not_one_of_types() -> None:
    first = Module("keepwarm.pool.a", "from keepwarm.pool.b import B")
    second = Module("keepwarm.pool.b", "from keepwarm.pool import c")
    third = "from keepwarm.pool.a import A"
    modules = {module.name: module for module in (first, second, Module("keepwarm.pool.c", third))}
    assert cycles(modules) == [["keepwarm.pool.a", "keepwarm.pool.b", "keepwarm.pool.c", "keepwarm.pool.a"]]
    modules["keepwarm.pool.c"] = Module("keepwarm.pool.c", f"if TYPE_CHECKING:\n    {third}")
    assert cycles(modules) == []


@pytest.mark.parametrize(
    ("source", "noticed"),
    [
        ("def f(self, other):\n    return other._secret", True),
        ("def f(self):\n    return self.channel._secret", True),
        ("def f(self, other):\n    other._secret = 1", True),
        ("class C:\n    def f(self):\n        return self._secret", False),
        ("class C:\n    def f(self, other):\n        self._secret = other._secret", False),
        ("class C:\n    def f(self, other):\n        return super()._secret, other.__class__", False),
    ],
)
def test_a_reach_into_another_object_is_noticed(source: str, noticed: bool) -> None:
    assert bool(list(private_reads(Module("keepwarm.client.x", source)))) is noticed


@pytest.mark.parametrize(
    ("source", "noticed"),
    [
        ("import time\nnow = time.monotonic()", True),
        ("import time\nclock = time.time", True),
        ("from time import perf_counter as now", True),
        ("asyncio.get_running_loop().time()", True),
        ("self._loop.time()", True),
        ("import datetime\ndatetime.datetime.now()", True),
        ("self.clock.now()", False),
        ("import time\ntime.sleep", False),
    ],
)
def test_a_second_source_of_time_is_noticed(source: str, noticed: bool) -> None:
    assert bool(list(time_reads(Module("keepwarm.client.x", source)))) is noticed
