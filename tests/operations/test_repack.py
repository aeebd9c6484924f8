"""``workspaces repair --repack``: what is packed otherwise than is set. Kafka is in memory."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

import pytest

from consumer.model import origin as of
from consumer.model.marker import decode_marker
from consumer.model.names import Identity, Slug
from consumer.model.packing import contents_of
from consumer.model.record import Coordinates, Record
from consumer.operations import under_way
from consumer.operations.repacking.repack_plan import Recut
from consumer.operations.under_way import asking_for, batches
from tests.commands import Ended
from tests.operations.conftest import Operator
from tests.staging import Json, document, texts

pytestmark = pytest.mark.network("kernel")

PACKS = {"UPLOAD_CHUNKS_PER_PACK": "3", "UPLOAD_PACKS_TRIAL": "true"}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for comes in milliseconds."""
    monkeypatch.setattr(under_way, "_POLL_SECONDS", 0.02)


async def repack(
    operator: Operator, *words: str, service: Mapping[str, str] | None = PACKS, **settings: str
) -> Ended:
    """The command by somebody whose setting is packs of three, beside a service with these."""
    if service is not None:
        operator.stage.start(**service)
    try:
        return await operator.run(
            "workspaces", "repair", "--repack", *words, **{**PACKS, **settings}
        )
    finally:
        await operator.stage.stop()


def packed(operator: Operator, id: str) -> list[list[str]]:
    """The chunk ids of each unit of a document."""
    units = []
    for source in {source for source, _, _ in operator.stage.simulator.chunks("docs")}:
        marker = decode_marker(source)
        if marker is not None and marker.document_id == id:
            units.append([mark.id.removeprefix(f"{id}_chunk_") for mark in marker.chunks])
    return sorted(units)


def stored(operator: Operator) -> dict[str, list[str]]:
    """The texts of each document, out of their packs."""
    found = operator.stage.stored().items()
    return {id: sorted(each for text in held for each in contents_of(text)) for id, held in found}


def as_json(ended: Ended) -> tuple[list[Json], Json]:
    *lines, totals = [json.loads(line) for line in ended.lines]
    return lines, totals


async def test_what_was_stored_one_by_one_is_packed_anew(operator: Operator) -> None:
    """Plan, done, and nothing to do any more; each text once, and each document answered."""
    await operator.stage.worked(document("one", texts("one", 5)), document("two", texts("two", 1)))
    planned = await repack(operator)
    before = operator.stage.uploads()
    done = await repack(operator, "--yes", "--json")
    again = await repack(operator, "--yes")

    assert (planned.code, done.code, again.code) == (3, 0, 0)
    assert planned.lines == [
        "1 of 2 documents are packed otherwise than is set: 2 uploads, about 0 s, and 5 removals"
    ]
    assert "--yes does it" in planned.err
    ((line,), totals) = as_json(done)
    assert (line["identity"], line["outcome"], totals["done"], totals["left"]) == (
        "one", "done", 1, 0,
    )  # fmt: skip
    assert again.lines[0].startswith("0 of 2 documents are packed otherwise")
    assert packed(operator, "one") == [["0", "1", "2"], ["3", "4"]]
    assert stored(operator) == {"one": sorted(texts("one", 5)), "two": texts("two", 1)}
    assert operator.stage.uploads() == before + 2
    first = {each["document_id"]: each["event_id"] for each in operator.stage.results[:2]}
    last = operator.stage.results[-1]
    assert (last["status"], last["replay_of"]["event_id"]) == ("succeeded", first["one"])


async def test_what_was_packed_is_cut_apart_again(operator: Operator) -> None:
    await operator.stage.worked(document("one", texts("one", 3)))
    await repack(operator, "--yes")
    apart = {"UPLOAD_CHUNKS_PER_PACK": "1"}
    ended = await repack(operator, "docs", "--yes", service=apart, **apart)

    assert (ended.code, packed(operator, "one")) == (0, [["0"], ["1"], ["2"]])
    assert stored(operator) == {"one": texts("one", 3)}


async def test_only_what_is_packed_otherwise_is_uploaded(operator: Operator) -> None:
    """Auto means packs of ten, as in a backlog."""
    await operator.stage.worked(document("one", texts("one", 4)))
    auto = {**PACKS, "UPLOAD_CHUNKS_PER_PACK": "auto"}
    await repack(operator, "--yes", service=auto, **auto)
    before = operator.stage.uploads()
    more = [*texts("one", 4), "Text that is new."]
    operator.stage.publish(document("one", more, day=1))
    await operator.stage.worked()
    assert packed(operator, "one") == [["0", "1", "2", "3"], ["4"]]
    ended = await repack(operator, "--yes", service=auto, **auto)

    assert (ended.code, packed(operator, "one")) == (0, [["0", "1", "2", "3", "4"]])
    assert operator.stage.uploads() == before + 2


