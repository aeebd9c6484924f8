"""New versions, old versions, tombstones: one copy of the newest state, nothing else touched."""

from __future__ import annotations

import pytest

from tests.integration.service_fixtures import MakeStage, Stage
from tests.staging import FOREIGN, document, eventually, statuses, texts

TEXTS = texts("guide", 8)


NEW_VERSIONS: dict[str, tuple[list[str], int, int]] = {
    "edited": (["NEW", *TEXTS[1:]], 1, 1),
    "inserted at the start": (["NEW", *TEXTS], 1, 0),
    "shorter": (TEXTS[:5], 0, 3),
    "unchanged": (TEXTS, 0, 0),
    "in another order": (TEXTS[::-1], 0, 0),
    "one text twice": ([*TEXTS, TEXTS[0]], 1, 0),
    "emptied": ([], 0, 8),
}


async def test_a_new_version_uploads_what_differs_and_removes_what_is_stale(stage: Stage) -> None:
    """Chunks are compared by text, never by id or position."""
    for name in NEW_VERSIONS:
        await stage.publish(document(name, TEXTS, day=1))
    await stage.start()
    await stage.wait_results(len(NEW_VERSIONS))
    uploaded = {name: stage.uploads(name) for name in NEW_VERSIONS}
    removed = stage.removals()
    for name, (wanted, _, _) in NEW_VERSIONS.items():
        await stage.publish(document(name, wanted, day=2))
    results = (await stage.wait_results(2 * len(NEW_VERSIONS)))[len(NEW_VERSIONS) :]

    for result in results:
        name = result["document_id"]
        wanted, uploads, removals = NEW_VERSIONS[name]
        assert (result["status"], result["total_chunks"]) == ("succeeded", len(wanted)), name
        assert len(result["uploaded_chunk_ids"]) == uploads, name
        assert stage.uploads(name) - uploaded[name] == uploads, name
        assert result["removed_chunks"] == removals, name
        assert stage.stored().get(name, []) == sorted(wanted), name
    assert stage.removals() - removed == sum(removals for _, _, removals in NEW_VERSIONS.values())
    assert stage.foreign() == [FOREIGN]


async def test_a_changed_title_uploads_everything_again(stage: Stage) -> None:
    """Readers see the title, and it is embedded: the old one would be wrong."""
    await stage.publish(document("guide", TEXTS, day=1))
    await stage.publish(document("guide", TEXTS, day=2, title="Another title"))
    await stage.start()
    second = (await stage.wait_results(2))[1]

    assert (len(second["uploaded_chunk_ids"]), second["removed_chunks"]) in {(8, 8), (8, 0)}
    assert stage.stored() == {"guide": sorted(TEXTS)}


async def test_an_older_version_that_comes_late_is_superseded(stage: Stage) -> None:
    """What is newer by its own date stays; the late one gets its answer and changes nothing."""
    await stage.publish(document("guide", ["new"], day=5))
    await stage.start()
    await stage.wait_results(1)
    uploaded = stage.uploads()
    await stage.publish(document("guide", ["old"], day=4))
    late = (await stage.wait_results(2))[1]

    assert late["status"] == "superseded"
    assert late["total_chunks"] == late["successful_uploads"] == 0
    assert stage.uploads() == uploaded
    assert stage.stored() == {"guide": ["new"]}


async def test_an_older_version_after_one_that_uploaded_nothing_is_superseded(
    stage: Stage,
) -> None:
    """A version that only removed chunks leaves no marker; it still counts as known."""
    await stage.publish(document("guide", TEXTS, day=1))
    await stage.start()
    await stage.wait_results(1)
    await stage.publish(document("guide", TEXTS[:2], day=9))
    await stage.wait_results(2)
    await stage.publish(document("guide", TEXTS[:5], day=5))
    late = (await stage.wait_results(3))[2]

    assert late["status"] == "superseded"
    assert stage.stored() == {"guide": sorted(TEXTS[:2])}


