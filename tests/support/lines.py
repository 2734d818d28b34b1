"""The cost of a call that does not depend on the machine: lines of Python."""

import sys
from collections.abc import Callable
from types import FrameType


def lines(call: Callable[[], object]) -> int:
    """How many lines of Python a call runs."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> "Callable[..., object]":
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count
