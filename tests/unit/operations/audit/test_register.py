"""What an audit writes down: which event counts, and that everything comes back as it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.anythingllm.proof import Sight
from consumer.model.names import Identity, Location, Slug
from consumer.model.record import Coordinates
from consumer.model.version import DocumentVersion
from consumer.operations.audit.judgement import KeptUnit, WantedDocument
from consumer.operations.audit.register import Refusal, Register, open_register

ONE = Identity("one")
DOCS = Slug("docs")
AT = Coordinates("in", 0, 1)

DAY = datetime(2026, 3, 1, 10, 30, 15, 123_456, tzinfo=UTC)


def version(day: int, partition: int, offset: int) -> DocumentVersion:
    return DocumentVersion(DAY + timedelta(days=day), partition, offset)


def put(register: Register, day: int, partition: int, offset: int, slug: Slug = DOCS) -> None:
    """A document's event."""
    at = Coordinates("in", partition, offset)
    wanted = WantedDocument("id", at, version(day, partition, offset), (f"digest-{offset}",), at)
    register.document(slug, ONE, wanted)


def remove(
    register: Register, day: int, partition: int, offset: int, slug: Slug | None = None
) -> None:
    register.tombstone(slug, ONE, version(day, partition, offset))


def standing(register: Register) -> dict[str, int]:
    """By workspace, the offset of the event that counts."""
    return {e.slug: e.wanted.at.offset for e in register.entries() if e.wanted is not None}


def test_the_newest_version_counts() -> None:
    """By date, then by offset; an older one that comes later changes nothing."""
    with open_register() as register:
        put(register, 1, 0, 10)
        put(register, 3, 0, 11)
        put(register, 2, 0, 12)
        assert standing(register) == {"docs": 11}
        put(register, 3, 0, 13)
        put(register, 3, 0, 13)
        assert standing(register) == {"docs": 13}


def test_a_tombstone_ends_what_came_before_it_in_its_partition() -> None:
    """Whatever the dates say; a document published after it stands, whatever its date."""
    with open_register() as register:
        put(register, 9, 0, 10)
        remove(register, 1, 0, 11)
        assert standing(register) == {}
        put(register, 0, 0, 12)
        assert standing(register) == {"docs": 12}


@pytest.mark.parametrize("first", [True, False])
def test_across_partitions_dates_decide(first: bool) -> None:
    """In whatever order the two are read."""
    for day, expected in ((1, {"docs": 10}), (5, {})):
        with open_register() as register:
            if first:
                remove(register, day, 1, 3)
            put(register, 2, 0, 10)
            if not first:
                remove(register, day, 1, 3)
            assert standing(register) == expected


def test_a_tombstone_for_one_workspace_leaves_the_others() -> None:
    """And one without a workspace ends all."""
    with open_register() as register:
        put(register, 1, 0, 10, DOCS)
        put(register, 1, 0, 11, Slug("other"))
        remove(register, 1, 0, 12, DOCS)
        assert standing(register) == {"other": 11}
        remove(register, 1, 0, 13)
        assert standing(register) == {}


@pytest.mark.parametrize(("day", "is_ended"), [(1, True), (5, False)])
def test_what_is_stored_newer_than_its_tombstone_was_not_ended_by_it(
    day: int, is_ended: bool
) -> None:
    """Its own event is lost, and the tombstone says nothing of it."""
    with open_register() as register:
        remove(register, 3, 1, 3)
        stored = KeptUnit(Location("a"), version(day, 0, 9), ("d",), "ids", "id", None, "")
        register.stored(DOCS, ONE, stored)
        (entry,) = register.entries()

    assert (entry.deleted, entry.is_ended) == (True, is_ended)


unit = st.builds(
    KeptUnit,
    location=st.text(max_size=8),
    version=st.builds(
        DocumentVersion,
        st.datetimes(timezones=st.just(UTC), min_value=datetime(1, 1, 2)),
        st.none() | st.integers(0, 100),
        st.none() | st.integers(0, 2**63 - 1),
    ),
    digests=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    chunk_ids=st.text(max_size=5),
    document_id=st.text(max_size=5),
    created=st.none() | st.floats(0, 2e9),
    source=st.text(max_size=5),
)


