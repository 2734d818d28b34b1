"""MultipartWriter: a multipart body, part by part (RFC 2046, 5.1)."""

from collections.abc import Callable, Iterator, Mapping
from json import dumps
from typing import Any, Self

from keepwarm.client.body_part import BodyPartWriter
from keepwarm.client.boundary import Boundary
from keepwarm.client.charset import charset_of
from keepwarm.client.errors import InvalidInput
from keepwarm.client.file_payload import guess_filename
from keepwarm.client.multipart_payload import join_parts
from keepwarm.client.pairs import iter_pairs
from keepwarm.client.raw_payload import is_file, raw_payload
from keepwarm.client.source import BytesPayload, Payload
from keepwarm.client.text import TOKEN, encode_text
from keepwarm.client.urlencoded import FORM, encode_form


class MultipartWriter:
    """A body of several parts, to be given as `data`. Parts are sent in the order in which they were appended.

    `subtype` is what follows ``multipart/``; `boundary` is random unless given. A length is
    announced if every part knows its own, else the body is sent in chunks. Parts are streamed: at most a piece of
    256 KiB is in memory at a time, besides what was in memory before. The body can be sent again if every part can.

    A part must not contain the boundary. What is in memory is refused when the request is made; a stream that contains
    it fails the request before the byte that would complete it is sent.

    The writer can be used for several requests, and in a ``with`` block, which does nothing. Without parts it is no
    body, as everything empty.

    Raises InvalidInput, a ValueError, for a `subtype` that is no token and for an illegal `boundary`.
    """

    __slots__ = ("_boundary", "_parts", "_subtype")

    def __init__(self, subtype: str = "mixed", boundary: str | None = None) -> None:
        if not isinstance(subtype, str) or not TOKEN.fullmatch(subtype):
            raise InvalidInput(f"subtype must be a token, as 'mixed' is, got {subtype!r}", argument="subtype")
        self._subtype = subtype
        self._boundary = Boundary(boundary)
        self._parts: list[BodyPartWriter] = []

    @property
    def boundary(self) -> str:
        """The boundary, without its dashes."""
        return self._boundary.text

    @property
    def content_type(self) -> str:
        """The Content-Type of the body, with the boundary."""
        return f"multipart/{self._subtype}; boundary={self._boundary.parameter}"

    def append(self, obj: Any, headers: object = None) -> BodyPartWriter:
        """Add a part and return it.

        `obj` is text (sent as text/plain in the charset of the part's Content-Type, UTF-8 without one), bytes, a file
        in binary mode (which gets ``Content-Disposition: attachment`` with its name), an (async) iterable of bytes, a
        Payload, another MultipartWriter, or a part. `headers` are those of the part.

        Raises as `make_payload` does, InvalidInput for headers that must not be sent and for a writer inside itself.
        """
        if isinstance(obj, BodyPartWriter):
            obj.add_headers(headers)
            return self._add(obj)
        if isinstance(obj, MultipartWriter):
            return self._add(BodyPartWriter(obj, headers))
        if isinstance(obj, Mapping):
            raise TypeError(f"obj is a {type(obj).__name__}; use append_json or append_form")
        if isinstance(obj, str):
            return self._append_text(obj, headers)
        part = self._add(BodyPartWriter(raw_payload(obj, argument="obj"), headers))
        filename = guess_filename(obj) if is_file(obj) else None
        if filename is not None and "Content-Disposition" not in part.headers:
            part.set_content_disposition("attachment", filename=filename)
        return part

    def append_json(
        self, obj: Any, headers: object = None, *, json_serialize: Callable[[Any], str | bytes] = dumps
    ) -> BodyPartWriter:
        """Add a part of application/json. Raises what `json_serialize` raises."""
        text = json_serialize(obj)
        body = text if isinstance(text, bytes) else encode_text(text, "utf-8", "obj")
        return self.append_payload(BytesPayload(body, "application/json"), headers)

    def append_form(self, obj: object, headers: object = None) -> BodyPartWriter:
        """Add a part of application/x-www-form-urlencoded, made of a mapping or of pairs."""
        return self.append_payload(BytesPayload(encode_form(obj), FORM), headers)

    def append_payload(self, payload: Payload, headers: object = None) -> BodyPartWriter:
        """Add a part that is a Payload already. Raises TypeError for anything else."""
        if not isinstance(payload, Payload):
            raise TypeError(f"payload must be a Payload, got {type(payload).__name__}; use append")
        return self._add(BodyPartWriter(payload, headers))

    def payload(self) -> Payload:
        """The parts as they are now, as one body. For make_payload, which is given the writer as `data`.

        Raises InvalidInput when there is no part (RFC 2046 has no such body) and for what parts and headers that were
        changed since hold.
        """
        if not self._parts:
            raise InvalidInput("a multipart body needs at least one part (RFC 2046, 5.1)", argument="data")
        parts = ((part.head(), part.payload()) for part in self._parts)
        return join_parts(parts, self._boundary, self.content_type)

    def contains(self, writer: "MultipartWriter") -> bool:
        """Whether `writer` is this one or inside it, however deep."""
        return self is writer or any(
            isinstance(part.source, MultipartWriter) and part.source.contains(writer) for part in self._parts
        )

    def _append_text(self, text: str, headers: object) -> BodyPartWriter:
        pairs = [] if headers is None else iter_pairs(headers, "headers")
        kind = next((value for name, value in pairs if isinstance(name, str) and name.lower() == "content-type"), None)
        charset = charset_of(kind) if isinstance(kind, str) else None
        payload = BytesPayload(encode_text(text, charset or "utf-8", "obj"), "text/plain; charset=utf-8")
        return self.append_payload(payload, pairs)

    def _add(self, part: BodyPartWriter) -> BodyPartWriter:
        if isinstance(part.source, MultipartWriter) and part.source.contains(self):
            raise InvalidInput("obj: a multipart body cannot be a part of itself", argument="obj")
        self._parts.append(part)
        return part

    def __iter__(self) -> Iterator[BodyPartWriter]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Nothing: the block only shows which parts belong together."""

    def __repr__(self) -> str:
        return f"<MultipartWriter multipart/{self._subtype} with {len(self._parts)} parts>"
