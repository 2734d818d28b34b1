"""Reads multipart bodies with the parser of the standard library, which knows nothing of ours."""

import re
from dataclasses import dataclass, field
from email.message import Message
from email.parser import Parser
from typing import Any

from keepwarm.client.multipart import MultipartWriter
from keepwarm.client.source import Payload
from tests.support.bodies import body, made

# One parameter of Content-Disposition. No backslash before the quote: readers do not agree what that means.
_PARAMETER = re.compile(r';\s*([a-z*]+)=(?:"((?:[^"]*[^"\\])?)"|([^;"\s]+))', re.DOTALL)


@dataclass
class Part:
    """What a server sees of one part."""

    headers: dict[str, str]
    body: bytes
    parts: list["Part"] = field(default_factory=list)

    @property
    def disposition(self) -> str:
        return self.headers["content-disposition"].partition(";")[0]

    @property
    def name(self) -> str | None:
        return self._parameters().get("name")

    @property
    def filename(self) -> str | None:
        return self._parameters().get("filename")

    @property
    def content_type(self) -> str | None:
        return self.headers.get("content-type")

    def _parameters(self) -> dict[str, str]:
        value = self.headers.get("content-disposition", "")
        start = len(value.partition(";")[0])
        found = list(_PARAMETER.finditer(value, start))
        # Nothing but parameters: a quote that ended too early would leave something over.
        assert "".join(match[0] for match in found) == value[start:], value
        return {match[1]: match[3] or match[2] for match in found}


def read_multipart(content_type: str | None, body: bytes) -> list[Part]:
    """The parts of a body, whose headers are UTF-8. Fails unless the body is one multipart without any defect."""
    assert content_type is not None and content_type.startswith("multipart/")
    # As Latin-1 each byte is one character, and comes back as the byte it was.
    message = Parser().parsestr(f"Content-Type: {content_type}\n\n{body.decode('latin-1')}")
    assert not message.preamble and not message.epilogue
    return _parts(message)


def _parts(message: Message) -> list[Part]:
    assert message.defects == []
    found = []
    for inner in message.get_payload():
        assert isinstance(inner, Message)
        headers = {name.lower(): value.encode("latin-1").decode("utf-8") for name, value in inner.items()}
        assert len(headers) == len(inner.items()) and inner.defects == []
        if inner.is_multipart():
            found.append(Part(headers, b"", _parts(inner)))
        else:
            raw = inner.get_payload()
            assert isinstance(raw, str)
            coding = headers.get("content-transfer-encoding")
            decoded = inner.get_payload(decode=True) if coding in ("base64", "quoted-printable") else None
            found.append(Part(headers, decoded if isinstance(decoded, bytes) else raw.encode("latin-1")))
    return found


def as_sent(text: str) -> str:
    """A name or file name as it is read from form-data, which writes three characters as browsers do, and a backslash
    at the end like them."""
    if text.endswith("\\"):
        text = text[:-1] + "%5C"
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def writer(*parts: Any, **options: Any) -> MultipartWriter:
    """A multipart body of these parts."""
    data = MultipartWriter(**options)
    for part in parts:
        data.append(part)
    return data


def one_part(content: Any, headers: Any) -> MultipartWriter:
    """A multipart body of one part with these header fields."""
    data = MultipartWriter()
    data.append(content, headers)
    return data


async def parts_of(payload: Payload) -> list[Part]:
    """The parts as a server reads them. The length that was announced must be the true one."""
    sent = await body(payload)
    assert payload.length in (None, len(sent))
    return read_multipart(payload.content_type, sent)


async def read(data: MultipartWriter) -> list[Part]:
    """The parts of a multipart body, as a server reads them."""
    payload = made(data)
    assert payload.content_type == data.content_type
    return await parts_of(payload)
