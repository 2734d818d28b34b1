"""Payload: the body of a request, in memory or as a source of chunks, and the count that keeps it honest."""

from collections.abc import AsyncIterator

from keepwarm.client.errors import ClientRequestError, InvalidInput

Bytes = bytes | memoryview


class Payload:
    """The body of a request.

    - `body`: all of it when it is in memory, else None; then it comes from :meth:`chunks`.
    - `length`: bytes, or None when that is not known, so that the body must be sent in chunks.
    - `content_type`: the Content-Type to send unless the caller gave one, or None.
    - `started`: something was taken from the source. Set before the source is asked for the first time.
    - `replayable`: the body can be sent once more, from its beginning (FAULTS P26).
    """

    __slots__ = ("body", "content_type", "length", "started")

    def __init__(self, body: Bytes | None, length: int | None, content_type: str | None) -> None:
        self.body = body
        self.length = length
        self.content_type = content_type
        self.started = False

    @property
    def replayable(self) -> bool:
        return True

    def declare(self, length: int) -> None:
        """Take the caller's word for the length of a body that does not know it.

        Raises InvalidInput when the length is known and another one.
        """
        if self.length is None:
            self.length = length
        elif self.length != length:
            raise InvalidInput(
                f"the declared Content-Length is {length} but the body of data has {self.length} bytes; leave the "
                "header out, it is made from the body",
                argument="headers",
            )

    def chunks(self) -> AsyncIterator[Bytes]:
        """The body from its beginning, piece by piece, checked against `length` where that is known.

        Raises ClientRequestError when the body was started before and is not replayable. The iterator raises what
        the source raises, TypeError for pieces that are not bytes, and ClientRequestError when the source has more
        bytes than `length` (those are never handed out) or fewer (FAULTS O07, O09).
        """
        if self.started and not self.replayable:
            raise ClientRequestError("the body was sent in part and its source cannot be read again")
        source = self.open()
        return source if self.length is None else CountedChunks(source, self.length)

    def open(self) -> AsyncIterator[Bytes]:
        """The pieces as the source gives them. For subclasses; callers want :meth:`chunks`."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Finish a source that was left in the middle, so that a generator's clean-up runs now and not at some later
        garbage collection. Files stay open: they are the caller's."""

    def __repr__(self) -> str:
        size = "unknown" if self.length is None else str(self.length)
        return f"<{type(self).__name__} length={size} content_type={self.content_type!r} started={self.started}>"


class CountedChunks:
    """Hands on the pieces of `source` and fails unless they have `length` bytes in all."""

    __slots__ = ("_length", "_sent", "_source")

    def __init__(self, source: AsyncIterator[Bytes], length: int) -> None:
        self._source = source
        self._length = length
        self._sent = 0

    def __aiter__(self) -> AsyncIterator[Bytes]:
        return self

    async def __anext__(self) -> Bytes:
        try:
            data = await self._source.__anext__()
        except StopAsyncIteration:
            if self._sent == self._length:
                raise
            raise ClientRequestError(
                f"the body ended after {self._sent} bytes, {self._length} were announced; the source of data is "
                "shorter than its declared length"
            ) from None
        sent = self._sent + len(data)
        if sent > self._length:
            raise ClientRequestError(
                f"the body has more than the {self._length} bytes that were announced (at least {sent}); the bytes "
                "beyond were not sent"
            )
        self._sent = sent
        return data


class BytesPayload(Payload):
    """A body in memory."""

    __slots__ = ()

    def __init__(self, body: Bytes, content_type: str | None) -> None:
        # Not by super(): it would take as long again, and this is on the way of every POST.
        self.body = body
        self.length = len(body)
        self.content_type = content_type
        self.started = False

    def open(self) -> AsyncIterator[Bytes]:
        self.started = True
        return _OnePiece(self.body)


class _OnePiece:
    __slots__ = ("_body",)

    def __init__(self, body: Bytes | None) -> None:
        self._body = body

    def __aiter__(self) -> AsyncIterator[Bytes]:
        return self

    async def __anext__(self) -> Bytes:
        body, self._body = self._body, None
        if body is None:
            raise StopAsyncIteration
        return body
