"""What was changed on purpose since commit cdefe5a, and is therefore not compared any more."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import orjson
import pytest

from consumer.model.packing import JOINT

CHANGED: Mapping[str, str] = MappingProxyType(
    {
        "settings.json: KAFKA_SASL_MECHANISM": "OAUTHBEARER is one more of them",
        "names.json: check": "--try-writing writes a record to each output topic",
        "names.json: simulate": "--vector-db names the vector database that is simulated",
        "names.json: processed-document.schema.json": "blank is what JavaScript trims",
        "names.json: upload-result.schema.json": "a word about failed: also what can't be removed",
        "names.json: dead-letter-headers.schema.json": "dlq.traceparent, where sending was traced",
        "names.json: audit": "--search and --no-search say how much is searched for",
        "names.json: workspaces verify": "it says how much is too young to judge",
        "names.json: workspaces": "move brings a workspace to another of several servers",
        "names.json: workspaces list": "--server names one of several servers",
        "names.json: workspaces repair": "--server names one of several servers; --repack",
    }
)
"""``file: case`` as the tests name it, with the reason; whoever changes a contract adds to it."""

ADDED = frozenset({"chunks_not_found", "not_found", "searched", "chunks_too_young"})
"""Fields that JSON of commands has got beside the others."""


def text_of_pack(text: str) -> str:
    """A pack's text as it would have been then, when nothing was packed but in these cases.

    What stands between its chunks has AnythingLLM cut there. Packs are known by their markers.
    """
    return text.replace(JOINT, "\n\n")


ADDED_SUBJECTS = frozenset({"AnythingLLM vector database", "admin address", "group progress"})
"""Lines of `check` about what it did not look at then."""


def is_added(line: str) -> bool:
    """Whether a line of a command's output is about something that was not looked at then."""
    columns = [json.loads(line).get("subject")] if line.startswith("{") else line.split("\t")
    return not ADDED_SUBJECTS.isdisjoint(columns)


def without_added(line: str) -> str:
    """A line of a command's output as it would have been then."""
    if not line.startswith("{"):
        return line
    fields = json.loads(line)
    kept = {name: value for name, value in fields.items() if name not in ADDED}
    return line if kept == fields else orjson.dumps(kept).decode()


def compared(file: str, names: Iterable[str]) -> list[object]:
    """Parameters of a test, those skipped that were changed on purpose."""
    return [
        pytest.param(
            name,
            marks=[pytest.mark.skip(reason=f"changed since: {CHANGED[where]}")]
            if (where := f"{file}: {name}") in CHANGED
            else [],
        )
        for name in names
    ]
