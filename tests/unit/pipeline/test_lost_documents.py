"""What others took away with its workspace: counted, told, and forgotten once it is back."""

from __future__ import annotations

from consumer.model.listing import FILE_STORE
from consumer.model.names import Identity, Slug
from consumer.pipeline.lost_documents import TOLD_SECONDS, LostDocuments
from tests.unit.pipeline.doubles import TRACE, Clock, Storage, index_of, stored

DOCS, OTHER = Slug("docs"), Slug("other")
A, B, C = Identity("a"), Identity("b"), Identity("c")


def test_lost_is_what_was_listed_before_and_is_not_any_more() -> None:
    lost = LostDocuments(Clock())
    lost.suspect(DOCS, [A, B, C])

    assert lost.counts == {}
    assert lost.listed(DOCS, [B]) == 2
    assert lost.listed(OTHER, []) == 0
    assert lost.counts == {DOCS: 2}


def test_what_is_listed_again_or_worked_is_lost_no_longer() -> None:
    """Another instance may have stored it, or this one; a tombstone settles it as well."""
    lost = LostDocuments(Clock())
    lost.suspect(DOCS, [A, B, C])
    lost.listed(DOCS, [])
    lost.worked(DOCS, A)
    lost.worked(OTHER, B)
    after_one = lost.counts
    again = lost.listed(DOCS, [B])
    lost.worked(DOCS, C)

    assert (after_one, again, lost.counts) == ({DOCS: 2}, 0, {})


def test_a_second_loss_counts_what_is_new() -> None:
    lost = LostDocuments(Clock())
    lost.suspect(DOCS, [A, B])
    lost.listed(DOCS, [])
    lost.suspect(DOCS, [C])

    assert lost.listed(DOCS, []) == 1
    assert lost.counts == {DOCS: 3}


def test_nobody_is_told_for_ever() -> None:
    """Some documents are in no topic any more: a page that is never green says nothing."""
    clock = Clock()
    lost = LostDocuments(clock)
    lost.suspect(DOCS, [A])
    lost.listed(DOCS, [])
    clock.now += TOLD_SECONDS - 1
    told = lost.counts
    clock.now += 1

    assert (told, lost.counts) == ({DOCS: 1}, {})


async def test_the_index_tells_of_an_emptied_workspace() -> None:
    """Seen by a listing: the document whose event led there is not lost, the others are."""
    clock = Clock()
    storage = Storage(units=[stored("a", "one"), stored("b", "two"), stored("c", "three")])
    index = index_of(storage, clock, max_age=60)
    await index.units(DOCS, A, trace_id=TRACE)
    storage.units.clear()
    clock.now += 61
    await index.units(DOCS, A, trace_id=TRACE)

    assert index.lost == {DOCS: 2}
    index.stored(DOCS, stored("b", "two"))
    await index.units(DOCS, B, trace_id=TRACE)
    assert index.lost == {DOCS: 1}


async def test_the_index_tells_where_an_upload_noticed_it() -> None:
    """`changed` forgets the listing, and remembers whose it was."""
    storage = Storage(units=[stored("a", "one"), stored("b", "two")])
    index = index_of(storage)
    await index.units(DOCS, A, trace_id=TRACE)
    storage.units[:] = [stored("b", "two")]
    index.changed(DOCS)
    index.changed(DOCS)
    await index.units(DOCS, B, trace_id=TRACE)

    assert index.lost == {DOCS: 1}


async def test_a_listing_that_is_only_forgotten_is_no_loss() -> None:
    """Partitions change hands all the time, and another instance may have removed a document."""
    storage = Storage(units=[stored("a", "one"), stored("b", "two")])
    index = index_of(storage)
    await index.units(DOCS, A, trace_id=TRACE)
    storage.units[:] = [stored("b", "two")]
    index.forget()
    await index.units(DOCS, B, trace_id=TRACE)

    assert index.lost == {}


async def test_what_another_instance_may_have_removed_is_not_lost() -> None:
    """Its tombstone took the last document: the workspace looks as if somebody had emptied it."""
    clock, storage = Clock(), Storage(units=[stored("a", "one"), stored("b", "two")])
    index = index_of(storage, clock, max_age=60, is_ours=lambda partition: False)
    await index.units(DOCS, A, trace_id=TRACE)
    storage.units.clear()
    clock.now += 61
    await index.units(DOCS, A, trace_id=TRACE)

    assert index.lost == {}


async def test_of_the_list_of_files_nothing_is_told_or_kept() -> None:
    """It is no workspace that could be brought back."""
    clock, storage = Clock(), Storage(units=[stored("a", "one"), stored("b", "two")])
    index = index_of(storage, clock, max_age=60)
    await index.units(FILE_STORE, A, trace_id=TRACE)
    storage.units.clear()
    clock.now += 61
    await index.units(FILE_STORE, A, trace_id=TRACE)

    assert index.lost == {}
