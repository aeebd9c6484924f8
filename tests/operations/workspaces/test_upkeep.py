"""Looking at workspaces and repairing them, on a simulated server whose clock the tests move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from consumer.anythingllm import AnythingLLMError
from consumer.anythingllm.errors import AnythingLLMForbiddenError
from consumer.anythingllm.sentinel import sentinel_source
from consumer.model.names import Location
from consumer.operations.workspaces.finding import FindingKind
from consumer.operations.workspaces.repair import Repair
from consumer.operations.workspaces.verify import (
    PAUSE,
    NoSuchWorkspace,
)
from consumer.sandbox.simulator import Damage
from consumer.sandbox.simulator import simulator as running_simulator
from tests.client.support import document, texts_of
from tests.operations.workspaces.place import SETTLED, Clock, Place, kinds, locations_of


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    clock = Clock()
    async with running_simulator(clock=clock) as server:
        yield Place(server, clock)


# -- nothing to find -------------------------------------------------------------------------------


async def test_a_lived_in_workspace_is_right(place: Place) -> None:
    """Several versions, repeated texts, documents of others: nothing is wrong with any of them."""
    long = "word " * 600  # several vectors
    await place.store("docs", document("same", "one", "same", long))
    await place.store("docs", document("new", "same", "one", "same", day=2))
    second = document("same", "same", "other", id="doc-2", url="https://example.com/2")
    await place.store("docs", second)
    await place.put("by hand", "docs", docSource="https://example.com")
    await place.put("by hand", "docs", docSource=17, description=["odd"], published="never")
    await place.put("by a later version", "docs", docSource='{"alc":2,"d":"x"}')
    report = await place.verify()

    assert report.findings == ()
    (docs,) = report.contents
    assert (docs.documents, docs.chunks, docs.foreign, docs.sentinels) == (2, 7, 3, 0)
    assert place.clock.waited == []


async def test_an_empty_server_is_right(place: Place) -> None:
    """No workspace, no folder, no file."""
    assert (await place.verify()).findings == ()
    with pytest.raises(NoSuchWorkspace, match="docs"):
        await place.verify("docs")


# -- doubles ---------------------------------------------------------------------------------------


async def test_of_a_double_one_copy_stays(place: Place) -> None:
    """What one version stored twice; the copy with the lowest location stays, and is found."""
    await place.store("docs", document("one", "two"))
    doubled = await place.double("docs", "one")
    pair = place.copies_of("one")
    outcome = await place.repair()

    assert doubled in pair
    assert kinds(outcome.before) == ["double"]
    assert outcome.before.findings[0].location == max(pair)
    assert outcome.counts() == {"planned": 1, "done": 1}
    assert outcome.after.findings == ()
    assert texts_of(place.server, "docs") == ["one", "two"]
    assert max(pair) not in place.server.state.files


async def test_the_copy_that_stays_is_found_before_the_other_goes(place: Place) -> None:
    """Of two rows one has lost its vectors, and no answer tells which: text is never missing."""
    await place.store("docs", document("one", "two"))
    await place.double("docs", "one")
    pair = place.copies_of("one")
    place.server.damage(Damage.VECTORS_LOST, "docs", min(pair))
    seen = len(place.server.journal.since(0))
    outcome = await place.repair()

    done = [e["action"] for e in place.server.journal.since(seen)]
    assert done.index("document.embedded") < done.index("document.removed")
    assert sorted(kinds(outcome.before)) == ["double", "vectors-gone"]
    assert outcome.after.findings == ()
    assert texts_of(place.server, "docs") == ["one", "two"]


async def test_a_copy_goes_only_if_the_other_is_found(place: Place) -> None:
    """The copy to keep has no vectors and can't be embedded again: the other one stays."""
    await place.store("docs", document("poison", "two"))
    await place.double("docs", "poison")
    kept, other = place.copies_of("poison")
    place.server.damage(Damage.VECTORS_LOST, "docs", kept)
    place.server.state.files[kept].cache = None
    place.server.faults.embedder_poison = ["poison"]
    outcome = await place.repair()

    assert outcome.counts() == {"planned": 2, "done": 0}
    assert any("not known to be found" in note for note in place.notes)
    assert other in place.server.state.files
    assert texts_of(place.server, "docs") == ["poison", "two"]


