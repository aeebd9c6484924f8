"""What documents that were carried out lately want, remembered for the sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from consumer.model.difference import ComparableUnit
from consumer.model.names import Identity, Slug
from consumer.model.version import DocumentVersion

_MOST_DIGESTS = 200_000  # about 20 MB: ten times what 600 s of uploads make


@dataclass(frozen=True, slots=True)
class WantedState:
    """What should be stored of a document.

    Args:
        digests: of its chunks.
        may_go: whether a unit that is not wanted may be removed: whether it is not newer.
    """

    digests: tuple[str, ...]
    may_go: Callable[[ComparableUnit], bool]

    @property
    def weight(self) -> int:
        """What remembering it costs, in digests."""
        return 1 + len(self.digests)


def of_version(version: DocumentVersion, digests: Iterable[str]) -> WantedState:
    """What a document of this version wants."""
    return WantedState(tuple(digests), lambda unit: not unit.version.newer_than(version))


@dataclass(slots=True)
class SweepMemory:
    """What the documents want that were carried out lately, as far as there is room."""

    digests: int = 0
    by_slug: dict[Slug, dict[Identity, WantedState]] = field(default_factory=dict)
    everywhere: dict[Identity, WantedState] = field(
        default_factory=dict
    )  # tombstones of no one workspace

    def note(self, slug: Slug, identity: Identity, wanted: WantedState) -> None:
        """Note what a document wants in one workspace, if there is room; it replaces the former."""
        documents = self.by_slug.setdefault(slug, {})
        former = documents.get(identity)
        if former is None and self.digests > _MOST_DIGESTS:
            return
        documents[identity] = wanted
        self.digests += wanted.weight - (former.weight if former else 0)

    def note_everywhere(self, identity: Identity, wanted: WantedState) -> None:
        """Note a tombstone that names no workspace; it replaces all that was noted before."""
        for documents in self.by_slug.values():
            if (former := documents.get(identity)) is not None:
                documents[identity] = wanted
                self.digests += wanted.weight - former.weight
        if identity not in self.everywhere:
            if self.digests > _MOST_DIGESTS:
                return
            self.digests += wanted.weight
        self.everywhere[identity] = wanted

    def wanted(self, slug: Slug, identity: Identity) -> WantedState | None:
        """What was noted last of a document, or None."""
        here = self.by_slug.get(slug, {}).get(identity)
        return here or self.everywhere.get(identity)

    def forget(self, slug: Slug) -> None:
        """Forget a workspace."""
        self.digests -= sum(each.weight for each in self.by_slug.pop(slug, {}).values())

    def forget_everywhere(self) -> None:
        """Forget the tombstones that name no workspace."""
        self.digests -= sum(each.weight for each in self.everywhere.values())
        self.everywhere.clear()
