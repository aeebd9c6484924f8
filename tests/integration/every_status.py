"""A run of the service that has events of every status, and a replay among them."""

from __future__ import annotations

from consumer.model.record import Record
from tests.integration.service_fixtures import Stage
from tests.staging import document

STATUSES = ("succeeded", "superseded", "partial", "failed", "invalid", "deleted")


async def results_of_every_status(stage: Stage) -> list[Record]:
    """What such a run has published; the stage's service still runs."""
    await stage.start()
    stage.simulator.faults.add("status", status=422, path="*/raw-text", contains="REFUSED")
    await stage.publish(document("guide", ["a text", "another"], day=2))
    await stage.publish(document("guide", ["a text of yesterday"], day=1))
    await stage.publish(document("half", ["a text that is taken", "REFUSED"]))
    await stage.publish(document("none", ["REFUSED", "REFUSED as well"]))
    await stage.publish(document("blank", [" "]))
    await stage.publish(None, key="guide")
    await stage.wait_results(6)
    letter = next(each for each in await stage.wait_dead_letters(3) if each.key == b"half")
    topic = stage.settings.kafka.replay_topic
    await stage.publish(letter.value, key=letter.key, headers=letter.headers, topic=topic)
    results = await stage.wait_results(7)

    assert {result["status"] for result in results} == set(STATUSES)
    assert [result["document_id"] for result in results if result["replay_of"]] == ["half"]
    return stage.result_records
