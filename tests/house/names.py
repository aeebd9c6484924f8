"""One name, one thing: no two classes of one name."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from tests.house.modules import House


def shared_names(modules: House, why: Mapping[str, str]) -> Iterator[str]:
    """Names of more than one class, and reasons for names that no two classes share.

    Nested and private classes count, and ``_Place`` is no other name than ``Place``: a reader who
    searches for one finds both.

    Args:
        modules: where to look.
        why: names that two classes may have, with the reason.
    """
    places: dict[str, list[str]] = {}
    for module in modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                name = node.name.lstrip("_")
                places.setdefault(name, []).append(f"{module.name}:{node.lineno}")
    shared = {name: found for name, found in places.items() if len(found) > 1}
    for name in sorted(shared.keys() - why.keys()):
        yield f"{name} is the name of several classes: {', '.join(shared[name])}"
    for name in sorted(why.keys() - shared.keys()):
        yield f"{name} needs no reason any more: no two classes have it"