async def test_a_double_that_another_workspace_lists_is_left(place: Place) -> None:
    """AnythingLLM removes a file from all workspaces; somebody put it there by hand."""
    await place.store("docs", document("one", "two"))
    await place.double("docs", "one")
    pair = place.copies_of("one")
    place.server.state.create_workspace("by-hand", {})
    await place.embed("by-hand", max(pair))
    place.clock.now += 700
    outcome = await place.repair("docs")

    assert kinds(outcome.after) == ["double"]
    assert "other workspaces" in place.notes[0]
    assert texts_of(place.server, "by-hand") == ["one"]


async def test_a_file_that_was_embedded_twice_is_taken_out_once(place: Place) -> None:
    """Two rows of one location: removing the file would lose the text."""
    await place.store("docs", document("one", "two"))
    location = place.file_of("one").location
    await place.embed("docs", location)
    place.clock.now += 700
    outcome = await place.repair()

    assert kinds(outcome.before) == ["listed-twice"]
    assert outcome.after.findings == ()
    assert texts_of(place.server, "docs") == ["one", "two"]


async def test_what_changed_since_it_was_planned_is_skipped(place: Place) -> None:
    """The service, or a person, was faster: the last copy is not touched."""
    await place.store("docs", document("one", "two"))
    await place.double("docs", "one")
    async with place.opened() as (inventory, upkeep):
        report = await upkeep.verify(await upkeep.choose(()), whole=True)
        await inventory.remove([Location(str(report.findings[0].keeps))])
        work = Repair(inventory, upkeep, report, settled=SETTLED, tell=place.notes.append)
        await work.run()

    assert texts_of(place.server, "docs") == ["one", "two"]


# -- vectors ---------------------------------------------------------------------------------------


async def test_lost_vectors_come_back_without_an_upload(place: Place) -> None:
    """AnythingLLM has the text: 30 chunks are found again, each once, no file is new."""
    texts = [f"text number {n} " + "word " * (200 * (n % 3)) for n in range(30)]
    await place.store("docs", document(*texts))
    files = set(place.server.state.files)
    place.server.damage(Damage.VECTORS_LOST, "docs")
    outcome = await place.repair()

    assert kinds(outcome.before) == ["vectors-gone"] * 30
    assert outcome.after.findings == ()
    assert texts_of(place.server, "docs") == sorted(texts)
    assert set(place.server.state.files) == files
    assert len(locations_of(place, "docs")) == 30


async def test_embedding_again_that_fails_leaves_all_as_it_was(place: Place) -> None:
    """The row stays: a file without one would look like an orphan to the next repair."""
    await place.store("docs", document("poison", "two"))
    file = place.file_of("poison")
    place.server.damage(Damage.VECTORS_LOST, "docs", file.location)
    file.cache = None
    place.server.faults.embedder_poison = ["poison"]
    outcome = await place.repair()

    assert outcome.counts() == {"planned": 1, "done": 0}
    assert kinds(outcome.after) == ["vectors-gone"]
    assert file.location in locations_of(place, "docs")
    assert file.location in place.server.state.files


async def test_vectors_without_a_row_are_told_and_left(place: Place) -> None:
    """And the file of their text, which no workspace lists, is not removed under them."""
    await place.store("docs", document("one", "two"))
    location = place.file_of("one").location
    place.server.damage(Damage.ROW_LOST, "docs", location)
    outcome = await place.repair()

    assert kinds(outcome.before) == ["vectors-without-row", "orphaned-file"]
    assert outcome.counts() == {"planned": 0, "done": 0}
    assert kinds(outcome.after) == kinds(outcome.before)
    assert location in place.server.state.files


