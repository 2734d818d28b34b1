"""Masks: a fresh key for each frame, and the exclusive-or with it (RFC 6455, 5.3).

The key keeps what a caller sends from being chosen byte by byte as it crosses the wire, so nobody may be able to tell
the next one: keys come from the operating system's generator, read in blocks, and each is used once. A forked child
throws the rest of its parent's block away (FAULTS W22).

The exclusive-or is done in C where the package `websockets` is installed (its `speedups`, extra "fast"). Without it,
a payload is treated as one long number while it is short, and as four interleaved strings when it is long: 0.8
microseconds for 256 bytes, 70 for 64 KiB. With it 0.06 and 1.3.
"""

import importlib
import os
import struct
from collections.abc import Callable, Iterator
from functools import cache
from typing import Final, TypeAlias

from keepwarm.pool.fork import watch_for_fork

Mask: TypeAlias = Callable[[bytes, bytes], bytes]

_SPEEDUPS: Final = "websockets.speedups"
# Where the four translations begin to cost less than the conversion to a number and back.
_LONG: Final = 450


class KeySource:
    """Keys of 32 bits, none of them twice."""

    __slots__ = ("__weakref__", "_keys", "_read")

    BLOCK: Final = 4096

    def __init__(self, read: Callable[[int], bytes] = os.urandom) -> None:
        self._read = read
        self._keys: Iterator[tuple[bytes]] = iter(())
        watch_for_fork(self)

    def next_key(self) -> bytes:
        """A key of four bytes that was not given out before."""
        while True:  # other threads may take all of a new block before this one comes to it
            for (key,) in self._keys:
                return key
            self._keys = struct.iter_unpack("4s", self._read(self.BLOCK))

    def abandon_after_fork(self) -> None:
        """The parent goes on with this block; the child takes a new one."""
        self._keys = iter(())


next_key: Final = KeySource().next_key

_XOR_TABLES: Final = tuple(bytes(byte ^ key for byte in range(256)) for key in range(256))


def mask_in_python(payload: bytes, key: bytes) -> bytes:
    """`payload` masked with `key`; masking it again gives it back."""
    size = len(payload)
    if size < _LONG:
        repeated = (key * (size // 4 + 1))[:size]
        return (int.from_bytes(payload, "little") ^ int.from_bytes(repeated, "little")).to_bytes(size, "little")
    masked = bytearray(payload)
    for i in range(4):
        masked[i::4] = masked[i::4].translate(_XOR_TABLES[key[i]])
    return bytes(masked)


@cache
def fastest_mask() -> Mask:
    """The function that masks, as fast as this installation can. Looked up when the first WebSocket is opened."""
    try:
        mask: Mask = importlib.import_module(_SPEEDUPS).apply_mask
    except ImportError:
        return mask_in_python
    return mask
