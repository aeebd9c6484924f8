"""The admin pages of a running service tell the truth, in the middle of work and after it."""

from __future__ import annotations

import json
import signal
from typing import Any

from consumer.kafka.publisher import OutgoingRecord, Publisher
from consumer.sandbox.samples import sample_documents
from tests.e2e.support import Process, Stage, write_events
from tests.metrics_page import disagreements


def lag(metrics: dict[str, float]) -> float:
    """Records that are not settled, over all partitions."""
    return sum(value for name, value in metrics.items() if name.startswith("lag_records "))


async def status(service: Process) -> Any:
    """What ``/status`` says, at most a second old."""
    code, text = await service.page("/status")
    assert code == 200
    return json.loads(text)


async def put_junk(stage: Stage, *values: bytes) -> None:
    """Records that are no events."""
    publisher = Publisher(stage.connection, give_up=True)
    await publisher.start()
    try:
        for value in values:
            topic = stage.settings["KAFKA_DOCUMENTS_TOPIC"]
            await publisher.publish(OutgoingRecord(topic, b"k", value))
    finally:
        await publisher.stop()


async def test_the_pages_follow_the_work(stage: Stage) -> None:
    """Lag, age of the oldest, in flight and outcomes: right while work hangs, and when it is done.

    24 documents of which the last is refused one chunk, the first one once more, and junk.
    """
    documents = sample_documents(24, seed=3, technologies=("lanterns",), max_chunks=4)
    documents[-1]["chunks"][0]["content"] = "refuse this text"
    events = [*documents, documents[0]]
    records = len(events) + 2
    hold = stage.simulator.faults.add("hold", path="*/raw-text", skip=12)
    stage.simulator.faults.add(
        "status", status=422, body="{}", path="*/raw-text", contains="refuse this text"
    )
    await put_junk(stage, b"\xff", b"{}")
    await stage.publish(write_events(stage.programs.folder / "events.ndjson", events))

    service = await stage.run()
    await stage.simulator.journal.wait_for("request.held", 5, seconds=60)
    assert await service.until_ready() == ""

    def as_it_is(metrics: dict[str, float]) -> bool:
        left = records - len(service.logged("document.settled"))
        return lag(metrics) == metrics["documents_in_flight"] == left

    # How far behind Kafka says we are is asked every two seconds.
    before = await service.until_metrics(as_it_is, "lag and documents in flight")
    assert before["chunks_in_flight"] == 5
    assert before["bytes_in_flight"] > 0
    assert before["oldest_unsettled_seconds"] > 0

    now = await status(service)
    assert (now["version"], now["state"], now["reasons"]) == (1, "ready", [])
    assert sum(each["lag"] for each in now["partitions"]) == lag(before)
    assert now["work"]["documents"] == before["documents_in_flight"]
    uploading = [each for each in now["work"]["oldest"] if each["station"] == "upload"]
    assert uploading
    assert all(0 <= each["chunks"]["uploaded"] < each["chunks"]["total"] for each in uploading)

    told = await stage.programs.commands.run("status", service.port, settings=stage.settings)
    assert (told.code, told.err) == (0, "")
    assert told.lines[0].startswith(f"127.0.0.1:{service.port}: ready; group ")
    assert f"{now['work']['documents']} of {now['work']['places']} places" in told.out
    assert uploading[0]["document_id"] in told.out

    hold.released = True
    await stage.until_results(len(events))
    after = await service.until_metrics(lambda metrics: lag(metrics) == 0, "no lag any more")
    assert after["oldest_unsettled_seconds"] == 0
    chunks = sum(len(document["chunks"]) for document in documents)
    assert (after["documents_in_flight"], after["chunks_in_flight"]) == (0, 0)
    assert (after["bytes_in_flight"], after["documents_waiting"]) == (0, 0)
    assert after["documents_total succeeded"] == len(events) - 1
    assert after["documents_total partial"] == 1
    assert after["chunks_total uploaded"] == chunks - 1
    assert after["chunks_total unchanged"] == len(documents[0]["chunks"])
    assert after["chunks_total failed"] == 1
    assert after["documents_total invalid"] == 2
    assert after["dead_letters_total undecodable"] == after["dead_letters_total invalid"] == 1
    assert after["dead_letters_total rejected"] == 1
    assert after["upload_failures_total document"] == 1
    assert after["partitions_assigned"] == 2 * 4
    assert after["journey_seconds_count"] == records
    now = await status(service)
    assert (now["work"]["documents"], now["work"]["waiting"]) == (0, [])
    causes = {each["reason"]: each["letters"] for each in now["letters"]["causes"]}
    assert causes == {"undecodable": 1, "invalid": 1, "rejected": 1}
    assert sum(each["documents"] * each["seconds"] for each in now["rates"]) <= records
    assert {each["status"] for each in now["results"]} == {"succeeded", "partial", "invalid"}
    assert all(each["committed"] is not None for each in now["partitions"])
    await stage.until_committed()
    assert (await service.metrics())["commits_total"] >= 1

    assert "<html" in (await service.page("/"))[1]
    assert disagreements((await service.page("/metrics"))[1]) == []
    assert (await service.page("/livez"))[0] == 200
    assert (await service.page("/nothing"))[0] == 404
    service.signal(signal.SIGTERM)
    assert await service.ended() == 0