async def test_uploads_under_way_are_nothing_wrong(place: Place) -> None:
    """Vectors are there a moment before their row: what is missing must be missing twice."""
    await place.store("docs", document("one", "two"))
    first, second = place.file_of("one"), place.file_of("two")
    state = place.server.state
    (row,) = state.rows_of(first.location)
    place.server.damage(Damage.ROW_LOST, "docs", first.location)

    async def another_one(seconds: float) -> None:
        state.add_row(state.workspaces["docs"], row.doc_id, first, 1)
        place.server.damage(Damage.ROW_LOST, "docs", second.location)

    place.clock.meanwhile, place.clock.least = another_one, 0.0
    assert (await place.verify("docs")).findings == ()
    assert place.clock.waited == [PAUSE]


async def test_a_sick_workspace_is_named_and_the_others_are_looked_at(place: Place) -> None:
    """Another embedding model was chosen for one of them: searching it fails."""
    await place.store("docs", document("one", "two"))
    await place.store("sick", document("three", id="doc-3"))
    await place.double("docs", "one")
    place.server.faults.workspace_dimensions = {"sick": 7}
    report = await place.verify()

    assert [(each.kind, each.workspace) for each in report.findings] == [
        (FindingKind.DOUBLE, "docs"),
        (FindingKind.UNSEARCHABLE, "sick"),
    ]


@pytest.mark.parametrize(("name", "helps"), [("chroma", "reset"), ("pgvector", "DROP TABLE")])
async def test_what_to_do_about_a_sick_workspace_helps_on_that_database(
    name: str, helps: str
) -> None:
    """After another embedding model was chosen; on pgvector for all workspaces at once."""
    clock = Clock()
    async with running_simulator(clock=clock, vector_db=name) as server:
        place = Place(server, clock)
        await place.store("docs", document("one", "two"))
        server.faults.embedder_dimension = 32
        (finding,) = (await place.verify()).findings

    assert finding.kind is FindingKind.UNSEARCHABLE
    assert helps in finding.what_to_do
    assert ("DROP TABLE" in finding.what_to_do) is (name == "pgvector")


async def test_without_an_embedder_nothing_is_concluded(place: Place) -> None:
    """Nothing can be searched then: that is no finding about any workspace."""
    await place.store("docs", document("one"))
    place.server.faults.embedder_down = True

    with pytest.raises(AnythingLLMError):
        await place.verify()


async def test_reranked_workspaces_keep_their_vectors_to_themselves(place: Place) -> None:
    """At most 50 are told there: that rows have none can't be concluded, nor a double removed."""
    await place.store("docs", document("one", "two"))
    await place.double("docs", "one")
    place.server.state.workspaces["docs"].fields["vectorSearchMode"] = "rerank"
    outcome = await place.repair()

    assert kinds(outcome.after) == ["double", "not-looked-at"]
    assert len(outcome.after.faults) == 1
    assert texts_of(place.server, "docs") == ["one", "one", "two"]


# -- test documents and files in no workspace ------------------------------------------------------


async def test_old_test_documents_go(place: Place) -> None:
    """Rows and files of those that are 10 minutes old; younger ones prove a workspace ready now."""
    await place.store("docs", document("one"))
    await place.put("readiness check 1", "docs", docSource=sentinel_source("1"))
    file = await place.put("readiness check 2", docSource=sentinel_source("2"))
    place.clock.now += 700
    young = await place.put("readiness check 3", "docs", docSource=sentinel_source("3"))
    outcome = await place.repair()

    assert kinds(outcome.before) == ["old-sentinel", "orphaned-file"]
    assert outcome.counts()["done"] == 2
    assert file not in place.server.state.files
    assert young in place.server.state.files
    assert texts_of(place.server, "docs") == ["one", "readiness check 3"]


