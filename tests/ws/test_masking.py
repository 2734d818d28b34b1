"""Keys and masks."""

import importlib
import os
from collections.abc import Iterator

import pytest

from keepwarm.ws import masking
from keepwarm.ws.masking import KeySource, fastest_mask, mask_in_python
from keepwarm.ws.protocol import WSProtocol
from tests.support.ws_frames import client_frames


@pytest.fixture
def no_cache() -> Iterator[None]:
    fastest_mask.cache_clear()
    yield
    fastest_mask.cache_clear()


@pytest.mark.parametrize("size", [*range(20), 125, 126, 448, 449, 450, 451, 452, 453, 1000, 65536, 65537])
@pytest.mark.parametrize("key", [b"\x00\x00\x00\x00", b"\x37\xfa\x21\x3d", b"\xff\x00\x80\x01"])
def test_masking(size: int, key: bytes) -> None:
    """Each byte with the byte of the key at its place modulo four (RFC 6455, 5.3), in Python and in C."""
    payload = os.urandom(size)
    expected = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
    for mask in (mask_in_python, fastest_mask()):
        assert mask(payload, key) == expected
        assert mask(mask(payload, key), key) == payload


def test_the_package_in_c_is_used_where_it_is_installed(no_cache: None) -> None:
    assert fastest_mask() is importlib.import_module("websockets.speedups").apply_mask


def test_without_the_package_python_does_it(no_cache: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def import_nothing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(masking.importlib, "import_module", import_nothing)
    assert fastest_mask() is mask_in_python
    (frame,) = client_frames(WSProtocol().text_frame("Hello" * 200))
    assert frame.payload == b"Hello" * 200


@pytest.mark.fault("W22")
def test_each_key_is_fresh_from_the_source() -> None:
    """Every four bytes that the operating system gave are used once, in blocks, and nothing else is."""
    given: list[bytes] = []

    def read(size: int) -> bytes:
        given.append(os.urandom(size))
        return given[-1]

    source = KeySource(read)
    per_block = KeySource.BLOCK // 4
    keys = [source.next_key() for _ in range(10 * per_block)]
    assert b"".join(keys) == b"".join(given)
    assert len(given) == 10
    assert len(set(keys)) > 0.99 * len(keys)


@pytest.mark.fault("W22")
def test_each_frame_has_its_own_key() -> None:
    """Data and control frames, of one connection and of several."""
    protocols = [WSProtocol() for _ in range(3)]
    for protocol in protocols:
        protocol.feed(b"\x89\x00", [])
    frames = [
        client_frames(data)[0]
        for protocol in protocols
        for _ in range(1000)
        for data in (protocol.text_frame("x"), protocol.binary_frame(b"y"), protocol.ping_frame())
    ]
    frames += [client_frames(protocol.take_output())[0] for protocol in protocols]
    frames += [client_frames(protocol.close_frame())[0] for protocol in protocols]
    # Of 9,006 random keys two are the same by chance once in a hundred runs; three pairs once in a million.
    assert len({frame.key for frame in frames}) >= len(frames) - 2


@pytest.mark.fault("W22")
def test_a_forked_child_does_not_use_its_parents_keys() -> None:
    """The rest of the block stays with the parent."""
    source = KeySource()
    first = source.next_key()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, b"".join(source.next_key() for _ in range(8)))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    theirs = os.read(reader, 100)
    os.close(reader)
    ours = b"".join(source.next_key() for _ in range(8))
    assert len(theirs) == len(ours) == 32
    assert theirs != ours
    assert first not in ours
