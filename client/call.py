"""Call: what a session's method returns, to be awaited, entered, or made a task of."""

from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:

    class _Base(Coroutine[Any, Any, T], Generic[T]):
        pass

else:
    _Base = Generic


class Call(_Base[T]):
    """A call that has been made but not run. Awaiting it runs it.

    It is a Coroutine, so ``asyncio.create_task``, ``gather``, ``wait_for`` and task groups take it.
    """

    __slots__ = ("_coroutine",)

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, T]:
        coroutine: Any = self._coroutine
        if coroutine.cr_await is not None:
            # Python refuses this for a coroutine that is awaited as it is; what `__await__` gives it does not look at.
            raise RuntimeError("the call is being awaited already: await the task that was made of it, not the call")
        iterator: Generator[Any, Any, T] = coroutine.__await__()
        return iterator

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

    # What asyncio shows of a coroutine. No __getattr__: with one, every look at an attribute would cost more.

    @property
    def __name__(self) -> str:
        return str(getattr(self._coroutine, "__qualname__", type(self).__qualname__))

    @property
    def cr_code(self) -> Any:
        """The code that runs."""
        coroutine: Any = self._coroutine
        return coroutine.cr_code

    @property
    def cr_frame(self) -> Any:
        """Where it waits; None once it has ended."""
        coroutine: Any = self._coroutine
        return coroutine.cr_frame

    @property
    def cr_running(self) -> Any:
        """Whether it runs at this moment."""
        coroutine: Any = self._coroutine
        return coroutine.cr_running


# As a base it would make its metaclass this one's, and every call would pay for the slower constructor.
Coroutine.register(Call)
