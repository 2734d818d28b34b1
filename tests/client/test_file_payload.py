"""Bodies from files."""

import gzip
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keepwarm.client.errors import ClientRequestError, InvalidInput
from keepwarm.client.file_payload import READ_SIZE, FilePayload, guess_type
from keepwarm.client.payload import make_payload
from tests.support.bodies import Failing, body, made, pieces

pytestmark = pytest.mark.asyncio

OCTETS = "application/octet-stream"
CONTENT = bytes(range(256)) * 1024


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "picture.png"
    file.write_bytes(CONTENT)
    return file


async def test_bytes_io() -> None:
    """C-09: from the current position, with its length."""
    file = io.BytesIO(b"0123456789")
    file.seek(4)
    payload = made(file)
    assert (payload.length, payload.content_type, payload.body) == (6, OCTETS, None)
    assert await body(payload) == b"456789"
    assert payload.replayable and await body(payload) == b"456789"
    assert not file.closed


@pytest.mark.parametrize("buffering", [-1, 0])
async def test_file_on_disk(path: Path, buffering: int) -> None:
    """C-09: the length comes from the file's size, less what was read before; the type from its name."""
    with path.open("rb", buffering=buffering) as file:
        file.read(1000)
        payload = made(file)
        assert (payload.length, payload.content_type) == (len(CONTENT) - 1000, "image/png")
        assert await body(payload) == CONTENT[1000:]
        assert payload.started and payload.replayable
        assert await body(payload) == CONTENT[1000:]
        assert not file.closed


async def test_file_is_read_in_pieces(path: Path) -> None:
    with path.open("rb") as file:
        assert {len(piece) for piece in await pieces(made(file))} == {READ_SIZE}


@pytest.mark.parametrize("maker", [tempfile.TemporaryFile, tempfile.NamedTemporaryFile])
async def test_temporary_file(maker: Callable[[], Any]) -> None:
    with maker() as file:
        file.write(b"hello")
        file.seek(1)
        payload = made(file)
        assert payload.length == 4
        assert await body(payload) == b"ello"


async def test_a_file_that_decodes_has_no_known_length(tmp_path: Path) -> None:
    """The descriptor of a gzip file has the size of the compressed data, which is not what is read."""
    packed = tmp_path / "a.txt.gz"
    packed.write_bytes(gzip.compress(b"a" * 10_000))
    with gzip.open(packed) as file:
        payload = made(file)
        assert payload.length is None
        assert await body(payload) == b"a" * 10_000
        assert payload.replayable and await body(payload) == b"a" * 10_000


@pytest.mark.fault("P26")
async def test_pipe() -> None:
    """What cannot seek has no length and can be sent once."""
    reading, writing = os.pipe()
    os.write(writing, b"through a pipe")
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        payload = made(file)
        assert (payload.length, payload.replayable) == (None, True)
        assert await body(payload) == b"through a pipe"
        assert (payload.started, payload.replayable) == (True, False)
        with pytest.raises(ClientRequestError, match="again"):
            payload.chunks()


async def test_anything_with_read() -> None:
    class Reader:
        def __init__(self) -> None:
            self.parts = [b"ab", b"cd", b""]

        def read(self, size: int) -> bytes:
            return self.parts.pop(0)

    payload = made(Reader())
    assert isinstance(payload, FilePayload) and payload.length is None
    assert await pieces(payload) == [b"ab", b"cd"]
    assert not payload.replayable


@pytest.mark.parametrize(
    "opener",
    [lambda p: p.open(), lambda p: p.open("r+"), lambda p: io.TextIOWrapper(io.BytesIO(b"text")),
     lambda p: tempfile.NamedTemporaryFile("w+")],  # noqa: SIM115
)  # fmt: skip
async def test_text_mode(path: Path, opener: Callable[[Path], Any]) -> None:
    """C-09: ValueError."""
    with opener(path) as file, pytest.raises(ValueError, match="text mode"):
        make_payload(file)


async def test_closed_and_write_only(path: Path, tmp_path: Path) -> None:
    file = path.open("rb")
    file.close()
    with pytest.raises(InvalidInput, match="closed"):
        make_payload(file)
    with (tmp_path / "new").open("wb") as target, pytest.raises(InvalidInput, match="reading"):
        make_payload(target)


@pytest.mark.fault("O09")
async def test_file_that_shrinks(path: Path) -> None:
    """A file that became shorter is an error, and the body does not look complete."""
    with path.open("r+b", buffering=0) as file:
        payload = made(file)
        file.truncate(100_000)
        failing = Failing()
        error = await failing.drain(payload)
    assert isinstance(error, ClientRequestError) and "100000" in str(error)
    assert len(failing.sent) == 100_000


@pytest.mark.fault("O09")
async def test_file_that_grows(path: Path) -> None:
    """A file that became longer is an error, and no byte beyond the announced length is handed out."""
    with path.open("rb", buffering=0) as file:
        payload = made(file)
        with path.open("ab") as other:
            other.write(b"more")
        failing = Failing()
        error = await failing.drain(payload)
    assert isinstance(error, ClientRequestError)
    assert payload.length is not None and len(failing.sent) <= payload.length


@pytest.mark.fault("O09")
@pytest.mark.parametrize("disk", [True, False])
async def test_one_file_for_two_requests(path: Path, disk: bool) -> None:
    """Two bodies read from one file at once never mix: one of them fails."""
    with path.open("rb") if disk else io.BytesIO(CONTENT) as file:
        first, second = made(file).chunks(), made(file).chunks()
        assert await anext(first) == CONTENT[:READ_SIZE]
        assert await anext(second) == CONTENT[:READ_SIZE]
        await anext(second)
        with pytest.raises(ClientRequestError, match="somebody else"):
            await anext(first)


@pytest.mark.fault("O09")
async def test_file_closed_in_between(path: Path) -> None:
    """A file that is closed while it is being sent is an error that names data."""
    for file in (path.open("rb"), io.BytesIO(b"x" * 2 * READ_SIZE)):
        with file:
            chunks = made(file).chunks()
            await anext(chunks)
        with pytest.raises(ClientRequestError, match="data") as caught:
            await anext(chunks)
        assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.fault("O09")
async def test_file_that_cannot_be_read(path: Path) -> None:
    """A read error, or a file that has nothing to give right now, does not look like the end of the body."""

    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            raise OSError(5, "Input/output error")

    class Empty(Broken):
        def read(self, size: int = -1) -> bytes | None:  # type: ignore[override]
            return None

    for file, text in ((Broken(), "Input/output"), (Empty(), "non-blocking")):
        error = await Failing().drain(made(file))
        assert isinstance(error, ClientRequestError) and text in str(error)


@pytest.mark.parametrize(
    ("name", "kind"), [("a.json", "application/json"), ("a.tar.gz", OCTETS), ("a", OCTETS), (5, OCTETS), (None, OCTETS)]
)
async def test_type_from_name(name: object, kind: str) -> None:
    file = io.BytesIO(b"x")
    file.name = name
    assert guess_type(file) == kind
