from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from consumer.model.identity import IdentityTemplate
from consumer.model.listing import ListedFile, ListedRow, Listing
from consumer.model.marker import ChunkMark, Marker
from consumer.model.names import Location, Slug
from consumer.model.slug import slugify
from consumer.model.version import DocumentVersion
from consumer.operations.workspaces.faults import examine, too_young
from consumer.operations.workspaces.finding import FindingKind, Remedy, found
from consumer.operations.workspaces.holding import (
    Holding,
    contents,
    holdings,
    in_several,
    lacks,
    orphan,
)

D = Location("d")

B_SLUG = Slug("b")

A = Location("a")
B = Location("b")
C = Location("c")
S = Location("s")
A_SLUG = Slug("a")

NOW = datetime(2026, 11, 22, 18, tzinfo=UTC)
SETTLED = 600.0
BY_ID = IdentityTemplate.parse("{id}")
BY_URL = IdentityTemplate.parse("{source_url}")


def marker(
    chunk: str, text: str = "", *, day: int = 1, total: int = 3, document: str = "doc"
) -> Marker:
    """The marker of one chunk; equal texts have equal digests."""
    return Marker(
        document_id=document,
        source_url="https://example.com/doc",
        technology="Tech",
        total_chunks=total,
        version=DocumentVersion(datetime(2026, 11, day, tzinfo=UTC), 0, day),
        chunks=(ChunkMark(chunk, 0, text or f"text of {chunk}", "sha"),),
    )


def row(location: Location, holds: Marker | None, age: float | None = 700.0) -> ListedRow:
    source = holds.encode() if holds else "no source set"
    return ListedRow(location, source, age, holds, sentinel=False)


def sentinel(location: Location, age: float) -> ListedRow:
    return ListedRow(location, '{"alc-sentinel":1,"id":"x"}', age, None, sentinel=True)


def listing(*rows: ListedRow, slug: Slug = Slug("docs")) -> Listing:
    return Listing(slug, rows, NOW)


def all_there(rows: Iterable[ListedRow]) -> dict[str, int]:
    """Every row of ours has its vectors."""
    return dict(Counter(each.source for each in rows if each.marker or each.sentinel))


def told(
    *rows: ListedRow,
    vectors: Mapping[str, int] | None = None,
    identity: IdentityTemplate = BY_ID,
) -> list[tuple[str, str | None]]:
    """Kind and location of everything that is found."""
    sets = all_there(rows) if vectors is None else vectors
    seen = examine(listing(*rows), sets, identity=identity, settled=SETTLED)
    return [(each.kind.value, each.location) for each in seen]


ONE, TWO, THREE = marker("1"), marker("2"), marker("3")


def test_what_is_too_young_to_judge_is_counted() -> None:
    """By chunks of ours, each location once: as young as its younger row, or of unknown age."""
    pack = replace(ONE, chunks=(ONE.chunks[0], TWO.chunks[0]))
    rows = (
        row(A, pack, 10.0), row(B, TWO, 700.0), row(B, TWO, SETTLED), row(C, THREE, None),
        row(D, THREE), row(Location("foreign"), None, 1.0), sentinel(S, 1.0),
    )  # fmt: skip
    assert too_young(listing(*rows), SETTLED) == 4
    assert too_young(listing(*rows), 5.0) == 1


