"""What searches say of stored units: written down in the register of an audit."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from consumer.anythingllm.proof import Sight
from consumer.model.marker import hash_of_ids
from consumer.model.names import Identity, Location, Slug

SCHEMA = """
CREATE TABLE sights (
    identity TEXT, slug TEXT, location TEXT, sight TEXT, PRIMARY KEY (identity, slug, location)
) WITHOUT ROWID;
"""


class Sights:
    """See the module's docstring.

    Args:
        database: where `SCHEMA` was carried out.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def note(self, slug: Slug, identity: Identity, sights: Mapping[Location, Sight]) -> None:
        """Write down what is known of a document's units by now."""
        self._database.executemany(
            "INSERT OR REPLACE INTO sights VALUES (?, ?, ?, ?)",
            [(identity, slug, location, sight.value) for location, sight in sights.items()],
        )

    def forget(self, slug: Slug, identity: Identity, locations: Iterable[Location]) -> None:
        """Take back what was written down of these units."""
        self._database.executemany(
            "DELETE FROM sights WHERE identity = ? AND slug = ? AND location = ?",
            [(identity, slug, location) for location in locations],
        )

    def of(self, slug: Slug, identity: Identity) -> dict[Location, Sight]:
        """What is known of a document's units; nothing of those that were not looked for."""
        found = self._database.execute(
            "SELECT location, sight FROM sights WHERE identity = ? AND slug = ?", (identity, slug)
        )
        return {Location(location): Sight(sight) for location, sight in found}

    def with_missing(self) -> list[tuple[Slug, Identity]]:
        """The documents of which a unit was not found."""
        found = self._database.execute(
            "SELECT DISTINCT slug, identity FROM sights WHERE sight = ? ORDER BY slug, identity",
            (Sight.MISSING.value,),
        )
        return [(Slug(slug), Identity(identity)) for slug, identity in found]


def hash_of_source(doc_source: str) -> str:
    """16 hex characters over a ``docSource``, to know it again in little room."""
    return hash_of_ids((doc_source,))
