"""What was carried out, remembered while we have the partitions: the one memory of versions.

A version that uploads nothing (unchanged, only shorter, emptied, deleted) leaves no trace in
AnythingLLM. Without this memory an older version that comes late would bring back what the newer
one removed, and the sweep would not know what is left over from former versions.

It is forgotten with the assignment: another owner of the partition may go on from there. The
results topic is the record that lasts. When it becomes too much the longest unused goes first, but
not what is still in doubt: the sweep could not tell what was left over.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

from consumer.model.copies import ComparableUnit, UnitT, is_stored_if_listed
from consumer.model.difference import cover_in_turn
from consumer.model.names import Identity, Location, Slug
from consumer.model.precedence import Occurrence
from consumer.model.version import DocumentVersion

MOST_REMEMBERED = 200_000
"""About 20 MB, counted in digests; the oldest go first."""
_OVERHEAD = 8  # what an identity weighs without digests


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one document in one workspace.

    Args:
        document: the version that was carried out last.
        digests: of all its chunks.
        tombstones: of this workspace and of every one.
        partial: a newer version that lacks refused chunks; units of former ones may be its.
        needed: the digests of what it holds.
        is_held: whether a result has told that it holds something.
    """

    document: DocumentVersion | None = None
    digests: tuple[str, ...] = ()
    tombstones: tuple[DocumentVersion, ...] = ()
    partial: DocumentVersion | None = None
    needed: tuple[str, ...] = ()
    is_held: bool = False

    def supersedes(self, version: DocumentVersion, stored: Iterable[ComparableUnit]) -> bool:
        """Whether a version is older than what is known, or than what is stored and not ended."""
        if self.has_ended(version) or (self.document and self.document.newer_than(version)):
            return True
        if self.is_held and self.partial and self.partial.newer_than(version):
            return True  # it may hold only units of former versions: no marker is its own
        newer = (unit.version for unit in stored if unit.version.newer_than(version))
        return not all(self.has_ended(each) for each in newer)

    def left_over(
        self, stored: Collection[UnitT], is_proven: Callable[[Location], bool] = is_stored_if_listed
    ) -> tuple[UnitT, ...]:
        """Which units of former versions are not wanted.

        While wanted text is missing these are only copies of text that is there. What lends wanted
        text stays (`consumer.model.difference`), for the version that was carried
        out and for a partial one. Units of a newer version hold nothing for this one: that one is
        still in work, or lacks a chunk that was refused, and may need both copies of a text that
        stands in it twice. Of two copies the one that a tombstone has ended goes: by its date it
        may look newer than all that follows. One that is listed and not proven to be stored goes
        before both. Where none of them is, what was carried out last stays: who did that has seen
        its own copies.
        """
        groups: defaultdict[tuple[bool, ...], list[UnitT]] = defaultdict(list)
        own: list[UnitT] = []
        for unit in stored:
            is_ended = self.has_ended(unit.version)
            if is_ended or self._is_older(unit.version):
                is_unproven = not is_proven(unit.location)
                is_former = is_unproven and unit.version != self.document
                groups[is_unproven, is_ended, is_former].append(unit)
            elif unit.version == self.partial:
                own.append(unit)
        in_turn = [group for _, group in sorted(groups.items(), key=lambda one: one[0])]
        stays, missing = cover_in_turn(self.digests, in_turn)
        lent, _ = cover_in_turn(self.needed, in_turn, there=[*own, *stays])
        keeps = {unit.location for unit in (*stays, *lent)}
        covered = Counter(self.digests) - missing
        return tuple(
            unit
            for group in in_turn
            for unit in group
            if unit.location not in keeps
            and (not missing or all(digest in covered for digest in unit.digests))
        )

    def _is_older(self, version: DocumentVersion) -> bool:
        return self.document is not None and not version.newer_than(self.document)

    def has_ended(self, version: DocumentVersion) -> bool:
        """Whether a tombstone that was carried out leaves nothing of a version."""
        new = Occurrence(version)
        return any(Occurrence(each, removes=True).supersedes(new) for each in self.tombstones)


@dataclass(frozen=True, slots=True)
class _Noted:
    version: DocumentVersion
    digests: tuple[str, ...]
    is_held: bool = True