NEW = marker("9", day=2)
PACK = replace(ONE, chunks=(*ONE.chunks, *TWO.chunks))
LATE = replace(ONE, chunks=(*TWO.chunks, *THREE.chunks))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([row(A, ONE), row(B, TWO), row(C, THREE)], [], id="all is well"),
        pytest.param(
            [row(B, ONE), row(A, ONE), row(C, TWO), row(D, THREE)],
            [("double", "b")],
            id="the lowest location stays",
        ),
        pytest.param(
            [row(A, ONE), row(B, TWO), row(C, THREE), row(D, PACK)],
            [("double", "a"), ("double", "b")],
            id="chunks that are in a pack as well go",
        ),
        pytest.param(
            [row(A, PACK), row(B, replace(PACK, chunks=PACK.chunks[:1])), row(C, THREE)],
            [("double", "b")],
            id="whatever the order of locations",
        ),
        pytest.param(
            [row(A, PACK), row(C, THREE)],
            [],
            id="a pack is several chunks",
        ),
        pytest.param(
            [row(A, replace(PACK, chunks=(*PACK.chunks[:1], *THREE.chunks))), row(D, PACK)],
            [("possible-double", "d")],
            id="of two packs that share a chunk neither can go",
        ),
        pytest.param(
            [row(A, PACK), row(B, replace(PACK, chunks=THREE.chunks)), row(C, LATE)],
            [("possible-double", "c")],
            id="a pack that came late is named, and not what would leave something missing",
        ),
        pytest.param(
            [row(A, ONE), row(B, ONE, age=500), row(C, TWO), row(D, THREE)],
            [],
            id="a young copy may be an upload that is being put right",
        ),
        pytest.param(
            [row(A, ONE), row(B, ONE), row(C, TWO, age=500), row(D, THREE)],
            [],
            id="a document that is being worked on is not judged",
        ),
        pytest.param(
            [row(A, ONE), row(B, ONE, age=None), row(C, TWO), row(D, THREE)],
            [],
            id="a copy of unknown age is young",
        ),
        pytest.param(
            [row(A, marker("1", "same")), row(B, marker("2", "same")), row(C, THREE)],
            [],
            id="the same text under two chunk ids",
        ),
        pytest.param(
            [row(A, marker("2", "same")), row(B, marker("2", "same")), row(C, THREE)],
            [("possible-double", "b")],
            id="chunk 1 failed, and its text stands under chunk 2 a second time",
        ),
        pytest.param(
            [
                row(A, marker("2", "same")),
                row(B, marker("2", "same", day=2)),
                row(C, THREE),
            ],
            [],
            id="the text was put before itself: two versions of one chunk id are right",
        ),
        pytest.param(
            [row(A, ONE), row(B, TWO), row(C, NEW), row(D, NEW)],
            [("double", "d")],
            id="one changed chunk, and more stored than the document has",
        ),
        pytest.param(
            [row(A, ONE), row(B, TWO), row(C, marker("9", day=2))],
            [],
            id="unchanged chunks keep the marker of their version",
        ),
        pytest.param(
            [row(A, ONE), row(B, TWO), row(C, marker("9", day=2)), row(D, THREE)],
            [],
            id="too much is stored, but which is stale is not proven",
        ),
        pytest.param(
            [
                row(A, ONE),
                row(B, marker("1", "new", day=2, total=2)),
                row(C, marker("2", "new too", day=2, total=2)),
            ],
            [("stale", "a")],
            id="the newest version is stored whole, so the rest is stale",
        ),
        pytest.param(
            [
                row(A, ONE, age=10),
                row(B, marker("1", "new", day=2, total=2)),
                row(C, marker("2", "new too", day=2, total=2)),
            ],
            [],
            id="and not before everything of it is settled",
        ),
        pytest.param(
            [row(A, ONE), row(A, ONE), row(B, TWO), row(C, THREE)],
            [("listed-twice", "a")],
            id="one file that was embedded twice is no double",
        ),
        pytest.param(
            [row(A, ONE), row(A, ONE, age=1)], [], id="and may be under way, too"
        ),
        pytest.param(
            [row(A, None), row(B, None), sentinel(S, 599), sentinel(Location("t"), 601)],
            [("old-sentinel", "t")],
            id="equal foreign documents are nobody's business; test documents have 10 minutes",
        ),
    ],
)  # fmt: skip
def test_what_rows_prove(rows: list[ListedRow], expected: list[tuple[str, str]]) -> None:
    """Only what can't be otherwise is found; what may be right is left or a note."""
    assert told(*rows) == expected
    assert told(*reversed(rows)) == expected


def test_a_double_names_the_copy_that_stays() -> None:
    """Of three copies two go, one at a time, each naming the one that stays."""
    rows = [row(C, ONE), row(A, ONE), row(B, ONE), row(D, TWO), row(Location("e"), THREE)]
    seen = examine(listing(*rows), None, identity=BY_ID, settled=SETTLED)

    assert [(each.location, each.keeps, each.remedy) for each in seen] == [
        ("b", "a", Remedy.REMOVE),
        ("c", "a", Remedy.REMOVE),
    ]


def test_the_identity_says_which_units_are_of_one_document() -> None:
    """By source URL a re-crawl under a new id is the same document, by id it is another one."""
    old = row(A, marker("1", total=1, document="old"))
    new = row(B, marker("9", day=2, total=1, document="new"))

    assert told(old, new) == []
    assert told(old, new, identity=BY_URL) == [("stale", "a")]


def test_what_is_listed_must_be_found() -> None:
    """A row without vectors is told, a young one and one of others is not."""
    rows = [row(A, ONE), row(B, TWO), row(C, THREE)]

    assert told(*rows, vectors=all_there(rows[1:])) == [("vectors-gone", "a")]
    assert told(*rows, vectors={}) == [("vectors-gone", at) for at in "abc"]
    assert told(replace(rows[0], age=1.0), vectors={}) == []
    assert told(row(Location("f"), None), sentinel(S, 10), vectors={}) == []


def test_of_a_double_without_vectors_only_the_copy_that_stays_is_embedded() -> None:
    """The other one goes anyway."""
    rows = [row(A, ONE), row(B, ONE), row(C, TWO), row(D, THREE)]

    assert told(*rows, vectors=all_there(rows[1:])) == [("double", "b"), ("vectors-gone", "a")]


def test_what_is_found_must_be_listed() -> None:
    """Vectors that a crash of AnythingLLM left, of a unit without a row or beside one with it."""
    rows = [row(A, ONE)]
    vectors = {ONE.encode(): 3, TWO.encode(): 1}
    seen = examine(listing(*rows), vectors, identity=BY_ID, settled=SETTLED)

    assert [(each.kind, each.source, each.remedy) for each in seen] == [
        (FindingKind.VECTORS_WITHOUT_ROW, ONE.encode(), Remedy.NONE),
        (FindingKind.VECTORS_WITHOUT_ROW, TWO.encode(), Remedy.NONE),
    ]


