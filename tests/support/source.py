"""What the sources say about their imports, their use of private names, and of time. Reads; never imports."""

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# From the bottom up: a layer may import itself and what stands before it.
LAYERS = ("keepwarm.pool", "keepwarm.ws", "keepwarm.client", "keepwarm")
FOLDERS = {"keepwarm": "keepwarm", "keepwarm.pool": "pool", "keepwarm.client": "client", "keepwarm.ws": "ws"}
BARE_FOLDERS = ("pool", "client", "ws")
# Part of the standard library's public reference, whatever they look like.
DOCUMENTED = {"sys._getframe", "os._exit"}
TIME_SOURCES = {
    "time": {"monotonic", "monotonic_ns", "time", "time_ns", "perf_counter", "perf_counter_ns", "clock_gettime"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
}


@dataclass(frozen=True)
class Import:
    """One imported name: `module`, or `name` out of it."""

    module: str
    name: str
    level: int
    line: int
    in_function: bool
    for_types_only: bool


@dataclass(frozen=True)
class Module:
    """One source file of ours under the name it is imported by."""

    name: str
    source: str

    @functools.cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source, self.name)

    @property
    def layer(self) -> int:
        """0 for pool, up to 3 for keepwarm itself."""
        return layer_of(self.name)

    @functools.cached_property
    def imports(self) -> list[Import]:
        return list(_imports(self.tree, in_function=False, for_types_only=False))


def our_modules() -> dict[str, Module]:
    """All modules of the four packages by name."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted((ROOT / folder).glob("*.py")):
            name = package if path.stem == "__init__" else f"{package}.{path.stem}"
            found[name] = Module(name, path.read_text())
    return found


def layer_of(name: str) -> int:
    """The layer of a module of ours."""
    return next(rank for rank, layer in enumerate(LAYERS) if name == layer or name.startswith(f"{layer}."))


def _imports(node: ast.AST, *, in_function: bool, for_types_only: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, "", 0, child.lineno, in_function, for_types_only)
        elif isinstance(child, ast.ImportFrom):
            for alias in child.names:
                yield Import(child.module or "", alias.name, child.level, child.lineno, in_function, for_types_only)
        elif isinstance(child, ast.If) and _is_type_checking(child.test):
            for part in child.body:
                yield from _imports(ast.Module([part], []), in_function=in_function, for_types_only=True)
            for part in child.orelse:
                yield from _imports(ast.Module([part], []), in_function=in_function, for_types_only=for_types_only)
        else:
            deeper = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, in_function=in_function or deeper, for_types_only=for_types_only)


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else ""
    return name == "TYPE_CHECKING"


def wrong_imports(module: Module) -> Iterator[str]:
    """Imports that are relative, inside a function, of a bare folder, or up the layers. Types are no excuse."""
    for item in module.imports:
        where = f"{module.name}:{item.line}"
        if item.level:
            yield f"{where} imports relatively"
        elif item.in_function:
            yield f"{where} imports {item.module} inside a function"
        if not item.level and item.module.partition(".")[0] in BARE_FOLDERS:
            yield f"{where} imports {item.module} as if it were a package of its own"
        for target in _targets(item):
            if layer_of(target) > module.layer:
                yield f"{where} imports {target}, which lies above it"
        if _is_private(item.name) and item.module.startswith("keepwarm"):
            yield f"{where} imports the private {item.name} of {item.module}"


def _targets(item: Import) -> Iterator[str]:
    if item.level or item.module.partition(".")[0] != "keepwarm":
        return
    inner = f"{item.module}.{item.name}"
    yield inner if item.name and inner in FOLDERS else item.module


def cycles(modules: dict[str, Module]) -> list[list[str]]:
    """The chains of run-time imports that lead back to where they began, one for each way into it."""
    edges = {name: sorted(_edges(module, modules)) for name, module in modules.items()}
    done: set[str] = set()
    found: list[list[str]] = []

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            found.append([*path[path.index(name) :], name])
        elif name not in done:
            for target in edges[name]:
                visit(target, [*path, name])
            done.add(name)

    for name in edges:
        visit(name, [])
    return found


def _edges(module: Module, modules: dict[str, Module]) -> set[str]:
    targets = set()
    for item in module.imports:
        if not item.for_types_only and not item.level:
            inner = f"{item.module}.{item.name}"
            targets.add(inner if inner in modules else item.module)
    return targets & modules.keys()


def private_reads(module: Module) -> Iterator[str]:
    """Uses of `x._y` where neither x is self or cls nor _y is something that this very module defines."""
    own = set(_defined_names(module.tree))
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Attribute) or not _is_private(node.attr):
            continue
        if _is_self(node.value) or node.attr in own or ast.unparse(node) in DOCUMENTED:
            continue
        yield f"{module.name}:{node.lineno} reaches for {ast.unparse(node)}"


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def _is_self(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "super"
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def _defined_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value):
            yield node.attr


def time_reads(module: Module) -> Iterator[str]:
    """Places that read a clock of the system or of the loop."""
    for item in module.imports:
        if item.name in TIME_SOURCES.get(item.module, ()):
            yield f"{module.name}:{item.line} imports {item.name} from {item.module}"
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Attribute):
            continue
        owner = node.value.attr if isinstance(node.value, ast.Attribute) else ast.unparse(node.value)
        if node.attr in TIME_SOURCES.get(owner, ()) or (node.attr == "time" and "loop" in owner):
            yield f"{module.name}:{node.lineno} reads {ast.unparse(node)}"
