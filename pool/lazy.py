"""lazy_module: packages that are large and seldom needed are loaded when they are first used."""

import importlib.util
import sys
from typing import Any


def lazy_module(name: str) -> Any:
    """The module, to be loaded at its first attribute. Raises ImportError now if it is not installed.

    An application that imports keepwarm pays for the resolver, the TLS engine and the charset detector only when it
    uses them: together they are half of what `import keepwarm` would cost.
    """
    loaded = sys.modules.get(name)
    if loaded is not None:
        return loaded
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ImportError(f"the package {name} is not installed")
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
