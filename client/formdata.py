"""FormData: a form, urlencoded or multipart (RFC 7578)."""

import codecs
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from keepwarm.client.charset import charset_of
from keepwarm.client.disposition import content_disposition
from keepwarm.client.errors import InvalidInput
from keepwarm.client.file_payload import OCTET_STREAM, guess_filename, type_of_name
from keepwarm.client.multipart import MultipartWriter
from keepwarm.client.pairs import text_pairs
from keepwarm.client.raw_payload import is_file, raw_payload
from keepwarm.client.source import BytesPayload, Payload
from keepwarm.client.text import encode_text
from keepwarm.client.transfer_encoding import check_coding
from keepwarm.client.urlencoded import FORM, encode_form
from keepwarm.pool.errors import printable

_MEDIA_TYPE: Final = re.compile(
    r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+/[!#$%&'*+\-.^_`|~0-9A-Za-z]+[ \t]*(;[^\x00-\x08\x0a-\x1f\x7f]*)?"
)


class _Field(NamedTuple):
    name: str
    value: str | Payload | MultipartWriter
    content_type: str | None
    filename: str | None
    coding: str | None


class FormData:
    """A form, to be given as `data`.

    `fields` is a mapping (a multidict gives each value of a name), or a list or tuple of what `add_fields` takes.
    Fields keep their order, and a name may come several times. Text and numbers alone are urlencoded; the form becomes
    multipart/form-data with the first field that is anything else, or has a file name, a content type or a transfer
    encoding.

    A form can be used for several requests, as long as what is in it can be read again.
    """

    __slots__ = ("_fields", "_is_multipart", "_writer")

    def __init__(self, fields: Any = ()) -> None:
        self._fields: list[_Field] = []
        self._is_multipart = False
        # Its boundary is the form's.
        self._writer = MultipartWriter("form-data")
        if isinstance(fields, (list, tuple)):
            self.add_fields(*fields)
        else:
            self.add_fields(fields)

    @property
    def is_multipart(self) -> bool:
        """Whether the form is sent as multipart/form-data."""
        return self._is_multipart

    @property
    def content_type(self) -> str:
        """The Content-Type of the form as it is now."""
        return self._writer.content_type if self._is_multipart else FORM

    def add_field(
        self,
        name: str,
        value: Any,
        *,
        content_type: str | None = None,
        filename: str | None = None,
        content_transfer_encoding: str | None = None,
    ) -> None:
        """Add one field.

        - `value`: str, int or float (sent as text); bytes, bytearray, memoryview; a file in binary mode, which is sent
          from its position at this time; an (async) iterable of bytes; a Payload; a MultipartWriter.
        - `content_type`: the media type of the part. Guessed from the file name for files and bytes; text has none,
          unless it is sent in another encoding than UTF-8. A charset in it is the encoding of a text.
        - `filename`: the last part of a file's own name unless given, else `name`. Bytes and iterables get `name`,
          unless there is a `content_transfer_encoding`.
        - `content_transfer_encoding`: base64 or quoted-printable encode the content; 7bit, 8bit and binary leave it.

        Raises TypeError for other types, InvalidInput, a ValueError, for what must not be sent.
        """
        if not isinstance(name, str):
            raise TypeError(f"form data: names must be str, got {type(name).__name__}")
        if content_type is not None:
            _check_media_type(content_type)
        coding = content_transfer_encoding
        if coding is not None:
            coding = check_coding(coding, "content_transfer_encoding")
        source = _field_source(name, value)
        if filename is None and not isinstance(value, (str, Payload, MultipartWriter)) and not isinstance(source, str):
            filename = _default_filename(name, value, coding)
        is_plain = isinstance(source, str) and content_type is None and filename is None and coding is None
        if not is_plain:
            content_disposition("form-data", name=name, filename=filename)
            self._is_multipart = True
        if isinstance(source, Payload) and content_type is None:
            content_type = _guess_type(source, filename, keep=isinstance(value, Payload))
        self._fields.append(_Field(name, source, content_type, filename, coding))

    def add_fields(self, *fields: Any) -> None:
        """Add several fields: pairs of name and value, mappings of them, and files, which are named after their file
        name ('unknown' without one).

        Raises as `add_field` does.
        """
        for field in fields:
            if isinstance(field, Mapping):
                for name, value in field.items():
                    self.add_field(name, value)
            elif isinstance(field, (list, tuple)) and len(field) == 2:
                self.add_field(field[0], field[1])
            elif is_file(field):
                self.add_field(guess_filename(field) or "unknown", field)
            else:
                raise TypeError(
                    "form data must be made of pairs of name and value, mappings and files; use add_field for more. "
                    f"Got {_shape(field)}"
                )

    def __call__(self, encoding: str = "utf-8") -> Payload:
        """The body that the form is now. `encoding` is that of values, and of names in a urlencoded form; names in a
        multipart form are UTF-8.

        Raises InvalidInput for text that `encoding` cannot express, and for what must not be sent.
        """
        if not self._is_multipart:
            pairs = [(field.name, field.value) for field in self._fields]
            return BytesPayload(encode_form(pairs, encoding), FORM)
        writer = MultipartWriter("form-data", self._writer.boundary)
        for field in self._fields:
            _append(writer, field, encoding)
        return writer.payload()

    def __repr__(self) -> str:
        # Names and values may be secrets.
        return f"<FormData {'multipart' if self._is_multipart else 'urlencoded'} with {len(self._fields)} fields>"


def _append(writer: MultipartWriter, field: _Field, encoding: str) -> None:
    headers = {}
    if field.content_type is not None:
        headers["Content-Type"] = field.content_type
    if field.coding is not None:
        headers["Content-Transfer-Encoding"] = field.coding
    value = _text_payload(field.value, field.content_type, encoding) if isinstance(field.value, str) else field.value
    part = writer.append(value, headers)
    part.set_content_disposition("form-data", name=field.name, filename=field.filename)


def _text_payload(text: str, content_type: str | None, encoding: str) -> Payload:
    charset = charset_of(content_type) if content_type is not None else None
    body = encode_text(text, charset or encoding, "data")
    # RFC 7578, 5.1.2: readers expect UTF-8.
    is_expected = charset is not None or codecs.lookup(encoding).name == "utf-8"
    return BytesPayload(body, None if is_expected else f"text/plain; charset={encoding}")


def _field_source(name: str, value: Any) -> str | Payload | MultipartWriter:
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return text_pairs([(name, value)], "data")[0][1]
    if isinstance(value, MultipartWriter):
        return value
    argument = f"form data: the value of {name!r}"
    if isinstance(value, (list, tuple)) and not all(isinstance(item, (bytes, bytearray, memoryview)) for item in value):
        raise TypeError(f"{argument} is a {type(value).__name__}; for several values give the name once for each")
    if value is None or isinstance(value, (bool, Mapping, set, frozenset, range)):
        raise TypeError(f"{argument} must be text, a number, bytes or a file, got {type(value).__name__}")
    return raw_payload(value, argument=argument)


def _default_filename(name: str, value: Any, coding: str | None) -> str | None:
    if is_file(value):
        return guess_filename(value) or name
    return name if coding is None else None


def _guess_type(payload: Payload, filename: str | None, *, keep: bool) -> str | None:
    if keep or filename is None:
        return payload.content_type
    guessed = type_of_name(filename)
    return payload.content_type if guessed == OCTET_STREAM else guessed


def _check_media_type(value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"content_type must be str, got {type(value).__name__}")
    if not _MEDIA_TYPE.fullmatch(value):
        raise InvalidInput(
            f"content_type must be a media type such as image/png, with no control characters, got "
            f"'{printable(value)}'",
            argument="content_type",
        )


def _shape(field: object) -> str:
    return f"{len(field)} items" if isinstance(field, (tuple, list)) else type(field).__name__
