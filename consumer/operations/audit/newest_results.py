"""What the newest result says of each document: written down in the register of an audit.

The documents topic forgets; results are kept for as long as dead letters. So a result may be all
that still tells of a document that was stored, or of its deletion.

Within a partition the later result counts. Where the topic got more partitions, a document has
results in two: then the one that was completed later counts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from consumer.contract.received_result import ReceivedResult
from consumer.contract.upload_result import ResultStatus
from consumer.model.names import Identity, Slug
from consumer.model.record import Record

SCHEMA = """
CREATE TABLE results (
    identity TEXT, slug TEXT, document_id TEXT, status TEXT, completed REAL, chunks INT,
    at_partition INT,
    PRIMARY KEY (identity, slug)
) WITHOUT ROWID;
"""
_EVERY = ""  # the slug of a deletion from every workspace
_SAYS_NOTHING = frozenset({ResultStatus.SUPERSEDED.value, ResultStatus.INVALID.value})
_TAKE = """
INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
SET document_id = excluded.document_id, status = excluded.status, completed = excluded.completed,
    chunks = excluded.chunks, at_partition = excluded.at_partition
WHERE excluded.at_partition = at_partition OR excluded.completed >= completed
"""
_STORED = (ResultStatus.SUCCEEDED.value, ResultStatus.PARTIAL.value)
_OF = """
SELECT status, completed FROM results WHERE identity = ?1 AND slug IN (?2, '')
ORDER BY completed DESC LIMIT 1
"""
_FORGOTTEN = """
SELECT identity, slug, document_id FROM results AS told
WHERE status IN (?2, ?3) AND chunks > 0 AND (?1 IS NULL OR slug = ?1)
AND NOT EXISTS (SELECT 1 FROM wanted WHERE identity = told.identity AND slug = told.slug)
AND NOT EXISTS (SELECT 1 FROM stored WHERE identity = told.identity AND slug = told.slug)
AND NOT EXISTS (
    SELECT 1 FROM tombstones WHERE identity = told.identity AND slug IN (told.slug, '')
)
AND NOT EXISTS (
    SELECT 1 FROM results
    WHERE identity = told.identity AND slug = '' AND completed > told.completed
)
ORDER BY identity, slug
"""


@dataclass(frozen=True, slots=True)
class NewestResult:
    """The newest result about a document in a workspace.

    Args:
        is_deleted: whether it says that the document was deleted.
        completed: epoch seconds.
    """

    is_deleted: bool
    completed: float


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A document that was stored once, of which neither an event nor a chunk is left."""

    slug: Slug
    identity: Identity
    document_id: str


class NewestResults:
    """See the module's docstring.

    Args:
        database: where `SCHEMA`, and the schema of the register, were carried out.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def take(self, result: ReceivedResult, record: Record) -> None:
        """Take a result, in the order of its partition; what changed nothing says nothing.

        Args:
            result: as it was read.
            record: it was read from; its time counts where the result has none.
        """
        if result.identity is None or result.status in _SAYS_NOTHING:
            return
        deleted = result.status == ResultStatus.DELETED.value
        if result.workspace_slug is None and not deleted:
            return
        completed: datetime | None = result.completed_at
        time = completed.timestamp() if completed is not None else record.timestamp_ms / 1000
        row = (
            result.identity,
            result.workspace_slug or _EVERY,
            result.document_id or result.identity,
            result.status,
            time,
            result.total_chunks,
            record.at.partition,
        )
        self._database.execute(_TAKE, row)

    def of(self, slug: Slug, identity: Identity) -> NewestResult | None:
        """What the newest result about a document says; None where none is left."""
        row = self._database.execute(_OF, (identity, slug)).fetchone()
        return None if row is None else NewestResult(row[0] == ResultStatus.DELETED.value, row[1])

    def forgotten(self, slug: Slug | None) -> Iterator[Forgotten]:
        """The documents that were stored, and of which nothing else is left, sorted by identity.

        One without chunks is none of them: nothing of it was stored.

        Args:
            slug: only those of this workspace.
        """
        for identity, each, document_id in self._database.execute(_FORGOTTEN, (slug, *_STORED)):
            yield Forgotten(Slug(each), Identity(identity), document_id)
