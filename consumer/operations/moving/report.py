"""What became of the documents of a workspace that is moved."""

from __future__ import annotations

from dataclasses import dataclass, field

from consumer.model.names import Identity, ServerName


@dataclass(frozen=True, slots=True)
class MoveReport:
    """What became of a move.

    Args:
        sources: the servers that had documents of ours in it.
        documents: those that were to be moved, or removed.
        moved: how many of them are on the new server now, and nowhere else; before it is done, how
            many would be, as far as that can be seen.
        removed: how many were only removed, for a tombstone.
        left: documents that stay, with why.
    """

    sources: tuple[ServerName, ...]
    documents: int
    moved: int = 0
    removed: int = 0
    left: tuple[tuple[Identity, str], ...] = ()


@dataclass(slots=True)
class MoveTally:
    """What became of it so far.

    Args:
        sources: the servers that had documents of ours in it.
    """

    sources: tuple[ServerName, ...]
    moved: set[Identity] = field(default_factory=set)
    removed: set[Identity] = field(default_factory=set)
    left: dict[Identity, str] = field(default_factory=dict)

    def note(self, identity: Identity, why: str | None, *, is_removed: bool) -> None:
        """Note what became of a document; ``why`` it stays, or None."""
        self.left.pop(identity, None)
        if why is not None:
            self.left[identity] = why
        elif is_removed:
            self.removed.add(identity)
        else:
            self.moved.add(identity)

    def report(self) -> MoveReport:
        """As it is told."""
        tried = {*self.moved, *self.removed, *self.left}
        return MoveReport(
            self.sources,
            len(tried),
            len(self.moved),
            len(self.removed),
            tuple(self.left.items()),
        )
