"""Remains: what a search finds although its row is gone. No request to AnythingLLM reaches it."""

from __future__ import annotations

from dataclasses import dataclass

from consumer.model.marker import Marker


@dataclass(frozen=True, slots=True)
class Remains:
    """What is left in the vector database of units that were removed.

    Args:
        markers: of these units.
        what_to_do: the only cure, for a person.
    """

    markers: tuple[Marker, ...]
    what_to_do: str
