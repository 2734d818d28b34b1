"""EmptyStreamReader: the body of an answer that has none."""

from typing import Final

from keepwarm.client.body import StreamReader
from keepwarm.client.pieces import BytesLike


class EmptyStreamReader(StreamReader):
    """A body of no bytes: always at its end.

    What is fed to it, put back or set as its exception is dropped, so one can stand for all empty bodies.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self.feed_eof()

    def feed_data(self, data: BytesLike, size: int = 0) -> None:
        """Does nothing."""

    def set_exception(self, exc: BaseException) -> None:
        """Does nothing."""

    def unread_data(self, data: BytesLike) -> None:
        """Does nothing."""


EMPTY_PAYLOAD: Final = EmptyStreamReader()
