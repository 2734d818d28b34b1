"""creation_point: where an object was made, for the message about one that was never closed."""

import asyncio
import sys
import traceback
from types import FrameType


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs in this thread, or None."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def creation_point(loop: asyncio.AbstractEventLoop | None) -> traceback.StackSummary | None:
    """The stack above the caller, if `loop` (None: the one that runs) is in debug mode; None otherwise."""
    loop = loop or running_loop()
    if loop is None or not loop.get_debug():
        return None
    return traceback.extract_stack(sys._getframe(2))


def constructor_level(made: object) -> int:
    """The stacklevel that shows who called the constructor of `made`, for a warning from inside it, at any depth of
    subclasses. Costs a walk up the stack."""
    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and _first_argument(frame) is made:
        level += 1
        frame = frame.f_back
    return level


def _first_argument(frame: FrameType) -> object:
    names = frame.f_code.co_varnames
    return frame.f_locals.get(names[0]) if names else None
