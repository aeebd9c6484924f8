"""Packed rows: what goes in comes out, and the size they say is about the size they have."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.model.identity import IdentityTemplate
from consumer.model.marker import ChunkMark, Marker, StoredUnit
from consumer.model.names import Identity, Location
from consumer.model.version import DocumentVersion
from consumer.pipeline import index_rows
from consumer.pipeline.index_rows import IndexedRows, StoredRow

NEW = Identity("new")

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def _rows(identity: str = "{id}") -> IndexedRows:
    return IndexedRows(IdentityTemplate.parse(identity))


def _unit(
    id_: str,
    location: Location,
    *digests: str,
    url: str = "",
    version: DocumentVersion | None = None,
) -> StoredUnit:
    marks = tuple(ChunkMark(f"{id_}_{n}", n, digest, "s") for n, digest in enumerate(digests))
    version = version or DocumentVersion(DAY, 0, 1)
    return StoredUnit(location, Marker(id_, url or f"https://{id_}", "t", 1, version, marks))


ZONES = st.timedeltas(timedelta(hours=-14), timedelta(hours=14)).map(
    lambda offset: timezone(timedelta(seconds=round(offset.total_seconds())))
)
VERSIONS = st.one_of(
    st.builds(DocumentVersion, st.datetimes(timezones=ZONES)),
    st.builds(
        DocumentVersion,
        st.datetimes(timezones=ZONES),
        st.integers(0, 2**31),
        st.integers(0, 2**63 - 1),
    ),
)
TEXTS = st.text(st.characters(codec="utf-8"))


@given(TEXTS, TEXTS, st.lists(TEXTS), VERSIONS)
def test_what_goes_in_comes_out(
    id_: Identity, location: Location, digests: list[str], version: DocumentVersion
) -> None:
    """Location, version and digests decide what is removed: they must be exactly as stored."""
    rows = _rows()
    rows.put(_unit(id_, location, *digests, version=version))

    (row,) = rows.of(id_)
    assert row == StoredRow(location, version, tuple(digests), id_, row.chunk_ids)


STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "take"]), st.integers(0, 2), st.integers(0, 3)), max_size=40
)


@pytest.mark.parametrize("small", [64 * 1024, 0], ids=["small documents", "large ones"])
@given(steps=STEPS)
def test_any_order_of_writes_gives_what_a_plain_dictionary_gives(
    small: int, steps: list[tuple[str, int, int]]
) -> None:
    """The packed form is a dictionary by identity and location, whatever is done to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_rows, "_SMALL_BYTES", small)
        _compare_with_a_dictionary(steps)


def _compare_with_a_dictionary(steps: list[tuple[str, int, int]]) -> None:
    rows = _rows()
    plain: dict[str, dict[str, str]] = {}
    for number, (step, document, place) in enumerate(steps):
        id_, location = f"doc-{document}", f"at-{document}-{place}"
        if step == "put":
            rows.put(_unit(id_, Location(location), str(number)))
            plain.setdefault(id_, {})[location] = str(number)
        else:
            rows.take(Identity(id_), {Location(location)})
            plain.get(id_, {}).pop(location, None)

    for document in range(3):
        id_ = f"doc-{document}"
        found = {row.location: row.digests for row in rows.of(Identity(id_))}
        assert found == {at: (digest,) for at, digest in plain.get(id_, {}).items()}
    assert bool(rows) == any(plain.values())


def test_a_large_document_is_not_packed_anew_for_each_request_that_removes_some_of_it() -> None:
    """Removed ten by ten, 20,000 units would be gone through 2,000 times: minutes of work."""
    rows = _rows()
    for number in range(2_000):
        rows.put(_unit("a", Location(f"at-{number}"), "0" * 32))
    packings = 0
    pack = index_rows._pack

    def counted(row: list[Any]) -> bytes:
        nonlocal packings
        packings += 1
        return pack(row)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_rows, "_pack", counted)
        for start in range(0, 2_000, 10):
            rows.take(Identity("a"), {Location(f"at-{n}") for n in range(start, start + 10)})
            assert len(rows.of(Identity("a"))) == 1_990 - start
    assert packings < 10_000
    assert (bool(rows), rows.size) == (False, _rows().size + _a_source(rows))


def _a_source(rows: IndexedRows) -> int:
    """What is remembered of where a document came from, which stays."""
    return index_rows._SOURCE_BYTES * len(rows._sources)


def test_what_was_taken_is_not_paid_for() -> None:
    """A size that only grows would evict everything else in the end."""
    rows = _rows("{source_url}")
    empty = rows.size
    for number in range(50):
        rows.put(_unit("a", Location(f"at-{number}"), "digest"))
        rows.put(_unit("b", Location(f"at-b-{number}"), "digest"))
    rows.take(Identity("https://a"), {Location(f"at-{number}") for number in range(50)})
    rows.take(Identity("https://b"), {Location(f"at-b-{number}") for number in range(50)})

    assert rows.size == empty


@pytest.mark.parametrize("identity", ["{id}", "{source_url}"])
@pytest.mark.parametrize("chunks", [1, 12])
def test_the_size_is_about_what_the_memory_is(identity: str, chunks: int) -> None:
    """INDEX_MAX_BYTES is held against this estimate: within a third of what Python allocates."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        rows = _rows(identity)
        for number in range(6_000):
            id_ = f"docs-example-com-en-latest-page-{number // chunks}"
            location = f"custom-documents/raw-a-page-{number:036}.json"
            url = f"https://docs.example.com/en/latest/page-{number // chunks}.html"
            rows.put(_unit(id_, Location(location), f"{number:032}", url=url))
        allocated = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert allocated / 1.33 < rows.size < allocated * 1.33


def test_a_source_under_another_identity_is_seen() -> None:
    """The newest one is named; the same identity, and one that is gone, is none."""
    rows = _rows()
    rows.put(_unit("old", Location("at-1"), "x", url="https://page"))
    assert rows.sharing("https://page", Identity("old")) is None
    assert rows.sharing("https://page", NEW) == "old"
    assert rows.sharing("https://other", NEW) is None

    rows.put(_unit("new", Location("at-2"), "x", url="https://page"))
    assert rows.sharing("https://page", NEW) is None
    assert rows.sharing("https://page", Identity("third")) == "new"

    rows.take(NEW, {Location("at-2")})
    assert rows.sharing("https://page", Identity("third")) is None


def test_identities_that_follow_the_source_never_share_one() -> None:
    """Two technologies may have the same page: that is what such a template says."""
    rows = _rows("{technology}/{source_url}")
    rows.put(_unit("old", Location("at-1"), "x", url="https://page"))

    assert rows.sharing("https://page", Identity("other/https://page")) is None


@given(TEXTS, VERSIONS)
def test_which_partition_a_document_came_from(location: str, version: DocumentVersion) -> None:
    rows = _rows()
    rows.put(_unit("one", Location(location), "d", version=version))

    assert rows.partitions == {"one": version.partition}
