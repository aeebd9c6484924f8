"""What "pure" in a docstring promises: the same answer to the same question, and nothing else.

Every module of `model/` promises it, by the table of consumer/README.md.

Strictly: nothing is awaited, no clock, chance, file, socket, log or metric is touched, and nothing
at the level of the module or of a class can change. Objects that their caller makes may change:
a ledger is pure as long as nothing but its methods moves it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

from tests.house.modules import House, Module

PURE_ROOMS = ("model",)

# In the first paragraph: "… Pure.", "…: pure", "… a pure function".
_PROMISE = re.compile(r"(?:^|[.:;?] )[Pp]ure\b|\bpure function")

_WORLD = {
    "aiofiles", "aiohttp", "aiokafka", "asyncio", "concurrent", "fcntl", "getpass", "glob", "http",
    "io", "logging", "mmap", "multiprocessing", "os", "pathlib", "platform", "prometheus_client",
    "random", "secrets", "select", "selectors", "shutil", "signal", "socket", "sqlite3", "ssl",
    "structlog", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid", "warnings",
    "consumer.telemetry.logs", "consumer.telemetry.metrics", "consumer.settings.load",
}  # fmt: skip
_HARMLESS = {
    "sys.getsizeof", "sys.intern", "sys.maxsize", "urllib.parse", "uuid.UUID", "uuid.uuid5"
}  # fmt: skip
_ACTS = {"breakpoint", "exec", "globals", "input", "open", "print"}
_CLOCKS = {"now", "today", "utcnow", "monotonic", "perf_counter", "time_ns"}
_MEMORIES = {"cache", "cached_property", "lru_cache"}
_CHANGING = {
    "Counter", "OrderedDict", "bytearray", "count", "cycle", "defaultdict", "deque", "dict", "iter",
    "list", "maketrans", "set",
}  # fmt: skip
_READ_ONLY = re.compile(r"^(Mapping|Sequence|Collection|Iterable|AbstractSet|Set|Final\[)\b")


def impure(modules: House) -> Iterator[str]:
    """What modules and functions do although they say that they are pure."""
    for module in modules.values():
        if module.room in PURE_ROOMS or _promises(module.tree):
            yield from _strange_imports(module)
            yield from _acts(module, module.tree)
            yield from _state(module, module.tree)
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _promises(node):
                yield from _acts(module, node)


def _promises(node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    docstring = ast.get_docstring(node) or ""
    return bool(_PROMISE.search(" ".join(docstring.split("\n\n")[0].split())))


def _strange_imports(module: Module) -> Iterator[str]:
    for each in module.imports():
        if _is_world(each.module):
            yield f"{module.name}:{each.line} is pure and imports {each.module}"


def _is_world(name: str) -> bool:
    parts = name.split(".")
    above = {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
    return bool(above & _WORLD) and not above & _HARMLESS


def _acts(module: Module, tree: ast.AST) -> Iterator[str]:
    worldly = _worldly_names(module)
    for node in ast.walk(tree):
        if what := _act(node, worldly):
            yield f"{module.name}:{getattr(node, 'lineno', 0)} is pure and {what}"


def _act(node: ast.AST, worldly: Mapping[str, str]) -> str:
    match node:
        case ast.AsyncFunctionDef() | ast.AsyncFor() | ast.AsyncWith() | ast.Await():
            return "waits"
        case ast.Global(names=names):
            return f"changes {', '.join(names)} of the module"
        case ast.Name(id=name, ctx=ast.Load()) if name in worldly:
            return f"uses {worldly[name]}"
        case ast.Call(func=ast.Name(id=name)) if name in _ACTS:
            return f"calls {name}"
        case ast.Call(func=ast.Attribute(attr=name)) if name in _CLOCKS:
            return f"asks a clock: {name}"
        case ast.FunctionDef(decorator_list=decorators):
            memories = sorted(_MEMORIES.intersection(map(_named, decorators)))
            return f"remembers answers: {', '.join(memories)}" if memories else ""
    return ""


def _named(decorator: ast.expr) -> str:
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    return function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)


def _worldly_names(module: Module) -> dict[str, str]:
    """Names in a module by which it reaches the world, with what they are."""
    names = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if _is_world(alias.name):
                    names[alias.asname or alias.name.split(".")[0]] = alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if _is_world(f"{node.module}.{alias.name}"):
                    names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _state(module: Module, tree: ast.AST) -> Iterator[str]:
    """Values of the module or of a class that anybody could change."""
    for holder in ast.walk(tree):
        if isinstance(holder, ast.Module | ast.ClassDef):
            for node in holder.body:
                if _is_changing(node):
                    yield f"{module.name}:{node.lineno} is pure and holds what can change"


def _is_changing(node: ast.stmt) -> bool:
    match node:
        case ast.Assign(value=value, targets=[ast.Name(id="__slots__" | "__all__")]):
            return False
        case ast.Assign(value=value):
            return _makes_changing(value)
        case ast.AnnAssign(annotation=annotation, value=value) if value is not None:
            read_only = _READ_ONLY.match(ast.unparse(annotation))
            return not read_only and _makes_changing(value)
        case ast.AugAssign():
            return True
    return False


def _makes_changing(value: ast.expr) -> bool:
    match value:
        case ast.List() | ast.Dict() | ast.Set() | ast.ListComp() | ast.DictComp() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in _CHANGING
    return False
