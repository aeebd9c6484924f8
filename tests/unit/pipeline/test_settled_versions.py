"""What is known beyond the markers."""

from __future__ import annotations

from consumer.model.names import Identity, Slug
from consumer.pipeline.settled_versions import SettledVersions
from tests.unit.pipeline.doubles import version

A = Identity("a")
DOCS = Slug("docs")
B = Identity("b")


def test_an_older_document_is_superseded_by_what_was_settled() -> None:
    """Also where the newer one left no marker."""
    settled = SettledVersions()
    settled.document(A, DOCS, version(5))

    assert settled.supersedes(A, DOCS, version(4))
    assert not settled.supersedes(A, DOCS, version(5))
    assert not settled.supersedes(A, DOCS, version(6))
    assert not settled.supersedes(A, Slug("more"), version(4))
    assert not settled.supersedes(B, DOCS, version(4))


def test_the_newest_version_is_kept_whatever_comes_after_it() -> None:
    """Noting an older one again must not make the newer one unknown."""
    settled = SettledVersions()
    settled.document(A, DOCS, version(5))
    settled.document(A, DOCS, version(3))

    assert settled.supersedes(A, DOCS, version(4))


def test_a_tombstone_counts_against_what_came_before_it_in_its_partition() -> None:
    """By offset: its date is its record's and later than the date of any document."""
    settled = SettledVersions()
    settled.tombstone(A, DOCS, version(9, offset=5))

    assert settled.supersedes(A, DOCS, version(1, offset=4))
    assert not settled.supersedes(A, DOCS, version(1, offset=6))


def test_a_tombstone_of_another_partition_counts_by_date() -> None:
    """There is nothing better to go by."""
    settled = SettledVersions()
    settled.tombstone(A, None, version(9, offset=5, partition=1))

    assert settled.supersedes(A, DOCS, version(8, offset=50))
    assert not settled.supersedes(A, DOCS, version(10, offset=1))


def test_a_tombstone_for_all_workspaces_counts_in_each() -> None:
    """One for one workspace does not count in another."""
    settled = SettledVersions()
    settled.tombstone(A, None, version(9, offset=5))
    settled.tombstone(B, DOCS, version(9, offset=5))

    assert settled.supersedes(A, Slug("anywhere"), version(1, offset=1))
    assert not settled.supersedes(B, Slug("more"), version(1, offset=1))


def test_it_forgets_with_the_assignment_and_when_it_is_full() -> None:
    """Bounded, and never more than this assignment's memory."""
    settled = SettledVersions(kept=2)
    for name in ("a", "b", "c"):
        settled.document(Identity(name), DOCS, version(5))
    assert not settled.supersedes(A, DOCS, version(4))
    assert settled.supersedes(Identity("c"), DOCS, version(4))
    settled.forget()

    assert not settled.supersedes(Identity("c"), DOCS, version(4))
