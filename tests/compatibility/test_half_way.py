"""Work that one code left half-way is gone on with by the other, on a real Kafka."""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from consumer.contract.received_result import ReceivedResult
from consumer.kafka.reader import read_topic
from consumer.kafka.settled_metadata import decode
from consumer.kafka.topics import open_admin
from consumer.model.record import Record
from tests.compatibility.since import without_added
from tests.e2e.conftest import bare_stage as bare_stage
from tests.e2e.conftest import simulated as simulated
from tests.e2e.conftest import stage as stage
from tests.e2e.support import (
    Json,
    Process,
    Programs,
    Stage,
    stored,
    until,
    write_events,
)
from tests.programs_fixtures import programs as programs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

REFUSED, FINE, LATER = 12, 10, 40
SETTINGS = {"ANYTHINGLLM_AMBIGUITY_SECONDS": "6", "UPLOAD_TIMEOUT_SECONDS": "5"}
RUN = re.compile(r"^run (\d{8}-\d{6}-[0-9a-f]{4}): ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Codes:
    """The same stage with the programs of either code."""

    before: Stage
    after: Stage


@pytest.fixture(params=["cdefe5a leaves it", "the present code leaves it"])
async def codes(
    request: pytest.FixtureRequest, stage: Stage, old_code: Path, tmp_path: Path
) -> AsyncIterator[Codes]:
    """Both directions."""
    folder = tmp_path / "old"
    folder.mkdir()
    programs = Programs(folder, old_code)
    now = replace(stage, settings=stage.settings | SETTINGS)
    then = replace(now, programs=programs)
    yield Codes(then, now) if request.param.startswith("cdefe5a") else Codes(now, then)
    await programs.close()


def documents(word: str, count: int) -> list[Json]:
    """Events of two chunks each."""
    return [
        {
            "id": f"{word.lower()}-{number}",
            "title": f"Number {number}",
            "technology": "half-way",
            "source_url": f"https://docs.example/{word}/{number}",
            "created_at": "2026-03-01T00:00:00Z",
            "chunks": [
                {"id": f"{word}-{number}-{n}", "content": f"{word} {n} of {number}, like no other."}
                for n in range(2)
            ],
        }
        for number in range(count)
    ]


async def test_nothing_is_lost_and_nothing_is_doubled(codes: Codes, tmp_path: Path) -> None:
    """A group, dead letters and a replay run that ended by SIGKILL in the midst of their work."""
    before, after = codes.before, codes.after
    simulator = before.simulator
    refusal = simulator.faults.add("status", status=422, path="*/raw-text", contains="REFUSED")
    service = await before.run()
    first = documents("REFUSED", REFUSED) + documents("FINE", FINE)
    await before.publish(write_events(tmp_path / "first.ndjson", first))
    await before.until_results(len(first))
    refusal.times = 0

    run = await left_half_way(before)
    simulator.faults.embedder_latency = 0.2
    await before.publish(write_events(tmp_path / "later.ndjson", documents("LATER", LATER)))
    settled = len(service.logged("document.settled"))
    await service.until_logged("document.settled", settled + 3)
    await service.kill()
    assert sum((await before.unsettled()).values()) > 0, "nothing was left to do"
    simulator.faults.clear()

    goes_on = await after.run()
    resumed = await after.command("dlq", "replay", "--resume", run, "--rate", "100", "--json")
    events = len(first) + LATER + REFUSED
    results = await after.until_results(events)
    everywhere = 2 * (len(first) + LATER)
    await until(lambda: copies(after) == {1: everywhere}, f"one copy of {everywhere} chunks")
    goes_on.signal(signal.SIGTERM)
    assert await goes_on.ended() == 0

    assert (resumed.code, resumed.json["published"]) == (0, REFUSED), resumed.err
    replays = await records(after, "KAFKA_REPLAY_TOPIC")
    made_of = Counter(record.header("dlq.letter") for record in replays)
    assert (len(made_of), set(made_of.values())) == (REFUSED, {1})
    assert statuses(results) == {"failed": REFUSED, "succeeded": FINE + LATER + REFUSED}
    letters = await records(after, "KAFKA_DEAD_LETTERS_TOPIC")
    assert Counter(record.header("dlq.reason") for record in letters) == {b"rejected": REFUSED}
    await assert_all_committed(after)
    await assert_both_tell_the_same(codes)


async def left_half_way(stage: Stage) -> str:
    """A replay run that is killed when a third of its letters are replayed; its id."""
    process = await stage.programs.start(
        "dlq", "replay", "--yes", "--rate", "4", settings=stage.settings
    )
    await until(lambda: replayed(process) >= REFUSED // 3, "some letters are replayed")
    await process.kill()
    shown = RUN.search(process.err)
    assert shown is not None
    assert replayed(process) < REFUSED
    return shown[1]


def replayed(process: Process) -> int:
    """How many letters a run says to have replayed."""
    return process.err.count('"replay.published"')


def copies(stage: Stage) -> dict[int, int]:
    """How many chunks can be found how often."""
    held = Counter((each.document_id, each.chunk_id) for each in stored(stage.simulator))
    return dict(Counter(held.values()))


def statuses(results: list[ReceivedResult]) -> Counter[str]:
    """How many events ended how; a result that is repeated after a crash counts once."""
    by_event: dict[str, set[str]] = {}
    for result in results:
        by_event.setdefault(result.event_id, set()).add(result.status)
    assert all(len(said) == 1 for said in by_event.values()), "an event ended in two ways"
    return Counter(status for said in by_event.values() for status in said)


async def records(stage: Stage, topic: str) -> list[Record]:
    """All records of one of the stage's topics."""
    return [record async for record in read_topic(stage.connection, stage.settings[topic])]


async def assert_all_committed(stage: Stage) -> None:
    """Up to the end of both input topics, and nothing is said to be settled behind that."""
    async with open_admin(stage.connection) as admin:
        places = await admin.places(stage.settings["KAFKA_GROUP_ID"])
    ends: dict[tuple[str, int], int] = {}
    for topic in ("KAFKA_DOCUMENTS_TOPIC", "KAFKA_REPLAY_TOPIC"):
        for record in await records(stage, topic):
            ends[record.at.topic, record.at.partition] = record.at.offset + 1
    assert {at: places[at].offset for at in ends} == ends
    said = [decode(place.text, place.offset) for place in places.values() if place.text]
    assert not [each for each in said if each is None or each.entries]


async def assert_both_tell_the_same(codes: Codes) -> None:
    """Runs, letters, results and the audit, by either code's commands."""
    for words in ("dlq runs", "dlq list --all", "results", "audit", "where refused-3"):
        then = await codes.before.command(*words.split(), "--json")
        now = await codes.after.command(*words.split(), "--json")
        assert (then.code, now.code) == (0, 0), then.err + now.err
        assert sorted(map(without_added, then.lines)) == sorted(map(without_added, now.lines))
