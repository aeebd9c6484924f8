"""About how long AnythingLLM 1.16 takes, as measured on two cores. Pure."""

from __future__ import annotations

# On LanceDB it stored 12 documents of one chunk a second, and 11 of ten chunks.
_SECONDS_AN_UPLOAD = 0.08
_SECONDS_A_CHUNK = 0.0013

# A removal takes as long as everything that was ever added to its workspace on LanceDB: 0.2 s with
# 100 documents, 5 s with 2,000. Elsewhere it is the event log of each workspace.
_SECONDS_A_REMOVAL_FOR_EACH_ROW = 0.0023
_SECONDS_A_REMOVAL = 0.02
_SECONDS_A_REMOVAL_FOR_EACH_WORKSPACE = 0.004
_SLOW_REMOVALS = frozenset({"lancedb", "unknown"})


def upload_seconds(uploads: int, chunks: int) -> float:
    """For so many uploads, which hold so many chunks."""
    return uploads * _SECONDS_AN_UPLOAD + chunks * _SECONDS_A_CHUNK


def removal_seconds(removals: int, *, rows: int, workspaces: int, database: str) -> float:
    """For so many removals.

    Args:
        removals: AnythingLLM documents that go.
        rows: what their workspace ever held, at least.
        workspaces: that there are.
        database: the vector database, by AnythingLLM's name for it.
    """
    each = _SECONDS_A_REMOVAL + workspaces * _SECONDS_A_REMOVAL_FOR_EACH_WORKSPACE
    if database in _SLOW_REMOVALS:
        each += rows * _SECONDS_A_REMOVAL_FOR_EACH_ROW
    return removals * each
