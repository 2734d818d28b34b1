"""decode_text: from bytes to text when nobody says how."""

import importlib.util
import sys
from types import ModuleType


def _lazily(name: str) -> ModuleType:
    """A module that is loaded when first used: the detector is large, and most programs never need it."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        return loaded
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ImportError(f"{name} is not installed; reinstall keepwarm")
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_detector = _lazily("charset_normalizer")


def decode_text(body: bytes, encoding: str | None) -> str:
    """`body` in `encoding`; without one as UTF-8 if it is that, else in the encoding that charset-normalizer detects.

    Text that decodes as UTF-8 is UTF-8 for all practical purposes, and checking is a hundred times faster than
    detecting. Raises UnicodeDecodeError, or LookupError for an unknown encoding.
    """
    if encoding is not None:
        return body.decode(encoding)
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        best = _detector.from_bytes(body).best()
        if best is None:
            raise
        return body.decode(best.encoding)
