"""The modules of a package as syntax trees, and what each imports.

Imports count wherever they stand: under ``if TYPE_CHECKING`` and in functions as well, because a
type is knowledge too.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ENTRANCE = "__main__"  # `python -m consumer` is a door of the room `cli`

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True, slots=True)
class Import:
    """One imported thing.

    Args:
        module: the whole dotted name, a name of a module included.
        line: where.
        in_function: whether it is imported when a function is called.
        for_types: whether it is never imported when the program runs.
    """

    module: str
    line: int
    in_function: bool
    for_types: bool


@dataclass(frozen=True, slots=True)
class Module:
    name: str
    tree: ast.Module
    is_package: bool

    @property
    def room(self) -> str:
        """The room it stands in; "" for `consumer` itself, which only knows its version."""
        parts = self.name.split(".")
        room = parts[1] if len(parts) > 1 else ""
        return "cli" if room == ENTRANCE else room

    def imports(self) -> Iterator[Import]:
        yield from self._imports(self.tree, in_function=False, for_types=False)

    def _imports(self, node: ast.AST, *, in_function: bool, for_types: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, in_function, for_types)
            elif isinstance(child, ast.ImportFrom):
                for alias in child.names:
                    name = f"{self._base(child)}.{alias.name}"
                    yield Import(name, child.lineno, in_function, for_types)
            else:
                yield from self._imports(
                    child,
                    in_function=in_function or isinstance(child, _FUNCTIONS),
                    for_types=for_types or _is_for_types(child),
                )

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        parts = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*parts, *([node.module] if node.module else [])])


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


House = Mapping[str, Module]
"""All modules by their dotted names."""

Rule = Callable[[House], Iterable[str]]
"""What is wrong in a house, a line each."""


def modules_in(package: Path) -> dict[str, Module]:
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        found[name] = Module(name, ast.parse(path.read_text(), str(path)), is_package)
    return found


def resolve(imported: str, modules: House) -> str | None:
    """The module of ours that is meant: ``consumer.a.b.name`` may be a name in ``consumer.a.b``."""
    while imported and imported not in modules:
        imported = imported.rpartition(".")[0]
    return imported or None


def reached(modules: House, name: str) -> set[str]:
    """Every module and library that a module may import when the program runs, however far."""
    found: set[str] = set()
    left = [name]
    while left:
        module = left.pop()
        found.add(module)
        if module not in modules:
            continue
        for each in modules[module].imports():
            target = resolve(each.module, modules) or each.module.split(".")[0]
            if not each.for_types and target not in found:
                left.append(target)
    return found