def test_nothing_is_said_of_vectors_that_are_not_known() -> None:
    """An empty answer and none are different things."""
    assert examine(listing(row(A, ONE)), None, identity=BY_ID, settled=SETTLED) == []


def test_twenty_thousand_rows_take_no_time() -> None:
    """One document of 10,000 chunks, each stored twice, is judged in about a second at most."""
    rows = [row(Location(f"{n:05}"), marker(str(n // 2), total=10_000)) for n in range(20_000)]
    began = time.monotonic()
    seen = examine(listing(*rows), all_there(rows), identity=BY_ID, settled=SETTLED)

    assert len(seen) == 10_000
    assert time.monotonic() - began < 5


def holding(workspace: Slug, day: int, technology: str = "Tech") -> Holding:
    return Holding(workspace, "doc", technology, datetime(2026, 11, day, tzinfo=UTC))


@pytest.mark.parametrize(
    ("held", "target", "expected"),
    [
        ([holding(A_SLUG, 1)], "b", []),
        ([holding(A_SLUG, 1), holding(B_SLUG, 2)], "b", [("moved", "a")]),
        ([holding(A_SLUG, 1), holding(B_SLUG, 2)], "c", [("also-in", "a"), ("also-in", "b")]),
        ([holding(A_SLUG, 1), holding(B_SLUG, 2)], None, [("also-in", "a"), ("also-in", "b")]),
    ],
    ids=["in one", "routing leads to one of them", "to none of them", "to nowhere"],
)
def test_documents_in_several_workspaces(
    held: list[Holding], target: Slug | None, expected: list[tuple[str, str]]
) -> None:
    """Where routing leads to one of them the others are leftovers; else nobody can tell."""
    seen = list(in_several([held], lambda technology: target))

    assert [(each.kind.value, each.workspace) for each in seen] == expected
    assert all(each.remedy is Remedy.NONE for each in seen)
    assert all(each.is_note for each in seen) or target == "b"


def test_a_document_whose_technology_changed_is_routed_by_its_newest_version() -> None:
    """Each copy is where routing sent it at its time."""
    held = [holding(Slug("old"), 1, "Old"), holding(Slug("new"), 2, "New")]
    seen = list(in_several([held], slugify))

    assert [(each.kind, each.workspace) for each in seen] == [(FindingKind.MOVED, "old")]


def test_a_workspace_holds_its_documents_by_identity() -> None:
    """With the fields of the newest unit."""
    held = holdings(
        listing(row(A, ONE), row(B, marker("9", day=2)), row(Location("f"), None)), BY_ID
    )

    assert held == {"doc": holding(Slug("docs"), 2)}


def test_files_in_no_workspace_stay_where_their_text_is_found() -> None:
    """Something else is wrong then, and removing the file would make it worse."""
    file = ListedFile(Location("a"), ONE.encode(), ONE, sentinel=False, embedded=False)

    assert orphan(file, findable_in=None).remedy is Remedy.REMOVE
    assert orphan(file, findable_in=Slug("docs")).remedy is Remedy.NONE


def test_contents_are_counted_by_file() -> None:
    """A file listed twice is one; documents of ours, of others, and tests apart."""
    rows = [
        row(A, ONE),
        row(A, ONE),
        row(B, marker("x", document="other")),
        row(Location("f"), None),
    ]
    counted = contents(listing(*rows, sentinel(S, 1)), "Docs", BY_ID)

    assert (counted.documents, counted.chunks, counted.foreign, counted.sentinels) == (2, 2, 1, 1)


@pytest.mark.parametrize("kind", FindingKind)
def test_every_kind_says_what_to_do(kind: FindingKind) -> None:
    """Only what is not looked at says all in its text."""
    finding = found(kind, Slug("docs"), "text")

    assert bool(finding.what_to_do) is (kind is not FindingKind.NOT_LOOKED_AT)
    assert finding.remedy is Remedy.NONE or not finding.is_note


@pytest.mark.parametrize(
    ("rows", "total", "expected"),
    [
        ([], 1, True),  # nothing tells that its document was deleted
        ([], 2, False),  # its document was deleted
        ([row(A, marker("two", total=2))], 2, True),
        ([row(A, marker("one", total=1, day=2))], 1, False),  # uploaded again meanwhile
        ([row(B, marker("one", total=1))], 1, True),  # a double that was there before
        ([row(A, marker("one", total=2))], 2, True),  # of two equal texts both have one's id
        ([row(A, marker("one", total=1, document="another"))], 1, True),
    ],
)
def test_a_unit_that_was_taken_out_belongs_there_unless_it_was_replaced_or_removed(
    rows: list[ListedRow], total: int, *, expected: bool
) -> None:
    assert lacks(listing(*rows), marker("one", total=total), BY_ID, before={B}) is expected
