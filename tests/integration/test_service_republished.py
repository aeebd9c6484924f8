"""Published again: a document costs what has changed, and what is lost by hand comes back."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from consumer.anythingllm.readiness import CONFIRMED_SECONDS
from consumer.model.marker import ChunkMark, Marker, digest_of
from consumer.model.version import DocumentVersion
from consumer.sandbox.samples import sample_documents
from consumer.sandbox.simulator import Simulator
from consumer.sandbox.simulator.shapes import shown_metadata
from tests.integration.service_fixtures import MakeStage, Stage
from tests.staging import DAY, FOREIGN, document, eventually, header, statuses, texts
from tests.virtual.loop import virtually
from tests.virtual.world import event, world

Json = dict[str, Any]

TEXTS = texts("guide", 8)
SETTLED_SECONDS = 90.0  # a workspace is in use then


# -- what a crawl changes --------------------------------------------------------------------------


def _texts(each: Json) -> list[str]:
    return [chunk["content"] for chunk in each["chunks"]]


def _again(each: Json, wanted: Sequence[str], day: int) -> Json:
    """The same document crawled again: its chunks are numbered anew, by their positions."""
    return document(
        each["id"],
        wanted,
        day=300 + day,
        technology=each["technology"],
        title=each["title"],
        source_url=each["source_url"],
    )


def _edited(wanted: list[str]) -> list[str]:
    return [*wanted[:-1], wanted[-1] + " And it was edited."]


CHANGES: dict[str, Callable[[list[str]], list[str]]] = {
    "unchanged": lambda wanted: wanted,
    "edited": _edited,
    "inserted at the start": lambda wanted: ["A new introduction.", *wanted],
    "shorter": lambda wanted: wanted[:-2],
    "one text more often": lambda wanted: [*wanted, wanted[0]],
    "in another order": lambda wanted: wanted[::-1],
}
COSTS = {
    "unchanged": (0, 0),
    "edited": (1, 1),
    "inserted at the start": (1, 0),
    "shorter": (0, 2),
    "one text more often": (1, 0),
    "in another order": (0, 0),
}


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_crawl_costs_what_has_changed(stage: Stage, restarted: bool) -> None:
    """Sample documents with all their oddities, texts that occur several times among them.

    What is stored is known from this process' own writes, or to another one from the listing.
    """
    samples = sample_documents(24, seed=5, technologies=("docs",))
    events = [each for each in samples if len(each["chunks"]) > 5][: 2 * len(CHANGES)]
    changes = {each["id"]: name for each, name in zip(events, [*CHANGES, *CHANGES], strict=True)}
    await stage.publish_all(events)
    await stage.start()
    await stage.wait_results(len(events))
    if restarted:
        await stage.finish()
        await stage.start()
    for day in (1, 2):  # the second time nothing has changed since
        uploads, removals = stage.uploads(), stage.removals()
        crawled = [_again(each, CHANGES[changes[each["id"]]](_texts(each)), day) for each in events]
        await stage.publish_all(crawled)
        results = (await stage.wait_results((day + 1) * len(events)))[-len(events) :]
        assert {result["status"] for result in results} == {"succeeded"}
        for result in results:
            name = changes[result["document_id"]]
            cost = len(result["uploaded_chunk_ids"]), result["removed_chunks"]
            assert cost == (COSTS[name] if day == 1 else (0, 0)), name
        sums = [2 * sum(costs) for costs in zip(*COSTS.values(), strict=True)]
        done = [stage.uploads() - uploads, stage.removals() - removals]
        assert done == (sums if day == 1 else [0, 0])

    assert stage.stored() == {each["id"]: sorted(_texts(each)) for each in crawled}


# -- new ids for the same pages --------------------------------------------------------------------


def _reminted(each: Json, day: int) -> Json:
    """The same page under another id, and its chunks as well."""
    again = copy.deepcopy(each)
    again["id"] = f"minted-{day}-{each['id']}"
    again["created_at"] = document("x", [], day=300 + day)["created_at"]
    for chunk in again["chunks"]:
        chunk["id"] = f"minted-{day}-{chunk['id']}"
    return again


async def test_new_ids_for_the_same_pages_cost_nothing_where_the_source_is_the_identity(
    make_stage: MakeStage,
) -> None:
    """Nothing is uploaded, nothing removed, nothing hinted at; a tombstone by the URL takes all."""
    events = sample_documents(12, seed=6, technologies=("docs",))
    stage = await make_stage({"DOCUMENT_IDENTITY": "{source_url}"})
    with capture_logs() as logs:
        for each in events:
            await stage.publish(each, key=each["source_url"])
        running = await stage.start()
        await stage.wait_results(len(events))
        uploads = stage.uploads()
        for each in events:
            await stage.publish(_reminted(each, 1), key=each["source_url"])
        results = (await stage.wait_results(2 * len(events)))[len(events) :]

    assert {result["status"] for result in results} == {"succeeded"}
    assert (stage.uploads(), stage.removals()) == (uploads, 0)
    assert [line for line in logs if line["event"] == "identity.reminted"] == []
    assert running.service._metrics.reminted_documents._value.get() == 0
    for each in events:
        await stage.publish(None, key=each["source_url"])
    await stage.wait_results(3 * len(events))
    assert stage.stored() == {}


async def test_new_ids_for_the_same_pages_are_hinted_at_once(stage: Stage) -> None:
    """By default they are other documents: the log names the setting once, the metric counts."""
    with capture_logs() as logs:
        pages = [document(f"page-{n}", texts(f"page-{n}", 2)) for n in range(5)]
        await stage.publish_all(pages)
        running = await stage.start()
        await stage.wait_results(5)
        await stage.publish_all([_reminted(each, 1) for each in pages])
        await stage.wait_results(10)
        await stage.publish_all([_reminted(each, 1) for each in pages])
        await stage.wait_results(15)

    hints = [line for line in logs if line["event"] == "identity.reminted"]
    assert [(hint["workspace"], "{source_url}" in hint["what_to_do"]) for hint in hints] == [
        ("docs", True)
    ]
    assert running.service._metrics.reminted_documents._value.get() == 5
    assert len(stage.stored()) == 10


# -- lost by hand ----------------------------------------------------------------------------------


async def _empty(server: Simulator) -> None:
    """Take all documents out of the workspace, in AnythingLLM's pages."""
    for row in list(server.state.workspaces["docs"].rows.values()):
        await server.model.remove_from(row)


