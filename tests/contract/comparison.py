"""How a recorded answer and a fresh one are compared.

Equal in everything that is the same at every run; where something is random or a matter of time
(UUIDs, instants, slug suffixes), equal once that is masked; where it depends on the embedder or the
tokenizer, or is the vendor's own text, of the same type. Lists of search hits are compared without
regard to their order, which is the embedder's.
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import Any

RANDOM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|(?<=-)\d{8}\b")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z|\d+/\d+/2\d\d[4-9], \d+:\d\d:\d\d [AP]M")
OF_SAME_TYPE = frozenset(
    {
        "workspaceId",
        "distance",
        "score",
        "current",
        "capacity",
        "token_count_estimate",
        "tokenCount",
        "model",
        "openAiPrompt",
    }
)


class How(StrEnum):
    """How closely an answer is compared; `TYPES` looks at lengths still, `SHAPE` does not."""

    VALUES = "values"
    TYPES = "types"
    SHAPE = "shape"


def differences(recorded: Any, fresh: Any, how: How = How.VALUES, *, at: str = "$") -> list[str]:
    """Where the answers differ, one line each; nothing when they agree.

    Args:
        recorded: the answer of the real server.
        fresh: the answer to compare with it.
        how: `How.SHAPE` compares every list element with the first recorded one.
        at: where in the body this is.
    """
    if _kind(recorded) != _kind(fresh):
        return [f"{at}: {_kind(recorded)} became {_kind(fresh)}"]
    if isinstance(recorded, dict):
        return _objects(recorded, fresh, how, at)
    if isinstance(recorded, list):
        return _lists(recorded, fresh, how, at)
    key = at.rpartition(".")[2]
    if key == "metadata" and isinstance(recorded, str):
        inner = json.loads(recorded), json.loads(fresh)
        return differences(*inner, how, at=f"{at}(json)")
    number_id = key == "id" and isinstance(recorded, int)
    if (
        how is not How.VALUES
        or key in OF_SAME_TYPE
        or number_id
        or masked(recorded) == masked(fresh)
    ):
        return []
    return [f"{at}: {recorded!r} became {fresh!r}"]


def masked(value: Any) -> Any:
    """A value without what is random or a matter of time."""
    if not isinstance(value, str):
        return value
    return INSTANT.sub("<instant>", RANDOM.sub("<random>", value))


def randoms(value: Any) -> list[str]:
    """Everything random in a body, in order: what later requests of a recording speak of."""
    if isinstance(value, dict):
        return [found for each in value.values() for found in randoms(each)]
    if isinstance(value, list):
        return [found for each in value for found in randoms(each)]
    return RANDOM.findall(value) if isinstance(value, str) else []


def _objects(recorded: dict[str, Any], fresh: Any, how: How, at: str) -> list[str]:
    found = [f"{at}.{key}: missing" for key in recorded if key not in fresh]
    found += [f"{at}.{key}: not recorded" for key in fresh if key not in recorded]
    for key in recorded.keys() & fresh.keys():
        found += differences(recorded[key], fresh[key], how, at=f"{at}.{key}")
    return found


def _lists(recorded: list[Any], fresh: Any, how: How, at: str) -> list[str]:
    if how is How.SHAPE:
        recorded = recorded[:1] * len(fresh)
    elif at.endswith(".results"):
        recorded, fresh = sorted(recorded, key=_hit), sorted(fresh, key=_hit)
    if len(recorded) != len(fresh):
        return [f"{at}: {len(recorded)} became {len(fresh)}"]
    found: list[str] = []
    for index, (old, new) in enumerate(zip(recorded, fresh, strict=True)):
        found += differences(old, new, how, at=f"{at}[{index}]")
    return found


def _hit(hit: Any) -> tuple[str, str]:
    return hit["metadata"]["chunkSource"], hit["text"]


def _kind(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return type(value).__name__
    return "number" if isinstance(value, int | float) else type(value).__name__