async def test_files_in_no_workspace_go_when_no_upload_can_bring_them_into_one(
    place: Place,
) -> None:
    """Nobody tells their age: they must be there for the ambiguity time. Two are embedded in it."""
    await place.store("docs", document("one", "two"))
    await place.store("gone", document("three", id="doc-3"))
    source = place.source_of("one")
    pending = await place.put("one", docSource=source.replace('"doc-1"', '"doc-9"'))
    left = await place.put("one", docSource=source)
    foreign = await place.put("by hand", docSource="mine")
    place.server.model.delete_workspace(place.server.state.workspaces["gone"])
    before = place.clock.now

    wanted_again = place.file_of("three").location

    async def embedded(seconds: float) -> None:
        await place.embed("docs", pending)
        await place.embed("docs", wanted_again)

    place.clock.meanwhile = embedded
    outcome = await place.repair()

    assert kinds(outcome.before) == ["orphaned-file"] * 3
    assert place.clock.now - before > SETTLED
    assert outcome.counts() == {"planned": 3, "done": 3}
    assert outcome.after.faults == ()
    assert pending in place.server.state.files
    assert foreign in place.server.state.files
    assert left not in place.server.state.files
    assert texts_of(place.server, "docs") == ["one", "one", "three", "two"]


async def test_named_workspaces_are_all_that_is_looked_at(place: Place) -> None:
    """Files in no workspace are for who looks at all of them."""
    await place.store("docs", document("one", "two"))
    await place.store("other", document("three", "four", id="doc-3"))
    await place.double("other", "three")
    source = place.source_of("one")
    await place.put("one", docSource=source)

    assert kinds(await place.verify("docs")) == []
    assert kinds(await place.verify("other", "other")) == ["double"]
    assert kinds(await place.verify()) == ["double", "orphaned-file"]


async def test_a_document_in_two_workspaces_is_told(place: Place) -> None:
    """Routing leads to `docs`: the copy elsewhere is a leftover, and stays until people say so."""
    await place.store("docs", document("one"))
    await place.store("former", document("one"))
    outcome = await place.repair()

    assert [(each.kind, each.workspace) for each in outcome.after.findings] == [
        (FindingKind.MOVED, "former")
    ]
    assert outcome.counts() == {"planned": 0, "done": 0}
    assert texts_of(place.server, "former") == ["one"]


async def test_a_workspace_with_an_odd_slug_is_a_note(place: Place) -> None:
    """It can't be asked for; what it lists is unknown, so no file is called an orphan."""
    await place.store("docs", document("one"))
    source = place.source_of("one")
    await place.put("one", docSource=source)
    odd = place.server.state.create_workspace("odd", {})
    odd.fields["slug"] = "Odd, slug"
    report = await place.verify()

    assert [(each.kind, each.workspace) for each in report.findings] == [
        (FindingKind.NOT_LOOKED_AT, "Odd, slug")
    ]
    assert report.faults == ()


# -- a server that lies or fails -------------------------------------------------------------------


def shortened(place: Place, slug: str) -> str:
    """A whole and valid listing of a workspace, with its rows left out."""
    fields = place.server.state.workspaces[slug].fields
    return orjson.dumps({"workspace": [{**fields, "documents": [], "threads": []}]}).decode()


def lie(place: Place, slug: str) -> None:
    place.server.faults.add(
        "status",
        status=200,
        method="GET",
        path=f"*/workspace/{slug}",
        headers={"Content-Type": "application/json"},
        body=shortened(place, slug),
    )


async def test_a_listing_that_is_cut_short_is_never_a_reason_to_remove(place: Place) -> None:
    """All files look like orphans then; the server's own count knows better."""
    await place.store("docs", document("one", "two"))
    lie(place, "docs")
    files = set(place.server.state.files)
    outcome = await place.repair()
    place.server.faults.clear()

    assert FindingKind.SHORT_LISTING in [each.kind for each in outcome.before.findings]
    assert FindingKind.ORPHANED_FILE not in [each.kind for each in outcome.before.findings]
    assert texts_of(place.server, "docs") == ["one", "two"]
    assert set(place.server.state.files) == files


