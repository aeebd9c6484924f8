"""Of which file a hit is, as far as its id tells."""

from __future__ import annotations

import pytest

from consumer.anythingllm.hit_ids import HitIds
from consumer.anythingllm.models import VectorHit
from consumer.anythingllm.vector_databases import DATABASES, UNKNOWN, VectorDatabase
from consumer.model.names import Location

FILE = Location("custom-documents/raw-a-title-5ca92c41-bb09-4e83-a2fb-450a109b1a0b.json")
OWN, OTHER = "5ca92c41-bb09-4e83-a2fb-450a109b1a0b", "2aa2bbd5-9b44-4cc7-ab1e-0fde12800f7f"
PGVECTOR = DATABASES["pgvector"]


def _hit(id: str, source: str = "a source") -> VectorHit:
    return VectorHit("text", None, source, "title", 1.0, id)


@pytest.mark.parametrize(("id", "may_be"), [(OWN, True), (OTHER, False), ("", True)])
def test_a_hit_is_of_the_file_that_its_id_names(id: str, may_be: bool) -> None:
    """Vectors that come from the cache have no id, and may be of any copy."""
    assert HitIds().may_be_of(_hit(id), FILE, PGVECTOR) is may_be


@pytest.mark.parametrize("database", [UNKNOWN, DATABASES["lancedb"]])
def test_where_ids_are_made_up_a_hit_may_be_of_any_copy(database: VectorDatabase) -> None:
    """LanceDB's are its own."""
    assert HitIds().may_be_of(_hit(OTHER), FILE, database)


@pytest.mark.parametrize(
    ("id", "source", "tells"),
    [
        (OTHER, "a source", False),
        (OWN, "a source", True),
        (OTHER, "else", True),
        ("", "a source", True),
    ],
)
def test_ids_are_believed_until_the_hit_of_an_only_file_has_another(
    id: str, source: str, tells: bool
) -> None:
    """Of other sources, and without an id, it shows nothing."""
    ids = HitIds()
    ids.note_only([_hit(id, source)], "a source", FILE)

    assert ids.tell(_hit(OTHER), PGVECTOR) is tells
