"""Call: what a session's method returns, to be awaited, entered, or made a task of."""

from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:

    class _Base(Coroutine[Any, Any, T], Generic[T]):
        pass

else:
    _Base = Generic

_SHOWN: Final = frozenset({"__name__", "__qualname__", "cr_await", "cr_code", "cr_frame", "cr_running"})


class Call(_Base[T]):
    """A call that has been made but not run. Awaiting it runs it.

    It is a Coroutine, so ``asyncio.create_task``, ``gather``, ``wait_for`` and task groups take it.
    """

    __slots__ = ("_coroutine",)

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, T]:
        return self._coroutine.__await__()

    # What a task needs

    def send(self, value: Any) -> Any:
        """Run the call up to its next wait, as a task does."""
        return self._coroutine.send(value)

    def throw(self, *exception: Any) -> Any:
        """Raise an exception where the call waits, as a task does when it is cancelled."""
        return self._coroutine.throw(*exception)

    def close(self) -> None:
        """Drop the call without running it."""
        self._coroutine.close()

    def __getattr__(self, name: str) -> Any:
        """What asyncio shows of a coroutine: its name, and where it is."""
        if name in _SHOWN:
            return getattr(self._coroutine, name)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'", name=name, obj=self)


# As a base it would make its metaclass this one's, and every call would pay for the slower constructor.
Coroutine.register(Call)
