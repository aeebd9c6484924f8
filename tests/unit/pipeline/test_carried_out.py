"""The one memory of what was carried out."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest

from consumer.model.marker import StoredUnit
from consumer.model.names import Identity, Location, Slug
from consumer.pipeline.carried_out import CarriedOut
from tests.unit.pipeline.doubles import stored, version

DOCS = Slug("docs")
A, B = Identity("a"), Identity("b")


def _memory(most: int = 200_000) -> CarriedOut:
    return CarriedOut(most=most)


def _digests(*units: StoredUnit) -> list[str]:
    return [digest for unit in units for digest in unit.digests]


def test_an_older_document_is_superseded_by_what_was_carried_out() -> None:
    """Also where the newer one left no marker; in its own workspace alone."""
    memory = _memory()
    memory.document(DOCS, A, version(5), ())

    assert memory.known(DOCS, A).supersedes(version(4), ())
    assert not memory.known(DOCS, A).supersedes(version(5), ())
    assert not memory.known(DOCS, A).supersedes(version(6), ())
    assert not memory.known(Slug("more"), A).supersedes(version(4), ())
    assert not memory.known(DOCS, B).supersedes(version(4), ())


def test_newer_stored_units_supersede() -> None:
    """An old event must not bring back old text; an equal one may be applied again."""
    known = _memory().known(DOCS, A)

    assert known.supersedes(version(1), [stored("a", "x", 2)])
    assert not known.supersedes(version(2), [stored("a", "x", 2)])


def test_the_newest_version_is_kept_whatever_comes_after_it() -> None:
    """Noting an older one again must not make the newer one unknown."""
    memory = _memory()
    memory.document(DOCS, A, version(5), ())
    memory.document(DOCS, A, version(3), ())

    assert memory.known(DOCS, A).supersedes(version(4), ())


def test_a_tombstone_counts_against_what_came_before_it_in_its_partition() -> None:
    """By offset: its date is its record's and later than the date of any document."""
    memory = _memory()
    memory.tombstone(DOCS, A, version(9, offset=5))

    assert memory.known(DOCS, A).supersedes(version(1, offset=4), ())
    assert not memory.known(DOCS, A).supersedes(version(1, offset=6), ())


def test_a_tombstone_of_another_partition_counts_by_date() -> None:
    """There is nothing better to go by."""
    memory = _memory()
    memory.tombstone(None, A, version(9, offset=5, partition=1))

    assert memory.known(DOCS, A).supersedes(version(8, offset=50), ())
    assert not memory.known(DOCS, A).supersedes(version(10, offset=1), ())


def test_a_tombstone_for_all_workspaces_counts_in_each() -> None:
    """One for one workspace does not count in another."""
    memory = _memory()
    memory.tombstone(None, A, version(9, offset=5))
    memory.tombstone(DOCS, B, version(9, offset=5))

    assert memory.known(Slug("anywhere"), A).supersedes(version(1, offset=1), ())
    assert not memory.known(Slug("more"), B).supersedes(version(1, offset=1), ())


def test_what_a_tombstone_ended_keeps_no_document_out() -> None:
    """An older state that is restored after it lives, also beside a late chunk of a newer one."""
    memory = _memory()
    memory.document(DOCS, A, version(5, offset=1), ())
    memory.tombstone(None, A, version(9, offset=2))
    late = stored("a", "late", 5)

    assert not memory.known(DOCS, A).supersedes(version(1, offset=3), [late])


def test_a_tombstone_that_was_outlived_ends_nothing() -> None:
    """A document that is certainly newer stays known."""
    memory = _memory()
    memory.document(DOCS, A, version(5, offset=9), ())
    memory.tombstone(None, A, version(4, offset=2))

    assert memory.known(DOCS, A).supersedes(version(4, offset=8), ())


def test_left_over_is_what_the_newest_version_is_stored_without() -> None:
    """What is newer is no left-over, nor what it wants."""
    memory = _memory()
    wanted, old, newer = stored("a", "x", 3), stored("a", "old", 2), stored("a", "new", 4)
    memory.document(DOCS, A, version(3), _digests(wanted))

    assert memory.known(DOCS, A).left_over([newer, old, wanted]) == (old,)


