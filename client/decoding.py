"""Decoder: undoes the Content-Encoding of a response body (SURFACE K-28, RFC 9110 8.4).

Nothing is decoded before somebody reads, and no more than was asked for: what a peer sends stays compressed until
then, so a small body that stands for a huge one costs what is read of it.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Final

from keepwarm.client.brotli_coding import Brotli
from keepwarm.client.codec_packages import brotli_package, zstd_package
from keepwarm.client.coding import Coding
from keepwarm.client.decoding_error import ContentDecodingError, DecodedBodyTooLarge
from keepwarm.client.errors import ClientProtocolError
from keepwarm.client.zlib_codings import Deflate, Gzip
from keepwarm.client.zstd_coding import Zstd
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.errors import printable

WINDOW: Final = 65536
MOST_CODINGS: Final = 5

# How often a read goes round through a chain before it lets others have a turn: at most 256 KiB for each coding.
_ROUNDS: Final = 4
# What `decode_small` does before it gives up: a few milliseconds of work, at most 1 MiB of output.
_SMALL_STEPS: Final = 16

_ALIASES: Final = {"x-gzip": "gzip"}
_MAKERS: Final[dict[str, Callable[[], Coding]]] = {"gzip": Gzip, "deflate": Deflate, "br": Brotli, "zstd": Zstd}
_PACKAGES: Final[dict[str, Callable[[], object]]] = {"br": brotli_package, "zstd": zstd_package}


@cache
def known_codings() -> tuple[str, ...]:
    """The codings that can be undone here, in lower case and without aliases. Loads the optional packages."""
    return tuple(name for name in _MAKERS if name not in _PACKAGES or _PACKAGES[name]() is not None)


def accept_encoding() -> str:
    """The value of Accept-Encoding: every coding that can be undone here (P-16)."""
    return ", ".join(known_codings())


def parse_codings(values: Iterable[str]) -> tuple[str, ...]:
    """What the Content-Encoding fields `values` say was done to the body, in that order; identity is left out.

    Empty when there is nothing to undo, and when one of the codings is unknown: then the body is delivered as it
    came, all its codings still on it, just as its header says.

    Raises ClientProtocolError for more than 5 codings (FAULTS F46).
    """
    codings = [token for value in values for part in value.split(",") if (token := part.strip(" \t").lower())]
    if len(codings) > MOST_CODINGS:
        raise ClientProtocolError(
            f"the response names {len(codings)} content codings, at most {MOST_CODINGS} are undone: "
            f"'{printable(', '.join(codings))}'"
        )
    found = tuple(_ALIASES.get(coding, coding) for coding in codings if coding != "identity")
    known = known_codings()
    return found if all(coding in known for coding in found) else ()


class Decoder:
    """Undoes `codings`, given in the order in which they were applied, as :func:`parse_codings` returns them.

    Feed it, read until `needs_input`, feed again; `finish` at the end. For each coding it holds what was fed but not
    decoded yet, and at most one window (64 KiB) of output beyond what `read` was asked for (FAULTS F47).

    `max_size` limits the decoded bytes in all; None is no limit. `endpoint` and `reused` go into errors. `total`
    counts the decoded bytes so far. Raises ValueError for a coding that is unknown or whose package is missing.
    """

    __slots__ = ("_context", "_first", "_last", "_max_size", "_stages", "codings", "total")

    def __init__(
        self,
        codings: Sequence[str],
        *,
        max_size: int | None = None,
        endpoint: Endpoint | None = None,
        reused: bool | None = None,
    ) -> None:
        known = known_codings()
        if not codings or any(coding not in known for coding in codings):
            raise ValueError(f"codings must be some of {accept_encoding()}, got {tuple(codings)!r}")
        self.codings = tuple(codings)
        # What was done last is undone first.
        self._stages = tuple(_MAKERS[coding]() for coding in reversed(self.codings))
        self._first = self._stages[0]
        self._last = self._stages[-1]
        self._max_size = max_size
        self._context = (endpoint, reused)
        self.total = 0

    def feed(self, data: bytes) -> None:
        """Append coded bytes. Nothing is decoded."""
        if data:
            self._first.feed(data)

    @property
    def needs_input(self) -> bool:
        """Whether `read` has nothing to give before more is fed."""
        if self._first is self._last:
            return self._first.needs_input
        return all(stage.needs_input for stage in self._stages)

    def read(self, n: int = WINDOW) -> bytes:
        """At most `n` (> 0) decoded bytes, after a bounded amount of work.

        b'' says nothing by itself: while `needs_input` is false, the next call goes on. Raises ContentDecodingError
        for data that is broken, and for a body larger than `max_size`.
        """
        try:
            out = self._first.read(n) if self._first is self._last else self._pull(n)
            self.total += len(out)
            if self._max_size is not None and self.total > self._max_size:
                raise DecodedBodyTooLarge(
                    f"the decoded body is larger than the limit of {self._max_size} bytes (max_body_size); raise it, "
                    "or read the body undecoded with auto_decompress=False",
                    expected=self._max_size,
                    received=self.total,
                    coding=", ".join(self.codings),
                    offset=self._first.offset,
                )
        except ContentDecodingError as exc:
            exc.endpoint, exc.reused = self._context
            raise
        return out

    def finish(self) -> None:
        """The coded bytes are at their end, and all was read. A body without a single byte is fine (FAULTS F45).

        Raises ContentDecodingError if one of the codings was cut short.
        """
        try:
            for stage in self._stages:
                stage.finish()
        except ContentDecodingError as exc:
            exc.endpoint, exc.reused = self._context
            raise

    def _pull(self, n: int) -> bytes:
        """What the last stage gives. If it needs input, the nearest stage before it that has some gives a window."""
        stages = self._stages
        last = len(stages) - 1
        for _ in range(_ROUNDS):
            for i in range(last, -1, -1):
                if not stages[i].needs_input:
                    break
            else:
                return b""
            out = stages[i].read(n if i == last else WINDOW)
            if out:
                if i == last:
                    return out
                stages[i + 1].feed(out)
        return b""


def decode_small(
    body: bytes,
    codings: Sequence[str],
    max_size: int | None = None,
    *,
    endpoint: Endpoint | None = None,
    reused: bool | None = None,
) -> bytes | None:
    """A whole body that came in one piece, decoded now if that takes little time; None if not.

    None says that it is large, at most 1 MiB was decoded in vain, and a DecodedStream has to read it in turns with
    everything else. Raises ContentDecodingError as the Decoder does.
    """
    decoder = Decoder(codings, max_size=max_size, endpoint=endpoint, reused=reused)
    decoder.feed(body)
    pieces: list[bytes] = []
    for _ in range(_SMALL_STEPS):
        if decoder.needs_input:
            break
        pieces.append(decoder.read())
    if not decoder.needs_input:
        return None
    decoder.finish()
    return b"".join(pieces)