@given(st.lists(unit, max_size=5, unique_by=lambda each: each.location), st.text(max_size=5))
def test_what_is_stored_comes_back_as_it_was(units: list[KeptUnit], identity: Identity) -> None:
    """Whatever the texts hold, NUL and quotes included; sorted by location."""
    with open_register() as register:
        for each in units:
            register.stored(DOCS, identity, each)
        found = [each for entry in register.entries(DOCS) for each in entry.kept]

    assert sorted(found, key=lambda e: e.location) == sorted(units, key=lambda e: e.location)


def test_a_row_that_is_listed_twice_is_as_young_as_the_younger() -> None:
    """Judging it by the older one would find fault with what is just written."""
    row = KeptUnit(Location("x.json"), version(1, 0, 1), ("d",), "ids", "id", 10.0, "src")
    with open_register() as register:
        for created in (10.0, 20.0, 15.0):
            register.stored(DOCS, ONE, replace(row, created=created))
        (entry,) = register.entries()
        assert [each.created for each in entry.kept] == [20.0]
        register.forget_stored(DOCS)
        assert list(register.entries()) == []


def test_numbers_of_any_size_are_taken() -> None:
    """A marker can be edited by hand: an absurd offset must not end the audit."""
    absurd = DocumentVersion(DAY, 2**70, 2**70)
    with open_register() as register:
        register.stored(DOCS, ONE, KeptUnit(Location("x"), absurd, (), "", "id", 1.0, ""))
        (entry,) = register.entries()
        assert entry.kept[0].version.partition == 2**63 - 1


def test_picked_documents_come_in_the_order_of_the_picks() -> None:
    """By their number in their workspace, whatever the others have."""
    x, y = Slug("x"), Slug("y")
    with open_register() as register:
        for name, slug in (("a", x), ("b", y), ("c", x), ("d", x), ("e", y)):
            wanted = WantedDocument(name, AT, version(1, 0, 1), (), AT)
            register.document(slug, Identity(name), wanted)
        assert register.count_wanted(None) == {x: 3, y: 2}
        assert register.count_wanted(y) == {y: 2}
        found = register.picked([(x, 2), (y, 1), (x, 0), (y, 7)], None)
        only = register.picked([(x, 1)], x)

    assert [each.identity for each in found] == ["d", "e", "a"]
    assert [each.identity for each in only] == ["c"]


def test_events_are_read_in_the_order_in_which_they_lie() -> None:
    """Of a replay that is the record that was read, not the original one."""
    places = {"c": ("in", 0, 7), "a": ("in", 0, 12), "d": ("in", 1, 0), "b": ("replay", 0, 1)}
    with open_register() as register:
        for name, place in sorted(places.items()):
            wanted = WantedDocument(name, AT, version(1, 0, 1), ("d",), Coordinates(*place))
            register.document(DOCS, Identity(name), wanted)
        found = [each.identity for each in register.in_order_of_events(DOCS)]

    assert found == list(places)


def test_what_searches_say_is_known_until_it_is_taken_back() -> None:
    """By document and unit; the last word counts."""
    one, two = Location("one.json"), Location("two.json")
    with open_register() as register:
        sights = register.sights
        sights.note(DOCS, ONE, {one: Sight.MISSING, two: Sight.MISSING})
        sights.note(DOCS, ONE, {one: Sight.FOUND})
        sights.note(DOCS, Identity("other"), {one: Sight.HIDDEN})
        assert sights.of(DOCS, ONE) == {one: Sight.FOUND, two: Sight.MISSING}
        assert sights.with_missing() == [(DOCS, ONE)]
        sights.forget(DOCS, ONE, [two])
        assert sights.of(DOCS, ONE) == {one: Sight.FOUND}
        assert sights.with_missing() == []


def test_refusals_and_waiting_records_come_back() -> None:
    """A refusal once an original, a waiting record once."""
    at, replay = Coordinates("in", 1, 2), Coordinates("replay", 1, 7)
    refusal = Refusal(at, replay, None, ONE, "invalid")
    with open_register() as register:
        register.refused(Refusal(at, at, None, None, "invalid"))
        register.refused(refusal)
        put(register, 1, 0, 3)
        register.waits(ONE, at)
        register.waits(ONE, at)
        assert list(register.refusals()) == [refusal]
        assert [entry.waiting for entry in register.entries()] == [(at,)]
