"""The packages behind "br" and "zstd": both optional, both loaded when a session first needs to know."""

import importlib
from functools import cache
from typing import Any, Final

# The package `zstandard` is not among them: its decompressor for streams has no limit on what one call gives.
_ZSTD: Final = ("compression.zstd", "backports.zstd")
_BROTLI: Final = ("brotli", "brotlicffi")


@cache
def brotli_package() -> Any | None:
    """`brotli` or `brotlicffi`, from 1.2 on: older ones cannot limit their output. None if there is none."""
    for name in _BROTLI:
        package = _load(name)
        if package is not None and hasattr(package.Decompressor, "can_accept_more_data"):
            return package
    return None


@cache
def zstd_package() -> Any | None:
    """`compression.zstd` (Python 3.14) or `backports.zstd`. None if there is none."""
    for name in _ZSTD:
        package = _load(name)
        if package is not None:
            return package
    return None


def _load(name: str) -> Any | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