async def test_a_burst_of_versions_ends_with_the_newest(stage: Stage) -> None:
    """30 versions at once: every event is answered, the newest one is what is stored."""
    versions = [[f"version {n}", *TEXTS] for n in range(30)]
    for number, wanted in enumerate(versions):
        await stage.publish(document("guide", wanted, day=number))
    await stage.start()
    results = await stage.wait_results(30)
    await stage.finish()

    assert {result["status"] for result in results} <= {"succeeded", "superseded"}
    newest = next(r for r in results if r["source"]["offset"] == 29)
    assert newest["status"] == "succeeded"
    assert stage.stored() == {"guide": sorted(versions[-1])}
    assert len(stage.results) == 30


async def test_a_mended_version_ends_the_wait_of_one_that_can_not_be_stored(stage: Stage) -> None:
    """What meets an outage again and again waits for ever; its publisher can mend the document."""
    stage.simulator.faults.add("status", status=503, path="*/raw-text", contains="REFUSED")
    running = await stage.start(UPLOAD_BACKOFF_CAP_SECONDS="60", UPLOAD_BACKOFF_BASE_SECONDS="0.3")
    await stage.publish(document("guide", ["one", "REFUSED"], day=1))
    waiting = running.service._metrics.documents_waiting._value
    await eventually(lambda: waiting.get() == 1, seconds=60)

    await stage.publish(document("guide", ["one", "two"], day=2))
    results = await stage.wait_results(2)
    await stage.wait_committed()

    assert sorted(result["status"] for result in results) == ["succeeded", "superseded"]
    assert stage.stored() == {"guide": ["one", "two"]}
    assert stage.dead_letters == []


async def test_versions_of_one_date_are_told_apart_by_their_offsets(stage: Stage) -> None:
    """A publisher that corrects itself within one tick of its clock is not ignored."""
    for number in range(5):
        await stage.publish(document("guide", [f"text {number}"], day=1))
    await stage.start()
    await stage.wait_results(5)

    assert stage.stored() == {"guide": ["text 4"]}


@pytest.mark.parametrize("by_header", [True, False])
async def test_a_tombstone_removes_the_document_wherever_its_markers_name_it(
    make_stage: MakeStage, by_header: bool
) -> None:
    """With a ``workspace`` header from that workspace alone; others' documents stay."""
    stage = await make_stage(workspaces=("docs", "more"))
    await stage.publish(document("guide", TEXTS[:3], day=1))
    await stage.publish(document("other", ["kept"], day=1))
    await stage.start()
    await stage.wait_results(2)
    await stage.publish(document("guide", TEXTS[:2], day=1, workspace="more"))
    await stage.wait_results(3)
    headers = (("workspace", b"more"),) if by_header else ()
    await stage.publish(None, key="guide", headers=headers)
    gone = (await stage.wait_results(4))[3]

    assert (gone["status"], gone["identity"], gone["document_id"]) == ("deleted", "guide", None)
    assert gone["workspace_slug"] == ("more" if by_header else None)
    assert gone["removed_chunks"] == (2 if by_header else 5)
    assert stage.stored("more") == {}
    assert set(stage.stored()) == ({"guide", "other"} if by_header else {"other"})
    assert stage.foreign("docs") == stage.foreign("more") == [FOREIGN]


async def test_a_tombstone_under_fixed_routing_looks_in_one_workspace(
    make_stage: MakeStage,
) -> None:
    """Where every document goes to one workspace, the tombstone does, too."""
    stage = await make_stage({"ROUTING_WORKSPACE": "docs"})
    await stage.publish(document("guide", TEXTS[:3], technology="anything"))
    await stage.start()
    await stage.wait_results(1)
    await stage.publish(None, key="guide")
    gone = (await stage.wait_results(2))[1]

    assert (gone["status"], gone["workspace_slug"]) == ("deleted", "docs")
    assert (gone["removed_chunks"], stage.stored()) == (3, {})


