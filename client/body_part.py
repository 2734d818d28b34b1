"""BodyPartWriter: one part of a multipart body, its header fields and its content."""

import re
from typing import Final, Protocol

from multidict import CIMultiDict

from keepwarm.client.disposition import content_disposition
from keepwarm.client.errors import InvalidInput
from keepwarm.client.headers import encode_field
from keepwarm.client.pairs import iter_pairs
from keepwarm.client.source import Payload
from keepwarm.client.transfer_encoding import check_coding, transfer_encode

_LENGTH: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


class PayloadSource(Protocol):
    """Something that becomes a payload when the request is made: a multipart body inside another."""

    @property
    def content_type(self) -> str:
        """The media type of the payload, with its parameters."""

    def payload(self) -> Payload:
        """The payload as it is now."""


class BodyPartWriter:
    """One part: its content, `source`, and its `headers`, a CIMultiDict that may be changed until the request is made.

    - Content-Type is the content's own unless it is given. A nested multipart body makes its own.
    - Content-Transfer-Encoding is applied: base64 and quoted-printable encode the content; 7bit, 8bit and binary do
      not touch it. Content-Encoding is a mere label, for content that is compressed already.
    - Content-Length, which parts need not have, is held against the content.

    Raises InvalidInput for header fields that must not be sent, TypeError for other types.
    """

    __slots__ = ("headers", "source")

    def __init__(self, source: Payload | PayloadSource, headers: object = None) -> None:
        self.source = source
        self.headers: CIMultiDict[str] = CIMultiDict()
        self.add_headers(headers)
        if source.content_type is not None and "Content-Type" not in self.headers:
            self.headers["Content-Type"] = source.content_type

    def add_headers(self, headers: object) -> None:
        """Set header fields: a mapping or an iterable of pairs of str. A name replaces the fields of that name that
        were there; repeated names among `headers` are all kept."""
        if headers is None:
            return
        fresh: CIMultiDict[str] = CIMultiDict()
        for name, value in iter_pairs(headers, "headers"):
            if not isinstance(name, str) or not isinstance(value, str):
                raise TypeError(
                    f"headers: names and values of parts must be str, got {type(name).__name__} and "
                    f"{type(value).__name__}"
                )
            encode_field(name, value)
            fresh.add(name, value)
        if "Content-Type" in fresh and not isinstance(self.source, Payload):
            raise InvalidInput(
                "headers: a nested multipart body makes its own Content-Type, which holds its boundary",
                argument="headers",
            )
        for name in set(fresh):
            self.headers.popall(name, None)
        self.headers.extend(fresh)

    def set_content_disposition(
        self, disposition: str, *, name: str | None = None, filename: str | None = None, extended: bool = False
    ) -> None:
        """Set Content-Disposition. `disposition` is "form-data", "attachment" or another token. CR, LF and quotes in
        `name` and `filename` are percent-encoded. `extended` adds ``filename*`` (RFC 8187), which form-data must not
        have. Raises InvalidInput for what cannot be sent, TypeError for what is no str.
        """
        value = content_disposition(disposition, name=name, filename=filename, extended=extended)
        others = [pair for pair in self.headers.items() if pair[0].lower() != "content-disposition"]
        # It goes first, where simple readers look for it.
        self.headers = CIMultiDict([("Content-Disposition", value), *others])

    def head(self) -> bytes:
        """The field lines and the empty line, as they are sent."""
        return b"".join([encode_field(name, value) for name, value in self.headers.items()]) + b"\r\n"

    def payload(self) -> Payload:
        """The content as it is sent, in its transfer encoding."""
        source = self.source
        payload = source if isinstance(source, Payload) else source.payload()
        coding = self._single("Content-Transfer-Encoding")
        if coding is not None:
            payload = transfer_encode(payload, check_coding(coding, "Content-Transfer-Encoding"))
        length = self._single("Content-Length")
        if length is not None:
            if not _LENGTH.fullmatch(length):
                raise InvalidInput("headers: Content-Length of a part must be a number of bytes", argument="headers")
            payload.declare(int(length))
        return payload

    def _single(self, name: str) -> str | None:
        values = self.headers.getall(name, [])
        if len(values) > 1:
            raise InvalidInput(f"headers: {name} of a part must be given once", argument="headers")
        return values[0].strip() if values else None

    def __repr__(self) -> str:
        return f"<BodyPartWriter {self.headers.get('Content-Type')} of {self.source!r}>"
