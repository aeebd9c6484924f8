"""Is what the events say what is stored? One document in one workspace at a time: pure.

Rules:

1. The newest event that the group is done with says what should be stored. Where one more event
   waits, nothing is judged: the group may be about to change what is there.
2. Chunks are compared as the service compares them (`consumer.model.difference`).
3. A dead letter explains the missing chunks of its event while it is open, parked or in flight, and
   no more of them than the letter says have failed.
4. A surplus chunk is a fault only once nothing that is under way can change it any more: until then
   the service may be about to put it right. A missing chunk is a fault at once.
5. A version that is newer than every event was not published here, or its event is gone. It is
   shown and not judged.
6. A chunk that is listed and that searches do not find (`consumer.operations.audit.searching`) is
   not stored, and no dead letter explains that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from consumer.model.difference import cover
from consumer.model.names import Location
from consumer.model.record import Coordinates
from consumer.model.version import DocumentVersion
from consumer.operations.audit.states import DocumentState
from consumer.operations.letters.standing import Standing

EXPLAINING = frozenset({Standing.OPEN, Standing.PARKED, Standing.IN_FLIGHT})
_NOT_JUDGED = frozenset({DocumentState.WAITING, DocumentState.NEWER})
_WITHOUT_FAULT = frozenset(
    {DocumentState.STORED, DocumentState.DEAD_LETTER, DocumentState.SETTLING}
)


@dataclass(frozen=True, slots=True)
class WantedDocument:
    """What the newest event says of a document in one workspace.

    Args:
        document_id: as published.
        at: the event's original record.
        digests: of its chunks, in order; none where the document has no content.
        read_at: the record that was read: another one where it was a replay.
        run: the run of ``audit --republish`` that published it again; empty where none did.
    """

    document_id: str
    at: Coordinates
    version: DocumentVersion
    digests: tuple[str, ...]
    read_at: Coordinates
    run: str = ""


@dataclass(frozen=True, slots=True)
class KeptUnit:
    """A stored unit, as far as judging needs it (`consumer.model.difference.ComparableUnit`).

    Args:
        location: AnythingLLM's handle.
        version: of the document it was stored with.
        digests: of its chunks.
        chunk_ids: hashes of their ids.
        document_id: of the document it was stored with.
        created: when its row was made, epoch seconds by the server's clock; None where unknown.
        source: a hash of its ``docSource``, by which search hits are known to be of it.
    """

    location: Location
    version: DocumentVersion
    digests: tuple[str, ...]
    chunk_ids: str
    document_id: str
    created: float | None
    source: str


@dataclass(frozen=True, slots=True)
class Excuse:
    """A dead letter, as far as it explains missing chunks.

    Args:
        standing: how it stands.
        failed_chunks: how many chunks it says are not stored; 0 where it does not say.
    """

    standing: Standing
    failed_chunks: int = 0


@dataclass(frozen=True, slots=True)
class Case:
    """Everything about one document in one workspace.

    Args:
        wanted: by the newest event; None where it was deleted, or where no event speaks of it.
        deleted: whether a tombstone came after all events.
        waiting: whether an event of it is not committed.
        excuse: the dead letter of the newest event.
        kept: the stored units.
        settled_before: epoch seconds; an older unit can't be under way any more.
        lost: those of the stored units that searches did not find.
    """

    wanted: WantedDocument | None
    deleted: bool
    waiting: bool
    excuse: Excuse | None
    kept: Sequence[KeptUnit]
    settled_before: float
    lost: frozenset[Location] = frozenset()


@dataclass(frozen=True, slots=True)
class Judgement:
    """The state of a case, with the numbers behind it.

    Args:
        state: see `DocumentState`.
        stored: how many of the wanted chunks are stored.
        total: how many chunks are wanted.
        surplus: how many stored chunks are not wanted, or not that often.
        text: one line for people.
        not_found: how many of the stored ones searches did not find.
        holders: the units that are said to hold the wanted chunks; none where nothing is judged.
    """

    state: DocumentState
    stored: int = 0
    total: int = 0
    surplus: int = 0
    text: str = ""
    not_found: int = 0
    holders: tuple[KeptUnit, ...] = ()


def judge(case: Case) -> Judgement:
    """The state of a document in a workspace (module docstring)."""
    if case.wanted is None:
        return _of_unwanted(case)
    wanted, found = case.wanted, cover(case.wanted.digests, case.kept)
    stored, total = found.covered.total() + found.lent.total(), len(wanted.digests)
    surplus = sum(len(unit.digests) for unit in case.kept) - stored
    if stored == total and not found.left:
        state, text = DocumentState.STORED, ""
    elif case.waiting:
        state, text = DocumentState.WAITING, ""
    elif any(unit.version.newer_than(wanted.version) for unit in case.kept):
        state, text = DocumentState.NEWER, "a newer version is stored than any event tells of"
    elif stored < total:
        state, text = _of_missing(case.excuse, stored, total)
    else:
        state, text = _of_surplus(case, found.left, surplus)
    judgement = Judgement(state, stored, total, surplus, text)
    if state in _NOT_JUDGED:
        return judgement
    holders = (*found.kept, *found.lenders)
    return _with_lost(replace(judgement, holders=holders), case.lost, wanted.digests)


def _with_lost(
    judgement: Judgement, lost: frozenset[Location], wanted: Collection[str]
) -> Judgement:
    """Rule 6."""
    units = [unit for unit in judgement.holders if unit.location in lost]
    if not units:
        return judgement
    chunks = sum(digest in wanted for unit in units for digest in unit.digests)
    text = f"{_are(chunks)} listed, and no search finds {'it' if chunks == 1 else 'them'}"
    state = DocumentState.NOT_FOUND if judgement.state in _WITHOUT_FAULT else judgement.state
    texts = "; ".join(each for each in (judgement.text, text) if each)
    return replace(judgement, state=state, text=texts, not_found=chunks)


def _of_unwanted(case: Case) -> Judgement:
    surplus = sum(len(unit.digests) for unit in case.kept)
    if not case.kept:
        state, text = DocumentState.GONE, ""
    elif case.waiting:
        state, text = DocumentState.WAITING, ""
    elif not case.deleted:
        state, text = (
            DocumentState.UNEXPECTED,
            f"{_are(surplus)} stored, and no event tells of them",
        )
    elif _is_young(case):
        state, text = DocumentState.SETTLING, ""
    else:
        state, text = DocumentState.NOT_REMOVED, f"it was deleted, and {_are(surplus)} still stored"
    return Judgement(state, 0, 0, surplus, text)


def _of_missing(excuse: Excuse | None, stored: int, total: int) -> tuple[DocumentState, str]:
    missing = total - stored
    text = f"{missing} of {total} chunks are not stored"
    if excuse is not None and excuse.standing in EXPLAINING:
        if missing <= (excuse.failed_chunks or total):
            return DocumentState.DEAD_LETTER, ""
        text += f", and its dead letter explains {excuse.failed_chunks} of them"
    elif excuse is not None:
        text += f", and its dead letter is {excuse.standing}"
    return (DocumentState.INCOMPLETE if stored else DocumentState.MISSING), text


def _of_surplus(case: Case, left: Iterable[KeptUnit], surplus: int) -> tuple[DocumentState, str]:
    if _is_young(case):
        return DocumentState.SETTLING, ""
    wanted = frozenset(case.wanted.digests if case.wanted else ())
    if all(digest in wanted for unit in left for digest in unit.digests):
        return DocumentState.DOUBLE, f"{_are(surplus)} stored once more"
    return DocumentState.STALE, f"{_are(surplus)} still stored that are not in its newest version"


def _is_young(case: Case) -> bool:
    """Whether the service may still be about to put a surplus right."""
    return any(u.created is None or u.created > case.settled_before for u in case.kept)


def _are(chunks: int) -> str:
    return "1 chunk is" if chunks == 1 else f"{chunks} chunks are"