async def _reset(server: Simulator) -> None:
    """Reset its vector database, in the workspace's settings."""
    await _empty(server)
    server.tables.drop("docs")


async def _delete(server: Simulator) -> None:
    """Delete the workspace."""
    server.model.delete_workspace(server.state.workspaces["docs"])


async def _renew(server: Simulator) -> None:
    """Delete it and make another one of the same name."""
    await _delete(server)
    server.state.create_workspace("docs", {})


BY_HAND: dict[str, Callable[[Simulator], Awaitable[None]]] = {
    "emptied": _empty,
    "reset": _reset,
    "deleted": _delete,
    "made anew": _renew,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_what_people_took_out_comes_back_when_it_is_published_again(name: str) -> None:
    """As soon as what is known is older than INDEX_MAX_AGE_SECONDS: each chunk once, in its place.

    The workspace is made ready again for concurrent uploads.
    """

    @virtually
    async def run() -> None:
        async with world() as w:
            pages = [event(f"page-{n}", texts(f"page-{n}", 6)) for n in range(6)]
            for each in pages:
                w.publish(each)
            await w.settled()
            uploaded = w.uploads()
            await BY_HAND[name](w.sim)
            await w.idle(w.settings.index.max_age_seconds + 1)
            for each in pages:
                w.publish(each)
            await w.settled()

            assert w.statuses() == {"succeeded": 12}
            assert w.uploads() - uploaded == 36
            assert w.stored() == {f"page-{n}_{m}": 1 for n in range(6) for m in range(6)}

    run()


async def test_how_long_nothing_need_be_uploaded_is_believed_has_an_end(
    make_stage: MakeStage,
) -> None:
    """Until then an emptied workspace may go unnoticed; not a moment longer."""
    stage = await make_stage({"INDEX_MAX_AGE_SECONDS": "0.5"})
    await stage.publish(document("guide", TEXTS))
    await stage.start()
    await stage.wait_results(1)
    await _empty(stage.simulator)
    uploaded: list[str] = []
    published = 1
    while not uploaded:
        await stage.publish(document("guide", TEXTS))
        published += 1
        uploaded = (await stage.wait_results(published))[-1]["uploaded_chunk_ids"]

    assert len(uploaded) == 8
    assert stage.stored() == {"guide": sorted(TEXTS)}


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("kept", [0, 6])
def test_an_upload_notices_within_seconds_what_people_did_to_the_workspace(
    name: str, kept: int
) -> None:
    """Long before anything known is too old, and also with chunks that nobody would upload again.

    Its table is gone: of new chunks that went out side by side some would overwrite the others.
    """

    @virtually
    async def run() -> None:
        async with world() as w:
            w.publish(event("guide", TEXTS))
            w.publish(event("other", ["a text"]))
            await w.settled()
            await w.idle(SETTLED_SECONDS)
            await BY_HAND[name](w.sim)
            await w.idle(CONFIRMED_SECONDS)
            wanted = [*TEXTS[:kept], *texts("renewed", 12)]
            w.publish(event("guide", wanted, day=1))
            await w.settled()

            assert w.statuses() == {"succeeded": 3}
            assert w.stored() == {f"guide_{n}": 1 for n in range(kept + 12)}
            last = w.results[-1]
            assert len(last["uploaded_chunk_ids"]) == kept + 12, "each is told once, as uploaded"

    run()


async def test_an_upload_that_finds_the_workspace_gone_brings_the_whole_document_back(
    stage: Stage,
) -> None:
    """One chunk is edited; the others were believed to be stored, and are not any more."""
    await stage.publish(document("guide", TEXTS, day=1))
    await stage.start()
    await stage.wait_results(1)
    await _delete(stage.simulator)
    await stage.publish(document("guide", ["edited", *TEXTS[1:]], day=2))
    result = (await stage.wait_results(2))[1]

    assert (result["status"], len(result["uploaded_chunk_ids"])) == ("succeeded", 8)
    assert stage.stored() == {"guide": sorted(["edited", *TEXTS[1:]])}


async def test_a_sick_workspace_may_be_mended_by_a_reset(stage: Stage) -> None:
    """That is what we advise: what waited for it, and was stored there before, is whole again."""
    await stage.publish(document("guide", TEXTS, day=1))
    running = await stage.start()
    await stage.wait_results(1)
    stage.simulator.faults.workspace_dimensions = {"docs": 12}
    await stage.publish(document("guide", ["edited", *TEXTS[1:]], day=2))
    paused = running.service._metrics.workspaces_paused._value
    await eventually(lambda: paused.get() == 1)
    await _reset(stage.simulator)
    result = (await stage.wait_results(2))[1]

    assert result["status"] == "succeeded"
    assert stage.stored() == {"guide": sorted(["edited", *TEXTS[1:]])}


# -- an older version comes back -------------------------------------------------------------------


@pytest.mark.parametrize("newest", ["only removes", "emptied", "unchanged", "tombstone"])
async def test_a_dead_letter_that_something_newer_followed_comes_back_too_late(
    stage: Stage, newest: str
) -> None:
    """v1; v1.5 dead-lettered; v2 that uploads nothing, or a tombstone; v1.5 is replayed.

    A version that uploads nothing leaves no marker. It is known all the same.
    """
    await stage.publish(document("guide", TEXTS, day=1))
    await stage.start()
    await stage.wait_results(1)
    stage.simulator.faults.add("status", status=422, path="*/raw-text", contains="REFUSED")
    await stage.publish(document("guide", [*TEXTS[:6], "REFUSED"], day=1.5))
    await stage.wait_results(2)
    (letter,) = await stage.wait_dead_letters(1)
    wanted = {"only removes": TEXTS[:3], "emptied": [], "unchanged": TEXTS}.get(newest, [])
    await stage.publish(
        None if newest == "tombstone" else document("guide", wanted, day=2), key="guide"
    )
    newer = (await stage.wait_results(3))[2]
    uploads, removals = stage.uploads(), stage.removals()
    stage.simulator.faults.clear()
    await stage.publish(
        letter.value,
        key=letter.key,
        headers=letter.headers,
        partition=int(header(letter, "__connect.errors.partition") or ""),
        topic=stage.settings.kafka.replay_topic,
    )
    late = (await stage.wait_results(4))[3]

    assert newer["status"] == ("deleted" if newest == "tombstone" else "succeeded")
    assert newer.get("uploaded_chunk_ids", []) == []
    assert late["status"] == "superseded"
    assert late["replay_of"]["offset"] == 1
    assert (stage.uploads(), stage.removals()) == (uploads, removals)
    assert stage.stored() == ({"guide": sorted(wanted)} if wanted else {})
    assert len(stage.dead_letters) == 1


# -- dates -----------------------------------------------------------------------------------------


async def test_a_date_from_2099_does_not_lock_a_document_for_73_years(stage: Stage) -> None:
    """A publisher's clock is wrong once: its event counts as of its record's time.

    So what is published afterwards, with a date or without, is newer; also to another process.
    """
    await stage.publish(document("guide", ["2099"], created_at="2099-01-01T00:00:00Z"))
    with capture_logs() as logs:
        await stage.start()
        await stage.wait_results(1)
    assert [line["document_id"] for line in logs if line["event"] == "version.capped"] == ["guide"]
    await stage.finish()
    undated = document("guide", ["undated"])
    del undated["created_at"]
    await stage.publish(undated)
    await stage.start()
    await stage.wait_results(2)
    assert stage.stored() == {"guide": ["undated"]}
    await stage.publish(document("guide", ["2099 again"], created_at="2099-01-01T00:00:00Z"))
    await stage.publish(None, key="guide")
    results = await stage.wait_results(4)
    assert [result["status"] for result in results][:2] == ["succeeded"] * 2
    assert results[3]["status"] == "deleted"
    assert stage.stored() == {}


async def test_versions_that_go_back_end_with_the_newest_by_its_own_date(stage: Stage) -> None:
    """One after the other, each settled before the next: only what is newer is stored."""
    await stage.start()
    days = [5, 4, 6, 6, 1, 5.5, 7, 0]
    for number, day in enumerate(days):
        await stage.publish(document("guide", [f"{number} of day {day}"], day=day))
        await stage.wait_results(number + 1)

    found = [result["status"] for result in await stage.wait_results(len(days))]
    assert found == [
        "succeeded", "superseded", "succeeded", "succeeded",
        "superseded", "superseded", "succeeded", "superseded",
    ]  # fmt: skip
    assert stage.stored() == {"guide": ["6 of day 7"]}


# -- what people put there -------------------------------------------------------------------------


def _marker(document_id: str, text: str, *, year: int = 2026) -> str:
    version = DocumentVersion(DAY.replace(year=year))
    url, title = f"https://docs.example/{document_id}", f"The title of {document_id}"
    mark = ChunkMark(
        f"{document_id}_chunk_0", 0, digest_of(text, title=title, source_url=url), "0" * 64
    )
    return Marker(document_id, url, "docs", 1, version, (mark,)).encode()


def _by_hand() -> dict[str, str]:
    """What people may have uploaded, or copied from what we did: text by ``docSource``."""
    ours = orjson.loads(_marker("guide", "a text"))
    broken = {**ours, "v": "yesterday"}
    return {
        "": "without a source",
        "https://docs.example/guide": "with the source as its source",
        orjson.dumps({**ours, "alc": 2}).decode(): "of a later format",
        orjson.dumps({**ours, "alc": "1"}).decode(): "of an odd format",
        orjson.dumps(broken).decode(): "with a broken date",
        orjson.dumps({**ours, "c": 5}).decode(): "with broken chunks",
        orjson.dumps(ours).decode()[:-9]: "cut short",
        " " + orjson.dumps(ours).decode(): "with a blank before it",
        _marker("guide", "from the future", year=2099): "from the future",
    }


async def _put(server: Simulator) -> list[str]:
    for source, text in _by_hand().items():
        fields = {"title": "by hand", "docSource": source}
        shown = shown_metadata(fields, text, DAY)
        await server.model.store("by-hand", shown, text, ["docs"], frozenset())
    return sorted(_by_hand().values())


def _held(chunks: Sequence[tuple[str, str, int]]) -> list[str]:
    known = _by_hand().values()
    return sorted(text for _, text, copies in chunks for _ in range(copies) if text in known)


async def test_what_people_put_there_outlives_documents_and_tombstones(stage: Stage) -> None:
    """No marker, a later format, a broken one, one from the future: never removed.

    A marker from the future is newer than all that we could store: those events are superseded.
    """
    put = await _put(stage.simulator)
    await stage.publish(document("other", ["a text"], day=1))
    for day, wanted in enumerate([["a text", "another"], ["another"], []]):
        await stage.publish(document("guide", wanted, day=day))
    await stage.publish(None, key="guide")
    await stage.publish(None, key="other")
    await stage.publish(None, key="guide", headers=(("workspace", b"docs"),))
    await stage.start()
    results = await stage.wait_results(7)

    assert statuses(r for r in results if r["document_id"] == "guide") == {"guide": "superseded"}
    assert _held(stage.simulator.chunks("docs")) == put
    assert FOREIGN in stage.foreign()
    assert set(stage.stored()) == {"guide"}, "of ours only the one from the future is left"


@virtually
async def test_what_people_put_there_outlives_the_sweep() -> None:
    """Even where it is there twice, and after a new owner has changed the document."""
    async with world() as w:
        w.sim.faults.latency = 0.02
        w.publish(event("warm", ["up"]))
        await w.settled()
        put = sorted(2 * await _put(w.sim))
        await _put(w.sim)
        await w.crash()
        await w.start()
        w.publish(event("guide", ["a text"], day=1))
        w.publish(event("warm", ["up", "and on"], day=1))
        w.publish(None, key="guide")
        await w.settled()
        await w.idle(600 + 120)

        assert _held(w.sim.chunks("docs")) == put
