"""Operators' commands and events in envelopes: they see through them, and copy every byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from consumer.contract.dead_letter import restored
from consumer.publishing import Envelope, EventRecord, RecordMaker
from tests.doubles.stage import MemoryStage
from tests.operations.conftest import Operator
from tests.operations.test_audit import files_of
from tests.operations.test_republish import emptied, is_clean, replays, republish, uploads
from tests.staging import document


def maker(envelope: Envelope) -> RecordMaker:
    return RecordMaker(envelope=envelope, key_envelope=envelope)


def publish(stage: MemoryStage, *records: EventRecord, partition: int | None = None) -> None:
    for each in records:
        stage.publish(each.value, key=each.key, headers=each.headers, partition=partition)


def published(stage: MemoryStage, **changes: Any) -> list[EventRecord]:
    """A document in each envelope, named like it, its key in the same."""
    made = [
        maker(each).document(orjson.dumps(document(each.value, [f"text {each}"], **changes)))
        for each in Envelope
    ]
    publish(stage, *made)
    return made


def as_published(records: list[Any]) -> list[EventRecord]:
    """Without what the service and its operators added."""
    found = [EventRecord(each.key, each.value, restored(each.headers)) for each in records]
    return sorted(found, key=str)


async def test_what_was_lost_comes_back_in_its_envelope(operator: Operator) -> None:
    """`audit` knows the documents; `--republish` copies key, value and headers."""
    stage = operator.stage
    made = published(stage)
    await stage.worked()
    clean = await is_clean(operator)
    emptied(stage)
    _, done = await republish(operator, "--yes")

    assert clean
    assert done["republish"]["published"] == len(made)
    assert as_published(replays(stage)) == sorted(made, key=str)
    await stage.worked()
    assert await is_clean(operator)


async def test_letters_are_shown_exported_and_replayed_in_their_envelopes(
    operator: Operator, tmp_path: Path
) -> None:
    """Whatever the way back: as it lies there, or out of a file."""
    stage = operator.stage
    stage.simulator.faults.add("status", status=422, path="*/raw-text")
    made = published(stage)
    await stage.worked()
    stage.simulator.faults.clear()
    path = tmp_path / "letters.ndjson"
    shown = [await operator.dlq("show", each["event"]) for each in await operator.listed()]
    exported = await operator.dlq("export", "--output", str(path))
    replayed = await operator.dlq("replay", "--from-file", str(path), "--yes", "--json")

    assert [each.code for each in shown] == [0] * len(made)
    assert (exported.code, replayed.code) == (0, 0)
    assert as_published(stage.dead_letters) == sorted(made, key=str)
    assert as_published(replays(stage)) == sorted(made, key=str)
    await stage.worked()
    assert {each["status"] for each in stage.results[len(made) :]} == {"succeeded"}
    assert await is_clean(operator)


@pytest.mark.parametrize("envelope", Envelope)
async def test_a_document_has_one_story_whatever_its_keys_are_in(
    operator: Operator, envelope: Envelope
) -> None:
    """In flight together with a plain one, removed by a framed key; in the order of the topic."""
    stage = operator.stage
    first, second = (orjson.dumps(document("one", [text, "both"])) for text in ("first", "second"))
    framed = maker(envelope)
    publish(
        stage, framed.document(first), RecordMaker().document(second), framed.document(first),
        framed.tombstone("one"), partition=0,
    )  # fmt: skip
    await stage.worked()
    story = await operator.run("where", "one", "--json")

    assert [each["identity"] for each in stage.results] == ["one"] * 4
    assert stage.results[-1]["status"] == "deleted"
    assert not files_of(stage, "one")
    assert [each["status"] for each in story.json["events"]][-1] == "deleted"
    assert [each["key_is_identity"] for each in story.json["events"]] == [True] * 4
    assert story.json["identities"] == ["one"]


async def test_a_tombstone_in_quotation_marks_spares_the_namesake(stage: MemoryStage) -> None:
    """The kit's key of an identity that has such marks itself is no other one's."""
    kit = RecordMaker()
    named = [orjson.dumps(document(name, [f"text {name}"])) for name in ("one", '"one"')]
    publish(stage, *map(kit.document, named), partition=0)
    await stage.worked()
    publish(stage, kit.tombstone('"one"'), partition=0)
    await stage.worked()

    assert uploads(stage) == 2
    assert len(files_of(stage, "one")) == 1
    assert not files_of(stage, '"one"')
