"""Coding: one content coding being undone, a bounded step at a time."""

from abc import ABC, abstractmethod
from collections import deque
from typing import ClassVar, Final, NoReturn

from keepwarm.client.decoding_error import ContentDecodingError

# What a decompressor is given at once. It copies what it did not use, so large pieces would be copied over and over.
STEP: Final = 16384


class Coding(ABC):
    """Takes coded bytes with `feed`, gives decoded ones with `read`; subclasses know the format.

    The input is kept as it came, and decoded only when somebody reads. `offset` counts the coded bytes before the
    piece that is being decoded.
    """

    __slots__ = ("_at", "_input", "_taken", "offset")

    name: ClassVar[str]

    def __init__(self) -> None:
        self._input: deque[bytes] = deque()
        self._at = 0
        self._taken = 0
        self.offset = 0

    def feed(self, data: bytes) -> None:
        """Append coded bytes, which are not empty."""
        self._input.append(data)

    @property
    @abstractmethod
    def needs_input(self) -> bool:
        """Whether `read` has nothing to give before more is fed."""

    @abstractmethod
    def read(self, n: int) -> bytes:
        """One step: at most `n` (> 0) decoded bytes. b'' says nothing, ask `needs_input`.

        Raises ContentDecodingError.
        """

    @property
    @abstractmethod
    def is_whole(self) -> bool:
        """Whether the coded bytes may end here."""

    def finish(self) -> None:
        """No more is coming, and everything is read. A body of no bytes at all is fine (FAULTS F45).

        Raises ContentDecodingError if the coded bytes were cut short.
        """
        if self._taken and not self.is_whole:
            raise ContentDecodingError(
                f"the body was cut short: its {self.name} data goes on after the {self._taken} bytes that came",
                coding=self.name,
                offset=self._taken,
            )

    def _take(self) -> bytes:
        """The next piece of the input; b'' if there is none."""
        if not self._input:
            return b""
        head, at = self._input[0], self._at
        piece = head[at : at + STEP]
        if at + STEP >= len(head):
            self._input.popleft()
            self._at = 0
        else:
            self._at = at + STEP
        self.offset = self._taken
        self._taken += len(piece)
        return piece

    def _give_back(self, unused: bytes) -> None:
        """The end of the last piece belongs to what follows."""
        self.offset = self._taken - len(unused)

    def _refuse(self, reason: object) -> NoReturn:
        raise ContentDecodingError(
            f"the body cannot be decoded as {self.name}: {reason} (after {self.offset} coded bytes); either it was "
            "damaged or the server's Content-Encoding is wrong",
            coding=self.name,
            offset=self.offset,
        ) from None

    def _refuse_garbage(self) -> NoReturn:
        self._refuse("something follows the end of the data")
