"""StreamPayload: a body from an iterable of bytes, asynchronous or not."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable, Iterator

from keepwarm.client.source import Bytes, Payload


class StreamPayload(Payload):
    """A body whose pieces come from `source`: an (async) iterable, iterator or generator of bytes.

    An ordinary iterable runs on the event loop's thread, so its steps must not block. `repeatable` says that each
    iteration gives the same pieces (a list does); anything else can be sent again only while nothing was taken.
    """

    __slots__ = ("_iterator", "_repeatable", "_source")

    def __init__(
        self,
        source: AsyncIterable[object] | Iterable[object],
        content_type: str | None,
        *,
        repeatable: bool = False,
    ) -> None:
        super().__init__(None, None, content_type)
        self._source = source
        self._repeatable = repeatable
        self._iterator: AsyncIterator[object] | Iterator[object] | None = None

    @property
    def replayable(self) -> bool:
        return self._repeatable or not self.started

    def open(self) -> AsyncIterator[Bytes]:
        if isinstance(self._source, AsyncIterable):
            asynchronous = aiter(self._source)
            self._iterator = asynchronous
            return _AsyncPieces(self, asynchronous)
        plain = iter(self._source)
        self._iterator = plain
        return _PlainPieces(self, plain)

    async def aclose(self) -> None:
        iterator = self._iterator
        if not self.started or iterator is None:
            return
        self._iterator = None
        # Only what Python made from a function: any other object with a close() may be the caller's to keep.
        if isinstance(iterator, AsyncGenerator):
            await iterator.aclose()
        elif isinstance(iterator, Generator):
            iterator.close()


class _AsyncPieces:
    __slots__ = ("_iterator", "_payload")

    def __init__(self, payload: Payload, iterator: AsyncIterator[object]) -> None:
        self._payload = payload
        self._iterator = iterator

    def __aiter__(self) -> AsyncIterator[Bytes]:
        return self

    async def __anext__(self) -> Bytes:
        self._payload.started = True
        return piece_bytes(await self._iterator.__anext__())


class _PlainPieces:
    __slots__ = ("_iterator", "_payload")

    def __init__(self, payload: Payload, iterator: Iterator[object]) -> None:
        self._payload = payload
        self._iterator = iterator

    def __aiter__(self) -> AsyncIterator[Bytes]:
        return self

    async def __anext__(self) -> Bytes:
        self._payload.started = True
        try:
            piece = next(self._iterator)
        except StopIteration:
            raise StopAsyncIteration from None
        return piece_bytes(piece)


def piece_bytes(piece: object, argument: str = "data") -> bytes:
    """One piece of a body as bytes that nobody can change any more. Raises TypeError for what is not bytes."""
    if type(piece) is bytes:
        return piece
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return memoryview(piece).tobytes()  # whatever a class of the caller's says of its length
    raise TypeError(f"{argument} must give bytes, got {type(piece).__name__}")
