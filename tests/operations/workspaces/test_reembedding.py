"""What searches have lost is embedded again: from the cache, or from the text where that helps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from consumer.anythingllm import AnythingLLMError
from consumer.model.names import Location, Slug
from consumer.operations.workspaces.second_name import first_name, second_name
from consumer.sandbox.simulator import Damage
from consumer.sandbox.simulator import simulator as running_simulator
from consumer.sandbox.simulator.embedder import embed, zeros
from consumer.sandbox.simulator.state import Embedded
from tests.client.support import document, texts_of
from tests.operations.workspaces.place import SETTLED, Clock, Place, kinds, locations_of

TEXTS = [f"text number {n}" for n in range(12)]
CUT_EMOJI = "x" * 999 + "\U0001f600 and more words"


@asynccontextmanager
async def at(name: str) -> AsyncIterator[Place]:
    """A server with that vector database."""
    clock = Clock()
    async with running_simulator(clock=clock, vector_db=name) as server:
        yield Place(server, clock)


def spoil(place: Place, *texts: str, dimension: int = 32) -> None:
    """Leave them as uploads did while the embedder had another dimension: listed, and lost."""
    for text in texts:
        file = place.file_of(text)
        place.server.damage(Damage.VECTORS_LOST, "docs", file.location)
        assert file.cache is not None
        file.cache = tuple(Embedded(e.text, embed(e.text, dimension)) for e in file.cache)


def found_once(place: Place, *texts: str) -> bool:
    """Whether each is listed, found and stored exactly once."""
    files = [each.text for each in place.server.state.files.values()]
    return texts_of(place.server, "docs") == sorted(texts) == sorted(files)


@pytest.mark.parametrize("name", ["pgvector", "chroma", "lancedb"])
async def test_where_the_cache_is_the_trouble_it_is_embedded_from_the_text(name: str) -> None:
    """Its vectors have a dimension that the table does not take, silently (pgvector) or not."""
    async with at(name) as place:
        await place.store("docs", document("before", *TEXTS))
        files = set(place.server.state.files)
        spoil(place, *TEXTS)
        outcome = await place.repair()

        assert kinds(outcome.before) == ["vectors-gone"] * len(TEXTS)
        assert outcome.counts() == {"planned": len(TEXTS), "done": len(TEXTS)}
        assert outcome.after.findings == ()
        assert found_once(place, "before", *TEXTS)
        assert set(place.server.state.files) == files, "a service has a picture of them"
        place.clock.now += 700
        assert (await place.verify()).findings == ()


@pytest.mark.parametrize("name", ["pgvector", "chroma"])
async def test_where_the_cache_helps_no_file_is_moved(name: str) -> None:
    """And the embedder has less to do."""
    async with at(name) as place:
        await place.store("docs", document("before", *TEXTS))
        files = set(place.server.state.files)
        for text in TEXTS[:3]:
            place.server.damage(Damage.VECTORS_LOST, "docs", place.file_of(text).location)
        assert (await place.repair()).counts() == {"planned": 3, "done": 3}

        assert set(place.server.state.files) == files


async def test_after_the_table_was_dropped_all_is_found_again_by_the_new_model() -> None:
    """Put in first from the cache, it would be made anew with the former dimension."""
    async with at("pgvector") as place:
        await place.store("docs", document(*TEXTS))
        place.server.tables.clear()
        place.server.faults.embedder_dimension = 32
        outcome = await place.repair()
        table = place.server.tables.get("docs")

        assert outcome.counts() == {"planned": len(TEXTS), "done": len(TEXTS)}
        assert outcome.after.findings == ()
        assert found_once(place, *TEXTS)
        assert table is not None
        assert table.dimension == 32


async def test_while_the_database_keeps_nothing_nothing_is_touched() -> None:
    """A test document tells; what to do depends on the database."""
    async with at("pgvector") as place:
        await place.store("docs", document(*TEXTS))
        spoil(place, TEXTS[0])
        files, listed = set(place.server.state.files), locations_of(place, "docs")
        place.server.faults.vectors_refused = True
        outcome = await place.repair()

        assert outcome.counts() == {"planned": 1, "done": 0}
        assert "DROP TABLE anythingllm_vectors" in place.notes[0]
        assert (set(place.server.state.files), locations_of(place, "docs")) == (files, listed)


UNLISTED, FORGETTING = "orphaned, in no workspace", "orphaned, belongs somewhere"
# Every change that a repair makes for the last text, but the upload of a test document; and what is
# left where it ends before that, and afterwards.
CHANGES = [
    ("pgvector", "*/update-embeddings", 0, "", ""),  # from the cache: a second row, no vectors
    ("pgvector", "*/update-embeddings", 1, "", ""),  # the first row goes
    ("pgvector", "*/update-embeddings", 2, "", UNLISTED),  # taken out
    ("pgvector", "*/move-files", 0, UNLISTED, FORGETTING),  # to the second name
    ("pgvector", "*/remove-documents", 1, FORGETTING, FORGETTING),  # the cache of the first name
    ("pgvector", "*/move-files", 1, FORGETTING, UNLISTED),  # back to the first name
    ("pgvector", "*/update-embeddings", 3, UNLISTED, ""),  # from the text
    ("chroma", "*/update-embeddings", 0, "", ""),  # from the cache, in vain
    ("chroma", "*/update-embeddings", 1, "", UNLISTED),
    ("chroma", "*/move-files", 0, UNLISTED, FORGETTING),
    ("chroma", "*/remove-documents", 1, FORGETTING, FORGETTING),
    ("chroma", "*/move-files", 1, FORGETTING, UNLISTED),
    ("chroma", "*/update-embeddings", 2, UNLISTED, ""),
]
ENDS = [
    (name, path, skip, kind, left)
    for name, path, skip, before, after in CHANGES
    for kind, left in (("reset", before), ("reset-after", after))
]


@pytest.mark.parametrize(("name", "path", "skip", "kind", "left"), ENDS)
async def test_it_may_end_at_any_change(
    name: str, path: str, skip: int, kind: str, left: str
) -> None:
    """The next repair ends the work; of two moments it knows nothing, then publishing does."""
    texts = TEXTS[:3]
    async with at(name) as place:
        await place.store("docs", document("before", *texts))
        spoil(place, *texts[:2])
        rule = place.server.faults.add(kind, path=path, skip=skip, times=1)
        with pytest.raises(AnythingLLMError):
            await place.repair()
        assert rule.fired == 1
        place.clock.now += 700
        report = await place.verify()
        place.server.faults.vectors_refused = True
        await place.repair()
        place.server.faults.vectors_refused = False
        place.clock.now += 700
        await place.repair()
        place.clock.now += 700

        gone = left == UNLISTED
        assert [o.remedy.value for o in report.findings if o.kind.value == "orphaned-file"] == (
            [] if not left else ["remove"] if gone else ["embed"]
        )
        if left:
            assert max(place.clock.waited) > SETTLED - 10, "nothing is judged or removed at once"
        assert (await place.verify()).findings == ()
        assert found_once(place, "before", *(texts[0], texts[2])) is gone
        if gone:
            await place.store("docs", document("before", *texts))
        assert found_once(place, "before", *texts)


async def test_a_file_that_another_workspace_lists_is_left() -> None:
    """Somebody put it there by hand; it would be missing there."""
    async with at("pgvector") as place:
        await place.store("docs", document("before", "one"))
        location = place.file_of("one").location
        place.server.state.create_workspace("by-hand", {})
        await place.embed("by-hand", location)
        place.clock.now += 700
        spoil(place, "one")
        outcome = await place.repair()

        assert outcome.counts() == {"planned": 1, "done": 0}
        assert "other workspaces list its file" in place.notes[0]
        assert texts_of(place.server, "by-hand") == ["one"]
        assert place.file_of("one").location == location


async def test_what_has_no_text_any_more_is_told_with_the_only_cure() -> None:
    """Somebody removed the file from the server's disk."""
    async with at("pgvector") as place:
        await place.store("docs", document("before", "one"))
        spoil(place, "one")
        del place.server.state.files[place.file_of("one").location]
        outcome = await place.repair()

        assert outcome.counts() == {"planned": 1, "done": 0}
        assert "its text is gone: publish the document again" in place.notes[0]


