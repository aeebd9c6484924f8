"""What real producers write, worked end to end: their recorded bytes on a real Kafka."""

from __future__ import annotations

import pytest

from consumer.contract.dead_letter import restored
from tests.integration.service_fixtures import MakeStage
from tests.publisher_records import DELETED, REFUSED, REMOVALS, STORED, recorded
from tests.staging import document

SLUG = "publishers"


@pytest.mark.slow
async def test_every_producers_bytes_are_stored_deleted_or_dead_lettered(
    make_stage: MakeStage,
) -> None:
    """Documents are stored, tombstones remove by whatever key, letters keep every byte."""
    stage = await make_stage()
    await stage.start()
    for name in sorted(REMOVALS):
        await stage.publish(document(name, ["to be removed"], technology=SLUG))
    await stage.wait_results(len(REMOVALS))
    every = recorded()
    for each in every:
        await stage.publish(each.value, key=each.key, headers=each.headers)
    answered = len(every) - len(REFUSED)  # of what can't be read no id is known
    results = await stage.wait_results(len(REMOVALS) + answered)
    letters = await stage.wait_dead_letters(len(REFUSED))
    await stage.finish()

    last = {each["identity"]: each["status"] for each in results}
    assert last == {each.name: each.outcome for each in every if each.outcome in (STORED, DELETED)}
    assert stage.stored(SLUG) == {
        each.name: [each.text] for each in every if each.outcome == STORED
    }
    wanted = [(each.key, each.value, each.headers) for each in every if each.name in REFUSED]
    assert sorted((one.key, one.value, restored(one.headers)) for one in letters) == sorted(wanted)
    dated = {each["identity"]: each["document_version"] for each in results}
    assert dated["cloudevents-structured"] == "2026-11-22T10:00:00Z"