async def test_nor_when_it_is_cut_short_later(place: Place) -> None:
    """Every look before a removal is held to the count."""
    await place.store("docs", document("one", "two"))
    await place.store("gone", document("three", id="doc-3"))
    place.server.model.delete_workspace(place.server.state.workspaces["gone"])
    orphan = place.file_of("three").location

    async def lies(seconds: float) -> None:
        await place.embed("docs", orphan)
        lie(place, "docs")

    place.clock.meanwhile = lies
    await place.repair()
    place.server.faults.clear()

    assert orphan in place.server.state.files
    assert texts_of(place.server, "docs") == ["one", "three", "two"]


@pytest.mark.parametrize("kind", ["half-body", "truncated", "html", "reset"])
@pytest.mark.parametrize("path", ["*/workspace/docs", "*/documents/folder/*", "*/vector_stores"])
async def test_half_an_answer_ends_it(place: Place, kind: str, path: str) -> None:
    """Nothing is concluded from what came of it, whichever list it is."""
    await place.store("docs", document("one", "two"))
    await place.double("docs", "one")
    place.server.faults.add(kind, path=path)

    with pytest.raises(AnythingLLMError):
        await place.repair()
    assert texts_of(place.server, "docs") == ["one", "one", "two"]


async def test_removal_that_is_forbidden_ends_it_with_all_still_there(place: Place) -> None:
    """403 although the key is right: it is said, and can be run again."""
    await place.store("docs", document("one", "two"))
    await place.double("docs", "one")
    place.server.faults.add("status", status=403, path="*/remove-documents")

    with pytest.raises(AnythingLLMForbiddenError):
        await place.repair()
    assert texts_of(place.server, "docs") == ["one", "one", "two"]
    place.server.faults.clear()
    assert (await place.repair()).after.findings == ()


@pytest.mark.parametrize("takes_effect", [True, False])
@pytest.mark.parametrize(
    ("path", "skip"),
    [
        ("*/update-embeddings", 0),
        ("*/update-embeddings", 1),
        # The first one removes a test document.
        ("*/remove-documents", 1),
        ("*/remove-documents", 2),
    ],
)
async def test_it_may_fail_at_any_change(
    place: Place, path: str, skip: int, takes_effect: bool
) -> None:
    """With or without effect: text is never missing, and running it again ends it."""
    texts = ["one", "two", "three", "four"]
    await place.store("docs", document(*texts))
    for text in texts[:2]:
        await place.double("docs", text)
    place.server.damage(Damage.VECTORS_LOST, "docs", place.file_of("three").location)
    source = place.source_of("one")
    await place.put("one", docSource=source)
    rule = place.server.faults.add("status", path=path, skip=skip, times=1, apply=takes_effect)

    with pytest.raises(AnythingLLMError):
        await place.repair()
    assert rule.fired == 1
    assert set(texts) - set(texts_of(place.server, "docs")) <= {"three"}
    place.clock.now += 700
    await place.repair()

    assert (await place.verify()).findings == ()
    assert texts_of(place.server, "docs") == sorted(texts)


@pytest.mark.parametrize("is_applied", [True, False])
async def test_a_repair_that_a_gateway_answers_says_so_and_doubles_nothing_for_good(
    place: Place, is_applied: bool
) -> None:
    """The file is embedded late: who repairs again at once has it twice, and the next look sees."""
    await place.store("docs", document("one", "two"))
    place.server.damage(Damage.VECTORS_LOST, "docs", place.file_of("one").location)
    path = "*/update-embeddings"
    late = place.server.faults.add(
        "status", status=502, body="<html>", path=path, times=1, apply=is_applied, late=0.2
    )

    with pytest.raises(AnythingLLMError) as raised:
        await place.repair()
    assert "run this again in ten minutes" in raised.value.message
    await place.repair()
    await asyncio.sleep(0.5)
    place.clock.now += 700
    await place.repair()

    assert late.fired == 1
    assert (await place.verify()).findings == ()
    assert texts_of(place.server, "docs") == ["one", "two"]
