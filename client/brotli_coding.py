"""br (RFC 7932)."""

from typing import Any, Final

from keepwarm.client.codec_packages import brotli_package
from keepwarm.client.coding import Coding

# The first block that the decompressor's output is collected in. It may pass its limit by as much.
BLOCK: Final = 32752


class Brotli(Coding):
    """One brotli stream. Up to 32 KiB of output are kept beyond what was asked for.

    The decompressor's own window, up to 16 MiB, comes on top: the format has no smaller limit.
    """

    __slots__ = ("_decompressor", "_error", "_is_full", "_surplus")

    name = "br"

    def __init__(self) -> None:
        super().__init__()
        package: Any = brotli_package()
        self._decompressor = package.Decompressor()
        self._error: type[Exception] = package.error
        self._surplus = b""
        # The last output reached its limit, or not all input was taken: go on without more input.
        self._is_full = False

    @property
    def needs_input(self) -> bool:
        return not (self._surplus or self._is_full or self._input)

    @property
    def is_whole(self) -> bool:
        return bool(self._decompressor.is_finished())

    def read(self, n: int) -> bytes:
        out = self._surplus or self._step()
        self._surplus = out[n:]
        return out[:n]

    def _step(self) -> bytes:
        decompressor = self._decompressor
        data = b""
        if not self._is_full:
            data = self._take()
            if not data:
                return b""
            if decompressor.is_finished():
                self._refuse_garbage()
        try:
            out: bytes = decompressor.process(data, output_buffer_limit=BLOCK)
        except self._error as exc:
            self._refuse(exc)
        self._is_full = len(out) >= BLOCK or not decompressor.can_accept_more_data()
        return out
