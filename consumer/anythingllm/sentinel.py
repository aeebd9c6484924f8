"""Sentinels: throw-away documents that prove a workspace ready (`readiness`). Pure."""

from __future__ import annotations

from datetime import timedelta

from consumer.model.marker import SENTINEL_KEY
from consumer.model.names import Slug

ABANDONED_AGE = timedelta(minutes=10)  # a sentinel this old belongs to a process that is gone
_START = f'{{"{SENTINEL_KEY}":'


def sentinel_source(sentinel_id: str) -> str:
    """The ``docSource`` of a sentinel."""
    return f'{_START}1,"id":"{sentinel_id}"}}'


def is_sentinel(doc_source: str) -> bool:
    """Whether a ``docSource`` is a sentinel's, of whichever process."""
    return doc_source.startswith(_START)


def sentinel_text(sentinel_id: str) -> str:
    """Its text; no two are the same."""
    return f"readiness check {sentinel_id}"


def sentinel_body(slug: Slug, sentinel_id: str, text: str = "") -> dict[str, object]:
    """The body of its ``raw-text``; with another text than its own where one is given."""
    metadata = {
        "title": "readiness check",
        "description": "a test document of anythingllm-consumer, removed within minutes",
        "docSource": sentinel_source(sentinel_id),
    }
    return {
        "textContent": text or sentinel_text(sentinel_id),
        "addToWorkspaces": slug,
        "metadata": metadata,
    }
