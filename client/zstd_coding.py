"""zstd (RFC 8878, RFC 9659)."""

from typing import Any, Final

from keepwarm.client.codec_packages import zstd_package
from keepwarm.client.coding import Coding

# RFC 9659: no frame of this coding needs a window of more than 8 MiB. Without the limit it could be 128 MiB.
WINDOW_LOG: Final = 23


class Zstd(Coding):
    """One frame or several, which are joined; frames to be skipped are skipped (RFC 8878 3.1)."""

    __slots__ = ("_frame", "_is_full", "_package", "_tail")

    name = "zstd"

    def __init__(self) -> None:
        super().__init__()
        self._package: Any = zstd_package()
        self._frame: Any = None
        self._tail = b""
        self._is_full = False

    @property
    def needs_input(self) -> bool:
        return not (self._tail or self._is_full or self._input)

    @property
    def is_whole(self) -> bool:
        return self._frame is None

    def read(self, n: int) -> bytes:
        data = self._tail or (b"" if self._is_full else self._take())
        if not data and not self._is_full:
            return b""
        frame = self._frame
        if frame is None:
            package = self._package
            frame = self._frame = package.ZstdDecompressor(
                options={package.DecompressionParameter.window_log_max: WINDOW_LOG}
            )
        self._tail = b""
        try:
            out: bytes = frame.decompress(data, n)
        except self._package.ZstdError as exc:
            self._refuse(exc)
        self._is_full = not (frame.eof or frame.needs_input)
        if frame.eof:
            self._frame = None
            self._tail = frame.unused_data
            self._give_back(self._tail)
        return out
