"""Strictness: the argument `raise_for_status`, and what it does to an answer."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from keepwarm.client.response import ClientResponse

Judge = Callable[[ClientResponse], Awaitable[Any]]
Strictness = bool | Judge


def check_strictness(value: Any) -> Strictness:
    """What `raise_for_status` means: a coroutine function as it is, anything else by its truth."""
    return value if callable(value) else bool(value)


async def judge(strict: Judge, response: ClientResponse) -> None:
    """Let the caller's function look at an answer. If it raises, the response is released; if it is cancelled, the
    connection is closed.

    Raises what the function raises, and TypeError for one that gives nothing to await.
    """
    try:
        verdict = strict(response)
        if not inspect.isawaitable(verdict):
            raise TypeError("raise_for_status must be a bool or a coroutine function (async def)")
        await verdict
    except Exception:
        response.release()
        raise
    except BaseException:
        response.close()
        raise
