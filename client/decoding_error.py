"""ContentDecodingError: the body of a response is not what its Content-Encoding says, or too much once decoded."""

from typing import Any

from keepwarm.client.errors import BodyTooLarge, ClientPayloadError, ContentEncodingError, HttpProcessingError


class ContentDecodingError(ClientPayloadError, ContentEncodingError):
    """The body cannot be decoded: broken, cut short, followed by garbage, or larger than allowed.

    `coding` is the content coding that failed, `offset` counts the coded bytes before the piece that could not be
    decoded. It is a ContentEncodingError too, because the reference's handlers wait for that one.
    """

    phase: str | None = "body"
    coding: str | None = None
    offset: int | None = None

    def __init__(self, message: str, *, coding: str | None = None, offset: int | None = None, **context: Any) -> None:
        HttpProcessingError.__init__(self, message=message)
        ClientPayloadError.__init__(self, message, **context)
        self.args = (message,)
        if coding is not None:
            self.coding = coding
        if offset is not None:
            self.offset = offset


class DecodedBodyTooLarge(ContentDecodingError, BodyTooLarge):
    """The decoded body has more than `max_body_size` bytes; what was sent may be much less."""
