"""Options that are on or off: anything else is refused by the name of the option, and not taken for on."""

from collections.abc import Callable
from typing import Any

import pytest

from keepwarm import ClientSession, RetryPolicy, TCPConnector, UnixConnector

MAKERS: list[tuple[str, Callable[..., Any]]] = [
    ("learn_idle", TCPConnector),
    ("learn_idle", lambda **options: UnixConnector("/run/a.sock", **options)),
    ("errors", RetryPolicy),
    ("respect_retry_after", RetryPolicy),
    ("timings", ClientSession),
    ("retry_stale", ClientSession),
]


@pytest.mark.parametrize(("option", "make"), MAKERS)
@pytest.mark.parametrize("value", ["no", "", 0, 1, None, 0.5, []])
def test_neither_on_nor_off(option: str, make: Callable[..., Any], value: Any) -> None:
    """The text "no" is not on, and None is no default."""
    with pytest.raises(TypeError, match=f"{option} must be True or False, got"):
        make(**{option: value})