def test_while_wanted_text_is_missing_nothing_is_left_over() -> None:
    """Somebody emptied the workspace, or its listing is behind: better keep what there is."""
    memory = _memory()
    wanted, old = stored("a", "x", 3), stored("a", "old", 2)
    memory.document(DOCS, A, version(3), _digests(wanted))

    assert memory.known(DOCS, A).left_over([old]) == ()


def test_a_second_copy_of_text_is_left_over_also_while_other_text_is_missing() -> None:
    """People emptied the workspace in the middle of it: the double would stay for good."""
    memory = _memory()
    wanted, missing = stored("a", "x", 3), stored("a", "y", 3)
    late = replace(stored("a", "x", 2), location=Location("custom-documents/late.json"))
    memory.document(DOCS, A, version(3), _digests(wanted, missing))
    (left,) = memory.known(DOCS, A).left_over([late, wanted])

    assert left.digests == wanted.digests


def test_a_row_that_no_search_has_found_does_not_stand_for_one_that_was_found() -> None:
    """Its vectors were refused: were it kept for the text, the only true copy would go."""
    memory = _memory()
    refused = replace(stored("a", "x", 2), location=Location("custom-documents/a.json"))
    found = replace(stored("a", "x", 3), location=Location("custom-documents/b.json"))
    memory.document(DOCS, A, version(3), _digests(found))
    known = memory.known(DOCS, A)

    assert known.left_over([refused, found], lambda each: each == found.location) == (refused,)
    assert known.left_over([refused, found], lambda _: False) == (refused,)
    assert known.left_over([refused, found], lambda each: each == refused.location) == (found,)


def test_a_newer_version_keeps_no_text_of_the_known_one() -> None:
    """The newer one wants the text twice, and a chunk of it was refused: both copies are wanted."""
    memory = _memory()
    old = stored("a", "x", 2)
    newer = replace(stored("a", "x", 3), location=Location("custom-documents/a.json"))
    memory.document(DOCS, A, version(2), _digests(old))

    assert memory.known(DOCS, A).left_over([old, newer]) == ()


@pytest.mark.parametrize("slug", [DOCS, None])
def test_after_a_tombstone_everything_before_it_is_left_over(slug: Slug | None) -> None:
    """Whether or not the document was ever carried out; what came behind it stays."""
    memory = _memory()
    memory.tombstone(slug, A, version(9, offset=2))
    before, after = stored("a", "x", 3), stored("a", "y", 4, offset=3)

    assert memory.known(DOCS, A).left_over([before, after]) == (before,)
    assert _memory().known(DOCS, A).left_over([before, after]) == ()


def test_a_document_behind_a_tombstone_keeps_what_it_wants() -> None:
    """Though a unit of it is from before the tombstone: its text is wanted again."""
    memory = _memory()
    kept, late = stored("a", "x", 3), stored("a", "late", 8)
    memory.tombstone(None, A, version(9, offset=2))
    memory.document(DOCS, A, version(5, offset=3), _digests(kept))

    assert memory.known(DOCS, A).left_over([kept, late]) == (late,)
    assert set(memory.known(Slug("other"), A).left_over([kept, late])) == {kept, late}


def test_it_forgets_with_the_assignment() -> None:
    """Others may own the partitions, and carry out what we never hear of."""
    memory = _memory()
    memory.document(DOCS, A, version(5), ())
    memory.forget()

    assert not memory.known(DOCS, A).supersedes(version(4), ())


def test_it_has_a_bound_and_the_oldest_go_first() -> None:
    """Memory goes by the bound, however long the assignment lasts."""
    memory = _memory(most=1_000)
    for n in range(50):
        memory.document(DOCS, Identity(f"d{n}"), version(5), ["x"] * 92)
    memory.document(DOCS, Identity("d45"), version(6), ["x"] * 92)
    kept = [n for n in range(50) if memory.known(DOCS, Identity(f"d{n}")).document]

    assert kept == list(range(40, 50))
    for n in range(300):
        memory.tombstone(None, Identity(f"t{n}"), version(9))
    assert not memory.known(DOCS, Identity("d49")).document
    assert memory.known(DOCS, Identity("t299")).tombstones


