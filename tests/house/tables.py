"""The tables under "The rooms" of consumer/README.md: who may import whom, and which way."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.house.modules import ENTRANCE, House, resolve

ROOT = "consumer"
PACKAGE = "__init__"  # a folder's own module, as a part of it
OTHERS = "*"  # `cli/*.py`: files and sub-rooms that no other row names

_ROW = re.compile(r"^\| ((?:`[\w/]*[\w*](?:/|\.py)`(?:, )?)+) \|[^|]*\|([^|]*)\|$", re.MULTILINE)


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

    def allowed(self, part: str) -> frozenset[str] | None:
        """What a part may import beside itself, or None when it stands in no row."""
        nothing = frozenset[str]() if part == PACKAGE else None
        return self.parts.get(part, self.parts.get(OTHERS, nothing))

    def part_of(self, module: str) -> str | None:
        """The part a module stands in, or None outside of the folder."""
        if module == self.folder:
            return PACKAGE
        if not module.startswith(f"{self.folder}."):
            return None
        part = module.removeprefix(f"{self.folder}.").split(".")[0]
        return "cli" if module == f"{ROOT}.{ENTRANCE}" else part


def tables_in(page: str) -> list[Table]:
    """The tables of a page, one a folder."""
    section = page.split("## The rooms", 1)[1].split("\n## ", 1)[0]
    folders: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for names, rule in _ROW.findall(section):
        paths = [path.removesuffix(".py").strip("/") for path in re.findall(r"`([^`]+)`", names)]
        (folder,) = {path.rpartition("/")[0] for path in paths}
        parts = tuple(path.rpartition("/")[2] for path in paths)
        dotted = ".".join([ROOT, *filter(None, folder.split("/"))])
        folders.setdefault(dotted, []).append((parts, rule))
    return [_table(folder, rows) for folder, rows in folders.items()]


def _table(folder: str, rows: list[tuple[tuple[str, ...], str]]) -> Table:
    every = frozenset(part for parts, _ in rows for part in parts)
    return Table(folder, tuple((parts, _allowed(parts, rule, every)) for parts, rule in rows))


def _allowed(parts: tuple[str, ...], rule: str, every: frozenset[str]) -> frozenset[str]:
    named = frozenset(re.findall(r"`(\w+)`", rule))
    return every - named - {*parts} if "everything" in rule else named


def strange_imports(modules: House, table: Table) -> Iterator[str]:
    """Imports that a table does not allow, and modules of its folder that stand in no row."""
    for module in modules.values():
        own = table.part_of(module.name)
        if own is None:
            continue
        allowed = table.allowed(own)
        if allowed is None:
            yield f"{module.name} stands in no row of the table of {table.folder}"
            continue
        for each in module.imports():
            target = resolve(each.module, modules)
            part = table.part_of(target) if target else None
            if part not in allowed | {own, PACKAGE, None}:
                yield f"{module.name}:{each.line} imports {each.module}"


def strange_rows(modules: House, table: Table) -> Iterator[str]:
    """Parts that a table names and its folder does not have."""
    there = {table.part_of(name) for name in modules}
    for parts, allowed in table.rows:
        for part in sorted({*parts, *allowed} - there - {OTHERS}):
            yield f"the table of {table.folder} names {part}, which is not there"


def arrows_up(table: Table) -> Iterator[str]:
    """Rows that may import what stands beside or above them: the tables are bottom first."""
    below: set[str] = set()
    for parts, allowed in table.rows:
        others_below = OTHERS in below
        for name in sorted(allowed - below):
            if name in table.parts or not others_below:
                yield f"{table.folder}: {', '.join(parts)} may import {name}, which is not below"
        below |= set(parts)
