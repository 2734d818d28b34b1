"""What the package shows to the world: its names, their docstrings, its version, its types."""

import importlib
import importlib.metadata
import inspect
import tomllib
from importlib.resources import files
from types import FunctionType

import pytest

import keepwarm
from tests.support.source import FOLDERS, ROOT, our_modules

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize("name", our_modules())
def test_all_lists_only_what_exists_and_each_name_once(name: str) -> None:
    module = importlib.import_module(name)
    names = list(getattr(module, "__all__", []))
    assert [missing for missing in names if not hasattr(module, missing)] == []
    assert len(names) == len(set(names))


def test_the_public_names_are_sorted_and_public() -> None:
    assert keepwarm.__all__
    assert sorted(keepwarm.__all__) == list(keepwarm.__all__)
    assert [name for name in keepwarm.__all__ if name.startswith("_") and name != "__version__"] == []


@pytest.mark.parametrize("name", keepwarm.__all__)
def test_a_public_function_or_class_says_what_it_does(name: str) -> None:
    thing = getattr(keepwarm, name)
    if inspect.isclass(thing) or inspect.isroutine(thing):
        # Not inspect.getdoc(): that would take the docstring of a base class for its own.
        assert (thing.__doc__ or "").strip(), f"{name} has no docstring"


@pytest.mark.parametrize("name", [name for name in keepwarm.__all__ if inspect.isclass(getattr(keepwarm, name))])
def test_a_public_method_or_property_says_what_it_does(name: str) -> None:
    """One that overrides another may leave the words to that one."""
    cls = getattr(keepwarm, name)
    members = {
        member: getattr(cls, member)
        for kind in cls.__mro__
        if kind.__module__.startswith("keepwarm.")
        for member, value in vars(kind).items()
        if not member.startswith("_") and isinstance(value, (property, classmethod, staticmethod, FunctionType))
    }
    assert [member for member, value in members.items() if not inspect.getdoc(value)] == []


def test_the_version_is_the_same_everywhere() -> None:
    assert keepwarm.__version__ == PROJECT["project"]["version"]
    assert keepwarm.__version__ == importlib.metadata.version("keepwarm")


def test_every_package_is_shipped_with_the_mark_that_it_is_typed() -> None:
    setuptools = PROJECT["tool"]["setuptools"]
    assert setuptools["package-dir"] == FOLDERS
    assert sorted(setuptools["packages"]) == sorted(FOLDERS)
    assert "py.typed" in setuptools["package-data"]["keepwarm"]
    assert (files("keepwarm") / "py.typed").is_file()


def test_no_module_lies_where_the_wheel_would_miss_it() -> None:
    nested = [path for folder in FOLDERS.values() for path in (ROOT / folder).glob("*/**/*.py")]
    assert nested == []
