"""The name that a file has while AnythingLLM forgets the vectors of the first one: pure.

It says to which workspace the file belongs, because no row does meanwhile. No upload ever gets such
a name, because those end in a UUID. A slug has no dot.
"""

from __future__ import annotations

from consumer.model.names import Location, Slug
from consumer.model.slug import is_slug

_END = ".json"
_SECOND_END = ".again.json"
_FOLDER = "custom-documents/"
_LONGEST = 255  # bytes of a file's name


def second_name(location: Location, slug: Slug) -> Location | None:
    """Another name for a file of this workspace; None where there is none."""
    if not location.endswith(_END) or location.endswith(_SECOND_END):
        return None
    second = f"{location.removesuffix(_END)}.{slug}{_SECOND_END}"
    fits = len(second.removeprefix(_FOLDER).encode()) <= _LONGEST
    return Location(second) if fits else None


def first_name(location: Location) -> tuple[Location, Slug] | None:
    """The name of which this is the second one, and the workspace; None where it is none's."""
    stem, _, slug = location.removesuffix(_SECOND_END).rpartition(".")
    if not location.endswith(_SECOND_END) or not stem or not is_slug(slug):
        return None
    return Location(stem + _END), Slug(slug)
