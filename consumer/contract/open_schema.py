"""Makes pydantic's JSON Schemas ones that others can build on for all of 1.x (schemas/README.md).

What a model says of what we write is too narrow for who reads: a later 1.x adds fields, statuses
and reasons, and models that generators make of a schema refuse whatever it closes. Classes are
named by titles: what has none becomes ``AnonymousSchema119``.

What may be null is said by ``type``; for an object it can't be, because what Modelina 5.10.1 makes
of that for TypeScript fails on null. There it is ``anyOf``, with a title of its own: Modelina makes
a union of it, in Java an interface, which has to have another name than the class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
DRAFT_7 = "http://json-schema.org/draft-07/schema#"
VERSION: Mapping[str, Any] = {"type": "string", "pattern": r"^1\.", "examples": ["1.0"]}
"""``schema_version``: 1.x only adds, so whoever reads 1.0 reads all of them."""

_DEFS, _DEFINITIONS = "$defs", "definitions"


def opened(schema: Json) -> Json:
    """A schema of pydantic's, opened.

    - Objects have titles, their own names; fields of other types have none.
    - No object is closed, and an enum is a string that names the values of today as examples.
    - What may be null says so by its ``type``, and what may be missing is no null by default.
    """
    definitions = schema.get(_DEFS, {})
    made: Json = _opened({k: each for k, each in schema.items() if k != _DEFS}, definitions)
    kept = {
        name: {"title": name, **_opened(each, definitions)}
        for name, each in definitions.items()
        if "enum" not in each
    }
    return made | ({_DEFS: kept} if kept else {})


def known(values: list[str]) -> Json:
    """A text with values of which a later version may have more."""
    return {"type": "string", "examples": values}


def in_draft_7(schema: Json) -> Json:
    """The same in the dialect that every generator reads; ours differ in few words."""
    made: Json = _renamed(schema, _DEFINITIONS)
    return made | {"$schema": DRAFT_7, "$id": f"{schema['$id']}:draft-07"}


def by_title(schema: Json) -> dict[str, Json]:
    """The schema and its definitions, as AsyncAPI's ``components`` have all under one roof."""
    root = {name: each for name, each in schema.items() if name not in {"$schema", "$id", _DEFS}}
    made = {schema["title"]: root, **schema.get(_DEFS, {})}
    return {name: _renamed(each, "components/schemas") for name, each in made.items()}


def _opened(node: Any, definitions: Mapping[str, Json]) -> Any:
    if isinstance(node, list):
        return [_opened(each, definitions) for each in node]
    if not isinstance(node, dict):
        return node
    match node:
        case {"anyOf": [first, {"type": "null"}]}:
            kind = _opened(first, definitions)
            rest = {name: each for name, each in node.items() if name != "anyOf"}
            return _or_null(kind) | _opened(rest, definitions)
        case {"$ref": str(reference)} if "enum" in definitions[_name(reference)]:
            rest = {name: each for name, each in node.items() if name != "$ref"}
            return known(definitions[_name(reference)]["enum"]) | _opened(rest, definitions)
    return {
        name: _opened(each, definitions) for name, each in node.items() if not _left_out(name, each)
    }


def _or_null(kind: Json) -> Json:
    if "$ref" in kind:
        return {"title": f"Optional{_name(kind['$ref'])}", "anyOf": [kind, {"type": "null"}]}
    return kind | {"type": [kind["type"], "null"]}


def _left_out(name: str, value: Any) -> bool:
    # Fields may have these names as well; what is said of a field is an object.
    if name == "title":
        return isinstance(value, str)
    if name == "default":
        return value is None
    return name == "additionalProperties" and value is False


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]


def _renamed(node: Any, to: str) -> Any:
    if isinstance(node, list):
        return [_renamed(each, to) for each in node]
    if not isinstance(node, dict):
        return node
    made = {to if name == _DEFS else name: _renamed(each, to) for name, each in node.items()}
    if isinstance(reference := made.get("$ref"), str):
        made["$ref"] = f"#/{to}/{_name(reference)}"
    return made
