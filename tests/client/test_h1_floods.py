"""Peers that send without end: how much is taken before the verdict, and what it costs (promise G19)."""

import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import chain, count, repeat

import pytest

from keepwarm.client.errors import ClientProtocolError
from keepwarm.client.h1 import ResponseParser
from tests.support.h1 import eaten
from tests.support.h1_corpus import CHUNKED, LINE

KIB = 1024
MIB = 1024 * KIB
# What one read from a socket may bring.
READ = 256 * KIB

Flood = Callable[[], Iterator[bytes]]


def _cut(flood: Flood, size: int) -> Iterator[bytes]:
    """The flood in pieces of `size` bytes."""
    held = bytearray()
    for piece in flood():
        held += piece
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]


# name: (row, what the peer sends, the most bytes that may be taken beyond the last piece)
FLOODS: dict[str, tuple[str, Flood, int]] = {
    "status line": ("F38", lambda: chain([b"HTTP/1.1 200 "], repeat(b"x" * KIB)), 2 * KIB),
    "one line": ("F38", lambda: chain([LINE + b"A: "], repeat(b"x" * KIB)), 10 * KIB),
    "fields": ("F38", lambda: chain([LINE], (b"A%d: b\r\n" % n for n in count())), 2 * KIB),
    "block": ("F38", lambda: chain([LINE], (b"A: %b\r\n" % (b"x" * 4000) for _ in count())), 70 * KIB),
    "interim": ("F14", lambda: repeat(b"HTTP/1.1 102 Processing\r\n\r\n"), 16 * 30),
    "fat interim": ("F14", lambda: repeat(b"HTTP/1.1 103 X\r\nA: %b\r\n\r\n" % (b"x" * 4000)), 17 * 4100),
    "extension": ("F26", lambda: chain([CHUNKED, b"1;"], repeat(b"x" * KIB)), 18 * KIB),
    "extensions": ("F26", lambda: chain([CHUNKED], repeat(b"1;" + b"x" * 2000 + b"\r\na\r\n")), 20 * KIB),
    "extensions after a body": (
        "F26",
        lambda: chain([CHUNKED, b"10000\r\n" + b"x" * 0x10000 + b"\r\n1;"], repeat(b"x" * KIB)),
        64 * KIB + 18 * KIB,
    ),
    "trailer line": ("F27", lambda: chain([CHUNKED, b"0\r\nA: "], repeat(b"x" * KIB)), 10 * KIB),
    "trailer fields": ("F27", lambda: chain([CHUNKED, b"0\r\n"], (b"A%d: b\r\n" % n for n in count())), 2 * KIB),
    "trailer block": ("F27", lambda: chain([CHUNKED, b"0\r\n"], repeat(b"A: %b\r\n" % (b"x" * 4000))), 70 * KIB),
}


@pytest.mark.parametrize("size", [1, 1460, READ])
@pytest.mark.parametrize(
    ("flood", "most"),
    [pytest.param(flood, most, id=name, marks=pytest.mark.fault(row)) for name, (row, flood, most) in FLOODS.items()],
)
def test_floods_are_cut_off(flood: Flood, most: int, size: int) -> None:
    """The verdict comes at the limit: no more than it and one read are taken, in reads of any size."""
    taken, text = eaten(_cut(flood, size))
    assert taken <= most + size
    assert len(text) < 250


@pytest.mark.parametrize("size", [64, 1460, READ])
@pytest.mark.parametrize(
    ("flood", "most"),
    [pytest.param(flood, most, id=name, marks=pytest.mark.fault(row)) for name, (row, flood, most) in FLOODS.items()],
)
def test_floods_cost_little_memory(flood: Flood, most: int, size: int) -> None:
    """A hostile peer costs less than 2 MiB, whatever it sends."""
    parser, peak = ResponseParser(), 0
    gc.collect()
    tracemalloc.start()
    try:
        for piece in _cut(flood, size):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                parser.feed(piece)
            except ClientProtocolError:
                break
            finally:
                peak = max(peak, tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    assert peak < 2 * MIB


@pytest.mark.fault("F23")
def test_huge_lengths_reserve_nothing() -> None:
    """A Content-Length of 1 TB with 10 bytes behind it takes no more memory than the 10 bytes."""
    parser = ResponseParser()
    parser.feed(LINE + b"Content-Length: 1\r\n\r\na")  # warm up
    gc.collect()
    tracemalloc.start()
    try:
        parser.start("GET")
        parser.feed(LINE + b"Content-Length: 1099511627776\r\n\r\n0123456789")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (parser.body, parser.remaining) == (b"0123456789", 1099511627776 - 10)
    assert peak < 64 * KIB


@pytest.mark.soak
@pytest.mark.parametrize("size", [1, 16, 1460, READ])
@pytest.mark.parametrize(
    "flood", [pytest.param(flood, id=name, marks=pytest.mark.fault(row)) for name, (row, flood, _) in FLOODS.items()]
)
def test_floods_cost_little_time(flood: Flood, size: int) -> None:
    """A hostile peer costs less than 50 ms of CPU before it is cut off, in reads of 16 bytes and up; one that sends
    single bytes pays for as many packets itself, and is given 250 ms."""
    pieces = list(_cut_until_refused(flood, size))
    best = 1.0
    for _ in range(3):
        began = time.process_time()
        with pytest.raises(ClientProtocolError):
            parser = ResponseParser()
            for piece in pieces:
                parser.feed(piece)
        best = min(best, time.process_time() - began)
    assert best < (0.25 if size == 1 else 0.05)


def _cut_until_refused(flood: Flood, size: int) -> Iterator[bytes]:
    parser = ResponseParser()
    for piece in _cut(flood, size):
        yield piece
        try:
            parser.feed(piece)
        except ClientProtocolError:
            return
