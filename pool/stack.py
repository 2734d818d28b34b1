"""Stack: where somebody called keepwarm, kept cheaply."""

import sys
import traceback
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Final

# Frames that are kept of a stack, the innermost ones.
DEPTH: Final = 16
# Whose frames say nothing about who took a connection: ours, and those of what drives coroutines.
_OURS: Final = ("keepwarm.",)
_DRIVERS: Final = ("asyncio.", "uvloop.")


class Stack:
    """Where somebody was: the innermost frames outside keepwarm and the event loop. The text is made when it is asked
    for; until then it is code and line numbers, which keep no variable alive."""

    __slots__ = ("_places",)

    def __init__(self, places: tuple[tuple[CodeType, int], ...]) -> None:
        self._places = places

    @classmethod
    def here(cls) -> "Stack":
        """The stack of whoever called into keepwarm. Through coroutines that wait for each other, up to their task."""
        return cls(tuple(_places(sys._getframe(1))))

    @property
    def place(self) -> str:
        """The innermost place in one line, as in ``app.py:17 in fetch``."""
        if not self._places:
            return "an unknown place"
        code, line = self._places[0]
        return f"{code.co_filename}:{line} in {code.co_name}"

    @property
    def summary(self) -> traceback.StackSummary:
        """The outermost place first, as in a traceback."""
        return traceback.StackSummary.from_list(
            [traceback.FrameSummary(code.co_filename, line, code.co_name) for code, line in reversed(self._places)]
        )

    def __str__(self) -> str:
        return "".join(self.summary.format())


def _places(frame: FrameType | None) -> Iterator[tuple[CodeType, int]]:
    count = 0
    while frame is not None and count < DEPTH:
        name = frame.f_globals.get("__name__", "")
        if not name.startswith(_OURS) and not f"{name}.".startswith(_DRIVERS):
            yield frame.f_code, frame.f_lineno
            count += 1
        frame = frame.f_back
