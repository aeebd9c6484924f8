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
        "settings.json: LOG_FORMAT": "auto: for people on a terminal, else JSON as it was",
        "settled.json: by reference: an event that can't be decoded": "a Schema Registry's frame "
        "in front of it is named",
        "names.json: ": "status is one more command",
        "names.json: publish": "--envelope, --key-envelope and --schema-id",
        "names.json: validate": "events in envelopes are taken, too",
        "names.json: asyncapi.json": "AsyncAPI 3.1, whole by itself; headers of envelopes",
        "names.json: check": "--try-writing writes a record to each output topic",
        "names.json: simulate": "--vector-db names the vector database that is simulated",
        "names.json: processed-document.schema.json": "blank is as in JavaScript; null is a type",
        "names.json: upload-result.schema.json": "open for what a later 1.x adds",
        "names.json: dead-letter-headers.schema.json": "dlq.traceparent; open for later reasons",
        "names.json: dead-letter-reference.schema.json": "open for what a later 1.x adds",
        "names.json: audit": "--search says how much is searched for, --republish brings it back",
        "names.json: workspaces verify": "it says how much is too young to judge",
        "names.json: workspaces": "move, forget and mark are for several servers",
        "names.json: workspaces list": "--server names one of several servers",
        "names.json: workspaces repair": "--server names one of several servers; --repack",
    }
)
"""``file: case`` as the tests name it, with the reason; whoever changes a contract adds to it."""

ADDED = frozenset({"chunks_not_found", "not_found", "searched", "chunks_too_young", "other"})
"""Fields that JSON of commands has got beside the others."""

ADDED_TO_RESULTS = frozenset({"schema_version", "failed_chunks", "content_hash", "started_at"})
"""Fields of results that are read now and were left alone then."""


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


REWORDED: Mapping[str, str] = MappingProxyType(
    {
        "`audit --republish --yes` takes its event from the topic again: the service uploads what"
        " is missing, no more": "publish the document again: the service uploads what is missing,"
        " no more",
        "`audit --republish --yes` takes its event from the topic again: the service then removes"
        " what is stale": "publish the document again: the service then removes what is stale",
    }
)
"""What commands advise in other words, and what they said then."""


def without_added(line: str) -> str:
    """A line of a command's output as it would have been then."""
    for now, then in REWORDED.items():
        line = line.replace(now, then)
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
