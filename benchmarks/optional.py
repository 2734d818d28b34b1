"""Import a package that may be missing."""

import importlib
import importlib.util
from typing import Any


def is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def optional_import(name: str) -> Any:
    """The module, or None when it is not installed."""
    return importlib.import_module(name) if is_installed(name) else None