async def test_without_the_service_nothing_is_published(operator: Operator) -> None:
    await operator.stage.worked(document("one", texts("one", 4)))
    ended = await repack(operator, "--yes", service=None)

    assert ended.code == 1
    assert "has no members: the service does the work" in ended.err
    assert operator.stage.everything(operator.stage.settings.kafka.replay_topic) == []


async def test_what_no_event_tells_is_left_with_the_reason(operator: Operator) -> None:
    """Gone by retention; deleted, which the service has not done yet; in work."""
    await operator.stage.worked(document("gone", texts("gone", 3)))
    operator.stage.empty(operator.stage.documents)
    await operator.stage.worked(
        document("deleted", texts("deleted", 3)), document("new", texts("new", 3))
    )
    operator.stage.publish(None, key="deleted")
    operator.stage.publish(document("new", texts("newer", 3), day=1))
    ended = await repack(operator, "--json", service=None)

    lines, totals = as_json(ended)
    assert {line["identity"]: line["why"].split(",")[0].split(":")[0] for line in lines} == {
        "gone": "no event of it is left in Kafka",
        "deleted": "its newest event is a tombstone",
        "new": "not all of it is stored",
    }
    assert (totals["planned"], totals["not_judged"], ended.code) == (0, 3, 0)


async def test_a_newer_event_that_came_before_it_counts(operator: Operator) -> None:
    """What is published for packing anew is older then, and brings nothing back."""
    await operator.stage.worked(document("one", texts("one", 3)), document("two", texts("two", 3)))
    operator.stage.publish(document("one", texts("new", 3), day=1))
    operator.stage.publish(None, key="two")
    replay = operator.stage.settings.kafka.replay_topic
    for record in operator.stage.as_they_came(operator.stage.documents)[:2]:
        asked = asking_for(of.REPACK, "true", record, replay, "c", 3)
        operator.stage.kafka.append(asked)
    operator.stage.start(**PACKS)
    await operator.stage.settled()
    await operator.stage.stop()

    assert stored(operator) == {"one": sorted(texts("new", 3))}


async def test_a_service_that_packs_otherwise_leaves_all_as_it_is(operator: Operator) -> None:
    """As one of an older version does, which does not know the header."""
    await operator.stage.worked(document("one", texts("one", 4)))
    ended = await repack(operator, "--yes", service={})

    assert ended.code == 3
    assert ended.lines[-1] == "0 packed anew, 1 left"
    assert "another UPLOAD_CHUNKS_PER_PACK" in ended.err
    assert packed(operator, "one") == [["0"], ["1"], ["2"], ["3"]]


async def test_a_workspace_that_is_not_there_is_named(operator: Operator) -> None:
    ended = await repack(operator, "nowhere", service=None)

    assert (ended.code, ended.lines) == (1, [])
    assert "no workspace nowhere" in ended.err


def test_a_few_uploads_are_under_way_at_once() -> None:
    """At least one document, however large."""
    at = Coordinates("documents", 0, 0)
    recuts = [
        Recut(Slug("docs"), Identity(str(n)), at, uploads, 0, 0)
        for n, uploads in enumerate((30, 20, 1, 99, 1))
    ]

    assert [[each.uploads for each in batch] for batch in batches(recuts)] == [
        [30, 20], [1], [99], [1],
    ]  # fmt: skip


def test_a_replay_is_asked_for_by_its_original() -> None:
    """Its place and event id, its own headers, and nothing of the letter that it was made of."""
    own = (("trace_id", b"t"), ("dlq.run", b"r"), ("workspaces.repack", b"true"))
    at = Coordinates("documents", 4, 7)
    record = Record(at, 1_000, b"k", b"v", own)
    asked = asking_for(of.REPACK, "true", record, "replay", "cluster", 3)
    replayed = Record(Coordinates("replay", 1, 2), 2_000, b"k", b"v", asked.headers)
    again = asking_for(of.REPACK, "true", replayed, "replay", "cluster", 3)

    assert (asked.topic, asked.partition, asked.key, asked.value) == ("replay", 1, b"k", b"v")
    assert again == asked
    names = Counter(name for name, _ in asked.headers)
    assert names["workspaces.repack"] == names["trace_id"] == 1
    assert "dlq.run" not in names