@dataclass(slots=True)
class _Identity:
    """All that is known of one identity; documents with their digests, by workspace."""

    documents: dict[Slug, _Noted] = field(default_factory=dict)
    partials: dict[Slug, _Noted] = field(default_factory=dict)
    tombstones: dict[Slug | None, DocumentVersion] = field(default_factory=dict)

    @property
    def weight(self) -> int:
        every = (*self.documents.values(), *self.partials.values())
        digests = sum(len(each.digests) + _OVERHEAD for each in every)
        return digests + _OVERHEAD * len(self.tombstones)


class CarriedOut:
    """See the module's docstring.

    Args:
        is_in_doubt: whether something may still come of a document.
        most: digests that are remembered.
    """

    def __init__(
        self, is_in_doubt: Callable[[Identity], bool] = lambda _: False, most: int = MOST_REMEMBERED
    ) -> None:
        self._is_in_doubt = is_in_doubt
        self._most = most
        self._weight = 0
        self._identities: OrderedDict[Identity, _Identity] = OrderedDict()  # longest unused first

    def document(
        self, slug: Slug, identity: Identity, version: DocumentVersion, digests: Iterable[str]
    ) -> None:
        """Note a document that is stored as it should be, all of it.

        One that a tombstone has ended meanwhile is not noted: what a former owner has carried out
        is told topic by topic, so a replay of it may be told after the tombstone. It would hold
        back what was published later, with an older date.
        """
        if self.known(slug, identity).has_ended(version):
            return
        of = self._take(identity)
        known = of.documents.get(slug)
        if known is None or not known.version.newer_than(version):
            of.documents[slug] = _Noted(version, tuple(digests))
            of.partials.pop(slug, None)
        self._put(identity, of)

    def partial(
        self,
        slug: Slug,
        identity: Identity,
        version: DocumentVersion,
        digests: Collection[str],
        *,
        is_certain: bool = True,
    ) -> None:
        """Note what is stored of a document of which chunks were refused.

        It is no state that is wanted, but a part of it may be a former version's unit. One that is
        older than what was carried out, than a partial one, or ended, wants nothing any more.

        Args:
            slug: of the workspace.
            identity: of the document.
            version: of it.
            digests: of the chunks that are stored, or may be.
            is_certain: whether they are; a former owner's event may have been an older one.
        """
        known = self.known(slug, identity)
        newer = [each for each in (known.document, known.partial) if each]
        if known.has_ended(version) or any(each.newer_than(version) for each in newer):
            return
        of = self._take(identity)
        of.partials[slug] = _Noted(version, tuple(digests), is_certain and bool(digests))
        self._put(identity, of)

    def tombstone(self, slug: Slug | None, identity: Identity, version: DocumentVersion) -> None:
        """Note a tombstone that is carried out, in one workspace or in all (None)."""
        of, new = self._take(identity), Occurrence(version, removes=True)
        for noted in (of.documents, of.partials):
            for each, known in list(noted.items()):
                if slug in (None, each) and not Occurrence(known.version).supersedes(new):
                    del noted[each]
        before = of.tombstones.get(slug)
        if before is None or not before.newer_than(version):
            of.tombstones[slug] = version
        self._put(identity, of)

    def known(self, slug: Slug, identity: Identity) -> Known:
        """What is known of a document in a workspace."""
        of = self._identities.get(identity)
        if of is None:
            return Known()
        ended = (of.tombstones.get(slug), of.tombstones.get(None))
        known = Known(tombstones=tuple(each for each in ended if each is not None))
        if (whole := of.documents.get(slug)) is not None:
            known = replace(known, document=whole.version, digests=whole.digests)
        if (lacking := of.partials.get(slug)) is not None:
            known = replace(
                known, partial=lacking.version, needed=lacking.digests, is_held=lacking.is_held
            )
        return known

    def forget(self) -> None:
        """Forget everything: others may own the partitions now."""
        self._identities.clear()
        self._weight = 0

    def _take(self, identity: Identity) -> _Identity:
        of = self._identities.pop(identity, None)
        if of is None:
            return _Identity()
        self._weight -= of.weight
        return of

    def _put(self, identity: Identity, of: _Identity) -> None:
        self._identities[identity] = of
        self._weight += of.weight
        kept: list[tuple[Identity, _Identity]] = []
        while self._weight > self._most and len(self._identities) > 1:
            oldest = self._identities.popitem(last=False)
            if self._is_in_doubt(oldest[0]):
                kept.append(oldest)
            else:
                self._weight -= oldest[1].weight
        for oldest_identity, known in reversed(kept):
            self._identities[oldest_identity] = known
            self._identities.move_to_end(oldest_identity, last=False)
