"""What a forked child does with what its parent has open: nothing (FAULTS L08, L09).

A child has the parent's event loop, its epoll and its sockets. Were it to close one of them as usual, it would write a
TLS goodbye into the parent's connection, or take the socket off the epoll that both share, and the parent would never
hear from it again. So the child neither uses nor collects the parent's transports, and its own copies of their
descriptors are put to /dev/null: whatever still closes them, at the latest the exit of the child, closes /dev/null,
and the connection ends when the parent ends it and not when the last child is gone.
"""

import os
import weakref
from collections.abc import Iterable
from typing import Protocol

from keepwarm.pool.lazy import lazy_module

_ctypes = lazy_module("ctypes")


class Forked(Protocol):
    """What wants to know that it is in a forked child."""

    def abandon_after_fork(self) -> None: ...


_watched: "weakref.WeakSet[Forked]" = weakref.WeakSet()


def watch_for_fork(item: Forked) -> None:
    """Call ``item.abandon_after_fork()`` in each forked child, as long as the item lives."""
    _watched.add(item)


def never_collect(*things: object) -> None:
    """Keep these until the process is gone, its interpreter's exit included: a transport that is collected closes
    itself, and uvloop's crashes in a child."""
    _ctypes.pythonapi.Py_IncRef(_ctypes.py_object(things))


def blind(descriptors: Iterable[int]) -> None:
    """Make descriptors of this process point to /dev/null. Nothing is said to whatever they pointed to."""
    try:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return  # no descriptor is free: they stay what they are, and nobody uses them
    try:
        for descriptor in descriptors:
            os.dup2(null, descriptor, inheritable=False)
    finally:
        os.close(null)


def _after_fork_in_child() -> None:
    for item in list(_watched):
        item.abandon_after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