async def test_a_server_that_moves_nothing_is_told_with_the_only_cure() -> None:
    """The file is listed again as it was."""
    async with at("pgvector") as place:
        await place.store("docs", document("before", "one"))
        spoil(place, "one")
        refusal = '{"success":true,"message":"1/1 files not moved. Unembed them."}'
        json = {"Content-Type": "application/json"}
        place.server.faults.add(
            "status", status=200, body=refusal, headers=json, path="*/move-files"
        )
        outcome = await place.repair()

        assert outcome.counts() == {"planned": 1, "done": 0}
        assert "publish the document again" in place.notes[0]
        assert place.file_of("one").location in locations_of(place, "docs")


async def test_one_failure_to_embed_is_made_good_at_once() -> None:
    """By the second try."""
    async with at("pgvector") as place:
        await place.store("docs", document("before", "one"))
        spoil(place, "one")
        place.server.faults.add("embedder-fails", path="*/update-embeddings", skip=3, times=1)
        outcome = await place.repair()

        assert outcome.counts() == {"planned": 1, "done": 1}
        assert found_once(place, "before", "one")


async def test_what_can_not_be_embedded_is_told_and_keeps_its_text_for_the_next_repair() -> None:
    """And nothing else is taken out while the embedder is down."""
    texts = TEXTS[:3]
    async with at("pgvector") as place:
        await place.store("docs", document("before", *texts))
        spoil(place, *texts)
        rule = place.server.faults.add("hold", path="*/move-files", skip=1, times=1)
        repairing = asyncio.create_task(place.repair())
        await place.server.journal.wait_for("request.held")
        place.server.faults.embedder_down = True
        rule.released = True
        with suppress(AnythingLLMError):  # verifying needs the embedder
            await repairing
        assert len(locations_of(place, "docs")) == len(texts)
        assert "publish the document again, or replay it" in place.notes[0]
        assert "left: 2 chunks" in place.notes[1]
        place.server.faults.embedder_down = False
        place.clock.now += 700
        await place.repair()

        assert found_once(place, "before", *texts)


