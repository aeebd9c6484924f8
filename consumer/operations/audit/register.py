"""What an audit writes down: what the events say and what is stored, document by document.

A topic can hold millions of events, and AnythingLLM millions of chunks. So all of it is kept in a
temporary SQLite database. The database has no name, so nothing is left of it after a crash, and it
goes to the disk only where it outgrows its cache. That cache and one document are all that is ever
in memory.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from consumer.model.names import Identity, Slug
from consumer.model.precedence import Occurrence
from consumer.model.record import Coordinates
from consumer.model.version import DocumentVersion
from consumer.operations.audit.judgement import KeptUnit, WantedDocument
from consumer.operations.audit.newest_results import SCHEMA as RESULTS_SCHEMA
from consumer.operations.audit.newest_results import NewestResults
from consumer.operations.audit.sampling import Pick
from consumer.operations.audit.sights import SCHEMA, Sights

CACHE_BYTES = 16 * 1024 * 1024

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LARGEST = 2**63 - 1
_EVERY = ""  # the slug of a tombstone for every workspace; no workspace has an empty one
_SETTINGS = f"""
PRAGMA cache_size = -{CACHE_BYTES // 1024};
PRAGMA temp_store = FILE;
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
"""
_SCHEMA = """
CREATE TABLE wanted (
    identity TEXT, slug TEXT, document_id TEXT, topic TEXT, at_partition INT, at_offset INT,
    instant INT, partition INT, offset INT, digests BLOB,
    read_topic TEXT, read_partition INT, read_offset INT, run TEXT, PRIMARY KEY (identity, slug)
) WITHOUT ROWID;
CREATE TABLE tombstones (
    identity TEXT, slug TEXT, partition INT, instant INT, offset INT,
    PRIMARY KEY (identity, slug, partition)
) WITHOUT ROWID;
CREATE TABLE waiting (
    identity TEXT, topic TEXT, at_partition INT, at_offset INT,
    PRIMARY KEY (identity, topic, at_partition, at_offset)
) WITHOUT ROWID;
CREATE TABLE refused (
    topic TEXT, at_partition INT, at_offset INT, document_id TEXT, identity TEXT, reason TEXT,
    read_topic TEXT, read_partition INT, read_offset INT,
    PRIMARY KEY (topic, at_partition, at_offset)
) WITHOUT ROWID;
CREATE TABLE stored (
    identity TEXT, slug TEXT, location TEXT, document_id TEXT, instant INT, partition INT,
    offset INT, chunk_ids TEXT, digests BLOB, created REAL, source TEXT,
    PRIMARY KEY (identity, slug, location)
) WITHOUT ROWID;
CREATE TABLE suspects (name TEXT, slug TEXT, PRIMARY KEY (name, slug)) WITHOUT ROWID;
BEGIN;
"""
_TOMBSTONE = """
INSERT INTO tombstones VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
SET instant = max(instant, excluded.instant), offset = max(offset, excluded.offset)
"""
# A row that is listed twice is as young as the younger one (consumer.model.listing).
_STORED = """
INSERT INTO stored VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
SET created = max(created, excluded.created)
"""
_KNOWN = """
SELECT identity, slug FROM wanted WHERE ?1 IS NULL OR slug = ?1
UNION SELECT identity, slug FROM stored WHERE ?1 IS NULL OR slug = ?1
ORDER BY identity, slug
"""
_WANTED_KEYS = "SELECT identity, slug FROM wanted WHERE ?1 IS NULL OR slug = ?1"
_BY_EVENT = f"{_WANTED_KEYS} ORDER BY read_topic, read_partition, read_offset"


class RegisterFull(Exception):
    """The disk for temporary files is full, or can't be written."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An event that can't be carried out: its dead letter has to be there.

    Args:
        at: its original record.
        read_at: the record that was read: another one where it was a replay.
        document_id: where readable.
        identity: where known.
        reason: a word of `FailureReason`.
    """

    at: Coordinates
    read_at: Coordinates
    document_id: str | None
    identity: Identity | None
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One document in one workspace, as it was written down.

    Args:
        slug: of the workspace.
        identity: of the document.
        wanted: by the newest event; None where it was deleted, or where no event speaks of it.
        deleted: whether a tombstone came after all events.
        waiting: records of the document that were not committed when they were read.
        kept: the stored units.
        is_ended: whether it was deleted, and all that is stored of it is older than that.
    """

    slug: Slug
    identity: Identity
    wanted: WantedDocument | None
    deleted: bool
    waiting: tuple[Coordinates, ...]
    kept: tuple[KeptUnit, ...]
    is_ended: bool = False


class Register:
    """Takes events and stored units, and gives them back by document; made by `open_register`."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self.sights = Sights(database)
        """What searches say of the stored units."""
        self.newest_results = NewestResults(database)
        """What results say, where somebody reads them."""

    # -- what the events say, in the order of their partitions -------------------------------------

    def document(self, slug: Slug, identity: Identity, wanted: WantedDocument) -> None:
        """Write down a document's event, unless a newer one is known: the service does the same."""
        known, version = self._wanted(slug, identity), wanted.version
        before = [Occurrence(each, removes=True) for each in self._tombstones(slug, identity)]
        if known is not None:
            before.append(Occurrence(known.version))
        if any(each.supersedes(Occurrence(version)) for each in before):
            return
        self._database.execute(
            "INSERT OR REPLACE INTO wanted VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(identity, slug, wanted.document_id),
                *_place(wanted.at),
                *_numbers(version),
                orjson.dumps(wanted.digests),
                *_place(wanted.read_at),
                wanted.run,
            ),
        )

    def tombstone(self, slug: Slug | None, identity: Identity, version: DocumentVersion) -> None:
        """Write down a tombstone; a `slug` of None means every workspace."""
        instant, partition, offset = _numbers(version)
        self._database.execute(_TOMBSTONE, (identity, slug or _EVERY, partition, instant, offset))
        found = self._database.execute(
            "SELECT slug, instant, partition, offset FROM wanted WHERE identity = ?", (identity,)
        ).fetchall()
        end = Occurrence(version, removes=True)
        ended = [each for each, *known in found if not Occurrence(_version(*known)).supersedes(end)]
        self._database.executemany(
            "DELETE FROM wanted WHERE identity = ? AND slug = ?",
            [(identity, each) for each in ended if slug in {None, each}],
        )

    def refused(self, refusal: Refusal) -> None:
        """Write down an event that can't be carried out."""
        self._database.execute(
            "INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *_place(refusal.at),
                *(refusal.document_id, refusal.identity, refusal.reason),
                *_place(refusal.read_at),
            ),
        )

    def waits(self, identity: Identity, at: Coordinates) -> None:
        """Write down a record that is not committed."""
        row = (identity, *_place(at))
        self._database.execute("INSERT OR IGNORE INTO waiting VALUES (?, ?, ?, ?)", row)

    # -- what is stored ----------------------------------------------------------------------------

    def forget_stored(self, slug: Slug) -> None:
        """Forget a workspace's units, before it is listed once more."""
        self._database.execute("DELETE FROM stored WHERE slug = ?", (slug,))

    def stored(self, slug: Slug, identity: Identity, unit: KeptUnit) -> None:
        """Write down a unit that a workspace lists."""
        self._database.execute(
            _STORED,
            (
                *(identity, slug, unit.location, unit.document_id),
                *_numbers(unit.version),
                *(unit.chunk_ids, orjson.dumps(unit.digests), unit.created, unit.source),
            ),
        )

    # -- what was seen to be wrong -----------------------------------------------------------------

    def suspect(self, slug: Slug | None, name: str) -> None:
        """Write down that something seems to be wrong, which has to be seen twice."""
        self._database.execute("INSERT OR IGNORE INTO suspects VALUES (?, ?)", (name, slug or ""))

    def is_suspect(self, slug: Slug | None, name: str) -> bool:
        """Whether it seemed to be wrong before."""
        found = self._database.execute(
            "SELECT 1 FROM suspects WHERE name = ? AND slug = ?", (name, slug or "")
        )
        return found.fetchone() is not None

    def suspected_slugs(self) -> tuple[Slug, ...]:
        """The workspaces in which something seems to be wrong."""
        found = self._database.execute("SELECT DISTINCT slug FROM suspects ORDER BY slug")
        return tuple(slug for (slug,) in found)

    # -- reading it --------------------------------------------------------------------------------

    def entries(self, slug: Slug | None = None) -> Iterator[Entry]:
        """Every document that an event wants somewhere or that is stored, sorted by identity.

        Args:
            slug: only those of this workspace.
        """
        for identity, each in self._database.execute(_KNOWN, (slug,)):
            yield self.entry(each, identity)

    def in_order_of_events(self, slug: Slug | None) -> Iterator[Entry]:
        """Every document that an event wants, in the order in which their events are read best."""
        for identity, each in self._database.execute(_BY_EVENT, (slug,)):
            yield self.entry(each, identity)

    def picked(self, picks: Sequence[Pick], slug: Slug | None) -> list[Entry]:
        """Some of the documents that events want, in the order of the picks.

        Args:
            picks: of `count_wanted` with the same slug.
            slug: only those of this workspace.
        """
        places = {pick: place for place, pick in enumerate(picks)}
        numbers: Counter[Slug] = Counter()
        found: dict[int, Entry] = {}
        for identity, each in self._database.execute(_WANTED_KEYS, (slug,)):
            if (place := places.get((each, numbers[each]))) is not None:
                found[place] = self.entry(each, identity)
            numbers[each] += 1
        return [entry for _, entry in sorted(found.items())]

    def count_wanted(self, slug: Slug | None) -> Counter[Slug]:
        """How many documents events want in each workspace, or in this one."""
        return Counter(each for _, each in self._database.execute(_WANTED_KEYS, (slug,)))

    def refusals(self) -> Iterator[Refusal]:
        """Every event that can't be carried out."""
        for row in self._database.execute("SELECT * FROM refused"):
            topic, partition, offset, document_id, identity, reason, *read_at = row
            at = Coordinates(topic, partition, offset)
            yield Refusal(at, Coordinates(*read_at), document_id, identity, reason)

    def entry(self, slug: Slug, identity: Identity) -> Entry:
        """One document in one workspace."""
        wanted, kept = self._wanted(slug, identity), self._kept(slug, identity)
        ends = [Occurrence(each, removes=True) for each in self._tombstones(slug, identity)]
        deleted = wanted is None and bool(ends)
        waiting = self._database.execute(
            "SELECT topic, at_partition, at_offset FROM waiting WHERE identity = ?", (identity,)
        )
        return Entry(
            slug=slug,
            identity=identity,
            wanted=wanted,
            deleted=deleted,
            waiting=tuple(Coordinates(*place) for place in waiting),
            kept=kept,
            is_ended=deleted
            and all(any(end.supersedes(Occurrence(unit.version)) for end in ends) for unit in kept),
        )

    def _wanted(self, slug: Slug, identity: Identity) -> WantedDocument | None:
        row = self._database.execute(
            "SELECT document_id, topic, at_partition, at_offset, instant, partition, offset, "
            "digests, read_topic, read_partition, read_offset, run "
            "FROM wanted WHERE identity = ? AND slug = ?",
            (identity, slug),
        ).fetchone()
        if row is None:
            return None
        document_id, *at, instant, partition, offset, digests = row[:8]
        version = _version(instant, partition, offset)
        *read_at, run = row[8:]
        digests = tuple(orjson.loads(digests))
        return WantedDocument(
            document_id, Coordinates(*at), version, digests, Coordinates(*read_at), run
        )

    def _tombstones(self, slug: Slug, identity: Identity) -> list[DocumentVersion]:
        found = self._database.execute(
            "SELECT instant, partition, offset FROM tombstones "
            "WHERE identity = ? AND slug IN (?, ?)",
            (identity, slug, _EVERY),
        )
        return [_version(*row) for row in found]

    def _kept(self, slug: Slug, identity: Identity) -> tuple[KeptUnit, ...]:
        found = self._database.execute(
            "SELECT location, document_id, chunk_ids, digests, created, source, "
            "instant, partition, offset "
            "FROM stored WHERE identity = ? AND slug = ?",
            (identity, slug),
        )
        return tuple(
            KeptUnit(
                location=location,
                version=_version(*version),
                digests=tuple(orjson.loads(digests)),
                chunk_ids=chunk_ids,
                document_id=document_id,
                created=created,
                source=source,
            )
            for location, document_id, chunk_ids, digests, created, source, *version in found
        )