def test_what_alone_is_larger_than_the_bound_is_remembered_alone() -> None:
    """The last one counts most."""
    memory = _memory(most=10)
    memory.document(DOCS, A, version(5), ["x"] * 92)

    assert memory.known(DOCS, A).supersedes(version(4), ())


def test_what_is_in_doubt_is_not_forgotten_for_others() -> None:
    """The sweep decides by it what was left over; it goes when the doubt is over."""
    doubts = {A}
    memory = CarriedOut(doubts.__contains__, most=40)
    memory.document(DOCS, A, version(1), ["one"])
    for n in range(10):
        memory.document(DOCS, Identity(f"other {n}"), version(1), ["one", "two"])
    assert memory.known(DOCS, A).document == version(1)
    assert memory.known(DOCS, Identity("other 0")).document is None
    doubts.clear()
    memory.document(DOCS, B, version(1), ["one", "two"])

    assert memory.known(DOCS, A).document is None


def test_of_two_copies_the_one_that_a_tombstone_has_ended_goes() -> None:
    """Kept, it would outlive the next versions, whose dates are older."""
    ended, own = (
        replace(stored("a", "x", day), location=Location(at)) for day, at in ((9, "1"), (2, "2"))
    )
    ended = replace(ended, marker=replace(ended.marker, version=version(9, 1)))
    own = replace(own, marker=replace(own.marker, version=version(2, 3)))
    memory = _memory()
    memory.tombstone(DOCS, A, version(10, 2))
    memory.document(DOCS, A, version(2, 3), _digests(own))

    assert memory.known(DOCS, A).left_over([ended, own]) == (ended,)


def test_what_a_partial_version_holds_by_a_former_versions_unit_stays() -> None:
    """It was told that the chunk is stored; the whole version before it did not want it."""
    former, whole = stored("a", "kept", 1), stored("a", "other", 2)
    memory = _memory()
    memory.document(DOCS, A, version(2), _digests(whole))
    known = memory.known(DOCS, A)
    assert known.left_over([former, whole]) == (former,)

    memory.partial(DOCS, A, version(3), [*_digests(former), "of a refused chunk's sibling"])
    known = memory.known(DOCS, A)
    assert known.left_over([former, whole]) == ()
    own = replace(stored("a", "kept", 3), location=Location("own"))
    assert known.left_over([former, whole, own]) == (former,)

    memory.tombstone(DOCS, A, version(4))
    assert memory.known(DOCS, A).needed == ()


def _pack(at: str, *units: StoredUnit) -> StoredUnit:
    """Chunks of one version together."""
    chunks = tuple(chunk for unit in units for chunk in unit.marker.chunks)
    return StoredUnit(Location(at), replace(units[0].marker, chunks=chunks))


def test_a_pack_that_lends_a_partial_version_a_text_stays() -> None:
    """Its removal was refused, and a later version counts on it; the double lends nothing."""
    former = [stored("a", text, 1) for text in ("kept", "lent", "other")]
    pack, double, whole = _pack("1", *former), _pack("2", *former), stored("a", "kept", 2)
    memory = _memory()
    memory.document(DOCS, A, version(2), _digests(whole))
    assert memory.known(DOCS, A).left_over([pack, whole]) == (pack,)

    memory.partial(DOCS, A, version(3), _digests(whole, former[1]))
    known = memory.known(DOCS, A)
    assert known.left_over([pack, whole]) == ()
    assert known.left_over([pack, double, whole]) == (double,)
    own = replace(stored("a", "lent", 3), location=Location("own"))
    assert known.left_over([pack, whole, own]) == (pack,)


def test_of_two_cuts_the_one_that_is_whole_stays() -> None:
    """Whatever came late: also of a text that stands in the document twice."""
    chunks = [stored("a", text, 1) for text in "xyz"]
    again = stored("a", "x", 1)
    mark = replace(again.marker.chunks[0], id="another", index=3)
    again = replace(again, marker=replace(again.marker, chunks=(mark,)))
    first, second = _pack("1", *chunks[:2]), _pack("2", again, chunks[2])
    late = _pack("3", chunks[1], again, chunks[2])
    memory = _memory()
    memory.document(DOCS, A, version(1), _digests(*chunks, again))

    assert memory.known(DOCS, A).left_over([late, second, first]) == (late,)