async def test_a_text_that_the_database_does_not_take_is_told() -> None:
    """Not from the cache and not from the text, while others are found."""
    async with at("pgvector") as place:
        await place.store("docs", document("before", "one"))
        place.file_of("one").text = CUT_EMOJI
        spoil(place, CUT_EMOJI)
        outcome = await place.repair()

        assert outcome.counts() == {"planned": 1, "done": 0}
        assert "does not take this text" in place.notes[0]
        assert kinds(outcome.after) == ["vectors-gone"]
        assert place.file_of(CUT_EMOJI).location in locations_of(place, "docs")


@pytest.mark.parametrize(
    ("texts", "path", "skip"),
    [
        (["one"], "*/move-files", 0),
        (["one"], "*/update-embeddings", 3),
        (["one", "two"], "*/remove-documents", 1),
    ],
)
async def test_what_the_service_removes_meanwhile_does_not_come_back(
    texts: list[str], path: str, skip: int
) -> None:
    """A tombstone came, by the locations that the service knew."""
    async with at("pgvector") as place:
        await place.store("docs", document("before"), document(*texts, id="d-2"))
        spoil(place, "one")
        locations = [Location(place.file_of(text).location) for text in texts]
        rule = place.server.faults.add("hold", path=path, skip=skip, times=1)
        repairing = asyncio.create_task(place.repair())
        await place.server.journal.wait_for("request.held")
        async with place.opened() as (inventory, _):
            await inventory.remove(locations)
        rule.released = True
        await repairing

        assert found_once(place, "before")


async def test_a_copy_that_was_stored_meanwhile_stays_and_the_former_one_goes() -> None:
    """A service publishes the chunk again while no workspace lists it."""
    async with at("pgvector") as place:
        await place.store("docs", document("before", "one"))
        spoil(place, "one")
        source = place.file_of("one").metadata["docSource"]
        rule = place.server.faults.add("hold", path="*/remove-documents", skip=1, times=1)
        repairing = asyncio.create_task(place.repair())
        await place.server.journal.wait_for("request.held")
        copy = await place.put("one", "docs", docSource=source)
        rule.released = True
        await repairing

        assert found_once(place, "before", "one")
        assert place.file_of("one").location == copy


def test_a_second_name_tells_the_first_one_and_the_workspace() -> None:
    """Whoever finds a file under it knows where it belongs."""
    first = Location("custom-documents/raw-a.title-0aa1.json")
    second = second_name(first, Slug("a-slug_1"))

    assert second is not None
    assert first_name(second) == (first, "a-slug_1")


@pytest.mark.parametrize("name", ["a-0aa1", "a-0aa1.again", ".docs.again", "a.DOCS.again"])
def test_what_is_no_second_name(name: str) -> None:
    """Uploads, and what we never made."""
    assert first_name(Location(f"{name}.json")) is None


@pytest.mark.parametrize("name", ["a-0aa1.docs.again.json", "by-hand.txt", "x" * 240 + ".json"])
def test_not_every_file_has_a_second_name(name: str) -> None:
    """Second names, files of others, and names that would become too long for a file system."""
    location = f"custom-documents/{name}"
    assert second_name(Location(location), Slug("docs")) is None


async def test_what_would_stay_found_is_not_removed() -> None:
    """The database refuses removals without a word: rows would go, and nothing lead to the rest."""
    async with at("pgvector") as place:
        await place.store("docs", document("one", "two"))
        await place.double("docs", "one")
        place.server.faults.vectors_kept = True
        outcome = await place.repair()
        kept = len(place.copies_of("one"))
        place.server.faults.vectors_kept = False
        again = await place.repair()

    assert outcome.counts() == {"planned": 1, "done": 0}
    assert (kept, len(place.copies_of("one"))) == (2, 1)
    assert any("is still found" in note for note in place.notes)
    assert again.counts() == {"planned": 1, "done": 1}


@pytest.mark.parametrize("name", ["lancedb", "pgvector"])
async def test_a_text_whose_vector_is_none_is_embedded_from_the_text(name: str) -> None:
    """The embedder gave zeros; they come up in every search, and no search is for them."""
    async with at(name) as place:
        await place.store("docs", document("before", *TEXTS))
        for text in TEXTS[:2]:
            file = place.file_of(text)
            place.server.damage(Damage.ZEROED, "docs", file.location)
            assert file.cache is not None
            file.cache = tuple(Embedded(each.text, zeros()) for each in file.cache)
        outcome = await place.repair()

        assert kinds(outcome.before) == ["vectors-gone"] * 2
        assert outcome.after.findings == ()
        assert found_once(place, "before", *TEXTS)