@contextmanager
def open_register() -> Iterator[Register]:
    """A register, which is gone with everything in it afterwards.

    Raises:
        RegisterFull: see there.
    """
    # With an empty name SQLite makes a private database, in a file without a name.
    with closing(sqlite3.connect("", isolation_level=None)) as database:
        try:
            database.executescript(_SETTINGS + SCHEMA + RESULTS_SCHEMA + _SCHEMA)
            yield Register(database)
        except sqlite3.OperationalError as error:
            raise RegisterFull(str(error)) from error


def _place(at: Coordinates) -> tuple[str, int, int]:
    return at.topic, at.partition, at.offset


def _numbers(version: DocumentVersion) -> tuple[int, int, int]:
    """A version as integers; -1 where it has no partition or offset."""
    instant = (version.instant - _EPOCH) // _MICROSECOND
    places = (-1 if each is None else each for each in (version.partition, version.offset))
    # Markers can be edited by hand, and no database takes larger numbers than these.
    partition, offset = (max(-1, min(place, _LARGEST)) for place in places)
    return instant, partition, offset


def _version(*numbers: Any) -> DocumentVersion:
    instant, partition, offset = numbers
    return DocumentVersion(
        _EPOCH + instant * _MICROSECOND,
        None if partition < 0 else partition,
        None if offset < 0 else offset,
    )