def test_of_copies_that_nobody_has_seen_the_one_that_was_carried_out_last_stays() -> None:
    """Who settled it has seen its own copies; a former version's may have no vectors."""
    former, own = (
        replace(stored("a", "x", day), location=Location(at)) for day, at in ((1, "1"), (2, "2"))
    )
    memory = _memory()
    memory.document(DOCS, A, version(2), _digests(own))
    known = memory.known(DOCS, A)

    assert known.left_over([former, own], lambda location: False) == (former,)
    assert known.left_over([former, own], lambda location: location == "1") == (own,)


def test_a_document_that_is_noted_after_the_tombstone_that_ended_it_holds_nothing_back() -> None:
    """A replay is told by its own topic: in any order with the tombstone that followed it."""
    memory = _memory()
    memory.tombstone(DOCS, A, version(9, offset=5))
    memory.document(DOCS, A, version(5, offset=4), ())

    assert not memory.known(DOCS, A).supersedes(version(1, offset=6), ())


def test_what_two_topics_tell_is_known_in_every_order() -> None:
    """Each topic tells in its order; a former owner has carried all of it out."""
    documents = (
        (False, version(5, offset=1)),
        (True, version(9, offset=2)),
        (False, version(3, offset=3)),
        (True, version(10, offset=4)),
        (False, version(1, offset=5)),
    )
    replayed = documents[0], documents[2]
    total = len(documents) + len(replayed)
    for places in combinations(range(total), len(replayed)):
        memory, told, again = _memory(), iter(documents), iter(replayed)
        for n in range(total):
            removes, each = next(again) if n in places else next(told)
            if removes:
                memory.tombstone(DOCS, A, each)
            else:
                memory.document(DOCS, A, each, ())
        assert memory.known(DOCS, A).document == version(1, offset=5), places


def test_a_partial_version_that_is_no_news_wants_nothing() -> None:
    """What a former owner had settled is told in order, and much of it is superseded by then."""
    memory = _memory()
    memory.document(DOCS, A, version(5, offset=2), ())
    memory.partial(DOCS, A, version(4, offset=1), ["x"])
    memory.tombstone(DOCS, B, version(9, offset=3))
    memory.partial(DOCS, B, version(4, offset=1), ["x"])
    assert memory.known(DOCS, A).needed == memory.known(DOCS, B).needed == ()

    memory.partial(DOCS, A, version(6, offset=3), ["x"])
    assert memory.known(DOCS, A).needed == ("x",)


def test_an_older_event_changes_nothing_of_a_partial_version() -> None:
    """Events that an owner before us has superseded are told in the order of their offsets."""
    memory = _memory()
    former, whole = stored("a", "kept", 1), stored("a", "other", 2)
    memory.document(DOCS, A, version(2), _digests(whole))
    memory.partial(DOCS, A, version(4), _digests(former, whole))
    memory.partial(DOCS, A, version(3, offset=9), _digests(whole), is_certain=False)

    assert memory.known(DOCS, A).partial == version(4)
    assert memory.known(DOCS, A).left_over([former, whole]) == ()


@pytest.mark.parametrize(
    ("holds", "is_certain", "superseded"),
    [(True, True, True), (False, True, False), (True, False, False)],
)
def test_a_partial_version_that_holds_something_keeps_older_ones_out(
    *, holds: bool, is_certain: bool, superseded: bool
) -> None:
    """Its result has told so, also where all that it holds are units of former versions."""
    memory = _memory()
    unit = stored("a", "kept", 1)
    memory.document(DOCS, A, version(1), _digests(unit))
    held = _digests(unit) if holds else []
    memory.partial(DOCS, A, version(3), held, is_certain=is_certain)

    assert memory.known(DOCS, A).supersedes(version(2), [unit]) is superseded
    assert not memory.known(DOCS, A).supersedes(version(4), [unit])