async def test_a_tombstone_of_what_never_was_is_answered(stage: Stage) -> None:
    """Deleting is a wish about the end, not about the way there."""
    await stage.publish(None, key="never was")
    await stage.start()
    (gone,) = await stage.wait_results(1)

    assert (gone["status"], gone["removed_chunks"]) == ("deleted", 0)


async def test_a_tombstone_never_reaches_into_workspaces_that_are_not_ours(
    make_stage: MakeStage,
) -> None:
    """ROUTING_ALLOWED_WORKSPACES holds for removals, too.

    A workspace whose slug no path can carry does not stall the tombstone either.
    """
    stage = await make_stage(workspaces=("docs", "private"))
    await stage.publish(document("guide", ["one"]))
    await stage.publish(document("guide", ["one"], workspace="private"))
    await stage.start()
    await stage.wait_results(2)
    await stage.finish()
    odd = stage.simulator.state.create_workspace("odd", {})
    odd.fields["slug"] = "Odd.Slug"
    await stage.start(ROUTING_ALLOWED_WORKSPACES="docs")
    await stage.publish(None, key="guide")
    gone = (await stage.wait_results(3))[2]

    assert (gone["status"], gone["removed_chunks"]) == ("deleted", 1)
    assert stage.stored("docs") == {}
    assert stage.stored("private") == {"guide": ["one"]}


async def test_a_document_that_is_published_again_after_its_tombstone_is_stored(
    stage: Stage,
) -> None:
    """The last word of a partition counts, however the three overlap in time.

    The date of a tombstone is its record's and says nothing against the date of a document.
    """
    held = stage.simulator.faults.add("hold", path="*/raw-text", times=1)
    await stage.publish(document("guide", TEXTS[:3], day=1))
    await stage.publish(None, key="guide", headers=(("workspace", b"docs"),))
    await stage.publish(document("guide", TEXTS[:3], day=1))
    running = await stage.start()
    await running.has_open(3)
    held.released = True
    results = await stage.wait_results(3)
    await stage.finish()

    assert statuses(results)["guide"] in {"succeeded", "superseded"}
    assert stage.stored() == {"guide": sorted(TEXTS[:3])}


async def test_foreign_documents_survive_everything(stage: Stage) -> None:
    """What carries no marker of ours is neither counted nor removed."""
    await stage.publish(document("guide", [FOREIGN, "two"], day=1))
    await stage.publish(document("guide", ["two"], day=2))
    await stage.publish(document("guide", [], day=3))
    await stage.publish(None, key="guide")
    await stage.start()
    await stage.wait_results(4)

    assert stage.stored() == {}
    assert stage.foreign() == [FOREIGN]


async def test_re_minted_ids_replace_the_old_state_when_identity_is_the_source_url(
    make_stage: MakeStage,
) -> None:
    """With DOCUMENT_IDENTITY={source_url} a re-crawl under new ids uploads what changed, only."""
    stage = await make_stage({"DOCUMENT_IDENTITY": "{source_url}"})
    url = {"source_url": "https://docs.example/page", "title": "A page"}
    await stage.publish(document("first-id", TEXTS, day=1, **url), key=url["source_url"])
    await stage.publish(
        document("second-id", ["NEW", *TEXTS[1:]], day=2, **url), key=url["source_url"]
    )
    await stage.start()
    first, second = await stage.wait_results(2)

    assert second["identity"] == url["source_url"]
    if first["status"] == "succeeded":
        assert (len(second["uploaded_chunk_ids"]), second["removed_chunks"]) == (1, 1)
    held = sorted(text for texts_ in stage.stored().values() for text in texts_)
    assert held == sorted(["NEW", *TEXTS[1:]])


async def test_with_the_default_identity_two_ids_are_two_documents(stage: Stage) -> None:
    """The default loses nothing: the same page under another id is kept beside the first."""
    for name in ("first-id", "second-id"):
        await stage.publish(document(name, TEXTS, source_url="https://docs.example/page"))
    await stage.start()
    await stage.wait_results(2)

    assert stage.stored() == {"first-id": sorted(TEXTS), "second-id": sorted(TEXTS)}
