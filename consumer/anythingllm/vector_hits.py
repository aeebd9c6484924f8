"""The hits of a search's answer, whatever is odd about single ones: pure.

A vector of zeros or NaN has no distance to anything: its score is null, or missing. One such hit
says nothing of the others, so it comes last. So does one that names neither a document nor a text:
it stays a hit without either, because whoever asked for ten counts whether ten came. An answer that
holds nothing else than such is no answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from consumer.anythingllm.listing_parser import first_text, metadata_of
from consumer.anythingllm.models import VectorHit
from consumer.model.fields import text_of


@dataclass(frozen=True, slots=True)
class ReadHits:
    """What was read.

    Args:
        hits: as many as came, nearest first; those without any score are last.
        odd: those that have no score or no text.
    """

    hits: tuple[VectorHit, ...]
    odd: tuple[VectorHit, ...]


def read_hits(results: Sequence[object]) -> ReadHits:
    """Read the ``results`` of a search, in the server's order.

    Raises:
        ValueError: there are some, and none of them is a hit.
    """
    # By nothing at all they can't be put in order: then the server's order is all there is.
    hits = tuple(sorted(map(_hit, results), key=_has_no_score))
    if hits and not any(hit.doc_source or hit.text for hit in hits):
        raise ValueError("none of them is a hit")
    return ReadHits(hits, tuple(hit for hit in hits if _has_no_score(hit) or not hit.text))


def number_of(value: object) -> float | None:
    """A score or distance, which may come as a text; None where it is no finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _hit(result: object) -> VectorHit:
    fields = result if isinstance(result, dict) else {}
    metadata = metadata_of(fields.get("metadata"))
    return VectorHit(
        text=text_of(fields.get("text")) or "",
        distance=number_of(fields.get("distance")),
        score=number_of(fields.get("score")),
        doc_source=first_text(metadata.get("docSource")),
        title=first_text(metadata.get("description"), metadata.get("title")),
        id=first_text(fields.get("id")),
    )


def _has_no_score(hit: VectorHit) -> bool:
    return hit.score is None and hit.distance is None
