"""The tables under "The rooms" of consumer/README.md: who may import whom, and which way."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.house.modules import ENTRANCE, House, resolve

ROOT = "consumer"
PACKAGE = "__init__"  # a folder's own module, as a part of it

_ROW = re.compile(r"^\| ((?:`[\w/]+(?:/|\.py)`(?:, )?)+) \|[^|]*\|([^|]*)\|$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Table:
    """Who may import whom in one folder; a part is a room, a sub-room or a file.

    Args:
        folder: as a dotted name.
        rows: the parts of each row, bottom first, and what they may import beside themselves.
    """

    folder: str
    rows: tuple[tuple[tuple[str, ...], frozenset[str]], ...]

    @property
    def parts(self) -> Mapping[str, frozenset[str]]:
        """What each part may import."""
        return {part: allowed for parts, allowed in self.rows for part in parts}

    def part_of(self, module: str) -> str | None:
        """The part a module stands in, or None outside of the folder."""
        if module == self.folder:
            return PACKAGE
        if not module.startswith(f"{self.folder}."):
            return None
        part = module.removeprefix(f"{self.folder}.").split(".")[0]
        return "cli" if module == f"{ROOT}.{ENTRANCE}" else part


def tables_in(page: str) -> list[Table]:
    """The tables of a page, one a folder.

    Raises:
        ValueError: a row names a part that its folder does not have.
    """
    section = page.split("## The rooms", 1)[1].split("\n## ", 1)[0]
    folders: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for names, rule in _ROW.findall(section):
        paths = [path.removesuffix(".py").strip("/") for path in re.findall(r"`([^`]+)`", names)]
        (folder,) = {path.rpartition("/")[0] for path in paths}
        parts = tuple(path.rpartition("/")[2] for path in paths)
        folders.setdefault(".".join([ROOT, *filter(None, folder.split("/"))]), []).append(
            (parts, rule)
        )
    return [_table(folder, rows) for folder, rows in folders.items()]


def _table(folder: str, rows: list[tuple[tuple[str, ...], str]]) -> Table:
    every = frozenset(part for parts, _ in rows for part in parts)
    return Table(folder, tuple((parts, _allowed(parts, rule, every)) for parts, rule in rows))


def _allowed(parts: tuple[str, ...], rule: str, every: frozenset[str]) -> frozenset[str]:
    named = frozenset(re.findall(r"`(\w+)`", rule))
    if named - every:
        raise ValueError(f"a table names parts that it does not have: {sorted(named - every)}")
    return every - named - {*parts} if "everything" in rule else named


def strange_imports(modules: House, table: Table) -> Iterator[str]:
    """Imports that a table does not allow, and modules of its folder that stand in no row."""
    parts = table.parts
    for module in modules.values():
        own = table.part_of(module.name)
        if own is None:
            continue
        if own != PACKAGE and own not in parts:
            yield f"{module.name} stands in no row of the table of {table.folder}"
            continue
        allowed = parts.get(own, frozenset()) | {own, PACKAGE, None}
        for each in module.imports():
            target = resolve(each.module, modules)
            if target is not None and table.part_of(target) not in allowed:
                yield f"{module.name}:{each.line} imports {each.module}"


def arrows_up(table: Table) -> Iterator[str]:
    """Rows that may import what stands beside or above them: the tables are bottom first."""
    below: set[str] = set()
    for parts, allowed in table.rows:
        for name in sorted(allowed - below):
            yield f"{table.folder}: {', '.join(parts)} may import {name}, which is not below"
        below |= set(parts)
