"""HeadLimits: how much of a response may be something else than its body."""

from dataclasses import dataclass, fields
from typing import Final


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """The most that a response's head and framing may have.

    `status_line` (default 1,024), `line` (8,192) and `block` (65,536) are bytes: of the status line, of each field
    line, and of the whole head. `fields` (128) counts field lines. Trailers share `block` and `fields` with their
    head. `overhead` (16,384) is how many bytes the size lines of chunks may have beyond 16 a chunk and the size of
    its data; it bounds chunk extensions.

    Raises TypeError for a limit that is no int, ValueError for one below 1.
    """

    status_line: int = 1024
    line: int = 8192
    block: int = 65536
    fields: int = 128
    overhead: int = 16384

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"limits.{field.name} must be an int, got {value!r}")
            if value < 1:
                raise ValueError(f"limits.{field.name} must be at least 1, got {value!r}")


DEFAULT_LIMITS: Final = HeadLimits()
